"""The filter line: the list narrows while one types, keys and panes write their filter there, what
is wrong changes nothing, and esc goes back."""

from __future__ import annotations

import asyncio
import random

import pytest
from rich.cells import cell_len

from pgtrace.ask.filter import messages, parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.ask.filter.selection import Decided
from pgtrace.trace import rows as rows_module
from pgtrace.trace import stretches as stretches_module
from pgtrace.trace.rows import Columns
from pgtrace.tui.model import listing as listing_module
from pgtrace.tui.model.theme import MONO
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.statements import Statements
from pgtrace.tui.panes.timeline import Timeline
from tests.tui import screens
from tests.tui.driving import Drive, Driven
from tests.wire_recording import Recording, checkout, done, query, ready


def tabs(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith(" 1 Time")).rstrip()


def drawn(driven: Driven, role: str) -> str:
    style = driven.app.view.pen.on("background")[role]
    return "".join(segment.text for strip in driven.app.screen._compositor.render_strips() for segment in strip if segment.style == style)


async def typed(driven: Driven, text: str, *, rest: bool = True) -> list[str]:
    """Type a text; with `rest` the keys have rested afterwards."""
    names = {" ": "space", "/": "slash", "\\": "backslash"}
    lines = await driven.press(*(names.get(one, one) for one in text))
    if rest:
        driven.main.narrowing.apply_typed()
        lines = await driven.counted()
    return lines


async def typed_at_once(driven: Driven, text: str) -> list[str]:
    """Paste a text: however slow the machine is, the keys never rest in the middle of it."""
    driven.main.pasted(text)
    return await typed(driven, "")


