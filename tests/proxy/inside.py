"""A recorder's server inside the test's own process, where its failures can be counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from pgtrace.address import Host, Leg, Upstream
from pgtrace.capture.writer import CaptureWriter
from pgtrace.certificates import DriverTls
from pgtrace.exposure import Served
from pgtrace.proxy.server import Server
from pgtrace.proxy.tape import TICK_S, Tape
from pgtrace.proxy.writer_thread import WriterThread
from tests.proxy.recorded import ANY_PORT
from tests.proxy.wire import READY, STARTUP

T = TypeVar("T")


RUN_S = 60.0


def run(playing: Coroutine[Any, Any, T]) -> T:
    """Run it on uvloop. The limit of a test is a signal whose exception uvloop only logs, so what
    waits here needs a limit of its own."""

    async def limited() -> T:
        async with asyncio.timeout(RUN_S):
            return await playing

    return uvloop.run(limited())


@contextlib.asynccontextmanager
async def served(path: Path, upstream: Upstream, **options: Any) -> AsyncIterator[Server]:
    """A server; at the end its sessions are over, and nothing of ours has failed."""
    loop = asyncio.get_running_loop()
    tape = Tape(loop.call_soon_threadsafe, b"key")
    server = Server([(Leg(ANY_PORT, upstream), Served.ALL)], tape, **({"tls": DriverTls(), "startup_timeout_s": 0.3} | options))
    loop.set_exception_handler(lambda _, context: server.log.failed(context.get("exception") or RuntimeError(context["message"])))
    tape.writer = WriterThread(CaptureWriter(path))
    await server.start()
    ticking = loop.create_task(_tick(server, tape))
    try:
        yield server
        async with asyncio.timeout(20):
            await server.sessions.idle.wait()
    finally:
        ticking.cancel()
        server.stop_listening()
        assert tape.writer.finish(20)
    assert server.log.failures == 0


async def session(path: Path) -> None:
    """A session of a driver that sends nothing but its start-up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(STARTUP))
        writer.write(READY)
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream((Host("127.0.0.1", listening.sockets[0].getsockname()[1]),), sslmode="disable")
    async with served(path, upstream) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listeners[0].port)
        writer.write(STARTUP)
        await reader.readexactly(len(READY))
        writer.close()
    listening.close()


async def _tick(server: Server, tape: Tape) -> None:
    while True:
        server.sessions.pauses.tick()
        tape.tick()
        await asyncio.sleep(TICK_S)
