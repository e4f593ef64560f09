"""Times that go back, which only a damaged or a made-up capture has: they are told, and nothing has a negative duration."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgtrace.capture.record import PEER, Close, Data, End, Ended, Mark, Open, Pause, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.inspect import details
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.trace import Trace
from tests.wire_recording import done, int32, message, query, ready, startup

TURNS = [
    (FRONTEND, startup(user="u")), (BACKEND, message("R", int32(0)) + ready()), (FRONTEND, query("select 1")), (BACKEND,
    done("SELECT 1") + ready()),
    (FRONTEND, query("begin")), (BACKEND, done("BEGIN") + ready("T")), (FRONTEND, query("commit")), (BACKEND, done("COMMIT") + ready()),
]  # fmt: skip


def records(times: list[int]) -> list[Record]:
    at = iter(times)
    found: list[Record] = [Mark(next(at), True, "m", 1), Open(next(at), 1, "l", "u", "c", "s", 1)]
    offsets = [0, 0]
    for side, data in TURNS:
        found.append(Data(next(at), 1, side, offsets[side], data))
        offsets[side] += len(data)
    return [*found, Mark(next(at), False, "m", 1), Ended(next(at), 1, FRONTEND, "FIN"), Close(next(at), 1, FRONTEND, "FIN"), End(next(at))]


def read(path: Path, times: list[int]) -> Trace:
    path.unlink(missing_ok=True)
    writer = CaptureWriter(path)
    writer.write(records(times))
    writer.close()
    trace = Trace([path])
    trace.update()
    return trace


NUMBER = 6 + len(TURNS)


@given(st.lists(st.integers(0, 10**15), min_size=NUMBER, max_size=NUMBER))
@example([0, 1, *[0] * (NUMBER - 2)])  # the first bytes of a connection come before it
def test_nothing_takes_less_than_no_time(tmp_path_factory: pytest.TempPathFactory, times: list[int]) -> None:
    trace = read(tmp_path_factory.mktemp("back") / "a.pgtrace", times)
    with contextlib.closing(trace):
        check(trace, times)


def check(trace: Trace, times: list[int]) -> None:
    connection = times[1 : 2 + len(TURNS)]
    assert (trace.times_back > 0) >= any(later < earlier for earlier, later in itertools.pairwise(connection))
    for counters in (trace.totals(), *trace.mark_counters().values(), trace.connections[0].counters(trace.duration_ns)):
        assert counters.wait_ns >= 0
        assert counters.client_ns >= 0
    for place in range(len(trace.rows)):
        row = trace.rows[place]
        assert (row.duration_ns or 0) >= 0
        if row.is_round_trip:
            assert all(one.time_ns >= 0 for one in details.read(trace, place).messages)


def test_times_in_order_are_not_told(tmp_path: Path) -> None:
    with contextlib.closing(read(tmp_path / "a.pgtrace", list(range(10, 10 + NUMBER)))) as trace:
        assert trace.times_back == 0


def test_a_pause_that_is_told_late_is_none_of_them(tmp_path: Path) -> None:
    """It is written when it has lasted for a while, with the time at which it began."""
    writer = CaptureWriter(tmp_path / "a.pgtrace")
    found = records(list(range(10, 10 + NUMBER)))
    found[6:6] = [Pause(13, 1, BACKEND, True, PEER), Pause(15, 1, BACKEND, False, PEER)]
    writer.write(found)
    writer.close()
    with contextlib.closing(Trace([tmp_path / "a.pgtrace"])) as trace:
        trace.update()
        assert trace.times_back == 0
        assert trace.totals().round_trips == 3


def test_a_connection_may_begin_before_what_comes_first_in_the_capture(tmp_path: Path) -> None:
    times = [500, *range(10, 10 + len(TURNS) + 1), *range(600, 600 + NUMBER - len(TURNS) - 2)]
    with contextlib.closing(read(tmp_path / "a.pgtrace", times)) as trace:
        assert trace.times_back == 0
        assert trace.totals().wait_ns > 0
