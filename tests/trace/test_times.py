"""Times by group, and what went on at once, from the rows of a trace."""

from __future__ import annotations

import json
from collections.abc import Hashable
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.report import stats
from pgtrace.report import times as report
from pgtrace.trace.times import Times, keys_of, times
from pgtrace.trace.trace import Trace
from tests import corpus, playbook
from tests.traces import fully_read

CROWD = """
0   F StartupMessage user=app
3   B AuthenticationOk | ReadyForQuery I
4   c2 F StartupMessage user=app
9   c2 B AuthenticationOk | ReadyForQuery I
10  mark begin a
11  F Query BEGIN
12  B CommandComplete BEGIN | ReadyForQuery T
13  c2 F Query SELECT 1
14  c3 F Query SELECT 2
18  c2 B DataRow 1 | CommandComplete SELECT 1
19  c2 B ReadyForQuery I
24  c3 B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
25  c3 close F
26  mark end a
30  F Query COMMIT
31  B CommandComplete COMMIT | ReadyForQuery I
end
"""


def read(path: Path, script: str) -> Trace:
    trace = Trace.open([playbook.write(path, script)])
    while trace.update():
        pass
    return trace


def by(trace: Trace, name: str) -> dict[Hashable, Times]:
    return times(trace, keys_of(trace, name))


def test_times_and_what_went_on_at_once(tmp_path: Path) -> None:
    with closing(read(tmp_path / "crowd.pgtrace", CROWD)) as trace:
        all_ = by(trace, "all")[None]
        assert (all_.connections_open, all_.connections_busy, all_.round_trips_at_once) == (3, 3, 2)
        assert [all_.setup.count, all_.setup.max] == [3, 5_000_000]
        assert [all_.waits.count, all_.waits.total, all_.waits.max] == [4, 18_000_000, 10_000_000]
        assert [all_.first.count, all_.first.total] == [4, 17_000_000]
        connections = by(trace, "connection")
        assert {key: one.connections_open for key, one in connections.items()} == {0: 1, 1: 1, 2: 1}
        assert [one.waits.count for one in connections.values()] == [2, 1, 1]
        mark = by(trace, "mark")["a"]
        assert (mark.waits.count, mark.connections_busy) == (3, 3)
        assert mark.setup.count == trace.mark_counters()["a"].setup_round_trips == 1  # c3: the others were set up before


def test_busy_ends_with_the_transaction(tmp_path: Path) -> None:
    apart = "0 F Query BEGIN\n1 B CommandComplete BEGIN | ReadyForQuery T\n2 F Query COMMIT\n3 B CommandComplete COMMIT | ReadyForQuery I\n"
    with closing(
        read(tmp_path / "apart.pgtrace", f"{apart}5 c2 F Query SELECT 1\n6 c2 B CommandComplete SELECT 0 | ReadyForQuery I\n")
    ) as trace:
        assert by(trace, "all")[None].connections_busy == 1


def test_a_filter_limits_the_times(tmp_path: Path) -> None:
    with closing(read(tmp_path / "crowd.pgtrace", CROWD)) as trace:
        counted = CountedTrace(parse("conn:2").over(trace))
        while counted.update():
            pass
        told = stats.as_dict(counted)
        assert told["times"]["wait_ns"]["count"] == told["totals"]["round_trips"] == 1
        assert told["times"]["wait_ns"]["total"] == told["totals"]["wait_ns"]
        counted.close()


@pytest.mark.parametrize("path", corpus.CAPTURES[::12], ids=corpus.name)
def test_waits_add_up_to_the_counter(path: Path) -> None:
    with closing(fully_read(path)) as trace:
        assert by(trace, "all")[None].waits.total == trace.totals().wait_ns


def test_tables_name_each_group(tmp_path: Path) -> None:
    with closing(read(tmp_path / "crowd.pgtrace", f"setting label one\n{CROWD.strip()}")) as trace:
        for group, name in {"driver": "unknown", "label": "one", "file": "crowd.pgtrace", "mark": "a", "connection": "c3"}.items():
            lines = list(stats.more(trace, group))
            assert any(name in line and "." in line for line in lines), group
        assert json.dumps(report.of(trace)["label"]["one"].as_dict())
