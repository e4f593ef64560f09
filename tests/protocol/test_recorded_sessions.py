"""Every message of whole sessions between real drivers and a real server: decoded, built back, mutated."""

from __future__ import annotations

import struct

import asyncpg
import psycopg
import pytest
from construct import ConstructError

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Made
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.framing import Framer
from pgtrace.protocol import codes, registry, values
from pgtrace.protocol.backend import RowDescription
from pgtrace.protocol.codes import BACKEND
from pgtrace.recorder import Recorder
from tests.protocol.message_mutants import mutants

pytestmark = pytest.mark.live


Messages = list[tuple[int, int, bytes, int]]
"""(side, code, body, authentication), connection after connection."""


async def record(recorder: Recorder, server: EmbeddedServer) -> Messages:
    """Simple and extended queries, a pipeline, COPY both ways, errors, notices, notifications, a portal in parts, under two drivers."""
    url = server.url(recorder.host, recorder.port)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE items (id int, sku text, price numeric)")
        with connection.cursor().copy("COPY items FROM STDIN") as copy:
            for number in range(50):
                copy.write_row((number, f"SKU-{number}", None))
        with connection.cursor().copy("COPY items TO STDOUT (FORMAT binary)") as copy:
            assert sum(len(block) for block in copy) > 50
        for binary in (False, True):
            rows = connection.execute("SELECT id, sku, price FROM items WHERE id < %s", [20], binary=binary).fetchall()
            assert len(rows) == 20
        with connection.pipeline():
            for number in range(5):
                connection.execute("SELECT %s::int, %s::text", [number, None], prepare=True)
        for wrong in ("SELECT 1/0", "SELECT * FROM missing"):
            try:
                connection.execute(wrong)
            except psycopg.Error:
                pass
        connection.execute("LISTEN orders; NOTIFY orders, '42'; SELECT 1; SELECT 2")
        connection.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        connection.execute("SET application_name = 'known'")
    other = await asyncpg.connect(url)
    async with other.transaction():
        cursor = await other.cursor("SELECT generate_series(1, $1::int)", 100)
        assert len(await cursor.fetch(10)) == 10
        assert len(await cursor.fetch(10)) == 10
    await other.close()
    recorder.flush()
    return messages(recorder)


def messages(recorder: Recorder) -> Messages:
    framers: dict[int, Framer] = {}
    authentication: dict[int, int] = {}
    found: Messages = []
    with CaptureReader(recorder.capture) as reader:
        while blocks := reader.read():
            for item in (item for block in blocks for item in block.records if isinstance(item, Data | Made)):
                side = item.side if isinstance(item, Data) else BACKEND
                for code, body, _ in framers.setdefault(item.connection, Framer()).feed(side, item.data):
                    if side == BACKEND and code == ord("R"):
                        authentication[item.connection] = codes.authentication_subtype(body)
                    found.append((side, code, body, authentication.get(item.connection, -1)))
    return found


async def test_every_message_of_real_sessions(proxy: Recorder, server: EmbeddedServer) -> None:
    found = await record(proxy, server)
    names = {codes.message_name(side, code, subtype) for side, code, _, subtype in found}
    assert len(found) > 250
    assert len(names) >= 34, sorted(names)
    for side, code, body, subtype in found:
        message = registry.decode(side, code, body, subtype)
        assert message.build() == body
        fields = registry.spans(side, code, body, subtype)
        assert "malformed" not in {field.name for field in fields}
        assert sum(field.end - field.start for field in fields) == len(body)


async def test_mutants_of_real_sessions(proxy: Recorder, server: EmbeddedServer) -> None:
    """Compiled and interpreted agree on what real messages become, too."""
    compared = 0
    for side, code, body, subtype in sorted(set(await record(proxy, server))):
        kind = registry.message_class(side, code, subtype)
        assert kind is not None
        for mutant in mutants(body, f"{side} {code} {len(body)}", 10):
            outcomes: list[object] = []
            for read in (kind.BODY.read, kind.BODY.read_interpreted):
                try:
                    outcomes.append(read(mutant))
                except (struct.error, ConstructError, ValueError, IndexError):
                    outcomes.append("refused")
            assert outcomes[0] == outcomes[1], mutant
            registry.spans(side, code, mutant, subtype)
            compared += 1
    assert compared > 1000


async def test_columns_of_real_sessions_have_names(proxy: Recorder, server: EmbeddedServer) -> None:
    described = [
        registry.decode(BACKEND, code, body) for side, code, body, _ in await record(proxy, server) if (side, code) == (BACKEND, ord("T"))
    ]
    columns = {
        (column.name, values.type_name(column.type_oid)) for row in described if isinstance(row, RowDescription) for column in row.columns
    }
    assert {("id", "int4"), ("sku", "text"), ("price", "numeric")} <= columns
