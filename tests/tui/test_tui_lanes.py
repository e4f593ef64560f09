"""Both sides of a pooler on the screen: a lane for each, what belongs together, and the way across."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from rich.cells import cell_len

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.legs.joins import State, find
from pgtrace.trace.trace import Trace
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.axis import IN_POOLER
from pgtrace.tui.model.lanes import Lanes
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.panes import rowline
from tests import playbook
from tests.legs.both_sides import BOTH
from tests.traces import fully_read
from tests.tui import screens
from tests.tui.driving import Driven, opened, shown

DATA = Path(__file__).parents[1] / "data"
SIDES = DATA / "poolers" / "front.pgtrace", DATA / "poolers" / "back.pgtrace"


@asynccontextmanager
async def joined(paths: Sequence[Path], size: tuple[int, int] = (120, 40), apart: Collection[int] = ()) -> AsyncIterator[Driven]:
    """Captures whose joins are known."""
    async with opened(paths, size, apart=apart) as driven:
        view = driven.app.view
        while not (view.lanes.are_known and view.lanes.joins is not None):
            view.reading.tick(0.0)
        view.reading._next_draw_s = 0.0  # after a slow redraw the next one waits
        view.reading.tick(0.0)
        driven.main.draw()
        yield driven


@screens.begun
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("lanes", ("g", *"jjjjjj")),
        ("lanes-waterfall", ("g", *"jjjjjj", "w")),
    ],
)
async def test_what_it_looks_like(name: str, keys: tuple[str, ...], turn: int) -> None:
    async with joined(SIDES, screens.begun_with(name, turn)) as driven:
        await driven.type(*keys)
        await screens.check_sizes(name, driven)


@pytest.mark.parametrize("size", screens.SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_what_the_other_side_looks_like(size: tuple[int, int]) -> None:
    async with joined(SIDES, size) as driven:
        lines = await driven.press("g", *"jjjjjj", "r", "enter")
        assert {cell_len(line) for line in lines} == {size[0]}
        screens.check(f"lanes-crossed-{size[0]}x{size[1]}", lines)


async def test_every_width_is_filled() -> None:
    async with joined(SIDES, (60, 24)) as driven:
        for keys in (("g", "j", "j", "j", "j"), ("w",), ("X",)):
            await driven.type(*keys)
            for width in range(60, 241, 12):
                assert {cell_len(line) for line in await driven.resize(width, 24)} == {width}, (keys, width)


async def test_r_goes_across_and_R_comes_back() -> None:
    async with joined(SIDES) as driven:
        timeline, lanes = driven.areas.timeline, driven.app.view.lanes
        await driven.type("g", *"jjjjjj")
        front = timeline.place
        assert lanes.state(front, timeline.item.row) is State.JOINED  # type: ignore[union-attr]
        assert "r other side" in (await driven.lines())[-1]
        lines = await driven.press("r")
        assert timeline.place in lanes.across(front)
        assert lines[-1].lstrip().startswith("the same on the server's side")
        assert [line[0] for line in lines].count("┊") == 1
        assert "the same on the drivers' side" in (await driven.press("r"))[-1]
        assert timeline.place == front
        await driven.type("R")
        assert timeline.place in lanes.across(front)
        await driven.type("R")
        assert timeline.place == front


@pytest.mark.parametrize("apart", [False, True], ids=["both in one", "two captures"])
async def test_totals_under_a_filter_are_those_of_stats(tmp_path: Path, *, apart: bool) -> None:
    """The server's side counts only where the filter asks for a leg or a connection."""
    paths = SIDES if apart else [playbook.write(tmp_path / "both.pgtrace", BOTH)]
    with closing(fully_read(*paths)) as trace:
        joins = find(trace)
    assert joins is not None
    async with joined(paths, apart=joins.connections) as driven:
        for text in ["conn:b:1"] if apart else ["ms >= 0", "leg:a", "leg:b", "ms >= 0 leg:b", "conn:b2", "not conn:a1"]:
            await driven.type("slash", "ctrl+u", *text, "enter")
            await driven.counted()
            counted = RowCounts(parse(text).over(driven.app.view.trace))
            assert not counted.update()
            assert driven.app.view.listing.filtering.text == text
            sums = driven.app.view.counted.sums
            assert sums is not None
            assert sums.totals.as_dict() == counted.totals().as_dict(), text
            assert sums.totals.round_trips + sums.totals.setup_round_trips > 0, text


async def test_what_a_row_is_on_the_other_side(tmp_path: Path) -> None:
    async with joined([playbook.write(tmp_path / "both.pgtrace", BOTH)], (160, 40)) as driven:
        timeline = driven.areas.timeline
        column = next(column for column in timeline._columns(160) if column.name == "across")
        pairs, words = set(), []
        for index in range(timeline.count()):
            timeline.go(index)
            driven.areas.follow_cursor()
            lines = await driven.lines()
            (selected,) = (line for line in lines if line.startswith("▌"))
            pairs.add((selected.split()[2], selected[column.start : column.end].strip()))
            words.append(lines[-2])
        assert pairs >= {("a1", "⇒ b2"), ("b2", "⇐ a1"), ("a1", "swallowed"), ("b2", "added")}
        told = "\n".join(words)
        assert "⇔ answered by the pooler itself" in told
        assert "⇔ the pooler's own, before a1 row 3" in told
        assert "⇒ b2 row 5, 4.00 ms in the pooler, s renamed to PGBOUNCER_1" in told
        assert "⇐ a1 row 3, s renamed to PGBOUNCER_1" in told


