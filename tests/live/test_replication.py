"""Replication through the recorder: a real walsender and real clients, and what the CopyData between them is read as.

The clients are psycopg2's replication connections, for logical streams of every shape, and
PostgreSQL's own pg_receivewal and pg_basebackup. What was done to the tables is what the decoded
changes have to say; each message is built back to the bytes that passed.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import psycopg2
import psycopg2.extras
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.describe.copy_messages import Change
from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import replication
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.replication import Family, pgoutput, streaming
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace

TraceOf = Callable[[Recorder], Trace]
END = "select pg_logical_emit_message(true, 'end', '')"
"""What a stream is read up to."""


@pytest.fixture
def database(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A direct connection, tables and a publication of all of them."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            "create type mood as enum ('sad', 'happy');"
            "create table items (id int primary key, sku text, price numeric, feeling mood);"
            "create table whole (id int, body text); alter table whole replica identity full;"
            "alter table items alter sku set storage external;"
            "create publication everything for all tables"
        )
        yield connection
        connection.execute("drop publication everything; drop table items, whole; drop type mood")
        connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots")


def stream(server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, work: list[str], **options: str) -> None:
    """Create a slot, do the work, and stream it with pgoutput up to its end."""
    client = psycopg2.connect(server.url(proxy.host, proxy.port), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = client.cursor()
    two_phase = options.pop("two_phase", "")
    cursor.execute(f'CREATE_REPLICATION_SLOT "through" LOGICAL pgoutput {two_phase}')
    for sql in [*work, END]:
        database.execute(sql)
    wanted = {"proto_version": "1", "publication_names": "everything", "messages": "true", **options}
    cursor.start_replication(slot_name="through", decode=False, options=wanted)
    while True:
        message = cursor.read_message()
        if message is None:
            assert any(select.select([client], [], [], 30))
        elif message.payload[:1] == b"M" and b"end\0" in message.payload:
            break
        else:
            cursor.send_feedback(flush_lsn=message.data_start)
    cursor.send_feedback(force=True)
    client.close()


def copy_data(trace: Trace, side: int) -> list[MessageView]:
    """Every CopyData of a side, over all rows."""
    messages = [message for place in range(len(trace.rows)) for message in details.read(trace, place).messages]
    return [message for message in messages if message.code == ord("d") and message.side == side]


def changes(trace: Trace) -> list[str]:
    """What pgoutput's messages are about, without their places in the log; each is built back to the same bytes on the way."""
    found = []
    for message in copy_data(trace, BACKEND):
        outer = replication.find(Family.STREAMING, BACKEND, message.body)
        assert outer is not None
        assert outer.parse(message.body[1:]).wire() == message.body
        assert not any(field.name == "malformed" for field in message.fields())
        inside = message.inside
        if isinstance(inside, Change):
            xid = message.body[26:30] if inside.in_stream and inside.kind.IN_STREAM else b""
            data = message.body[25:26] + message.body[26 + len(xid) :]
            assert inside.kind.parse(data[1:]).wire() == data
            found.append(re.sub(r"^XLogData [0-9A-F]+/[0-9A-F]+ ", "", message.argument))
    return found


def without_positions(text: str) -> str:
    return re.sub(r"\b[0-9A-F]+/[0-9A-F]+\b", "…", re.sub(r"\bxid \d+", "xid …", text))


