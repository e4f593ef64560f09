"""Whole screens as text, at the three sizes of the design: what a change does to them is read in a
diff (screens.py says how they are written)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from rich.cells import cell_len

from pgtrace.capture.record import CallSite
from tests.tui import screens
from tests.tui.driving import Drive, Driven
from tests.wire_recording import MS, Recording, checkout, error, message, query, string

LOGIN = (("PGUSER", "app"), ("PGPASSWORD", "s3cret"), ("PGDATABASE", "shop"))


def _shop(recording: Recording) -> None:
    checkout(recording)


def _gap(recording: Recording) -> None:
    checkout(recording)
    recording.gap(2, 41 * 1024)
    recording.trip(3, query("SELECT 1"), message("C", string("SELECT 1")) + b"Z\0\0\0\x05I")


def _sites(recording: Recording) -> None:
    """A program whose lines of code are noted: one of them is long, and one would be obeyed by a terminal."""
    connection = recording.connect("psycopg")
    long = "a/very/long/way/to/the/module_of_all_orders.py", 1041, "list_everything"
    for number, (file, line, function) in enumerate([("app/orders.py", 41, "add_items"), long, ("x.py", 1, "\x1b[2J")]):
        sql = f"SELECT {number}"
        crc = zlib.crc32(sql.encode())
        recording._put(CallSite(recording._time(), 4701, 40001, number + 1, crc, 0xFFFFFFFF, 0, file, line, function))
        recording.trip(connection, query(sql), message("C", string("SELECT 1")) + b"Z\0\0\0\x05I")
    recording.trip(connection, query("SELECT 'no note'"), message("C", string("SELECT 1")) + b"Z\0\0\0\x05I")


def _nothing(recording: Recording) -> None:
    """Nobody has connected."""


def _refused(recording: Recording) -> None:
    checkout(recording)
    fourth = recording.connect("psycopg")
    recording.trip(fourth, b"", error("57P03", "pgtrace: cannot reach db:5432: Connection refused"))


@pytest.fixture
def clock(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 90 seconds after the recording began, and stays so."""
    monkeypatch.setattr("pgtrace.tui.model.reading.time.time_ns", lambda: recording.header.wall_ns + 90_000 * MS)


@asynccontextmanager
async def begun(
    recording: Recording, drive: Drive, made: Callable[[Recording], None], size: tuple[int, int], *, live: bool
) -> AsyncIterator[Driven]:
    made(recording)
    if live:
        recording.flush()
        told = {"addresses": ("127.0.0.1:6433", "[::1]:6433"), "environment": LOGIN}
    else:
        recording.end()
        told = {}
    async with drive(recording, size, live=live, **told) as driven:
        yield driven


@pytest.mark.usefixtures("clock")
@screens.begun
@pytest.mark.parametrize(
    ("name", "made", "keys", "live"),
    [
        ("timeline", _shop, (), False),
        ("drivers", _shop, ("4",), False),
        ("drivers-per-execution", _shop, ("4", "a", "l"), False),
        ("help", _shop, ("n", "question_mark"), False),
        ("help-of-a-column", _shop, ("2", "s", "question_mark"), False),
        ("empty", _nothing, (), True),
        ("upstream-refused", _refused, (), True),
        ("call-sites", _sites, (), False),
        ("gap", _gap, ("n", "n"), False),
    ],
)
async def test_what_it_looks_like(
    recording: Recording,
    drive: Drive,
    name: str,
    made: Callable[[Recording], None],
    keys: tuple[str, ...],
    turn: int,
    *,
    live: bool,
) -> None:
    async with begun(recording, drive, made, screens.begun_with(name, turn), live=live) as driven:
        await driven.type(*keys)
        await screens.check_sizes(name, driven)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("size", screens.SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "made", "keys", "live"),
    [
        ("timeline-live", _shop, ("k",), True),
        ("inspector", _shop, ("n", "enter"), False),
        ("inspector-bind", _shop, ("n", "enter", "r", "tab", "j", "j", "j", "j", "j", "j"), False),
        ("gap-inspected", _gap, ("n", "n", "enter"), False),
    ],
)
async def test_what_it_looks_like_where_a_list_has_scrolled(
    recording: Recording,
    drive: Drive,
    name: str,
    made: Callable[[Recording], None],
    keys: tuple[str, ...],
    size: tuple[int, int],
    *,
    live: bool,
) -> None:
    """What is in sight depends on the size that it scrolled at."""
    async with begun(recording, drive, made, size, live=live) as driven:
        lines = await driven.press(*keys)
        assert {cell_len(line) for line in lines} == {size[0]}
        screens.check(f"{name}-{size[0]}x{size[1]}", lines)