async def test_time_in_the_pooler_has_its_own_sign(tmp_path: Path) -> None:
    async with joined([playbook.write(tmp_path / "both.pgtrace", BOTH)]) as driven:
        view = driven.app.view
        places = {
            view.lanes.state(place, row): place for place, row in enumerate(view.trace.rows) if not view.lanes.is_behind(row.connection)
        }
        for state, spans in ((State.JOINED, 3), (State.SWALLOWED, 1)):
            item = view.listing.item(places[state])
            parts = rowline._parts(view, item, driven.areas.timeline._near[0], split=True)
            assert (item.opened_ns, item.end_ns, IN_POOLER) in parts, state
            assert len([part for part in parts if part[2] != 3]) == spans
        assert "░" in await driven.text()


def test_two_captures_that_are_no_sides_of_a_pooler_are_lanes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        playbook.write(tmp_path / f"{name}.pgtrace", BOTH.replace("fact leg", "fact other"))
    trace = Trace.open([tmp_path / "a.pgtrace", tmp_path / "b.pgtrace"])
    trace.update()
    lanes = Lanes(trace)
    assert not lanes.are_known
    lanes.advance(time.time_ns() - trace.start_ns)
    assert lanes.are_known
    assert lanes.joins is None
    assert [lanes.lane(connection.index) for connection in trace.connections] == [one.file for one in trace.connections]
    off = Lanes(trace, joins_sides=False)
    assert off.are_known
    trace.close()


async def test_a_capture_that_grows_is_joined_as_it_grows(tmp_path: Path) -> None:
    whole = playbook.write(tmp_path / "whole.pgtrace", BOTH).read_bytes()
    growing = tmp_path / "growing.pgtrace"
    growing.write_bytes(whole[: len(whole) // 2])
    trace = Trace.open([growing])
    app = PgTraceApp(View(trace, Source(files=("growing.pgtrace",), live=True), Pen(DARK)))
    async with shown(app) as driven:
        view = app.view
        for _ in range(20):
            view.reading.tick(0.0)
        growing.write_bytes(whole)
        for turn in range(20):
            view.reading.tick(turn / 10)
        assert view.lanes.joins is not None
        assert "⇒ b2" in await driven.text()
    trace.close()


@pytest.mark.parametrize("part", [1, 3, 5, 8])
@pytest.mark.parametrize("names", [("both",), ("front", "back")])
async def test_totals_of_captures_that_grow_count_one_side(tmp_path: Path, names: tuple[str, ...], part: int) -> None:
    """However far they had been read when the joins were found, the numbers are those of the whole captures."""
    wholes = [playbook.write(tmp_path / "whole.pgtrace", BOTH).read_bytes()] if len(names) == 1 else [side.read_bytes() for side in SIDES]
    growing = [tmp_path / f"{name}.pgtrace" for name in names]
    for path, whole in zip(growing, wholes, strict=True):
        path.write_bytes(whole[: len(whole) * part // 8])
    trace = Trace.open(growing)
    view = View(trace, Source(files=names, live=True), Pen(DARK))
    for turn in range(10):
        view.reading.tick(turn / 10)
    for path, whole in zip(growing, wholes, strict=True):
        path.write_bytes(whole)
    for turn in range(10, 40):
        view.reading.tick(turn / 10)
    joins = view.lanes.joins
    if joins is None:  # most was there when they were looked for, and no end says that nothing more comes
        assert not trace.ended
        trace.close()
        return
    with closing(Trace(growing, apart=joins.connections)) as once:
        while once.update():
            pass
        assert trace.apart == once.apart
        counted = [each.totals().as_dict() | {"max_pipeline_depth": 0} for each in (trace, once)]
        assert counted[0] == counted[1]
        assert trace.drivers() == once.drivers()
        assert [(number, one.round_trips) for _, number, one in trace.file_counters()] == [
            (number, one.round_trips) for _, number, one in once.file_counters()
        ]
        assert [(one.driver, one.group.sql, one.group.executions) for one in trace.statements()] == [
            (one.driver, one.group.sql, one.group.executions) for one in once.statements()
        ]
        assert view.snapshot.totals.round_trips == once.totals().round_trips
        view.listing.choose("not error")
        while view.counted.sums is None:
            turn += 10
            view.reading.tick(turn / 10)
        assert view.counted.sums is not None
        assert view.counted.sums.totals.round_trips <= view.snapshot.totals.round_trips
    trace.close()
