"""A capture as one page: what is in it, and that a browser shows the text of statements and never obeys it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pgtrace.export import html
from tests import playbook
from tests.traces import fully_read
from tests.tui.web import chromium

CAPTURES = Path(__file__).parents[2] / "captures"
HOSTILE = "</script><script>document.title='x'</script><img src=http://example.org/x onerror=document.title='x'><!--blocks-->"


def page_of(*paths: Path) -> str:
    trace = fully_read(*paths)
    text = "".join(str(piece.content) for piece in html.export(trace))
    trace.close()
    return text


class Elements(HTMLParser):
    """Its elements, and the texts of its scripts and styles by id or name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.texts: dict[str, str] = {}
        self.policy = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        self.names.add(tag)
        assert "style" not in about
        assert not any(name.startswith("on") for name in about)
        if about.get("http-equiv"):
            self.policy = about.get("content") or ""
        if tag in ("script", "style"):
            self._inside = about.get("id") or tag
            assert self._inside not in self.texts

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def unpacked(self, name: str) -> Any:
        return json.loads(gzip.decompress(base64.b64decode(self.texts[name])))


def test_every_round_trip_and_its_messages() -> None:
    paths = sorted((CAPTURES / "asyncpg").glob("*.pgtrace"))
    trace = fully_read(*paths)
    totals = trace.totals()
    trace.close()
    found = Elements(page_of(*paths))
    columns = found.unpacked("columns")
    messages = found.unpacked("block0")
    assert len(columns["row"]) == len(messages) == totals.round_trips + totals.setup_round_trips
    assert {len(columns[name]) for name in html._COLUMNS} == {len(messages)}
    assert sum(map(bool, columns["error"])) >= 2
    assert all(shown for shown, _ in messages)
    assert all(max(after for _, _, after, _, _ in shown) <= took for (shown, _), took in zip(messages, columns["took"], strict=True))
    assert max(shown[-1][2] for shown, _ in messages) > 1000
    began = sum(columns["began"])
    assert 0 < began <= columns["end"]


def test_a_large_page_says_what_it_is_doing() -> None:
    trace = fully_read(*sorted((CAPTURES / "asyncpg").glob("*.pgtrace")))
    pieces = list(html.export(trace))
    trace.close()
    assert [piece.done for piece in pieces] == sorted(piece.done for piece in pieces)
    assert pieces[-1].done == 1.0
    assert list(dict.fromkeys(piece.stage for piece in pieces)) == ["building the page", "adding messages", "exporting"]
    assert not pieces[0].content


def test_columns_colours_and_letters_are_explained() -> None:
    text = page_of(CAPTURES / "asyncpg/ten_queries.pgtrace", CAPTURES / "sqlalchemy+psycopg/pool.pgtrace")
    for words in (*(f">{head}<" for head, _ in html._HEADS), "<code>P</code> Parse", "<code>Z</code> ReadyForQuery"):
        assert words in text, words
    for kind in ("wait", "setup", "wrong"):
        assert f'class="key {kind}"' in text
    assert "a: ten_queries.pgtrace, b: pool.pgtrace" in text
    assert "<h1>pgtrace: 2 captures</h1>" in text


def test_the_policy_is_its_own_style_and_script() -> None:
    found = Elements(page_of(CAPTURES / "psycopg" / "failure.pgtrace"))
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(found.texts[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in found.policy
    assert found.policy.startswith("default-src 'none'; ")
    for word in ("innerHTML", "insertAdjacent", "document.write", "eval(", "fetch("):
        assert word not in found.texts["script"]


def test_beyond_the_most_are_the_failed_and_the_longest(tmp_path: Path) -> None:
    path = tmp_path / "many.pgtrace"
    ok, failed = "B CommandComplete SELECT 0 | ReadyForQuery I\n", "B ErrorResponse 42601 wrong | ReadyForQuery I\n"
    playbook.write(path, "".join(f"F Query select {place}\n{failed if place == 3 else ok}" for place in range(8)) + "end")
    trace = fully_read(path)
    everything, none = html.chosen(trace)
    some, left_out = html.chosen(trace, most=3)
    assert (none, left_out, len(some)) == (0, len(everything) - 3, 3)
    assert any(trace.rows[place].shape.errors for place in some)
    assert some == sorted(some)
    trace.close()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A page with a statement and an error that would like to be more than text."""
    path = tmp_path / "hostile.pgtrace"
    once = f"F Query select '{HOSTILE}'\nB ErrorResponse 42601 {HOSTILE} | ReadyForQuery I\n"
    playbook.write(path, once * 30 + "end")
    page = tmp_path / "page.html"
    page.write_text(page_of(path))
    return page


def test_hostile_text_is_no_element(hostile: Path) -> None:
    found = Elements(hostile.read_text())
    assert "img" not in found.names
    assert {"columns", "block0", "script"} <= found.texts.keys()
    assert HOSTILE in "".join(found.unpacked("columns")["texts"])


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium")
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
async def test_in_a_browser(hostile: Path, width: int, theme: str, tmp_path: Path) -> None:
    """By keys alone; nothing is asked for, and nothing is wider than the window."""
    async with chromium.page(tmp_path / "browser", width, 800) as page:
        await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        await page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        await page.call("Page.navigate", url=hostile.as_uri())
        await page.wait_for("document.documentElement.dataset.drawn === 'yes'")
        assert await page.value("document.documentElement.scrollWidth") <= width
        await page.value("document.getElementById('list').focus()")
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="End")
        await page.wait_for("document.querySelectorAll('#about tbody tr').length === 3")
        assert HOSTILE in await page.value("document.getElementById('about').textContent")
        assert await page.value("document.getElementById('list').getAttribute('aria-rowcount')") == str(
            2 + int((await page.value("document.querySelector('.chosen').id")).removeprefix("line"))
        )
        assert (await page.value("document.title")).startswith("pgtrace: ")
        assert await page.value("document.images.length") == 0
        assert set(page.asked) <= {hostile.as_uri()}


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium")
async def test_long_idle_times_are_drawn_short(tmp_path: Path) -> None:
    """Two captures of different days: each has a share of the chart, and the times told are the real ones."""
    path = tmp_path / "two.html"
    path.write_text(page_of(CAPTURES / "asyncpg/ten_queries.pgtrace", CAPTURES / "sqlalchemy+psycopg/pool.pgtrace"), encoding="utf-8")
    trace = fully_read(CAPTURES / "asyncpg/ten_queries.pgtrace", CAPTURES / "sqlalchemy+psycopg/pool.pgtrace")
    last_s = (
        max(row.opened_ns + (row.duration_ns or 0) for row in (trace.rows[place] for place in range(len(trace.rows))) if row.is_round_trip)
        / 1e9
    )
    trace.close()
    assert last_s > 3600
    async with chromium.page(tmp_path / "browser", 1280, 800) as page:
        await page.call("Page.navigate", url=path.as_uri())
        await page.wait_for("document.documentElement.dataset.drawn === 'yes'")
        told = await page.value("document.getElementById('told').textContent")
        assert told.endswith(f" to {last_s / 3600:.1f} h; 1 idle period is shortened")
        drawn = await page.value("[...document.querySelectorAll('.track i')].map((bar) => parseFloat(bar.style.left))")
        assert drawn == sorted(drawn)
        assert drawn[0] < 5
        assert max(after - before for before, after in itertools.pairwise(drawn)) < 10
