"""Going to what is slow, to the same statement, to a moment: in a listing of many rows, and with keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from pgtrace.tui.model import moving
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.view import View
from tests.tui.driving import Drive, Driven
from tests.wire_recording import MS, Recording, done, query, ready

START_NS = round(datetime(2026, 11, 27, 10, 21, 7).timestamp() * 1e9) + 250_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        (" 3 s ", 3),
        ("250ms", 0.25),
        (".5", 0.5),
        ("+1.5", 101.5),
        ("-20ms", 99.98),
        ("10:21:08", 0.75),
        ("10:21:07.5", 0.25),
        ("10:22", 52.75),
        ("10:21", 24 * 3600 - 7.25),  # the next day's
        ("00:00:00", 49132.75),
    ],
)
def test_what_a_moment_is(text: str, seconds: float) -> None:
    found = moving.moment_ns(text, 100_000_000_000, START_NS)
    assert found is not None
    assert abs(found - seconds * 1e9) < 1000  # a time of day goes through floats


@pytest.mark.parametrize("text", ["", "soon", "1h", "25:00", "10:60", "10:21:60", "1e3", "1,5", "9" * 40, "--1", "\x1b[1m"])
def test_what_is_no_moment(text: str) -> None:
    assert moving.moment_ns(text, 0, START_NS) is None


def many(recording: Recording, rows: int) -> None:
    """Round trips of 0.4 ms, every hundredth of 5 ms and every thousandth of 20; three statements in turn."""
    one = recording.connect("psycopg")
    for number in range(rows):
        took = 20.0 if number % 1000 == 500 else 5.0 if number % 100 == 7 else 0.4
        recording.trip(one, query(f"SELECT {'abc'[number % 3]} FROM t"), done("SELECT 0") + ready(), took)
    recording.flush()


def test_every_slow_one_and_every_same_one_in_order(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "STRETCH", 64)
    many(recording, 3000)
    trace = Trace.open([recording.path])
    trace.update()
    listing = Listing(Feed(trace), lambda _: "psycopg")
    listing.sync()

    def walked(step: Callable[[int], int | None], place: int | None) -> list[int]:
        found = []
        while place is not None and (place := step(place)) is not None:
            found.append(place)
        return found

    for least_ms in (5, 20):
        slow = [row.number - 1 for row in trace.rows if row.is_round_trip and (row.duration_ns or 0) >= least_ms * MS]
        assert len(slow) == {5: 33, 20: 3}[least_ms]
        for direction, expected in ((1, slow), (-1, slow[::-1])):
            start = 0 if direction > 0 else len(trace.rows) - 1
            step = lambda place, way=direction, ms=least_ms: moving.next_slow(listing, listing.item(place), way, ms * MS)  # noqa: E731
            assert walked(step, start) == expected
    same = [row.number - 1 for row in trace.rows if row.label.sql == "SELECT b FROM t"]
    assert walked(lambda place: moving.next_same(listing, listing.item(place), 1), same[0]) == same[1:]
    assert walked(lambda place: moving.next_same(listing, listing.item(place), -1), same[-1]) == same[-2::-1]
    assert moving.next_same(listing, listing.item(0), 1) is None  # a set-up is about no statement
    for index in (0, 1, 77, len(listing) - 1):
        opened = listing[index].opened_ns
        assert moving.index_at(listing, opened) == index
        assert moving.index_at(listing, opened + 1) == min(index + 1, len(listing) - 1)
    assert moving.index_at(listing, -5) == 0
    trace.close()


async def test_the_keys(recording: Recording, drive: Drive) -> None:
    many(recording, 300)
    async with drive(recording) as driven:
        view, timeline = driven.app.view, driven.areas.timeline

        def sql() -> str:
            assert timeline.item is not None
            return timeline.item.row.label.sql

        await loaded(driven, view)
        await driven.type("g", "j")
        assert sql() == "SELECT a FROM t"
        text = "\n".join(await driven.press("."))
        assert (sql(), timeline.cursor) == ("SELECT a FROM t", 4)
        await driven.type(",")
        assert timeline.cursor == 1
        assert "no earlier round trip of this statement" in "\n".join(await driven.press(","))

        text = "\n".join(await driven.press("@"))
        assert "go to" in text
        assert "time of day" in text
        await driven.type(*"+20ms", "enter")
        assert timeline.item is not None
        assert timeline.cursor == next(
            index for index in range(len(view.listing)) if view.listing[index].opened_ns >= view.listing[1].opened_ns + 20 * MS
        )
        text = "\n".join(await driven.press("@", *"noon", "enter"))
        assert "a time is 12.5" in text
        stood = timeline.cursor
        await driven.type("escape")
        assert timeline.cursor == stood
        await driven.type("@", *"1e9"[:1], *"000000", "enter")
        assert timeline.cursor == len(view.listing) - 1


async def test_slow_keys_say_what_slow_is(recording: Recording, drive: Drive) -> None:
    one = recording.connect("psycopg")
    for number in range(40):
        recording.trip(one, query(f"SELECT {number} FROM t"), done("SELECT 0") + ready(), 9.0 if number in (11, 30) else 0.4)
    recording.flush()
    async with drive(recording) as driven:
        await loaded(driven, driven.app.view)
        timeline = driven.areas.timeline
        slow_ms = moving.slow_ns(driven.app.view.survey.durations) / MS
        assert 0.78 < slow_ms < 0.82  # one in twenty are the two, so twice as long as most decides
        assert f"slow: {slow_ms:.2f} ms or more" in "\n".join(await driven.press("g", ">"))
        assert timeline.item is not None
        assert timeline.item.row.label.sql == "SELECT 11 FROM t"
        await driven.type(">")
        assert timeline.item.row.label.sql == "SELECT 30 FROM t"
        assert f"no further round trip of {slow_ms:.2f} ms or more" in "\n".join(await driven.press(">"))
        await driven.type("<")
        assert timeline.item.row.label.sql == "SELECT 11 FROM t"


async def loaded(driven: Driven, view: View) -> None:
    while not view.reading.loaded or view.listing.behind:
        view.reading.tick(time.monotonic())
    await driven.settle()
