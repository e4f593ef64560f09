"""What a trace says of captures: connections, rows, marks, several files, gaps. Captures are
scripts written by the real writer (playbook.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.identify import drivers
from pgtrace.inspect import details
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session
from pgtrace.trace import connection
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests.playbook import MS, WALL_NS, Plain, wire, write
from tests.traces import fully_read

Read = Callable[..., Trace]
BES = "F Bind - s1 params=42 | Execute - | Sync\nB BindComplete | DataRow 42 | CommandComplete SELECT 1 | ReadyForQuery I\n"
PDHS = "F Parse s1 SELECT $1 | Describe S s1 | Sync\nB ParseComplete | ParameterDescription 23 | RowDescription a:23 | ReadyForQuery I\n"


@pytest.fixture
def read() -> Iterator[Callable[..., Trace]]:
    """Captures as a trace, read to their ends."""
    opened: list[Trace] = []

    def read(*paths: Path) -> Trace:
        opened.append(fully_read(*paths))
        return opened[-1]

    yield read
    for trace in opened:
        trace.close()


def test_totals_drivers_and_connections_agree(read: Read, tmp_path: Path) -> None:
    script = PDHS + BES * 3 + "c2 F Query SELECT 1\nc2 B CommandComplete SELECT 1 | ReadyForQuery I\nc1 F Terminate\nc1 close F\nend\n"
    trace = read(write(tmp_path / "a.pgtrace", script))
    totals = trace.totals()
    assert (totals.setup_round_trips, totals.round_trips, totals.executions, totals.queries) == (2, 5, 4, 1)
    assert (totals.parses_named, totals.statements_reused, totals.statements_live) == (1, 2, 1)
    ((driver, connections, counters),) = trace.drivers()
    assert (driver, connections) == ("unknown", 2)
    assert counters.as_dict() | {"statements_live": 1} == totals.as_dict()
    assert [one.counters(trace.duration_ns).round_trips for one in trace.connections] == [4, 1]
    assert trace.ended
    assert trace.complete


@pytest.mark.parametrize(("nonce", "driver"), [(24, "psycopg2"), (32, "unknown")])
def test_a_nonce_of_another_length_is_not_libpqs(nonce: int, driver: str, read: Read, tmp_path: Path) -> None:
    script = (
        "F StartupMessage user=app database=shop\nB AuthenticationSASL SCRAM-SHA-256\n"
        f"F SASLInitialResponse SCRAM-SHA-256 n,,n=,r={'a' * nonce}\nB AuthenticationSASLContinue r=a\nF SASLResponse c=biws\n"
        "B AuthenticationSASLFinal v=x | AuthenticationOk | BackendKeyData 42 key1 | ReadyForQuery I\n"
    )
    for query, tag in (("BEGIN", "BEGIN"), *((f"SELECT {item}", "SELECT 1") for item in range(3)), ("COMMIT", "COMMIT")):
        script += f"F Query {query}\nB CommandComplete {tag} | ReadyForQuery I\n"
    trace = read(write(tmp_path / "a.pgtrace", script + "end\n"))
    assert [one.driver for one in trace.connections] == [driver]


def test_rows_stand_in_the_order_in_which_they_began(read: Read, tmp_path: Path) -> None:
    script = (
        "0  c1 F Query SELECT pg_sleep(1)\n"
        "5  c2 F Query SELECT 2\n"
        "7  c2 B CommandComplete SELECT 1 | ReadyForQuery I\n"
        "20 c1 B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\n"
        "21 c1 F Terminate\n"
        "22 c1 close F\n"
        "23 c2 close B\n"
        "24 end\n"
    )
    trace = read(write(tmp_path / "a.pgtrace", script))
    rows = [trace.rows[place] for place in range(len(trace.rows))]
    found = [(row.shape.kind, row.shape.flight, row.label.sql, row.connection) for row in rows]
    assert found == [
        (RowKind.SETUP, "Start → RSKZ", "StartupMessage user=app database=shop", 0),
        (RowKind.ROUND_TRIP, "Q → DCZ", "SELECT pg_sleep(1)", 0),
        (RowKind.SETUP, "Start → RSKZ", "StartupMessage user=app database=shop", 1),
        (RowKind.ROUND_TRIP, "Q → CZ", "SELECT 2", 1),
        (RowKind.RUN, "X →", "Terminate", 0),
        (RowKind.CLOSED, "", "closed by the server, end time unknown", 1),
    ]
    assert [row.duration_ns for row in rows if row.is_round_trip] == [0, 20 * MS, 0, 2 * MS]


def test_a_query_sent_ahead_of_another_is_a_text_of_its_own(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver is told by what it sent: BEGIN and a Parse behind it are two texts, two statements of one Query are one."""
    script = (
        "F Query BEGIN | Parse - SELECT 1 | Bind - - | Execute - | Sync\n"
        "B CommandComplete BEGIN | ReadyForQuery T | ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery T\n"
        "F Query SELECT 2; COMMIT\n"
        "B CommandComplete SELECT 1 | CommandComplete COMMIT | ReadyForQuery I\n"
    )
    seen: list[drivers.Evidence] = []
    monkeypatch.setattr(drivers, "identify", lambda evidence: seen.append(evidence) or drivers.Identification())
    trace = read(write(tmp_path / "a.pgtrace", script))
    assert trace.connections[0].driver == "unknown"
    assert seen[-1].queries == ("SELECT 1", "BEGIN", "SELECT 2; COMMIT")