def test_changes_are_told_with_the_names_and_types_of_their_tables(
    server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf
) -> None:
    work = [
        "insert into items values (1, 'SKU-1', 9.90, 'happy'), (2, null, null, null)",
        f"update items set sku = '{'x' * 3000}' where id = 1",
        "update items set price = 1, feeling = 'sad' where id = 1",
        "update items set id = 3 where id = 2",
        "delete from items where id = 3",
        "insert into whole values (1, 'it''s')",
        "update whole set body = '' where id = 1",
        "delete from whole",
        "truncate items, whole restart identity cascade",
        "select pg_logical_emit_message(true, 'audit', 'hello')",
        "alter table items rename to goods",
        "insert into goods values (7, 'a', 1.5, null)",
        "alter table goods rename to items",
    ]
    stream(server, proxy, database, work)
    trace = trace_of(proxy)
    told = [without_positions(change) for change in changes(trace)]
    items = "(id int4, sku text, price numeric, feeling oid …)"
    told = [re.sub(r"oid \d+", "oid …", change) for change in told]
    long = "x" * 3000
    assert [change for change in told if not change.startswith(("Begin", "Commit"))] == [
        "Type public.mood",
        f"Relation public.items {items}",
        "Insert public.items (1, 'SKU-1', 9.90, 'happy')",
        "Insert public.items (2, NULL, NULL, NULL)",
        f"Update public.items (1, '{long}', 9.90, 'happy')",
        "Update public.items (1, unchanged, 1, 'sad')",
        "Update public.items key (2) (3, NULL, NULL, NULL)",
        "Delete public.items key (3)",
        "Relation public.whole (id int4, body text)",
        "Insert public.whole (1, 'it''s')",
        "Update public.whole old (1, 'it''s') (1, '')",
        "Delete public.whole old (1, '')",
        "Type public.mood",  # truncation gives tables new files, and whatever changes a table makes the server describe it again
        f"Relation public.items {items}",
        "Relation public.whole (id int4, body text)",
        "Truncate public.items, public.whole CASCADE RESTART IDENTITY",
        "Message audit hello",
        "Type public.mood",
        f"Relation public.goods {items}",
        "Insert public.goods (7, 'a', 1.5, NULL)",
        "Message end",
    ]
    begins, commits = (sum(change.startswith(word) for change in told) for word in ("Begin xid …", "Commit …"))
    assert begins == len(work) - 2 + 1  # renaming changes no row
    assert commits in (begins - 1, begins)
    insert = next(message for message in copy_data(trace, BACKEND) if "Insert public.items (1" in message.argument)
    fields = {field.name: field.value for field in insert.fields()}
    assert fields["id"] == "1"
    assert fields["sku"] == "'SKU-1'"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\+00", fields["clock"])
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", fields["wal_start"])


def test_binary_values_are_decoded_by_the_types_of_the_relation(
    server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf
) -> None:
    stream(server, proxy, database, ["insert into items values (258, 'é', 12.50, null)"], binary="true")
    trace = trace_of(proxy)
    assert "Insert public.items (258, 'é', 12.50, NULL)" in changes(trace)
    insert = next(message for message in copy_data(trace, BACKEND) if "Insert" in message.argument)
    kinds = [field.wire_type for field in insert.fields() if field.depth == 2]
    assert kinds[:3] == ["int4 binary", "text binary", "numeric binary"]
    assert re.fullmatch(r"oid \d+", kinds[3])  # NULL has no format


@pytest.mark.parametrize("mode", ["on", "parallel"])
def test_transactions_streamed_before_they_end(
    server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf, mode: str
) -> None:
    """The xid before each change, savepoints and aborts included: nothing in the bytes tells that it is there."""
    many = "insert into items select n, 'SKU-' || n from generate_series({}, {}) n"
    stream(
        server,
        proxy,
        database,
        [
            "alter system set logical_decoding_work_mem = '64kB'",
            "select pg_reload_conf()",
            f"begin; {many.format(1, 1500)}; savepoint s; {many.format(2001, 3500)}; rollback to s; {many.format(4001, 4010)}; commit",
            f"begin; {many.format(8001, 9500)}; rollback",
        ],
        proto_version="4" if mode == "parallel" else "2",
        streaming=mode,
    )
    database.execute("alter system reset logical_decoding_work_mem")
    database.execute("select pg_reload_conf()")
    trace = trace_of(proxy)
    told = changes(trace)
    counts = Counter(" ".join(change.split()[:2]) if change.startswith("Stream") else change.split()[0] for change in told)
    assert counts["Stream Start"] == counts["Stream Stop"] > 5
    assert counts["Stream Commit"] == 1
    assert counts["Stream Abort"] >= 1
    assert counts["Insert"] >= 1510
    inserted = [change for change in told if change.startswith("Insert")]
    assert all(re.fullmatch(r"Insert public\.items \(\d+, 'SKU-\d+', NULL, NULL\)", change) for change in inserted)
    aborts = [message for message in copy_data(trace, BACKEND) if "Stream Abort" in message.argument]
    kinds = {message.inside.kind for message in aborts if isinstance(message.inside, Change)}
    assert kinds == {pgoutput.ParallelStreamAbort if mode == "parallel" else pgoutput.StreamAbort}


