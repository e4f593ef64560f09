"""What keeps reading quick, told by counting: lines that are run instead of seconds, so that a busy machine does not matter.

bench/reading.py measures; here its material is checked, and what it would notice only on a quiet
machine: cost that grows faster than the capture, and memory that waits for the garbage collector.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from bench.growing import grow
from bench.reading import Cost, Large, Shape, missed_bars, shapes_table, sizes_table
from bench.traffic import PREPARED
from pgtrace.cli.reading import rows
from pgtrace.report import stats
from pgtrace.trace.connections import Connections
from pgtrace.trace.trace import Trace
from tests.playbook import write
from tests.traces import fully_read

TraceFunction = Callable[[FrameType, str, object], "TraceFunction"]
CAPTURES = Path(__file__).parents[1] / "captures"


def read(path: Path, *, timeline: bool = False) -> Trace:
    trace = Trace.open([path], timeline=timeline)
    while trace.update():
        pass
    return trace


def lines_run(path: Path, *, timeline: bool) -> int:
    """Lines of Python run to read a capture and to ask for everything `stats` asks for; each turn of a loop is one."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal counted
        counted += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        trace = read(path, timeline=timeline)
        for _ in stats.as_json(trace):
            pass
    finally:
        sys.settrace(before)
    trace.close()
    return counted


def test_a_grown_capture_counts_every_copy(tmp_path):
    recorded = CAPTURES / "psycopg" / "ten_queries.pgtrace"
    copies = grow(recorded, tmp_path / "grown", 100_000)
    once, grown = read(recorded), read(tmp_path / "grown")
    assert copies > 5
    assert grown.complete
    assert len(grown.connections) == copies * len(once.connections)
    once.close()
    grown.close()
    for key in ("round_trips", "setup_round_trips", "executions", "rows", "frontend_bytes", "backend_bytes", "values_text", "wait_ns"):
        assert getattr(grown.totals(), key) == copies * getattr(once.totals(), key), key


@pytest.mark.parametrize("timeline", [False, True])
@pytest.mark.parametrize("name", ["asyncpg/cancel", "psycopg/failure", "psycopg/copy_out"])
def test_cost_grows_with_the_capture_and_no_faster(tmp_path, name, timeline):
    recorded = CAPTURES / f"{name}.pgtrace"
    size = recorded.stat().st_size
    few = grow(recorded, tmp_path / "few", 5 * size)
    many = grow(recorded, tmp_path / "many", 80 * size)
    lines_run(tmp_path / "few", timeline=timeline)  # what is done once in a process
    assert lines_run(tmp_path / "many", timeline=timeline) / many <= 1.1 * lines_run(tmp_path / "few", timeline=timeline) / few


def test_a_closed_session_is_gone_without_the_garbage_collector(tmp_path, monkeypatch):
    asked = "c{0} F Query SELECT {0}\nc{0} B CommandComplete SELECT 0 | ReadyForQuery I\nc{0} close F\n"
    path = write(tmp_path / "short", "".join(asked.format(number) for number in range(1, 21)))
    seen = []
    begun = Connections.begun

    def watched(self, file, number, position):
        known = number in file.connections
        connection = begun(self, file, number, position)
        if not known:
            seen.append(weakref.ref(connection.session))
        return connection

    monkeypatch.setattr(Connections, "begun", watched)
    gc.collect()
    gc.disable()
    try:
        with closing(fully_read(path)) as trace:
            assert len(seen) == len(trace.connections) == 20
            assert not [session for session in seen if session() is not None]
    finally:
        gc.enable()


def test_rows_are_told_while_a_capture_is_read(tmp_path):
    grow(CAPTURES / "asyncpg" / "ten_queries.pgtrace", tmp_path / "grown", 8 << 20)
    told = rows([tmp_path / "grown"])
    places: list[int] = []
    while not places:
        trace, some = next(told)
        places += some
    assert trace.read_bytes < trace.size_bytes * 2 / 3
    for _, some in told:
        places += some
    assert places == list(range(len(trace.rows)))
    trace.close()


def test_tables_and_bars():
    cost = Cost(cpu_s=2.0, wall_s=2.1, peak_mib=40.0)
    shapes = {PREPARED: [Shape(messages=1_000_000, whole=cost, alone_s=1.0)]}
    sizes = [Large(10, Cost(1.0, 1.0, 40), 0.5, 1.0), Large(100, Cost(10.0, 10.0, 60), 0.5, 1.0)]
    assert shapes_table(shapes, [0.4]).splitlines()[2] == f"| {PREPARED} | 1,000,000 | 2.00 s | 500,000 | 1,000,000 | 40 MiB |"
    assert sizes_table(sizes).splitlines()[3] == "| 100 MiB | 10.0 s | 100 ms | 60 MiB | 0.5 s | 1.0 s |"
    assert not missed_bars(shapes, [0.4], sizes)
    slow = {PREPARED: [Shape(messages=700_000, whole=cost, alone_s=1.0)]}
    worse = [sizes[0], Large(100, Cost(13.0, 10.0, 300), 0.5, 2.5)]
    assert len(missed_bars(slow, [0.6], worse)) == 5
