"""What is inside CopyData: decided by the command before it, kept over rows, decoded for whoever looks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.describe.copy_contents import COPY_BOTH, COPY_IN, COPY_OUT, Contents, contents
from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import backend, frontend
from pgtrace.protocol.copy_binary import SIGNATURE, BinaryRows
from pgtrace.protocol.copy_rows import CsvRows, TextRows
from pgtrace.protocol.message import Message
from pgtrace.protocol.replication import Family, Moment, TupleValue, WalPosition, pgoutput, streaming
from pgtrace.report.messages import rows_as_json
from pgtrace.trace.row import RUN_KEPT
from pgtrace.trace.trace import Trace
from tests.playbook import write

TEXT, BINARY = b"\0\0\0", b"\1\0\0"
START = "F Query START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '2', publication_names 'p'{})\nB CopyBothResponse\n"
STATUS = streaming.StandbyStatusUpdate(WalPosition(1), WalPosition(1), WalPosition(0), Moment(0), 0)
ITEMS = pgoutput.Relation(7, "public", "items", "d", (pgoutput.RelationColumn(1, "id", 23, -1), pgoutput.RelationColumn(0, "sku", 25, -1)))
GOODS = pgoutput.Relation(7, "public", "goods", "d", ITEMS.columns)

Open = Callable[[str], Trace]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    traces: list[Trace] = []

    def open_script(script: str) -> Trace:
        trace = Trace.open([write(tmp_path / f"{len(traces)}.pgtrace", script)])
        traces.append(trace)
        trace.update()
        return trace

    yield open_script
    for trace in traces:
        trace.close()


def sent(side: str, *bodies: bytes) -> str:
    """One read of CopyData."""
    kind = frontend.CopyData if side == "F" else backend.CopyData
    return f"raw {side}{b''.join(kind(body).wire() for body in bodies).hex()}\n"


def log(*messages: Message, xid: int = 0) -> str:
    """One read of the backend: XLogData with a message of pgoutput in each."""
    between = xid.to_bytes(4, "big") if xid else b""
    changes = [bytes([message.code]) + between + message.build() for message in messages]
    return sent("B", *(streaming.XLogData(WalPosition(0x10), WalPosition(0x20), Moment(0), change).wire() for change in changes))


def insert(number: int) -> pgoutput.Insert:
    return pgoutput.Insert(7, (TupleValue("t", str(number).encode()), TupleValue("n", None)))


def copied(trace: Trace, place: int | None = None) -> list[MessageView]:
    """CopyData and CopyDone of a row, or of all rows."""
    places = range(len(trace.rows)) if place is None else (place,)
    return [message for one in places for message in details.read(trace, one).messages if message.name in ("CopyData", "CopyDone")]


def arguments(trace: Trace) -> list[str]:
    return [message.argument.removeprefix("XLogData 0/10 ") for message in copied(trace)]


def test_the_command_and_the_response_say_what_copy_data_holds() -> None:
    def of(mode: int, sql: str | None, response: bytes = TEXT, major: int = 18) -> Contents:
        return contents(mode, response, sql, major, lambda slot: {"known": "pgoutput", "other": "wal2json"}.get(slot))

    assert isinstance(of(COPY_IN, "COPY t FROM STDIN").rows, TextRows)
    assert isinstance(of(COPY_IN, "COPY t FROM STDIN (FORMAT csv)").rows, CsvRows)
    assert isinstance(of(COPY_OUT, "COPY t TO STDOUT (FORMAT binary)", BINARY).rows, BinaryRows)
    assert isinstance(of(COPY_OUT, None, BINARY).rows, BinaryRows)
    assert of(COPY_IN, None) == Contents(COPY_IN)
    assert of(COPY_IN, "UPLOAD_MANIFEST") == Contents(COPY_IN)
    assert of(COPY_OUT, "COPY t TO STDOUT (FORMAT binary)", TEXT) == Contents(COPY_OUT)
    assert of(COPY_OUT, "BASE_BACKUP (LABEL 'x')") == Contents(COPY_OUT, Family.BASE_BACKUP)
    assert of(COPY_OUT, "BASE_BACKUP (LABEL 'x')", major=14) == of(COPY_OUT, "BASE_BACKUP", major=0) == Contents(COPY_OUT)
    assert of(COPY_BOTH, "START_REPLICATION SLOT s PHYSICAL 0/0") == of(COPY_BOTH, None) == Contents(COPY_BOTH, Family.STREAMING)

    logical = "START_REPLICATION SLOT {} LOGICAL 0/0 {}".format
    options = "(proto_version '4', publication_names 'p', streaming 'parallel')"
    plain = Contents(COPY_BOTH, Family.STREAMING, is_logical=True)
    assert of(COPY_BOTH, logical("unseen", "")) == of(COPY_BOTH, logical("unseen", "(proto_version '1')")) == plain
    assert of(COPY_BOTH, logical("other", options)) == plain
    assert of(COPY_BOTH, logical("known", "")).plugin is Family.PGOUTPUT
    assert of(COPY_BOTH, logical("unseen", options)).plugin is Family.PGOUTPUT_PARALLEL


def test_a_line_that_ended_csv_before_postgresql_18() -> None:
    for major, rows in ((17, 1), (18, 3), (0, 3)):
        reader = contents(COPY_IN, TEXT, "COPY t FROM STDIN CSV", major, lambda _: None).rows
        assert reader is not None
        reader.feed(b"1\n\\.\n2\n")
        assert reader.rows == rows


def test_the_slot_s_own_command_says_which_plugin_it_is(opened: Open) -> None:
    """On whichever connection it was seen; a slot of another server with the same name is another slot."""
    trace = opened(
        "c1 F Query CREATE_REPLICATION_SLOT s LOGICAL wal2json\nc1 B CommandComplete CREATE_REPLICATION_SLOT | ReadyForQuery I\n"
        "c2 F Query START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')\nc2 B CopyBothResponse\n"
        f"c2 {log(insert(1))}"
    )
    (message,) = copied(trace)
    assert message.argument == "XLogData 0/10 \\x49000000074e00027400000001316e"
    assert trace.rows[len(trace.rows) - 1].label.sql == "XLogData"
    failed = opened(
        "F Query CREATE_REPLICATION_SLOT s LOGICAL wal2json\nB ErrorResponse 42710 it exists | ReadyForQuery I\n"
        + START.format("")
        + log(insert(1))
    )
    assert arguments(failed) == ["Insert relation 7 ('1', NULL)"]


def test_a_table_keeps_its_name_in_later_rows_and_its_old_name_in_earlier_ones(opened: Open) -> None:
    script = (
        START.format("")
        + log(ITEMS, insert(1))
        + sent("F", STATUS.wire())
        + log(insert(2))
        + sent("F", STATUS.wire())
        + log(GOODS, insert(3))
    )
    trace = opened(script + sent("F", STATUS.wire()) + log(insert(4)))
    assert [argument for argument in arguments(trace) if not argument.startswith("Standby")] == [
        "Relation public.items (id int4, sku text)",
        "Insert public.items (1, NULL)",
        "Insert public.items (2, NULL)",
        "Relation public.goods (id int4, sku text)",
        "Insert public.goods (3, NULL)",
        "Insert public.goods (4, NULL)",
    ]
    last = copied(trace, len(trace.rows) - 1)[0]
    assert [(field.name, field.value, field.depth) for field in last.fields()] == [
        ("length", "44", 0),
        ("type", "XLogData", 0),
        ("wal_start", "0/10", 0),
        ("wal_end", "0/20", 0),
        ("clock", "2000-01-01 00:00:00+00", 0),
        ("type", "Insert", 1),
        ("relation_oid", "7 public.goods", 1),
        ("new_kind", "N", 1),
        ("new", "2", 1),
        ("id", "4", 2),
        ("sku", "NULL", 2),
    ]
    assert [row.label.sql for row in trace.rows][-1] == "XLogData Insert public.goods"


def test_a_row_is_labelled_by_what_says_most(opened: Open) -> None:
    keepalive = streaming.PrimaryKeepalive(WalPosition(1), Moment(0), 0).wire()
    begin, commit = pgoutput.Begin(WalPosition(1), Moment(0), 9), pgoutput.Commit(0, WalPosition(1), WalPosition(1), Moment(0))
    status = sent("F", STATUS.wire())
    rows = [
        sent("B", keepalive),
        sent("B", keepalive) + log(begin),
        log(begin, ITEMS, insert(1), commit) + sent("B", keepalive) + log(insert(2)),
    ]
    trace = opened(START.format("") + status.join(rows))
    labels = [row.label.sql for row in trace.rows if row.received_bytes and row.shape.flight == "← d"]
    assert labels == ["Primary keepalive", "XLogData Begin", "XLogData Insert public.items"]


def test_a_streamed_transaction_goes_on_over_rows(opened: Open) -> None:
    start, stop = pgoutput.StreamStart(9, 1), pgoutput.StreamStop()
    trace = opened(
        START.format(", streaming 'on'")
        + log(start)
        + log(ITEMS, insert(1), xid=9)
        + sent("F", STATUS.wire())
        + log(insert(2), xid=9)
        + sent("F", STATUS.wire())
        + log(stop)
        + log(insert(3))
        + sent("F", STATUS.wire())
        + log(insert(4))
        + log(start)
        + "F CopyDone\n"
        + log(insert(5), xid=9)
        + "B CopyDone | CommandComplete COPY 0 | CommandComplete START_REPLICATION | ReadyForQuery I\n"
    )
    assert [argument for argument in arguments(trace) if argument.startswith("Insert")] == [
        f"Insert public.items ({n}, NULL)" for n in range(1, 6)
    ]
    streamed = [field.value for message in copied(trace) for field in message.fields() if field.name == "xid"]
    assert streamed.count("9") == 6  # two Stream Starts, a Relation and three of the Inserts


def test_a_stream_is_rows_of_a_bounded_number_of_messages(opened: Open) -> None:
    count = 2 * RUN_KEPT + 1
    trace = opened(START.format("") + "".join(log(insert(number)) for number in range(count)))
    rows = [copied(trace, place) for place in range(len(trace.rows))]
    assert [len(row) for row in rows if row] == [RUN_KEPT, RUN_KEPT, 1]
    assert all(message.count == 1 for row in rows for message in row)
    assert trace.totals().copy_out_messages == count


def test_what_is_stray_after_a_stream_is_nobody_s(opened: Open) -> None:
    script = (
        START.format("")
        + "F CopyDone\nB CopyDone | CommandComplete COPY 0 | CommandComplete X | ReadyForQuery I\n"
        + sent("F", STATUS.wire())
    )
    assert details.read(opened(script + "F Terminate\n"), 3).messages[0].inside is None
    lost = opened(START.format("") + "gap 100\n" + sent("B", STATUS.wire()))
    assert all(message.inside is None for message in copied(lost))


def test_rows_are_counted_over_messages_cut_anywhere(opened: Open) -> None:
    trace = opened(
        "F Query COPY t FROM STDIN (FORMAT csv, HEADER)\nB CopyInResponse\n"
        + sent("F", b'id,"a\nb"\n1,x\n2,"y', b'\nz"\n3', b",w")
        + "F CopyDone\nB CommandComplete COPY 3 | ReadyForQuery I\n"
    )
    assert arguments(trace) == ['1 row  id,"a\nb"\n1,x\n2,"y', '1 row  \nz"\n3', "no end of a row  ,w", "3 rows"]
    assert trace.totals().copy_in_rows == 3
    names = [field.name for message in copied(trace) for field in message.fields()]
    assert names == [
        "length",
        "header",
        "row 1",
        "row 2, a part",
        "length",
        "row 2, its end",
        "row 3, a part",
        "length",
        "row 3, a part",
        "length",
    ]
    shown = [message for row in rows_as_json(trace, range(len(trace.rows))) for message in row["messages"] if message["type"] == "CopyData"]
    assert [message["rows"] for message in shown] == [1, 1, 0]


def test_rows_of_several_copies_of_one_query(opened: Open) -> None:
    trace = opened(
        "F Query COPY t TO STDOUT; COPY u TO STDOUT CSV; COPY v FROM STDIN\n"
        "B CopyOutResponse\n" + sent("B", b"1\n", b'"\n') + "B CopyDone | CommandComplete COPY 2 | CopyOutResponse\n"
        + sent("B", b'"\n"\n') + "B CopyDone | CommandComplete COPY 1 | CopyInResponse\n"
        + sent("F", b'"\n"\n') + "F CopyDone\nB CommandComplete COPY 2 | ReadyForQuery I\n"
    )  # fmt: skip
    assert [message.argument for message in copied(trace) if message.name == "CopyDone"] == ["2 rows", "1 row", "2 rows"]
    assert (trace.totals().copy_in_rows, trace.totals().copy_out_rows) == (2, 3)


def test_data_sent_ahead_of_its_response_is_that_copy_s(opened: Open) -> None:
    ahead = [f"Parse - COPY t FROM STDIN{csv} | Bind - - | Execute - | CopyData 1 | CopyDone | Sync" for csv in ("", " CSV")]
    trace = opened(
        f"F {' | '.join(ahead)}\n"
        "B ParseComplete | BindComplete | CopyInResponse | CommandComplete COPY 1 | ReadyForQuery I\n"
        "B ParseComplete | BindComplete | CopyInResponse | CommandComplete COPY 1 | ReadyForQuery I\n"
    )
    assert arguments(trace) == ["no end of a row  1", "1 row", "no end of a row  1", "1 row"]
    refused = opened(
        "F Parse - COPY t FROM STDIN | Bind - - | Execute - | CopyData 1 | CopyDone | Sync\nB ErrorResponse 42P01 no t | ReadyForQuery I\n"
    )
    assert arguments(refused) == ["1", ""]


def test_a_message_that_is_not_kept_whole_ends_the_counting(opened: Open) -> None:
    line = b"x" * 300_000 + b"\n"
    trace = opened(
        "F Query COPY t FROM STDIN\nB CopyInResponse\n"
        + sent("F", b"1\n", line, b"2\n")
        + "F CopyDone\nB CommandComplete COPY 3 | ReadyForQuery I\n"
    )
    assert [message.inside.rows if message.inside else None for message in copied(trace)] == [1, None, None, None]
    assert trace.totals().copy_in_rows == 3


def test_a_long_run_of_copy_data_keeps_its_rows(opened: Open) -> None:
    many = "F Query COPY t TO STDOUT\nB CopyOutResponse\n" + sent("B", *(b"1\n" for _ in range(3 * RUN_KEPT)))
    trace = opened(many + f"B CopyDone | CommandComplete COPY {3 * RUN_KEPT} | ReadyForQuery I\n")
    *_, run, done = copied(trace)
    assert run.inside is not None
    assert (run.count, run.inside.rows) == (2 * RUN_KEPT + 1, 2 * RUN_KEPT + 1)
    assert done.argument == f"{3 * RUN_KEPT} rows"


def test_a_new_archive_is_never_lost_in_a_run(opened: Open) -> None:
    data = [b"d" + bytes(100)] * (RUN_KEPT + 50)
    trace = opened(
        "F Query BASE_BACKUP\nB CopyOutResponse\n"
        + sent("B", b"nbase.tar\0\0", *data, b"n16390.tar\0/srv\0", *data, b"m", *data, b"p" + bytes(8), b"?")
        + "B CopyDone | CommandComplete BASE_BACKUP | ReadyForQuery I\n"
    )
    told = copied(trace)
    assert [one.argument for one in told if one.inside and one.inside.stands_out] == [
        "new archive base.tar",
        "new archive 16390.tar of /srv",
        "manifest",
    ]
    assert sum(one.count for one in told if one.name == "CopyData") == 3 * len(data) + 5


@pytest.mark.parametrize(
    "asked",
    [
        START.format(", streaming 'on'"),
        "F Query START_REPLICATION 0/0\nB CopyBothResponse\n",
        "F Query START_REPLICATION SLOT s LOGICAL 0/0\nB CopyBothResponse\n",
        "F Query BASE_BACKUP\nB CopyOutResponse\n",
        "F Query COPY t TO STDOUT\nB CopyOutResponse\n",
        "F Query COPY t TO STDOUT CSV\nB CopyOutResponse\n",
        "F Query COPY t TO STDOUT\nraw B480000000701" + "0000\n",
    ],
)
def test_no_bytes_raise(opened: Open, asked: str) -> None:
    """Nor does a byte of them go missing among the fields."""
    rnd = random.Random(asked)
    heads = [b"", b"w" + bytes(24), b"w", b"k", b"n", b"p", SIGNATURE, SIGNATURE + bytes(8)]
    heads += [b"w" + bytes(24) + bytes([kind.code]) + kind.EXAMPLE for kind in pgoutput.MESSAGES]
    bodies = [rnd.choice(heads)[: rnd.choice((1, 26, 40, 99))] + rnd.randbytes(rnd.randint(0, 30)) for _ in range(400)]
    trace = opened(asked + "".join(sent("B", *bodies[start : start + 20]) for start in range(0, 400, 20)))
    messages = copied(trace)
    assert sum(message.count for message in messages) == len(bodies)
    for message in messages:
        assert isinstance(message.argument, str)
        fields = message.fields()
        assert fields[0].name == "length"
        assert [field.start for field in fields[1:]] == [field.end for field in fields[:-1]]
        assert fields[-1].end == 5 + len(message.body)