def test_prepared_transactions(server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf) -> None:
    work = [
        "begin; insert into items values (1); prepare transaction 'kept'",
        "commit prepared 'kept'",
        "begin; insert into items values (2); prepare transaction 'dropped'",
        "rollback prepared 'dropped'",
    ]
    stream(server, proxy, database, work, proto_version="3", two_phase="(TWO_PHASE)")
    told = [without_positions(change) for change in changes(trace_of(proxy))]
    assert [change for change in told if "kept" in change or "dropped" in change] == [
        "Begin Prepare kept xid …",
        "Prepare kept xid …",
        "Commit Prepared kept xid …",
        "Begin Prepare dropped xid …",
        "Prepare dropped xid …",
        "Rollback Prepared dropped xid …",
    ]


def test_origins(server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf) -> None:
    database.execute("select pg_replication_origin_create('elsewhere')")
    with psycopg.connect(server.url(), autocommit=True) as replaying:
        replaying.execute("select pg_replication_origin_session_setup('elsewhere')")
        transaction = "begin; select pg_replication_origin_xact_setup('0/ABCDEF', now()); insert into items values (1); commit"

        def as_origin(sql: str) -> None:
            replaying.execute(sql)

        created = psycopg2.connect(server.url(proxy.host, proxy.port), connection_factory=psycopg2.extras.LogicalReplicationConnection)
        created.close()
        stream(server, proxy, _Both(database, as_origin, transaction), [transaction])  # type: ignore[arg-type]
        replaying.execute("select pg_replication_origin_session_reset()")
    database.execute("select pg_replication_origin_drop('elsewhere')")
    assert "Origin elsewhere 0/ABCDEF" in changes(trace_of(proxy))


class _Both:
    """Runs one text over another connection."""

    def __init__(self, database: psycopg.Connection, other: Callable[[str], None], text: str) -> None:
        self.database, self.other, self.text = database, other, text

    def execute(self, sql: str) -> None:
        if sql == self.text:
            self.other(sql)
        else:
            self.database.execute(sql)


def test_a_stream_costs_no_round_trips(server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf) -> None:
    stream(server, proxy, database, [f"insert into items values ({number})" for number in range(300)])
    trace = trace_of(proxy)
    (connection,) = trace.connections
    counters = connection.counters(trace.end_ns)
    assert connection.kind == "replication"
    assert (counters.round_trips, counters.executions, counters.queries) == (2, 1, 2)
    assert counters.copy_out_messages == counters.backend_messages["CopyData"] > 900
    assert counters.copy_in_messages == counters.frontend_messages["CopyData"] >= 1
    assert (counters.copy_in_rows, counters.copy_out_rows) == (0, 0)
    assert len(copy_data(trace, BACKEND)) == counters.copy_out_messages
    standby = [message for message in copy_data(trace, FRONTEND) if message.inside is not None]
    assert len(standby) == counters.copy_in_messages
    assert {message.inside.title for message in standby if message.inside} == {"Standby status update"}
    labels = {row.label.sql for row in trace.rows}
    assert {"Standby status update", "XLogData Insert public.items"} < labels
    assert not any(label.startswith("CopyData") for label in labels)


