"""The sockets of a server: many drivers at once, one that does not read, ends, time."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pgtrace.address import Listen, parse_listen
from pgtrace.errors import ListenError
from pgtrace.protocol.codes import FRONTEND
from pgtrace.serve import server as module
from pgtrace.serve.server import Server
from tests.corpus import NIGHTLY
from tests.playbook import wire, write
from tests.serve.served import START, recording_of

SCRIPT = """
F StartupMessage user=app database=shop
B AuthenticationOk | ParameterStatus server_version 18.6 | BackendKeyData 4711 7777 | ReadyForQuery I
F Query SELECT 1
B RowDescription a:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
F Terminate
close F
"""
ASKS = wire(FRONTEND, "Query SELECT 1")
LEAVES = wire(FRONTEND, "Terminate")
KEY_AT = slice(9 + 25 + 9, 9 + 25 + 13)
"""Where the cancel key's secret is in the answer to the start-up."""
STARTED = 9 + 25 + 13 + 6
"""Bytes of that answer."""


@asynccontextmanager
async def serving(path: Path, listen: Listen = Listen(("127.0.0.1",), 0), **options: object) -> AsyncIterator[Server]:  # noqa: B008
    recording = recording_of(path)
    server = Server(recording, **options)  # type: ignore[arg-type]
    await server.listen(listen)
    try:
        yield server
    finally:
        await server.close()
        recording.close()


async def talk(port: int, *sent: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(sent))
    found = await reader.read()
    writer.close()
    return found


async def test_served_twice_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    async with serving(path) as server:
        answers = [bytearray(await talk(server.port, wire(FRONTEND, START), ASKS, LEAVES)) for _ in range(2)]
    assert answers[0] != answers[1]
    for answer in answers:
        assert answer[KEY_AT.start - 9 : KEY_AT.start - 4] == b"K\0\0\0\x0c"
        answer[KEY_AT] = bytes(4)
    assert answers[0] == answers[1]
    assert answers[0].endswith(b"Z\0\0\0\x05I")


async def test_200_connections_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    taken: list[tuple[int, int]] = []
    async with serving(path, on_repeat=lambda *one: taken.append(one)) as server:
        streams = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)))
        for reader, writer in streams:
            writer.write(wire(FRONTEND, START))
            await reader.readexactly(STARTED)
        for _, writer in streams:
            writer.write(ASKS + LEAVES)
        answers = [await reader.read() for reader, _ in streams]
        assert len(set(answers)) == 1
        assert len(answers[0]) == 27 + 12 + 14 + 6
        for _, writer in streams:
            writer.close()
    assert [recorded for _, recorded in taken] == [1] * 199


async def test_1000_connects_take_a_second_of_work(tmp_path: Path) -> None:
    """Of this process, which is the server and its clients: how long it waits for others is not counted."""
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    async with serving(path) as server:
        begun = time.process_time()
        for _ in range(10):
            await asyncio.gather(*(talk(server.port, wire(FRONTEND, START), ASKS, LEAVES) for _ in range(100)))
        took = time.process_time() - begun
    print(f"\n1,000 connections: {took:.2f} s of work, clients included")
    assert took < 2


COPIED = 512 * 1024 * 1024 if NIGHTLY else 64 * 1024 * 1024
PIECE = 1024 * 1024


