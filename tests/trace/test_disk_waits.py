"""Spans of waiting, and what they are asked: against a list that is looked through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.record import DISK, NEITHER, PEER, Pause
from pgtrace.trace import disk_waits
from pgtrace.trace.disk_waits import DiskWaits


def noted(times: list[int], *, lasts: bool = False) -> DiskWaits:
    """Begins and ends in turn."""
    waits = DiskWaits()
    for number, time_ns in enumerate(times):
        waits.note(time_ns, Pause(time_ns, 0, NEITHER, number % 2 == 0, DISK))
    return waits


@given(st.lists(st.integers(0, 200), unique=True).map(sorted), st.integers(0, 200), st.one_of(st.none(), st.integers(0, 50)))
def test_what_overlaps_is_marked_and_nothing_else(times, begin, length):
    waits = noted(times)
    spans = list(zip(times[::2], [*times[1::2], *([10**9] if len(times) % 2 else [])], strict=True))
    end = 10**8 if length is None else begin + length
    assert waits.during(begin, None if length is None else end) == any(a <= end and b > begin for a, b in spans)
    assert waits.waited_ns == sum(b - a for a, b in spans if b < 10**9)


def test_pauses_of_a_peer_are_none():
    waits = DiskWaits()
    waits.note(1, Pause(1, 1, 0, True, PEER))
    waits.note(5, Pause(5, 1, 0, False, PEER))
    assert not waits.during(0, 10)


def test_many_are_kept_coarsely_and_none_is_missed():
    count = 5 * disk_waits.KEPT
    waits = noted([time for number in range(count) for time in (number * 100, number * 100 + 10)])
    assert len(waits._begins) <= disk_waits.KEPT + 1
    assert waits.waited_ns == count * 10
    assert all(waits.during(number * 100 + 3, number * 100 + 4) for number in range(0, count, 7))