def test_another_plugin_is_text(server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf) -> None:
    """Even where the options look like pgoutput's: the slot says which plugin it is. What is not
    known to be pgoutput is never read as it."""
    client = psycopg2.connect(server.url(proxy.host, proxy.port), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = client.cursor()
    cursor.create_replication_slot("plain", output_plugin="test_decoding")
    database.execute("insert into items values (1, 'a')")
    cursor.start_replication(slot_name="plain", decode=False)
    seen = b""
    while b"COMMIT" not in seen:
        message = cursor.read_message()
        seen = message.payload if message is not None else seen
        assert message is not None or any(select.select([client], [], [], 30))
    client.close()
    told = [message for message in copy_data(trace_of(proxy), BACKEND) if message.body[:1] == b"w"]
    insert = next(message for message in told if "INSERT" in message.argument)
    assert insert.argument.endswith("table public.items: INSERT: id[integer]:1 sku[text]:'a' price[numeric]:null feeling[mood]:null")
    assert insert.fields()[-1].value.startswith("table public.items: INSERT")


def test_pg_receivewal_reads_the_log_itself(
    server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    database.execute("select pg_switch_wal()")
    database.execute("set synchronous_commit = on")  # what was inserted is in the log's file when the insert is answered
    database.execute("insert into whole select n, repeat('x', 500) from generate_series(1, 2000) n")
    row = database.execute("select pg_current_wal_flush_lsn()").fetchone()
    assert row is not None
    database.execute("insert into whole values (0, 'so that there is more than what is asked for')")
    done = subprocess.run(
        [server.binaries / "pg_receivewal", "-D", log, "--no-sync", "--no-loop", "--endpos", row[0]],
        env=os.environ | server.environment(proxy.host, proxy.port),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    trace = trace_of(proxy)
    logs = [message for message in copy_data(trace, BACKEND) if message.body[:1] == b"w"]
    parsed = [streaming.XLogData.parse(message.body[1:]) for message in logs]
    assert all(
        message.argument == f"XLogData {part.wal_start} {len(part.data)} bytes of WAL" for message, part in zip(logs, parsed, strict=True)
    )
    (segment,) = log.iterdir()
    written = segment.read_bytes()
    first = parsed[0].wal_start
    asked_for = int(row[0].partition("/")[2], 16)
    read = [part for part in parsed if part.wal_start < asked_for]  # the client writes no more when it has what it was asked for
    assert read[-1].wal_end >= asked_for
    for part in read:
        assert written[part.wal_start - first : part.wal_start - first + len(part.data)] == part.data
    asked = [message.argument for message in copy_data(trace, FRONTEND)]
    assert all(argument.startswith("Standby status update written ") for argument in asked)
    streamed = next(one for one in trace.connections if one.counters(trace.end_ns).copy_out_messages)
    counters = streamed.counters(trace.end_ns)
    assert streamed.kind == "replication"
    assert counters.executions == counters.queries


def test_pg_basebackup_s_archives_and_manifest(
    server: EmbeddedServer, proxy: Recorder, database: psycopg.Connection, trace_of: TraceOf, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            server.binaries / "pg_basebackup",
            "-D",
            tmp_path / "backup",
            "-Ft",
            "-X",
            "none",
            "-r",
            "20M",
            "--progress",
            "--checkpoint=fast",
            "--no-sync",
        ],
        env=os.environ | server.environment(proxy.host, proxy.port),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trace = trace_of(proxy)
    messages = copy_data(trace, BACKEND)
    titles = Counter()
    for message in messages:
        assert message.inside is not None
        titles[message.inside.title] += message.count
    assert (titles["new archive"], titles["manifest"]) == (1, 1)
    assert [message.argument for message in messages if message.inside and message.inside.stands_out] == [
        "new archive base.tar",
        "manifest",
    ]
    with tarfile.open(tmp_path / "backup" / "base.tar") as archive:
        assert "PG_VERSION" in archive.getnames()
    (connection,) = trace.connections
    counters = connection.counters(trace.end_ns)
    assert connection.kind == "replication"
    assert counters.executions == counters.queries
    assert counters.copy_out_messages == sum(message.count for message in messages)
    assert counters.copy_out_rows == 0
