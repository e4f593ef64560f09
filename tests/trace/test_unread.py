"""What waits to be read is counted as the rows that it will be, and nothing of it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.trace.trace import Trace
from pgtrace.trace.unread import Unread
from tests.wire_recording import TERMINATE, Recording, checkout, done, query, ready


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[list[Recording]]:
    made = [Recording(tmp_path / f"{name}.pgtrace") for name in "ab"]
    yield made
    for recording in made:
        recording.writer.close()


@pytest.fixture
def trace_of() -> Iterator[Callable[..., Trace]]:
    opened: list[Trace] = []

    def make(*recordings: Recording) -> Trace:
        opened.append(Trace([recording.path for recording in recordings]))
        return opened[-1]

    yield make
    for trace in opened:
        trace.close()


def read(trace: Trace) -> int:
    """All that is there; how many round trips there have been, those of the set-up among them."""
    while trace.update():
        pass
    return trace.totals().round_trips + trace.totals().setup_round_trips


def advance(unread: Unread) -> int:
    unread.advance(math.inf)
    return unread.round_trips


def test_it_counts_what_reading_would(recordings: list[Recording], trace_of: Callable[..., Trace]) -> None:
    """Of two captures that grow, in as many steps as there are flushes."""
    for recording in recordings:
        checkout(recording)
        recording.flush()
    trace = trace_of(*recordings)
    before = read(trace)
    unread = trace.unread()
    assert advance(unread) == 0
    for _ in range(3):
        for recording in recordings:
            checkout(recording)
            recording.flush()
            assert unread.advance(math.inf)
            assert not unread.advance(math.inf)
    position = trace.read_bytes
    assert read(trace) - before == unread.round_trips > 0
    assert trace.read_bytes > position


def test_within_a_budget_it_goes_on_where_it_was(recordings: list[Recording], trace_of: Callable[..., Trace]) -> None:
    recording = recordings[0]
    connection = recording.connect()
    recording.flush()
    trace = trace_of(recording)
    read(trace)
    unread = trace.unread()
    for _ in range(5):
        recording.trip(connection, query("SELECT 1"), done("SELECT 1") + ready())
        recording.flush()
    seen = []
    while unread.advance(0.0):
        seen.append(unread.round_trips)
    assert seen == [1, 2, 3, 4, 5]


def test_what_was_open_is_not_new_nor_is_a_goodbye(recordings: list[Recording], trace_of: Callable[..., Trace]) -> None:
    recording = recordings[0]
    connection = recording.connect()
    sent = query("SELECT slow()")
    recording.send(connection, sent[:4])
    recording.flush()
    trace = trace_of(recording)
    read(trace)
    unread = trace.unread()
    recording.send(connection, sent[4:])
    recording.answer(connection, done("SELECT 1") + ready())
    recording.send(connection, TERMINATE)
    recording.close(connection, terminate=False)
    recording.flush()
    assert advance(unread) == 0
