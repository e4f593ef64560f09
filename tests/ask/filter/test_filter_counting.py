"""Counters under a filter are exact: they add up, and the messages of the selected rows, counted one by one, are those in the sums."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.errors import CaptureError
from pgtrace.inspect import details
from pgtrace.recorder import Recorder
from pgtrace.report import stats
from pgtrace.trace.counters import KEYS, Counters
from pgtrace.trace.trace import Trace
from tests.ask.filter.filter_shop import SHOP
from tests.corpus import NIGHTLY
from tests.playbook import write

NO_SUMS = ("max_pipeline_depth", "statements_live", "client_ns")


def counted(trace: Trace, text: str) -> CountedTrace:
    filtered = CountedTrace(parse(text).over(trace))
    while filtered.update():
        pass
    return filtered


def total(trace: Trace, text: str) -> Counters:
    return counted(trace, text).totals()


def one_by_one(trace: Trace, text: str) -> dict[str, object]:
    """What the selected round trips hold, from their rows and messages alone."""
    selection = parse(text).over(trace)
    places = [place for place in range(len(trace.rows)) if selection.selects(place)]
    chosen = [trace.rows[place] for place in places]
    messages: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for place in places:
        for message in details.scan(trace, place):
            messages[message.side][message.name] += message.count
    return {
        "setup_round_trips": sum(row.shape.kind.name == "SETUP" for row in chosen),
        "round_trips": sum(row.shape.kind.name == "ROUND_TRIP" for row in chosen),
        "pipelined_executions": sum(max(0, row.shape.depth - 1) for row in chosen),
        "max_pipeline_depth": max((row.shape.depth for row in chosen), default=0),
        "rows": sum(row.rows for row in chosen),
        "errors": messages[1]["ErrorResponse"],
        "frontend_bytes": sum(row.sent_bytes for row in chosen),
        "backend_bytes": sum(row.received_bytes for row in chosen),
        "frontend_messages": dict(messages[0]),
        "backend_messages": dict(messages[1]),
    }


def check(trace: Trace, texts: list[str]) -> None:
    """Where every run of frontend messages is a round trip: what only round trips have is all there, whatever the filters."""
    everything, unfiltered = total(trace, ""), trace.totals()
    for key in ("executions", "parses_named", "parses_unnamed", "statements_reused", "transactions", "params_text", "params_binary",
    "values_text",
                "values_binary", "wait_ns", "round_trips", "setup_round_trips", "pipelined_executions", "max_pipeline_depth"):  # fmt: skip
        assert getattr(everything, key) == getattr(unfiltered, key), key
    check_parts(trace, texts)


def check_parts(trace: Trace, texts: list[str]) -> None:
    """What is true of any filters over any capture: the sums are those of the messages, and parts add up to the whole."""
    for text in ["rt > 0", *texts]:
        expected = one_by_one(trace, text)
        found = total(trace, text).as_dict()
        assert {key: found[key] for key in expected} == expected, text
        add_up(trace, text, f"({text}) and rt < 5", f"({text}) and rt >= 5")
        add_up(trace, "", text, f"not ({text})")


def add_up(trace: Trace, whole: str, *parts: str) -> None:
    both = Counters()
    for part in parts:
        both.add(total(trace, part))
    of_all, of_parts = total(trace, whole).as_dict(), both.as_dict()
    assert {key: of_all[key] for key in KEYS if key not in NO_SUMS} == {key: of_parts[key] for key in KEYS if key not in NO_SUMS}, parts


FILTERS = [
    "error",
    "tx",
    "conn:1",
    "depth > 1",
    "rows > 0",
    "type:Parse",
    "users",
    "mark:m",
    "ms > 2",
    "rt < 6",
    "stmt ~ .",
    "error or conn:2 and not users",
]
BLOCKS = [
    "F Parse s1 SELECT * FROM users | Describe S s1 | Sync\n"
        "B ParseComplete | ParameterDescription 23 | RowDescription a:23 | ReadyForQuery I",
    *["F Bind - s1 params=1 | Execute - | Sync\nB BindComplete | DataRow 1 ×{n} | CommandComplete SELECT {n} | ReadyForQuery I"] * 3,
    "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T",
    "F Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I",
    "F Bind - s1 params={n} | Execute - | Sync\nB BindComplete | ErrorResponse 22012 division by zero | ReadyForQuery I",
    "F Parse - INSERT INTO orders VALUES ($1) | Bind - - params={n} | Execute - | Bind - - params=2 | Execute - | Sync\n"
    "B ParseComplete | BindComplete | CommandComplete INSERT 0 1 | ErrorResponse 23505 duplicate | ReadyForQuery E",
    "F Parse - SELECT 1 | Flush\nF Bind - - | Execute - | Sync\nB ParseComplete\n"
        "B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I",
    "B NotificationResponse channel {n}",
    "B NoticeResponse hello",
    "F Query COPY users FROM STDIN\nB CopyInResponse\nF CopyData x ×{n} | CopyDone\nB CommandComplete COPY {n} | ReadyForQuery I",
    "F Query COPY users TO STDOUT\nB CopyOutResponse | CopyData x ×{n} | CopyDone | CommandComplete COPY {n} | ReadyForQuery I",
    "F Query SELECT 1; SELECT 2\nB DataRow 1 | CommandComplete SELECT 1 | DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I",
    "F Query SELECT 1\nB NoticeResponse in it | DataRow 1\nB NotificationResponse channel x | CommandComplete SELECT 1 | ReadyForQuery I",
    "F Execute - 1 | Sync\nB DataRow 1 | PortalSuspended | ReadyForQuery I",
    "F FunctionCall 1598 params=1\nB FunctionCallResponse 1 | ReadyForQuery I",
    "gap 17",
    "mark",
    "close",
]  # fmt: skip


@st.composite
def scripts(draw: st.DrawFn) -> str:
    lines: list[str] = []
    marks = 0
    closed: set[int] = set()
    for block, connection, n in draw(st.lists(st.tuples(st.sampled_from(BLOCKS), st.integers(1, 3), st.integers(1, 4)), max_size=30)):
        if connection in closed:
            continue
        if block == "mark":
            lines.append("mark end m" if marks % 2 else "mark begin m")
            marks += 1
        elif block == "close":
            lines += [f"c{connection} F Terminate", f"c{connection} close F"]
            closed.add(connection)
        elif block.startswith("gap"):
            lines += [f"c{connection} {block}"] if any(line.startswith(f"c{connection} ") for line in lines) else []
        else:
            lines += [f"c{connection} {line.format(n=n)}" for line in block.splitlines()]
    cut = draw(st.integers(0, 3))
    return "\n".join([*(lines[:-cut] if cut else lines), *(["end"] if draw(st.booleans()) else [])])


@settings(max_examples=300 if NIGHTLY else 40)
@given(scripts(), st.lists(st.sampled_from(FILTERS), min_size=1, max_size=2, unique=True))
def test_sums_of_any_capture(script: str, texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trace = Trace.open([write(Path(directory) / "a.pgtrace", script)])
        while trace.update():
            pass
        check(trace, texts)
        trace.close()


def test_sums_of_real_traffic(server: EmbeddedServer, proxy: Recorder, trace_of: Callable[[Recorder], Trace]) -> None:
    import psycopg

    with psycopg.connect(server.url(proxy.host, proxy.port)) as connection:
        connection.execute("create temp table users (id int primary key, name text)")
        connection.prepare_threshold = 2
        for n in range(30):
            connection.execute("insert into users values (%s, %s)", (n, "x" * n))
        connection.commit()
        with connection.pipeline():
            for n in range(30):
                connection.execute("select name from users where id = %s", (n,))
        with connection.cursor().copy("copy users from stdin") as copy:
            for n in range(100, 140):
                copy.write_row((n, "y"))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into users values (1, 'again')")
    trace = trace_of(proxy)
    check(trace, ["error", "users", "depth > 1", "type:CopyData", "stmt ~ .", "driver:psycopg"])
    assert total(trace, "sql ~ '^insert'").executions == 31
    assert total(trace, "error").errors == 1


def test_whatever_is_counted_is_counted_under_a_filter(shop: Trace) -> None:
    told = stats.as_dict(counted(shop, "tx"))
    assert told["filter"] == "tx"
    assert [(one["driver"], one["connections"], one["round_trips"]) for one in told["drivers"]] == [("unknown", 1, 3)]
    assert [(one["connection"], one["round_trips"], one["errors"]) for one in told["connections"]] == [(2, 3, 1)]
    statements = {
        one["sql"]: (one["round_trips"], one["parses"], one["executions"], one["errors"], one["live"]) for one in told["statements"]
    }
    assert statements == {"BEGIN": (1, 0, 1, 0, 0), "INSERT INTO audit VALUES ($1)": (1, 1, 2, 1, 0), "ROLLBACK": (1, 0, 1, 0, 0)}
    assert [(one["mark"], one["round_trips"], one["errors"], one["queries"]) for one in told["marks"]] == [("test_checkout", 2, 1, 1)]
    assert told["capture"] == stats.as_dict(shop)["capture"]


def test_what_belongs_to_no_round_trip_is_not_in_the_sums(shop: Trace) -> None:
    found, everything = total(shop, ""), shop.totals()
    assert (everything.notifications, everything.frontend_messages["Terminate"], everything.statements_live) == (1, 1, 1)
    assert (found.notifications, "Terminate" in found.frontend_messages, found.statements_live, found.client_ns) == (0, False, 0, 0)
    assert everything.frontend_bytes - found.frontend_bytes == 5
    assert found.wait_ns == everything.wait_ns


def test_the_driver_is_the_one_of_the_whole_capture(shop: Trace) -> None:
    found = counted(shop, "rt:3")
    assert [(driver, connections) for driver, connections, _ in found.drivers()] == [("asyncpg", 1)]
    assert found.counted_connections()[0].driver_evidence == shop.connections[0].driver_evidence


def test_what_came_after_the_selection_is_not_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pgtrace", SHOP, block_records=5)
    whole = path.read_bytes()
    trace = Trace.open([path])
    path.write_bytes(whole[: len(whole) // 2])
    while trace.update():
        pass
    path.write_bytes(whole)
    seen = len(trace.rows)
    later = counted(trace, "")
    assert 0 < later.totals().round_trips + later.totals().setup_round_trips <= seen
    trace.close()


def test_another_capture_in_its_place_is_told(shop: Trace, tmp_path: Path) -> None:
    Path(shop.files[0]).unlink()
    write(Path(shop.files[0]), SHOP.partition("20  ")[2].replace("c2 F StartupMessage", "0 c2 F StartupMessage"))
    with pytest.raises(CaptureError, match="it has changed since it was first read"):
        counted(shop, "")
