"""A driver is told apart by its variants, and they add up to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.capture.record import LABEL, Setting
from pgtrace.trace.trace import Trace
from pgtrace.tui.model import variants
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View
from tests.tui.driving import Drive
from tests.wire_recording import PARSED, SYNC, Recording, done, parse, query, ready

WAYS = ("asyncpg", "psycopg text", "psycopg pipeline")


def work(recording: Recording, driver: str, round_trips: int) -> int:
    """psycopg is known by the name of its statement."""
    number = recording.connect(driver)
    name = "_pg3_0" if driver == "psycopg" else "__asyncpg_stmt_1__"
    recording.trip(number, parse(name, "SELECT 1") + SYNC, PARSED + ready())
    for _ in range(round_trips - 1):
        recording.trip(number, query("SELECT 1"), done("SELECT 1") + ready())
    return number


@pytest.fixture
def demo(recording: Recording) -> Recording:
    """Two rounds of three variants, as the demo has them."""
    for _ in range(2):
        for number, name in enumerate(WAYS, 2):
            recording.mark(name)
            recording.close(work(recording, name.split()[0], number))
            recording.mark(name, begin=False)
    recording.flush()
    return recording


def told(view: View) -> list[tuple[str, str, int, int]]:
    while view.listing.behind or (view.is_filtered and view.counted.sums is None) or not view.reading.loaded:
        view.reading.tick(0.0)
    return [(one.driver, one.short, one.connections, one.counters.round_trips) for one in view.variants]


def test_marks_named_after_their_driver_are_variants(demo: Recording, view_of: Callable[..., View]) -> None:
    view = view_of(demo)
    assert told(view) == [("psycopg", "text", 2, 6), ("psycopg", "pipeline", 2, 8), ("asyncpg", "", 2, 4)]
    for driver in view.drivers:
        own = [one for one in view.variants if one.driver == driver.driver]
        assert sum(one.connections for one in own) == driver.connections
        for key, value in driver.counters.as_dict().items():
            if isinstance(value, int) and key != "max_pipeline_depth":
                assert sum(one.counters.as_dict()[key] for one in own) == value, key


def test_it_grows_with_the_capture(demo: Recording, view_of: Callable[..., View]) -> None:
    """An open connection counts as far as it has come; one that no mark is about is the rest."""
    view = view_of(demo, live=True)
    told(view)
    demo.mark("psycopg text")
    opened = work(demo, "psycopg", 5)
    demo.flush()
    view.reading.tick(1.0)
    assert told(view)[0] == ("psycopg", "text", 3, 11)
    demo.trip(opened, query("SELECT 1"), done("SELECT 1") + ready())
    demo.close(opened)
    demo.mark("psycopg text", begin=False)
    demo.mark("test_of_psycopg")
    demo.close(work(demo, "psycopg", 7))
    demo.flush()
    view.reading.tick(2.0)
    assert told(view) == [("psycopg", "text", 3, 12), ("psycopg", "pipeline", 2, 8), ("psycopg", "", 1, 7), ("asyncpg", "", 2, 4)]


def test_a_filter_selects_a_variant(demo: Recording, view_of: Callable[..., View]) -> None:
    view = view_of(demo)
    told(view)
    one = view.variants[1]
    assert one.filter == 'driver:psycopg mark:"psycopg pipeline"'
    view.listing.choose(one.filter)
    assert [named[1:] for named in told(view)] == [("", 2, 8)]
    view.listing.choose("driver:psycopg")
    assert told(view) == [("psycopg", "text", 2, 6), ("psycopg", "pipeline", 2, 8)]


def test_labels_of_captures_are_variants(tmp_path: Path) -> None:
    paths = []
    for name, number in (("pool", 3), ("no pool", 9)):
        recording = Recording(tmp_path / f"{name}.pgtrace")
        recording.writer.write([Setting(0, LABEL, name)])
        work(recording, "psycopg", number)
        recording.end()
        recording.writer.close()
        paths.append(recording.path)
    trace = Trace.open(paths)
    try:
        view = View(trace, Source(files=("pool", "no pool")), Pen(DARK))
        assert told(view) == [("psycopg", "pool", 1, 3), ("psycopg", "no pool", 1, 9)]
        assert [one.filter for one in view.variants] == ["driver:psycopg label:pool", 'driver:psycopg label:"no pool"']
    finally:
        trace.close()


def test_without_variants_a_driver_is_one(shop: Recording, view_of: Callable[..., View]) -> None:
    view = view_of(shop)
    assert [one[:2] for one in told(view)] == [("asyncpg", ""), ("pg8000", ""), ("psycopg", "")]


def test_so_many_connections_are_not_told_apart(demo: Recording, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "MOST_CONNECTIONS", 5)
    assert told(view_of(demo)) == [("psycopg", "", 4, 14), ("asyncpg", "", 2, 4)]


async def test_the_pane_has_a_column_for_each(demo: Recording, drive: Drive) -> None:
    demo.end()
    async with drive(demo) as driven:
        lines = await driven.press("4")
        heads = next(number for number, line in enumerate(lines) if "psycopg" in line and "asyncpg" in line)
        assert lines[heads].split() == ["▌psycopg", "psycopg", "asyncpg"]
        assert lines[heads + 1].split() == ["▌", "variant", "text", "pipeline"]
        counts = next(line for line in lines if line.split()[:2] == ["round", "trips"])
        assert counts.split()[2:] == ["6", "8", "4"]
        flights = next(number for number, line in enumerate(lines) if "most frequent flights" in line)
        assert lines[flights + 1].split() == ["Q", "×4", "Q", "×6", "PS", "×2"]
        await driven.type("l", "enter")
        assert driven.app.view.listing.filtering.text == 'driver:psycopg mark:"psycopg pipeline"'
        assert len(driven.app.view.listing) > 0
