"""Two captures compared on the screen: the same work in two columns, and the way from difference to difference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from rich.cells import cell_len

from pgtrace.compare.behaviour import ROUND_TRIP
from pgtrace.compare.columns import Half
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.compared import Compared, place
from tests.tui import screens
from tests.tui.driving import Driven, opened

ROOT = Path(__file__).parents[2]
POOLER = ROOT / "tests" / "data" / "poolers" / "front.pgtrace", ROOT / "tests" / "data" / "poolers" / "back.pgtrace"


def recorded(driver: str, scenario: str) -> Path:
    return ROOT / "captures" / driver / f"{scenario}.pgtrace"


@pytest.fixture
def of_drivers(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """The captures of a scenario by two drivers, each named after its driver."""

    def copied(scenario: str) -> tuple[Path, Path]:
        paths = tmp_path / "asyncpg.pgtrace", tmp_path / "psycopg.pgtrace"
        for path in paths:
            path.write_bytes(recorded(path.stem, scenario).read_bytes())
        return paths

    return copied


Copied = Callable[[str], tuple[Path, Path]]


@asynccontextmanager
async def compared(paths: Sequence[Path], size: tuple[int, int] = (120, 40)) -> AsyncIterator[Driven]:
    """Two captures whose comparison is on the screen."""
    async with opened(paths, size) as driven:
        await until_compared(driven, None)
        yield driven


async def until_compared(driven: Driven, before: Compared | None) -> None:
    """Until a comparison is there that is another than the one before."""
    await driven.lines()
    while driven.areas.differences.compared is before:
        driven.areas.advance(0.0)
        await asyncio.sleep(0.01)
        await driven.settle()


@screens.begun
@pytest.mark.parametrize(
    ("name", "scenario", "keys"),
    [
        ("differences", "failure", ("n", "n")),
        ("differences-repeats", "ten_queries", ("n",)),
        ("differences-messages", "failure", ("n", "enter")),
    ],
)
async def test_what_it_looks_like(of_drivers: Copied, name: str, scenario: str, keys: tuple[str, ...], turn: int) -> None:
    async with compared(of_drivers(scenario), screens.begun_with(name, turn)) as driven:
        await driven.type(*keys)
        await screens.check_sizes(name, driven)


async def test_every_width_is_filled(of_drivers: Copied) -> None:
    async with compared(of_drivers("ten_queries"), (60, 24)) as driven:
        for keys in (("g",), ("n",), ("enter",), ("escape", "l")):
            await driven.type(*keys)
            for width in range(60, 241, 30):
                assert {cell_len(line) for line in await driven.resize(width, 24)} == {width}, (keys, width)


async def test_n_and_N_walk_the_differences(of_drivers: Copied) -> None:
    async with compared(of_drivers("failure")) as driven:
        pane = driven.areas.differences
        assert driven.areas.pane == "differences"
        assert pane.compared is not None
        lines = await driven.lines()
        assert f"7 Diff ({len(pane.compared.differences)})" in "\n".join(lines)
        assert "n next difference" in lines[-1]
        visited = []
        for _ in pane.compared.differences:
            await driven.type("n")
            visited.append(pane.cursor)
        assert visited == [len(pane._sentences) + number for number in pane.compared.differences]
        assert "no further difference" in (await driven.press("n"))[-1]
        assert pane.cursor == visited[-1]
        await driven.type("N")
        assert pane.cursor == visited[-2]


async def test_enter_shows_both_or_the_one_there_is_and_esc_comes_back(of_drivers: Copied) -> None:
    async with compared(of_drivers("failure")) as driven:
        lines = await driven.press("n", "enter")
        assert any("a:1 asyncpg  beside" in line and "b:1 psycopg" in line for line in lines)
        assert driven.app.focused is driven.areas.sheet
        await driven.type("escape")
        assert not driven.areas.sheet.display
        assert driven.app.focused is driven.areas.differences
        await driven.type("n")
        cursor = driven.areas.differences.cursor
        await driven.type("enter")
        assert driven.areas.pane == "timeline"
        assert driven.areas.timeline.item is not None
        assert driven.areas.timeline.item.row.shape.flight == "BES → 2CZ"
        await driven.type("escape")
        assert (driven.areas.pane, driven.areas.differences.cursor) == ("differences", cursor)


async def narrowed(driven: Driven, text: str) -> list[str]:
    """The screen when the comparison is that of another filter."""
    before = driven.areas.differences.compared
    driven.main.narrowing.choose(text)
    await until_compared(driven, before)
    return await driven.lines()


async def test_the_filter_narrows_both_columns_and_is_taken_back(of_drivers: Copied) -> None:
    async with compared(of_drivers("failure")) as driven:
        pane, before = driven.areas.differences, driven.areas.differences.compared
        assert before is not None
        whole = await driven.lines()
        assert "/ filter" in whole[-1]
        await driven.type("/", *"error")
        driven.main.narrowing.apply_typed()
        await driven.type("enter")
        while pane.position[0] == "comparing …":
            await asyncio.sleep(0.01)
        lines = await driven.lines()
        assert driven.areas.pane == "differences"
        assert pane.compared is not None
        assert any("/ error" in line for line in lines)
        halves = [half for line in pane.compared.lines for half in (line.first, line.second) if isinstance(half, Half)]
        assert halves
        assert all(half.step.sqlstate for half in halves)
        assert "esc back" in lines[-1]
        narrow = pane.compared
        await driven.type("escape")
        await until_compared(driven, narrow)
        assert [line.lstrip("▌ ") for line in await driven.lines()][:-1] == [line.lstrip("▌ ") for line in whole][:-1]


async def test_a_filter_that_selects_nothing_says_so(of_drivers: Copied) -> None:
    async with compared(of_drivers("failure")) as driven:
        assert any("the filter selects no round trip of either; esc shows all" in line for line in await narrowed(driven, "rows > 99"))
        assert driven.areas.differences.differences == 0


@pytest.mark.parametrize("scenario", ["failure", "executemany", "ten_queries"])
async def test_what_is_compared_is_what_the_timeline_shows(of_drivers: Copied, scenario: str) -> None:
    async with compared(of_drivers(scenario)) as driven:
        for text in ("select", "conn:a:1", "not error", "ms >= 0", "type:Describe"):
            await narrowed(driven, text)
            pane, rows = driven.areas.differences, driven.app.view.trace.rows
            assert pane.compared is not None
            shown = driven.app.view.listing.all_places()
            trips = [place for place in shown if rows[place].shape.kind <= RowKind.SETUP]
            sides = pane.compared.comparison.first, pane.compared.comparison.second
            files = [driven.app.view.trace.connections[rows[place].connection].file for place in trips]
            assert [sum(side.steps.values()) for side in sides] == [files.count(0), files.count(1)], text
            for line in pane.compared.lines:
                for file, half in enumerate((line.first, line.second)):
                    if isinstance(half, Half):
                        at = place(driven.app.view.trace, file, half)
                        assert at in trips, text
                        if half.step.kind == ROUND_TRIP:
                            assert rows[at].shape.flight.replace("A", "") == half.step.flight.replace("A", "")


async def test_keys_without_use_say_so(of_drivers: Copied) -> None:
    async with opened(of_drivers("failure")[:1]) as driven:
        assert "7 does nothing here" in (await driven.press("7"))[-1]
        assert "7 Diff" not in await driven.text()


async def test_two_sides_of_a_pooler_are_joined_instead() -> None:
    async with opened(POOLER) as driven:
        while not driven.app.view.lanes.are_known:
            driven.app.view.reading.tick(0.0)
        assert not driven.app.view.compares
        assert "7 Diff" not in await driven.text()
        assert driven.areas.pane == "timeline"


async def test_a_key_before_it_is_known_keeps_the_pane(of_drivers: Copied) -> None:
    async with opened(of_drivers("failure")) as driven:
        driven.areas._compares = False
        await driven.type("2")
        assert driven.areas.pane == "statements"


async def test_captures_that_have_grown_are_compared_again(tmp_path: Path) -> None:
    paths = tmp_path / "a.pgtrace", tmp_path / "b.pgtrace"
    contents = [recorded(driver, "failure").read_bytes() for driver in ("asyncpg", "psycopg")]
    for path, content, some in zip(paths, contents, (1.0, 0.6), strict=True):
        path.write_bytes(content[: int(len(content) * some)])
    async with compared(paths) as driven:
        pane = driven.areas.differences
        first = pane.compared
        paths[1].write_bytes(contents[1])
        driven.app.view.reading.tick(0.0)
        pane._next_s = 0.0
        await until_compared(driven, first)
        assert pane.compared is not None
        assert first is not None
        assert len(pane.compared.lines) != len(first.lines)


SHARED = sorted(path.stem for path in (ROOT / "captures" / "asyncpg").glob("*.pgtrace") if recorded("psycopg", path.stem).exists())


@pytest.mark.parametrize("scenario", SHARED)
def test_each_step_leads_to_its_row(scenario: str) -> None:
    paths = str(recorded("asyncpg", scenario)), str(recorded("psycopg", scenario))
    found = Compared.read(paths)
    with closing(Trace.open(paths)) as trace:
        trace.update()
        looked = 0
        for line in found.lines:
            for file, half in enumerate((line.first, line.second)):
                if isinstance(half, Half) and half.step.kind == ROUND_TRIP:
                    at = place(trace, file, half)
                    assert at is not None
                    assert trace.rows[at].shape.flight.replace("A", "") == half.step.flight.replace("A", "")
                    looked += 1
        assert looked or scenario == "connect"
