"use strict";
(async () => {
  const ROW = 24, MANY = 500, $ = (id) => document.getElementById(id);
  const list = $("list"), space = $("space"), rows = $("rows"), find = $("find"), told = $("told"), about = $("about"), chart = $("chart");
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob($(id).textContent), (one) => one.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const data = await unpack("columns");
  const { texts, row, took, first, connection, sql, flight, error, count, setup, code, names } = data;
  const size = row.length, real = new Float64Array(size), began = new Float64Array(size);
  for (let at = 0, sum = 0; at < size; at++) real[at] = sum += data.began[at];
  const lasts = (at) => (took[at] < 0 ? Math.max(0, data.end - real[at]) : took[at]), ended = (at) => began[at] + lasts(at);
  // Long idle times are drawn short: `began` is where a round trip is drawn, `real` when it was.
  const order = Array.from(real.keys()).sort((a, b) => real[a] - real[b]);
  const idle = (seen) => {
    let reach = 0;
    for (const at of order) {
      seen(at, Math.max(0, real[at] - reach));
      reach = Math.max(reach, real[at] + lasts(at));
    }
    return reach;
  };
  let gaps = 0, cuts = 0, cut = 0;
  const reached = idle((_, gap) => { gaps += gap; }), longest = Math.max(1000, (reached - gaps) / 20);
  idle((at, gap) => {
    if (gap > longest) { cuts++; cut += gap - longest; }
    began[at] = real[at] - cut;
  });
  const end = Math.max(1, reached - cut);
  const blocks = new Map(), lower = texts.map((one) => one.toLowerCase());
  let shown = [], chosen = 0, from = 0, to = 1, drawn = 0;
  const ms = (us) => (us < 0 ? "open" : (us / 1000).toFixed(2));
  const span = (us) => (us < 1e6 ? `${ms(us)} ms` : us < 6e8 ? `${(us / 1e6).toFixed(3)} s` : us < 6e9 ? `${(us / 6e7).toFixed(1)} min` : `${(us / 3.6e9).toFixed(1)} h`);
  const add = (parent, name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  };

  const all = () => { from = 0; to = end; };
  const select = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.map((word) => [lower.map((one) => one.includes(word)), names.map((one) => one.toLowerCase().includes(word))]);
    const kept = shown[chosen];
    shown = [];
    for (let at = 0; at < size; at++) {
      if (began[at] > to || ended(at) < from) continue;
      if (hits.every(([text, name]) => text[sql[at]] || text[error[at]] || text[flight[at]] || text[code[at]] || name[connection[at]])) shown.push(at);
    }
    chosen = Math.max(0, shown.indexOf(kept));
    list.setAttribute("aria-rowcount", shown.length + 1);
    space.style.height = `${shown.length * ROW}px`;
    const last = shown.reduce((found, at) => Math.max(found, real[at] + lasts(at)), 0), first = shown.reduce((found, at) => Math.min(found, real[at]), last);
    told.textContent = `${shown.length} of ${size} round ${size === 1 ? "trip" : "trips"}, ${span(first)} to ${span(last)}${cuts ? `; ${cuts} idle ${cuts === 1 ? "period is" : "periods are"} shortened` : ""}`;
    overview();
    draw();
  };
  const draw = () => {
    const begin = Math.max(0, Math.floor(list.scrollTop / ROW) - 4), end = Math.min(shown.length, begin + Math.ceil(list.clientHeight / ROW) + 8);
    rows.replaceChildren();
    rows.style.transform = `translateY(${begin * ROW}px)`;
    for (let place = begin; place < end; place++) {
      const at = shown[place], line = add(rows, "div", undefined, `line${place === chosen ? " chosen" : ""}${error[at] ? " wrong" : ""}`);
      line.id = `line${place}`;
      line.setAttribute("role", "row");
      line.setAttribute("aria-rowindex", place + 2);  // after the headings
      line.setAttribute("aria-selected", place === chosen);
      for (const [text, kind] of [[row[at], "number"], [names[connection[at]], "who"], [ms(took[at]), "number"], [texts[flight[at]], "flight"],
        [texts[error[at]] || texts[sql[at]], "sql"]]) add(line, "span", text, kind).setAttribute("role", "gridcell");
      const track = add(line, "span", undefined, "when track"), width = to - from;
      track.setAttribute("role", "gridcell");
      track.setAttribute("aria-label", `begins at ${span(real[at])}`);
      const bar = add(track, "i", undefined, error[at] ? "bad" : setup[at] ? "setup" : "wait");
      const left = Math.max(0, (began[at] - from) / width), right = Math.min(1, (ended(at) - from) / width);
      bar.style.left = `${Math.min(99.5, left * 100)}%`;
      bar.style.width = `${Math.max(0.5, (right - left) * 100)}%`;
      line.addEventListener("click", () => choose(place));
    }
    if (chosen >= begin && chosen < end) list.setAttribute("aria-activedescendant", `line${chosen}`); else list.removeAttribute("aria-activedescendant");
  };
  const overview = () => {
    const scale = devicePixelRatio || 1, width = chart.width = Math.max(1, Math.round(chart.clientWidth * scale)), height = chart.height = Math.round(64 * scale);
    const busy = new Float64Array(width), wrong = new Uint32Array(width), step = (to - from) / width, draws = chart.getContext("2d");
    for (const at of shown) {
      const begin = Math.max(0, Math.floor((began[at] - from) / step)), end = Math.min(width - 1, Math.floor((ended(at) - from) / step));
      for (let x = begin; x <= end; x++) busy[x] += Math.min(1, Math.max(0.02, took[at] / step));
      if (error[at] && begin < width) wrong[begin]++;
    }
    const most = Math.max(1, busy.reduce((a, b) => Math.max(a, b), 0)), style = getComputedStyle(document.documentElement);
    draws.fillStyle = style.getPropertyValue("--wait");
    for (let x = 0; x < width; x++) if (busy[x]) { const high = Math.max(1, busy[x] / most * (height - 8)); draws.fillRect(x, height - high, 1, high); }
    draws.fillStyle = style.getPropertyValue("--wrong");
    for (let x = 0; x < width; x++) if (wrong[x]) draws.fillRect(x, 0, Math.max(1, scale), 6 * scale);
  };
  const choose = (place) => {
    if (!shown.length) return;
    chosen = Math.max(0, Math.min(shown.length - 1, place));
    if (chosen * ROW < list.scrollTop) list.scrollTop = chosen * ROW;
    if ((chosen + 2) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (chosen + 2) * ROW - list.clientHeight;  // the headings are one more
    draw();
    tell(shown[chosen]);
  };
  const tell = async (at) => {
    const turn = ++drawn, number = Math.floor(at / MANY);
    if (!blocks.has(number)) blocks.set(number, unpack(`block${number}`));
    const [messages, note] = (await blocks.get(number))[at % MANY];
    if (turn !== drawn) return;
    about.replaceChildren();
    add(about, "h3", `Row ${row[at]}, ${names[connection[at]]}: ${ms(took[at])} ms, first byte ${first[at] < 0 ? "none" : `after ${ms(first[at])} ms`}, ${count[at]} ${count[at] === 1 ? "row" : "rows"}`);
    add(about, "p", texts[flight[at]], "flight");
    if (error[at]) add(about, "p", texts[error[at]], "wrong");
    add(about, "pre", texts[sql[at]]);
    if (code[at]) add(about, "p", `Code: ${texts[code[at]]}`);
    const table = add(add(about, "div", undefined, "wide"), "table"), head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
    table.parentNode.tabIndex = 0;
    table.parentNode.setAttribute("role", "region");
    table.parentNode.setAttribute("aria-label", "Messages");
    for (const text of ["message", "after ms", "bytes", "says"]) add(head, "th", text, text === "says" ? "sql" : "").scope = "col";
    for (const [side, name, after, bytes, says] of messages) {
      const line = add(body, "tr");
      add(line, "th", `${side ? "←" : "→"} ${name}`).scope = "row";
      add(line, "td", ms(after));
      add(line, "td", bytes);
      add(line, "td", says, "sql");
    }
    if (note) add(about, "p", note, "quiet");
  };
  const zoom = (factor) => {
    const middle = shown.length ? Math.min(to, Math.max(from, began[shown[chosen]])) : (from + to) / 2, half = (to - from) * factor / 2;
    from = Math.max(0, middle - half);
    to = Math.min(end, Math.max(from + 1, middle + half));
    select();
    choose(chosen);
  };
  const go = () => {
    const asked = /^#row(\d+)$/.exec(location.hash);
    if (!asked) return;
    find.value = "";
    all();
    select();
    const place = shown.findIndex((at) => row[at] === Number(asked[1]));
    if (place < 0) return;
    choose(place);
    list.scrollIntoView({ block: "center" });
    list.focus({ preventScroll: true });
  };

  const page = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const keys = {
    ArrowDown: () => choose(chosen + 1), ArrowUp: () => choose(chosen - 1), PageDown: () => choose(chosen + page()), PageUp: () => choose(chosen - page()),
    Home: () => choose(0), End: () => choose(shown.length - 1), "+": () => zoom(0.5), "-": () => zoom(2), 0: () => { all(); select(); choose(chosen); },
  };
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  find.addEventListener("input", select);
  $("in").addEventListener("click", () => zoom(0.5));
  $("out").addEventListener("click", () => zoom(2));
  $("all").addEventListener("click", keys[0]);
  let pressed = null;
  const time = (event) => from + (to - from) * Math.max(0, Math.min(1, event.offsetX / chart.clientWidth));
  chart.addEventListener("pointerdown", (event) => { pressed = time(event); chart.setPointerCapture(event.pointerId); });
  chart.addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const [begin, end] = [pressed, time(event)].sort((a, b) => a - b);
    pressed = null;
    if (end - begin < (to - from) / 200) return;
    [from, to] = [begin, Math.max(begin + 1, end)];
    select();
  });
  addEventListener("resize", () => { overview(); draw(); });
  addEventListener("hashchange", go);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", overview);
  all();
  select();
  go();
  document.documentElement.dataset.drawn = "yes";
})();
