"""Ends as views have them: rows, texts, counters under a filter, and a live view that does not know yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.ask import filter as language
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.capture.writer import CaptureWriter
from pgtrace.report import stats
from pgtrace.report.messages import round_trip_line
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.playbook import MS

ASK = "10 F Parse - SELECT pg_sleep(4) | Bind - - | Execute - | Sync\n"
ANSWER = "4010 B ParseComplete | BindComplete | DataRow x | CommandComplete SELECT 1 | ReadyForQuery I\n"
FATAL = "4010 B ErrorResponse FATAL 25P03 idle for too long\n"
GONE = ASK + "1010 c1 ends F FIN\n" + ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F"

Opened = Callable[[str], Trace]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be closed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def opened(tmp_path: Path, stack: ExitStack) -> Opened:
    """The trace of a script, read to its end."""

    def open_(script: str) -> Trace:
        trace = Trace.open([playbook.write(tmp_path / f"{len(list(tmp_path.iterdir()))}.pgtrace", script)])
        stack.callback(trace.close)
        while trace.update():
            pass
        return trace

    return open_


@pytest.mark.parametrize(
    ("script", "end", "row"),
    [
        (GONE, "closed by the driver (FIN) without Terminate", "driver left while waiting for Execute; the server worked on for 3.0 s"),
        (
            ASK + "1010 c1 ends F FIN\n" + ANSWER + "4011 c1 ends B FIN\n4012 c1 close F",
            "closed by the driver (FIN) without Terminate",
            "driver has ended its direction and read the answer",
        ),
        (
            ASK + "1010 F Terminate\n1011 c1 ends F FIN\n4012 c1 ends B FIN\n4013 c1 close F",
            "closed by the driver (FIN)",
            "driver left while waiting for Execute; no answer came",
        ),
        (ASK + "1010 c1 ends F RST\n1011 c1 close F", "reset by the driver", "reset by the driver while waiting for Execute; no "
            "answer came"),
        (ASK + "1010 c1 ends F lost\n1011 c1 close F", "the driver was lost: no answer for too long",
         "the driver was lost while waiting for Execute; no answer came"),
        (ASK + "1010 c1 ends B RST\n1011 c1 close B", "reset by the server", "reset by the server while waiting for Execute"),
        (ASK + "1010 c1 ends B FIN\n1011 c1 close B", "closed by the server (FIN)", "closed by the server (FIN) while waiting for Execute"),
        (ASK + "1010 c1 ends pgtrace FIN\n1011 c1 close pgtrace", "closed by pgtrace (FIN)",
         "closed by pgtrace (FIN) while waiting for Execute"),
        (ASK + ANSWER + "4011 c1 ends B FIN\n4012 c1 close B", "closed by the server (FIN)", ""),
        (ASK + FATAL + "4011 c1 ends B FIN\n9000 c1 close B", "closed by the server (FIN) after 25P03", ""),
        (ASK + FATAL + "9000 c1 close B", "closed by the server after 25P03, end time unknown", ""),
        (ASK + ANSWER + "4011 c1 close F", "closed by the driver without Terminate, end time unknown", ""),
        (ASK + ANSWER + "4011 F Terminate\n4012 c1 close F", "closed by the driver, end time unknown", ""),
        (ASK + ANSWER + "4011 F Terminate\n4012 c1 ends B FIN\n4013 c1 close F", "closed by the driver (Terminate)", ""),
        (FATAL + "4011 c1 ends B FIN\n9000 F Query SELECT 2\n9001 c1 ends F FIN\n9002 c1 close B", "closed by the server (FIN) after 25P03",
         "sent after the server had closed; no answer came"),
        (ASK + "20 B NoticeResponse WARNING 57P02 terminating\n21 c1 ends B FIN\n22 c1 close B", "closed by the server (FIN) after 57P02",
         "closed by the server (FIN) while waiting for Execute"),
        (ASK + "20 B NoticeResponse WARNING 01000 unknown\n21 c1 ends B FIN\n22 c1 close B", "closed by the server (FIN)",
         "closed by the server (FIN) while waiting for Execute"),
        (ASK, "", ""),
    ],
)  # fmt: skip
def test_by_whom_and_how(opened: Opened, script: str, end: str, row: str) -> None:
    trace = opened(script)
    (connection,) = trace.connections
    assert connection.end == end
    (asked,) = [one for one in trace.rows if one.shape.kind is RowKind.ROUND_TRIP]
    assert asked.label.end == row
    assert (f"— {row}" in round_trip_line(trace, asked)) is bool(row)
    (about,) = stats.as_dict(trace)["connections"]
    assert about["end"] == (end or None)
    assert about["left_open"] == (row or None)
    assert about["ends"] == [{"by": one.by, "how": one.how, "time_ns": one.time_ns} for one in connection.ends]
    closed = [one for one in trace.rows if one.shape.kind is RowKind.CLOSED]
    assert [one.label.sql for one in closed] == ([end] if end and "F Terminate" not in script else [])
    for one in closed:
        assert one.opened_ns == (connection.ends[0].time_ns if connection.ends else connection.closed_ns)


def test_a_live_view_says_what_is_not_known_yet(tmp_path: Path, stack: ExitStack) -> None:
    """Record by record: open, then ended by its driver, then answered and still open, then known."""
    written = [*playbook.records(GONE)]
    seen: list[tuple[str, int | None]] = []
    waits: list[int] = []
    with CaptureWriter(tmp_path / "live") as writer:
        shift = writer.header.monotonic_ns
        trace = Trace.open([tmp_path / "live"])
        stack.callback(trace.close)
        for record in written:
            writer.write([record._replace(time_ns=record.time_ns + shift)])
            while trace.update():
                pass
            for row in trace.rows:
                if row.shape.kind is RowKind.ROUND_TRIP and (not seen or seen[-1] != (row.label.end, row.duration_ns)):
                    seen.append((row.label.end, row.duration_ns))
            waits.append(trace.totals().wait_ns)
            assert trace.totals().round_trips == sum(row.shape.kind is RowKind.ROUND_TRIP for row in trace.rows)
            answered = any(row.shape.received.endswith(b"Z") for row in trace.rows if row.shape.kind is RowKind.ROUND_TRIP)
            assert bool(trace.under_way(0)) is (any(row.is_open for row in trace.rows) and not answered), (
                "nobody waits for what only has no time yet"
            )
    assert seen == [
        ("", None),
        ("driver has ended its direction", None),
        ("driver left while waiting for Execute; the server worked on for 3.0 s", 1000 * MS),
    ]
    assert waits == sorted(waits)
    assert waits[-1] == 1000 * MS


@pytest.mark.parametrize("ends", ["F FIN", "F RST", "B FIN", "B RST", "pgtrace FIN", "F close_notify"])
@pytest.mark.parametrize("last", ["", "4010.1 c1 ends F RST\n", "4010.1 c1 ends B FIN\n"])
def test_counts_under_a_filter_are_those_without(opened: Opened, stack: ExitStack, ends: str, last: str) -> None:
    """Also where something stands alone between the answer and the moment at which it is known whom it reached."""
    script = ASK + f"1010 c1 ends {ends}\n" + ANSWER + "4010.05 B NoticeResponse late\n" + last + "4011 c1 close F"
    trace = opened(script)
    counted = CountedTrace(language.parse("rt >= 1").over(trace))
    stack.callback(counted.close)
    while counted.update():
        pass
    told = counted.totals().as_dict()
    whole = trace.totals().as_dict()
    for name in ("round_trips", "executions", "rows", "wait_ns", "parses_unnamed", "setup_round_trips"):
        assert told[name] == whole[name], name
    (one,), (other,) = counted.statements(), trace.statements()
    assert (one.group.executions, one.group.round_trips, one.group.wait.total) == (
        other.group.executions, other.group.round_trips, other.group.wait.total,
    )  # fmt: skip
    plain = opened(ASK + ANSWER + "4010.05 B NoticeResponse late\n4011 c1 close F").totals().as_dict()
    assert {name: value for name, value in whole.items() if not name.endswith("_ns")} == {
        name: value for name, value in plain.items() if not name.endswith("_ns")
    }


@pytest.mark.parametrize("leaves", ["c1 ends F FIN", "F Terminate", "c1 ends F RST", "c1 ends B FIN"])
def test_a_mark_does_not_get_the_waiting_of_a_driver_that_has_gone(opened: Opened, leaves: str) -> None:
    """What it waited for before counts in the mark that was open then, and nothing in the ones after."""
    trace = opened(
        "0 mark begin one\n" + ASK + f"1010 {leaves}\n1020 mark end one\n1030 mark begin two\n2000 mark end two\n"
        "3000 mark begin three\n" + ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F\n4020 mark end three"
    )
    waits = {name: counters.wait_ns for name, counters in trace.mark_counters().items()}
    assert waits == {"one": 1000 * MS, "two": 0, "three": 0}
    assert {name: counters.executions for name, counters in trace.mark_counters().items()} == {"one": 0, "two": 0, "three": 1}


def test_times_count_from_the_start_of_the_trace(opened: Opened) -> None:
    (connection,) = opened(GONE).connections
    assert connection.ended_ns == connection.ends[0].time_ns == 1000 * MS
    assert connection.closed_ns == 4001 * MS


def test_a_terminate_that_comes_after_the_servers_end_ended_nothing(opened: Opened) -> None:
    trace = opened(ASK + ANSWER + "4011 c1 ends B FIN\n4012 F Terminate\n4013 c1 close B")
    assert trace.connections[0].end == "closed by the server (FIN)"