def test_an_open_round_trip_is_a_row_and_completed_in_place(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "a.pgtrace"
    trace = read(write(path, "F Query SELECT 1\n", block_records=100))
    assert trace.rows[1].is_open
    assert trace.rows[1].shape.flight == "Q"
    assert trace.totals().round_trips == 1
    assert not trace.quiet
    assert not trace.complete


def test_reading_in_steps_is_reading_at_once(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pgtrace", PDHS + BES * 200 + "gap 17\n" + BES * 200 + "end\n")
    at_once = read(path)
    in_steps = Trace.open([path])
    steps = 0
    while in_steps.update(0.0):
        steps += 1
    assert steps > 3
    assert in_steps.totals() == at_once.totals()
    assert len(in_steps.rows) == len(at_once.rows)
    assert [in_steps.rows[n] for n in range(len(in_steps.rows))] == [at_once.rows[n] for n in range(len(at_once.rows))]
    in_steps.close()


def test_copy_data_is_labelled_with_its_statement(read: Read, tmp_path: Path) -> None:
    script = "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData 1 | CopyDone\nB CommandComplete COPY 1 | ReadyForQuery I\nend\n"
    trace = read(write(tmp_path / "a.pgtrace", script))
    assert [trace.rows[place].label.sql for place in (1, 2)] == ["COPY t FROM STDIN"] * 2
    (view,) = trace.statements()
    assert (view.group.round_trips, view.group.executions) == (1, 1)


def test_a_gap_is_a_row_counted_and_told(read: Read, tmp_path: Path) -> None:
    trace = read(write(tmp_path / "a.pgtrace", BES + "c1 gap 41000\nend\n"))
    assert (trace.gaps, trace.dropped_bytes, trace.complete) == (1, 41000, False)
    row = trace.rows[len(trace.rows) - 1]
    assert row.shape.kind is RowKind.GAP
    assert row.label.sql == "gap  41 000 bytes not recorded on c1"


def test_several_files_share_one_time_axis(read: Read, tmp_path: Path) -> None:
    first = write(tmp_path / "first.pgtrace", "0 F Query SELECT 1\n1 B CommandComplete SELECT 1 | ReadyForQuery I\n2 close B\nend\n")
    later = write(
        tmp_path / "later.pgtrace",
        "0 F Query SELECT 2\n1 B CommandComplete SELECT 1 | ReadyForQuery I\nend\n",
        wall_ns=WALL_NS + 5 * MS,
    )
    trace = read(later, first)
    assert [(connection.file, connection.number) for connection in trace.connections] == [(1, 1), (0, 1)]
    assert [trace.name_of(connection) for connection in trace.connections] == ["b:1", "a:1"]
    opened = [(trace.rows[place].label.sql, trace.rows[place].opened_ns) for place in range(len(trace.rows))]
    assert opened[1] == ("SELECT 1", 0)
    assert opened[-1] == ("SELECT 2", 5 * MS)
    assert trace.files == [str(later), str(first)]


def test_a_cancel_is_linked_to_its_session(read: Read, tmp_path: Path) -> None:
    script = "c1 F Query SELECT pg_sleep(60)\nc2 F CancelRequest 1 7777\nc2 close B\nc3 F CancelRequest 9 7777\nc3 close B\nend\n"
    trace = read(write(tmp_path / "a.pgtrace", script))
    assert [one.kind for one in trace.connections] == ["session", "cancel", "cancel"]
    assert [one.cancels for one in trace.connections] == [None, 0, None]
    labels = [trace.rows[place].label.sql for place in range(len(trace.rows))]
    assert "cancels c1" in labels
    assert "cancels a session not seen here" in labels
    assert trace.totals().round_trips == 1


def test_a_round_trip_belongs_to_the_marks_open_when_it_opened(read: Read, tmp_path: Path) -> None:
    script = (
        "0  F Query SELECT 0\n"
        "1  mark begin outer\n"
        "2  B CommandComplete SELECT 1 | ReadyForQuery I\n"
        "3  mark begin inner\n"
        "4  F Query SELECT 1\n"
        "5  mark end inner\n"
        "6  B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\n"
        "8  mark begin inner\n"
        "9  F Query SELECT 2\n"
        "11 B DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I\n"
        "12 mark end inner\n"
        "13 mark end outer\n"
        "14 end\n"
    )
    marks = read(write(tmp_path / "a.pgtrace", script)).mark_counters()
    assert {name: (one.round_trips, one.queries, one.rows) for name, one in marks.items()} == {"inner": (2, 2, 1), "outer": (2, 2, 2)}
    assert marks["outer"].wait_ns == (1 + 2 + 2) * MS
    assert marks["inner"].wait_ns == (1 + 2) * MS
    assert marks["outer"].executions == 3


def test_a_connection_that_is_not_postgresql_is_opaque(read: Read, tmp_path: Path) -> None:
    trace = read(write(tmp_path / "a.pgtrace", "c1 opaque F 517\nc1 opaque B 1200\nc1 close F\nend\n"))
    (connection,) = trace.connections
    assert connection.kind == "opaque"
    assert (trace.totals().frontend_bytes, trace.totals().backend_bytes) == (517, 1200)
    assert trace.totals().round_trips == 0


@pytest.mark.parametrize("place", [1, 2])
def test_details_are_read_from_the_capture_again(read: Read, tmp_path: Path, place: int) -> None:
    trace = read(write(tmp_path / "a.pgtrace", PDHS + BES + "end\n", block_records=1))
    messages = details.read(trace, place).messages
    names = [message.name for message in messages]
    if place == 1:
        assert names == ["Parse", "Describe", "Sync", "ParseComplete", "ParameterDescription", "RowDescription", "ReadyForQuery"]
    else:
        assert names == ["Bind", "Execute", "Sync", "BindComplete", "DataRow", "CommandComplete", "ReadyForQuery"]
        parameter = next(field for field in messages[0].fields() if field.name == "$1")
        assert (parameter.value, parameter.wire_type) == ("42", "int4 text")


def test_a_message_of_several_reads_is_found_again(read: Read, tmp_path: Path) -> None:
    """Its row begins where its first byte was recorded, blocks before its last one."""
    from pgtrace.capture import record
    from pgtrace.capture.versions import VERSION, Header
    from pgtrace.capture.writer import CaptureWriter

    path = tmp_path / "a.pgtrace"
    query, reply = wire(FRONTEND, "Query SELECT " + "x" * 60), wire(BACKEND, "CommandComplete SELECT 1 | ReadyForQuery I")
    start = wire(FRONTEND, "StartupMessage user=app"), wire(BACKEND, "AuthenticationOk | ReadyForQuery I")
    pieces = [
        (FRONTEND, start[0]),
        (BACKEND, start[1]),
        *((FRONTEND, query[at : at + 20]) for at in range(0, len(query), 20)),
        (BACKEND, reply),
    ]
    offsets = [0, 0]
    with CaptureWriter(path, header=Header(VERSION, b"salt", WALL_NS, 0, "0.1.0", "test")) as writer:
        writer.write([record.Open(0, 1, ":6433", "db:5432", "127.0.0.1:1", "", WALL_NS)])
        for number, (side, data) in enumerate(pieces):
            writer.write([record.Data(number, 1, side, offsets[side], data)])
            offsets[side] += len(data)
    trace = read(path)
    assert [message.name for message in details.read(trace, 1).messages] == ["Query", "CommandComplete", "ReadyForQuery"]
    assert details.read(trace, 1).messages[0].size == len(query)


@pytest.mark.parametrize("timeline", [True, False])
def test_known_exchanges_count_and_list_like_others(tmp_path: Path, timeline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the evidence that is gathered about a driver, in two connections under a mark: with and without the short cut."""
    work = "".join(
        f"c{1 + turn % 2} F Bind - s1 params={turn} out={turn // 500} | Execute - | Sync\n"
        f"c{1 + turn % 2} B BindComplete | DataRow {turn} ×{1 + turn % 3} | CommandComplete SELECT {1 + turn % 3} | ReadyForQuery I\n"
        f"c{1 + turn % 2} F Query UPDATE t SET a = {turn % 5}\nc{1 + turn % 2} B CommandComplete UPDATE {turn % 7} | ReadyForQuery I\n"
        for turn in range(1000)
    )
    script = PDHS + PDHS.replace("F ", "c2 F ").replace("B ", "c2 B ") + "mark begin some\n" + work + "c1 F Terminate\nc1 close F\n"
    path = write(tmp_path / "a.pgtrace", script, block_records=50)
    found = []
    for session in (Plain, Session):
        monkeypatch.setattr(connection, "Session", session)
        trace = Trace.open([path], timeline=timeline)
        while trace.update():
            pass
        rows = [trace.rows[place] for place in range(len(trace.rows))]
        statements = [view.group.as_dict(view.driver) for view in trace.statements()]
        entries = [trace.rows.entry(place) for place in range(len(trace.rows))]
        found.append((trace.totals(), trace.mark_counters(), statements, rows, [(one.position, one.offsets) for one in entries]))
        trace.close()
    assert found[0] == found[1]
    assert found[0][0].round_trips == 2002


def test_a_mark_is_about_its_own_file(tmp_path: Path) -> None:
    """Two recorders at work at once: what one of them saw belongs to no mark of the other."""
    paths = []
    for name in ("a", "b"):
        script = (
            f"mark begin {name}\n"
            + "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n" * (2 if name == "a" else 3)
            + f"mark end {name}\nend"
        )
        paths.append(write(tmp_path / f"{name}.pgtrace", script))
    trace = Trace.open(paths)
    while trace.update():
        pass
    counted = trace.mark_counters()
    names = {
        (trace.connections[row.connection].file, trace.marks.names_at(row.number - 1))
        for row in trace.rows
        if row.shape.kind is RowKind.ROUND_TRIP
    }
    trace.close()
    assert {name: (counters.round_trips, counters.queries) for name, counters in counted.items()} == {"a": (2, 2), "b": (3, 3)}
    assert names == {(0, ("a",)), (1, ("b",))}