def short_stretches(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    for module in (rows_module, stretches_module):
        monkeypatch.setattr(module, "STRETCH", length)


def shown(driven: Driven) -> list[int]:
    listing = driven.app.view.listing
    return [place for index in range(len(listing)) for place in listing[index].places]


async def test_the_list_narrows_when_the_keys_rest(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        rows = len(driven.app.view.trace.rows)
        await typed(driven, "/conn:2", rest=False)
        assert driven.areas.footer.display is False
        async with asyncio.timeout(60):
            while driven.app.view.listing.filtering.everything:
                await asyncio.sleep(0.01)
        lines = await driven.lines()
        matching = driven.app.view.listing.matching
        assert 0 < matching < rows
        assert tabs(lines).endswith(f"/ conn:2  {matching} of {rows}")
        assert {driven.app.view.trace.rows[place].connection for place in shown(driven)} == {1}
        assert lines[-1].startswith(" / conn:2 ")


async def test_enter_keeps_and_escape_goes_back_one_step(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        before = await driven.press("j", "j", "j", "j")
        everything = shown(driven)
        await typed(driven, "/conn:1")
        await driven.type("enter")
        first = shown(driven)
        assert first != everything
        await typed(driven, "/ error")
        assert shown(driven) != first
        await driven.type("escape")
        assert shown(driven) == first
        assert driven.app.view.listing.filtering.text == "conn:1"
        await typed(driven, "/ tx")
        await driven.type("enter")
        assert driven.app.view.listing.filtering.text == "conn:1 tx"
        await driven.type("escape")
        assert shown(driven) == first
        assert await driven.press("escape") == before
        await typed(driven, "/users", rest=False)
        await driven.type("enter", "escape")
        assert await driven.lines() == before


async def test_bare_words_search_the_sql(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await typed(driven, "/users", rest=False)
        await driven.type("enter")
        rows = driven.app.view.trace.rows
        assert shown(driven)
        assert all("users" in rows[place].label.sql for place in shown(driven))


@pytest.mark.parametrize("size", screens.SIZES, ids=lambda size: "{}x{}".format(*size))
async def test_what_it_looks_like_with_completions(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(shop, size) as driven:
        screens.check(f"filter-{size[0]}x{size[1]}", await typed(driven, "/conn:2 d"))


@pytest.mark.parametrize("size", screens.SIZES, ids=lambda size: "{}x{}".format(*size))
async def test_what_it_looks_like_when_it_is_wrong(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(shop, size) as driven:
        await driven.type("slash")
        screens.check(f"filter-wrong-{size[0]}x{size[1]}", await typed_at_once(driven, "conn:2 and dept > 1"))


async def test_a_wrong_filter_keeps_the_last_good_list(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await typed(driven, "/conn:2")
        good = shown(driven)
        lines = await typed_at_once(driven, " and dept > 1")
        assert shown(driven) == good
        assert drawn(driven, "wrong") == "dept"
        at = lines[-1].index("dept")
        assert lines[-2][at:].startswith("unknown filter word 'dept'; did you mean 'depth'?")
        await driven.type("enter")
        assert driven.areas.prompt.asking is not None
        assert "conn:2" in tabs(await driven.lines())
        await driven.type("escape")
        assert driven.app.view.listing.filtering.everything


async def test_what_is_still_being_typed_is_not_called_wrong(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await typed(driven, "/driver:")
        assert drawn(driven, "wrong") == ""
        assert any(line.startswith("   asyncpg ") for line in lines)
        await driven.type("enter")
        assert "needs a value" in (await driven.lines())[-2]


async def test_tab_completes_words_then_values_that_occur(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        view = driven.app.view
        lines = await typed(driven, "/dr")
        assert lines[-5].startswith("   driver:       ")
        assert {"asyncpg", "psycopg"} <= set(lines[-5].split())
        lines = await driven.press("tab")
        assert lines[-1].startswith(" / driver: ")
        choices = driven.areas.prompt._shown
        numbers = {choice.text: int(choice.aside) for choice in choices}
        await driven.type("tab", "enter")
        first = choices[0].text
        assert view.listing.filtering.text == f"driver:{first}"
        trips = [place for place in shown(driven) if view.trace.rows[place].is_round_trip and not view.trace.rows[place].is_open]
        assert len(trips) == numbers[first]


async def test_history_by_up_and_down(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        for text in ("error", "tx", "error"):
            await driven.type("slash", "ctrl+u")
            await typed(driven, text)
            await driven.type("enter")
        await driven.type("slash", "up")
        assert (await driven.lines())[-1].startswith(" / error ")
        assert (await driven.press("up"))[-1].startswith(" / tx ")
        assert (await driven.press("up"))[-1].startswith(" / tx ")
        await driven.type("enter")
        assert driven.app.view.listing.filtering.text == "tx"


async def test_c_and_C_write_their_filter_and_take_it_back(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        text = driven.app.view.listing.filtering
        await driven.type("n", "c")
        assert text.text == "conn:2"
        assert (await driven.press("slash"))[-1].startswith(" / conn:2 ")
        await typed(driven, " tx")
        await driven.type("enter")
        assert text.text == "conn:2 tx"
        await driven.type("c")
        assert text.text == "conn:2"
        await driven.type("c")
        assert text.text == "conn:2 tx"
        await driven.type("C")
        assert text.text.startswith("driver:")
        await driven.type("C", "escape", "escape")
        assert text.everything


async def test_dimmed_rows_stay_and_n_walks_the_matches(shop: Recording, drive: Drive) -> None:
    async with drive(shop, palette=MONO) as driven:
        view = driven.app.view
        everything = shown(driven)
        assert "does nothing here" in (await driven.press("\\"))[-1]
        await typed(driven, "/users", rest=False)
        await driven.type("enter")
        matching = shown(driven)
        lines = await driven.press("backslash", "g")
        assert shown(driven) == everything
        assert "n next match" in lines[-1]
        assert sum(line.startswith("/") for line in lines) == len(matching)
        assert tabs(lines).endswith(f"{len(matching)} of {len(everything)}")
        walked = []
        while "no further match" not in (await driven.press("n"))[-1]:
            walked.append(driven.areas.timeline.place)
        assert walked == matching
        await driven.type("N")
        assert driven.areas.timeline.place == matching[-2]
        await driven.type("backslash")
        assert shown(driven) == matching
        assert view.trace.rows[driven.areas.timeline.place].label.sql.count("users")


async def test_nothing_matches_and_says_so(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await typed(driven, "/ms > 100000")
        assert any(line.strip() == "no round trip matches; esc shows all" for line in lines)
        assert {cell_len(line) for line in lines} == {120}
        lines = await driven.press("enter")
        assert "0 of " in tabs(lines)
        await driven.type("c", "y", "n", "x", "X", "enter")
        await driven.type("escape")
        assert driven.app.view.listing.filtering.everything


async def test_a_pane_says_counting_until_it_has_been_gathered(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("2")
        view, pane = driven.app.view, driven.areas.panes["statements"]
        assert isinstance(pane, Statements)
        view.listing.choose("sql ~ FROM")
        driven.areas.gather_again()
        pane.items = []
        assert pane._nothing == "counting …"
        while view.selected is None:
            view.reading.sync()
            view.counted.advance(0.0)
        assert pane._nothing == "counting …"
        while not pane.advance(100.0):
            pass
        assert pane.items
        assert pane._nothing == "nothing matches the filter; esc shows all"


async def test_a_click_on_the_filter_edits_it(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        lines = await driven.press("n", "c")
        row = next(number for number, line in enumerate(lines) if line.startswith(" 1 Time"))
        await driven.pilot.click(offset=(lines[row].index("/ conn:2") + 3, row))
        assert (await driven.lines())[-1].startswith(" / conn:2 ")


async def test_rows_come_and_go_as_they_complete(recording: Recording, drive: Drive) -> None:
    """A round trip matches as far as it is known; complete, it is asked again."""
    checkout(recording)
    recording.flush()
    async with drive(recording, live=True) as driven:
        await typed(driven, "/rows:0 conn:1")
        await driven.type("enter")
        before = shown(driven)
        recording.send(1, query("SELECT 1"))
        await driven.arrived(recording)
        assert len(shown(driven)) == len(before) + 1
        recording.answer(1, b"T\0\0\0\x06\0\0" + b"D\0\0\0\x06\0\0" + done("SELECT 1") + ready())
        await driven.arrived(recording)
        assert shown(driven) == before


def test_a_row_is_read_a_few_messages_at_a_time(recording: Recording, view_of: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline of many statements: no slice reads more of it than it may, and the answer is that of `show`."""
    connection = recording.connect("asyncpg")
    pipeline = b"".join(
        b"P" + (len(text) + 8).to_bytes(4, "big") + b"\0" + text + b"\0\0\0"
        for text in (f"SELECT {number} FROM t{number}".encode() for number in range(1500))
    )
    recording.trip(connection, pipeline + b"S\0\0\0\4", b"1\0\0\0\4" * 1500 + ready())
    recording.flush()
    view: View = view_of(recording)  # type: ignore[operator]
    view.trace.update()
    read = [0]
    reading = messages.reading

    def counted(trace: object, place: int) -> object:
        for told in reading(trace, place):  # type: ignore[arg-type]
            read[0] += 1
            yield told

    monkeypatch.setattr(messages, "reading", counted)
    view.listing.choose("t1499")
    slices = 0
    while view.listing.behind:
        before = read[0]
        view.listing.sync(0.0)
        assert read[0] - before <= 256
        slices += 1
    assert slices > 8
    assert view.listing.matching == 1


@pytest.mark.parametrize(("row_s", "most"), [(0.001, 32), (0.000_000_1, 4096)])
def test_many_rows_never_block_a_tick(
    recording: Recording, view_of: object, monkeypatch: pytest.MonkeyPatch, row_s: float, most: int
) -> None:
    """Counted, not timed: with no time at all a tick decides one slice of rows, of many where a row
    is decided quickly, of a few where it takes long."""
    connection = recording.connect("asyncpg")
    for number in range(12_000):
        recording.trip(connection, query(f"SELECT {number % 100}"), done("SELECT 1") + ready())
    recording.flush()
    view: View = view_of(recording)  # type: ignore[operator]
    while view.trace.update():
        pass
    view.listing.sync()
    clock_s = [0.0]
    decided: list[int] = []
    decide = view.listing.filtering.decide

    def timed(rows: Columns) -> Decided:
        decided.append(len(rows))
        clock_s[0] += len(rows) * row_s
        return decide(rows)

    monkeypatch.setattr(view.listing.filtering, "decide", timed)
    monkeypatch.setattr(listing_module.time, "perf_counter", lambda: clock_s[0])
    view.listing.choose('sql:"SELECT 7" or stmt:x')
    for tick in range(1, 101):
        if view.listing.behind:
            view.listing.sync(-1.0)
            assert len(decided) == tick
    while view.listing.behind:
        view.listing.sync(-1.0)
    assert max(decided) == most
    assert sum(decided) == len(view.trace.rows)
    assert view.listing.matching == 1_320


async def test_an_expression_that_takes_too_long_is_given_up_and_said(recording: Recording, drive: Drive) -> None:
    connection = recording.connect("asyncpg")
    text = "".join(random.Random(1).choices("ab", k=12_000))
    recording.trip(connection, query(f"SELECT '{text}'"), done("SELECT 1") + ready())
    recording.flush()
    async with drive(recording) as driven:
        everything = shown(driven)
        await typed(driven, '/sql ~ "(a|b)*a(a|b){12}c"', rest=False)
        lines = await driven.press("enter")
        driven.app.view.reading.sync()
        lines = await driven.lines()
        assert "the filter is off: this expression takes too long" in lines[-1]
        driven.areas.timeline.post_message(Timeline.Moved())  # of the filter that is off by now, when a tick came first
        lines = await driven.lines()
        assert "the filter is off: this expression takes too long" in lines[-1]
        assert shown(driven) == everything


@pytest.mark.parametrize("size", screens.SIZES, ids=lambda size: "{}x{}".format(*size))
async def test_totals_say_that_they_are_filtered_and_are_those_of_stats(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(shop, size) as driven:
        view = driven.app.view
        before = await driven.lines()
        await typed(driven, "/conn:2", rest=False)
        await driven.type("enter")
        while view.counted.sums is None:
            view.counted.advance(0.0)
        counted = CountedTrace(parse("conn:2").over(view.trace))
        while counted.update():
            pass
        expected = counted.totals()
        drivers = {driver: (number, counters) for driver, number, counters in counted.drivers()}
        counted.close()
        assert view.counted.sums[:3] == (1, expected, drivers)
        lines = await driven.lines()
        line = next(line for line in lines if "filtered" in line)
        assert "counting" not in line
        assert str(expected.round_trips) in line.split()
        lines = await driven.press("2")
        assert any("filtered" in line for line in lines[:4])
        assert "/ conn:2  " in tabs(lines)
        await driven.type("1", "escape")
        assert (await driven.lines())[1:6] == before[1:6]


def test_adding_up_takes_slices_and_goes_on_with_what_comes(shop: Recording, view_of: object, monkeypatch: pytest.MonkeyPatch) -> None:
    short_stretches(monkeypatch, 256)
    for _ in range(2000):
        shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view: View = view_of(shop, live=True)  # type: ignore[operator]
    while view.trace.update():
        pass
    view.reading.sync()
    view.listing.choose("conn:1")
    while view.listing.behind:
        view.reading.sync()
    slices = 0
    while not view.counted.advance(0.0, 0.0):
        slices += 1
    assert slices > 3
    assert view.counted.sums is not None
    assert view.selected is None  # what the panes need comes after the counters
    while view.selected is None:
        view.counted.advance(0.0)
    before = view.counted.sums.totals.round_trips
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    while view.trace.update():
        pass
    view.reading.sync()
    assert not view.counted.advance(0.1)
    assert not view.counted.is_behind  # these are of a moment ago
    now_s = 1000.0
    view.counted.advance(now_s, 0.0)
    assert view.counted.is_behind
    while view.counted.is_behind:
        view.counted.advance(now_s)
    assert view.counted.sums.totals.round_trips == before + 1
    view.listing.choose("conn:2")
    assert view.counted.sums is None  # those of another filter are nobody's
    assert view.counted.advance(now_s)
    view.listing.choose("")
    assert not view.counted.advance(now_s)
    assert view.counted.sums is None


def test_a_filter_by_words_decides_what_differs_and_not_each_row(shop: Recording, view_of: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows match, and their sums are the same, as when each is decided."""
    length, trips = 64, 2000
    short_stretches(monkeypatch, length)
    other = shop.connect("psycopg")
    for number in range(trips):
        sql = "SELECT 2" if number > trips // 2 else f"SELECT {number % 4}"
        shop.trip(1 if number % 3 else other, query(sql), done("SELECT 1") + ready())
    shop.flush()
    view: View = view_of(shop, live=True)  # type: ignore[operator]
    while view.trace.update():
        pass
    view.reading.sync()
    listing, decided = view.listing, []
    decide = listing.filtering.decide

    def counting(rows: Columns) -> Decided:
        decided.append(len(rows))
        return decide(rows)

    monkeypatch.setattr(listing.filtering, "decide", counting)
    # the last one asks for a number, so each row has to say
    for text, is_by_key in (("sql ~ 2$", True), ("not sql ~ 2$", True), ("type:Query", True), ("user:app", True), ("ms > 0.1", False)):
        decided.clear()
        listing.choose(text)
        while listing.behind or view.counted.sums is None:
            view.reading.sync()
            view.counted.advance(0.0)
        assert (sum(decided) < trips * 0.75) == is_by_key, text
        selection = parse(text).over(view.trace)
        assert listing.all_places().tolist() == list(selection.places())
        plain = RowCounts(selection)
        while plain.update():
            pass
        assert view.counted.sums.totals == plain.totals()
        assert view.counted.sums.by_connection == plain.by_connection()


async def test_a_pane_leads_to_a_match_though_the_others_are_listed_too(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("n", "c", "\\", "escape", "g")
        await driven.counted()
        await driven.type("3", "G", "enter")
        listing = driven.app.view.listing
        assert listing.dims
        assert driven.areas.timeline.cursor > 0
        assert driven.areas.timeline.item is not None
        assert listing.matches(driven.areas.timeline.item)


def test_while_paused_a_filter_looks_at_all_rows_there_were(recording: Recording, view_of: object) -> None:
    """In as many ticks as it takes, and its sums are added up."""
    connection = recording.connect("asyncpg")
    for number in range(300):
        recording.trip(connection, query(f"SELECT {number % 10}"), done("SELECT 1") + ready())
    recording.flush()
    view: View = view_of(recording, live=True)  # type: ignore[operator]
    while view.trace.update():
        pass
    view.reading.sync()
    view.reading.pause()
    view.listing.choose("'SELECT 7'")
    view.listing.sync(-1.0)
    assert view.listing.behind
    recording.trip(connection, query("SELECT 7"), done("SELECT 1") + ready())
    recording.flush()
    for tick in range(20):
        view.reading.tick(float(tick))
    assert view.listing.matching == 30
    assert view.counted.sums is not None
    assert view.counted.sums.totals.round_trips == 30
    view.reading.pause()
    view.reading.tick(30.0)
    assert view.listing.matching == 31