def long_copy(path: Path, code: bytes, answer: bytes) -> Path:
    """A recorded COPY of COPIED bytes, written as the recorder writes it."""
    from pgtrace.capture.record import Data, Open
    from pgtrace.capture.versions import VERSION, Header
    from pgtrace.capture.writer import CaptureWriter
    from pgtrace.protocol.codes import BACKEND

    writer = CaptureWriter(path, header=Header(VERSION, b"mark", 1, 1, "1", ""))
    at = [0, 0]

    def data(side: int, piece: bytes) -> None:
        writer.write([Data(2, 1, side, at[side], piece)])
        at[side] += len(piece)

    writer.write([Open(1, 1, "", "", "", "", 1)])
    data(FRONTEND, wire(FRONTEND, START))
    data(BACKEND, b"".join(wire(BACKEND, line) for line in ("AuthenticationOk", "ReadyForQuery I")))
    data(FRONTEND, wire(FRONTEND, f"Query COPY {code.decode()}"))
    data(BACKEND, code + b"\0\0\0\x07\0\0\0")
    side = FRONTEND if code == b"G" else BACKEND
    message = b"d" + (PIECE + 4).to_bytes(4, "big") + bytes(PIECE)
    for _ in range(COPIED // PIECE):
        data(side, message)
    data(side, b"c\0\0\0\x04")
    data(BACKEND, answer)
    data(FRONTEND, LEAVES)
    writer.close()
    return path


ANSWER = b"C\0\0\0\x0bCOPY 1\0Z\0\0\0\x05I"


async def test_a_long_copy_out_waits_for_a_driver_that_does_not_read(tmp_path: Path) -> None:
    """What is not read stays on disk: memory does not grow with it."""
    path = long_copy(tmp_path / "out.pgtrace", b"H", ANSWER)
    async with serving(path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=64 * 1024)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.write(wire(FRONTEND, START) + wire(FRONTEND, "Query COPY H") + LEAVES)
        await reader.readexactly(9 + 6)
        size, last = 0, b""
        while piece := await reader.read(1024 * 1024):
            size += len(piece)
            last = (last + piece)[-len(ANSWER) :]
        writer.close()
    assert last == ANSWER
    assert size == 8 + (PIECE + 5) * (COPIED // PIECE) + 5 + len(ANSWER)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_a_long_copy_in_is_compared_in_pieces_of_any_size(tmp_path: Path) -> None:
    path = long_copy(tmp_path / "in.pgtrace", b"G", ANSWER)
    found: list[object] = []
    async with serving(path, on_mismatch=found.append) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(wire(FRONTEND, START) + wire(FRONTEND, "Query COPY G"))
        piece = 256 * 1024
        message = b"d" + (piece + 4).to_bytes(4, "big") + bytes(piece)
        for _ in range(COPIED // piece):
            writer.write(message)
            await writer.drain()
        writer.write(b"c\0\0\0\x04" + LEAVES)
        answer = await reader.read()
        writer.close()
    assert found == []
    assert answer.endswith(b"G\0\0\0\x07\0\0\0" + ANSWER)


async def test_recorded_waits_are_repeated_at_a_speed(tmp_path: Path) -> None:
    script = """
    0  F StartupMessage user=app database=shop
    1  B AuthenticationOk | ReadyForQuery I
    2  F Query SELECT 1
    402 B CommandComplete SELECT 1 | ReadyForQuery I
    403 F Terminate
    403 close F
    """
    path = write(tmp_path / "slow.pgtrace", script)

    async def seconds(timing: float) -> float:
        async with serving(path, timing=timing) as server:
            begun = time.monotonic()
            await talk(server.port, wire(FRONTEND, START), ASKS, LEAVES)
            return time.monotonic() - begun

    assert await seconds(0.5) >= 0.2
    fastest = await seconds(0.0)
    for _ in range(4):  # a busy machine takes its time now and then
        fastest = min(fastest, await seconds(0.0)) if fastest >= 0.2 else fastest
    assert fastest < 0.2


async def test_a_recorded_reset_is_a_reset(tmp_path: Path) -> None:
    script = """
    F StartupMessage user=app database=shop
    B AuthenticationOk | ReadyForQuery I
    F Query SELECT 1
    B DataRow 1
    c1 ends B RST
    c1 close B
    """
    path = write(tmp_path / "reset.pgtrace", script)
    async with serving(path) as server:
        with pytest.raises(ConnectionResetError):
            await talk(server.port, wire(FRONTEND, START), ASKS)


async def test_a_start_up_that_does_not_come_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTUP_S", 0.05)
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    async with serving(path) as server:
        assert await talk(server.port, wire(FRONTEND, START)[:9]) == b""


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    for _ in range(2):
        async with serving(path, parse_listen(f"unix:{tmp_path}")) as server:
            assert server.addresses == [f"unix:{tmp_path}/.s.PGSQL.6433"]
            place = tmp_path / ".s.PGSQL.6433"
            assert place.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(str(place))
            writer.write(wire(FRONTEND, START) + LEAVES)
            assert (await reader.read())[-6:] == b"Z\0\0\0\x05I"
            writer.close()
        assert not place.exists()


async def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "one.pgtrace", SCRIPT)
    async with serving(path) as server:
        with pytest.raises(ListenError, match="address already in use"):
            async with serving(path, Listen(("127.0.0.1",), server.port)):
                pass
