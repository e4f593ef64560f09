"""A replay in one event loop: connections open, send and close as they were recorded.

- libpq logs in (`psycopg.pq`), with its services, passwords and SCRAM. Then its socket is taken
  over, and recorded bytes are written to it. The Recorder is in between, so libpq needs no TLS.
- With a speed, everything is sent at its recorded time divided by the speed, or as soon as what it
  waited for is there. At `max` there is no clock; a connection opens when those that had been
  closed before it have been closed.
- A recorded CancelRequest is sent again, by libpq, as long after its statement as it was recorded.

A connection that cannot be opened, or that the server ends, does not end the others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

from pgtrace.errors import MissingExtra, UpstreamError
from pgtrace.replay.plan import Plan, Unit
from pgtrace.replay.player import Player

MAX: Final = 0.0
"""The speed without a clock."""
_FOREVER_NS: Final = 1 << 62
_LOGINS: Final = 8
_CANCEL_AT_MAX_NS: Final = 100_000_000
_OURS: Final = frozenset({"user", "database", "options", "replication", "application_name", "client_encoding"})
_FAILURES_KEPT: Final = 100
_LOOK_S: Final = 0.1
"""How often Ctrl-C is looked for."""


class Replay:
    """Plays plans against the server at a conninfo string."""

    def __init__(self, plans: list[Plan], login: str, *, speed: float = 1.0, read_only: bool = False) -> None:
        """`login` is what libpq connects with: the recorder, and the user's own login. Raises
        MissingExtra."""
        try:
            from psycopg import conninfo, pq
        except ImportError:
            raise MissingExtra("replay", "replay") from None
        self._pq: Any = pq
        self._make = conninfo.make_conninfo
        self._plans = sorted(plans, key=lambda plan: plan.script.opened_ns)
        self._login = login
        self._read_only = read_only
        self.speed = speed
        self.units = sum(plan.units for plan in plans)
        self.failures: list[str] = []
        """Why connections could not be opened, or ended early."""
        self.failed = 0
        self.lost = 0
        """Connections that the server ended before everything was sent."""
        self.cancels = 0
        self.stopped = False
        self._played = 0
        self._open: set[_Connection] = set()
        self._closed: set[int] = set()
        self._closes = sorted((plan.script.ended_ns, index) for index, plan in enumerate(self._plans))
        self._prefix = 0
        self._changed: asyncio.Event | None = None
        self._logins = ThreadPoolExecutor(_LOGINS, "login")
        self._started_ns = 0
        self._first_ns = min((plan.script.opened_ns for plan in plans), default=0)

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        now = sum(connection.player.sent for connection in list(self._open))
        return (self._played + now) / max(1, self.units)

    def stop(self) -> None:
        """End soon. Any thread may ask."""
        self.stopped = True

    async def run(self) -> None:
        """Play everything. Raises UpstreamError if no connection could be opened."""
        loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._started_ns = time.monotonic_ns()
        tasks: set[asyncio.Task[None]] = set()
        for index, plan in enumerate(self._plans):
            await self._turn_of(plan)
            if self.stopped:
                break
            task = loop.create_task(self._play(index, plan))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        while tasks:
            await asyncio.wait(tasks, timeout=0.1)
            if self.stopped:
                for connection in list(self._open):
                    connection.leave()
        self._logins.shutdown(wait=False)
        if self.failed and self.failed == len(self._plans):
            raise UpstreamError("the server", self.failures[0])

    def until_ns(self) -> int:
        """The recorded time that it is now."""
        if self.speed == MAX:
            return _FOREVER_NS
        return self._first_ns + round((time.monotonic_ns() - self._started_ns) * self.speed)

    def seconds_to(self, recorded_ns: int) -> float:
        """How long until a recorded time comes."""
        return max(0.0, (recorded_ns - self.until_ns()) / 1e9 / self.speed)

    def cancel(self, pgconn: Any, unit: Unit) -> None:
        """Cancel a statement as long after it was sent as it was recorded."""
        self.cancels += 1
        delay_ns = unit.cancel_ns / self.speed if self.speed != MAX else min(unit.cancel_ns, _CANCEL_AT_MAX_NS)
        cancel = pgconn.get_cancel()
        loop = asyncio.get_running_loop()
        loop.call_later(delay_ns / 1e9, lambda: loop.run_in_executor(self._logins, cancel.cancel))

    async def _turn_of(self, plan: Plan) -> None:
        """Wait until a connection may be opened."""
        assert self._changed is not None
        if self.speed != MAX:
            while not self.stopped and (seconds := self.seconds_to(plan.script.opened_ns)) > 0:
                await self._wait(seconds)
            return
        before = bisect_left(self._closes, (plan.script.opened_ns, -1))
        while not self.stopped and not self._have_closed(before):
            await self._wait(_LOOK_S)

    async def _wait(self, seconds: float) -> None:
        """Wait until a connection has closed, or that long, or a moment."""
        assert self._changed is not None
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), min(seconds, _LOOK_S))
        except TimeoutError:
            pass

    def _have_closed(self, number: int) -> bool:
        while self._prefix < len(self._closes) and self._closes[self._prefix][1] in self._closed:
            self._closed.discard(self._closes[self._prefix][1])
            self._prefix += 1
        return self._prefix >= number

    async def _play(self, index: int, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        pgconn = None
        try:
            pgconn = await loop.run_in_executor(self._logins, self._connect, plan)
            if pgconn.status != self._pq.ConnStatus.OK:
                self.failed += 1
                self._fails(plan, pgconn.error_message.decode("utf-8", "replace").strip())
                return
            taken = socket.socket(fileno=os.dup(pgconn.socket))
            taken.setblocking(False)
            _, protocol = await loop.create_connection(lambda: _Connection(self, plan, pgconn), sock=taken)
            self._open.add(protocol)
            await protocol.ended
            self._open.discard(protocol)
            self._played += protocol.player.sent
            if protocol.lost:
                self.lost += 1
                self._fails(plan, "the server ended it before everything was sent")
        except OSError as error:
            self.failed += 1
            self._fails(plan, error.strerror or str(error))
        finally:
            if pgconn is not None:
                pgconn.finish()
            self._closed.add(index)
            if self._changed is not None:
                self._changed.set()

    def _fails(self, plan: Plan, why: str) -> None:
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(f"recorded connection {plan.script.number}: {why}")

    def _connect(self, plan: Plan) -> Any:
        """Log in, with the recorded settings and our own user."""
        recorded = dict(plan.script.parameters)
        options = [recorded["options"]] if recorded.get("options") else []
        options += [
            f"-c {name}={_escaped(value)}" for name, value in recorded.items() if name not in _OURS and not name.startswith("_pq_.")
        ]
        options += ["-c default_transaction_read_only=on"] if self._read_only else []
        said: dict[str, Any] = {"sslmode": "disable", "gssencmode": "disable"}
        if options:
            said["options"] = " ".join(options)
        if recorded.get("application_name"):
            said["application_name"] = recorded["application_name"]
        if encoding := recorded.get("client_encoding", "").strip("'"):
            said["client_encoding"] = encoding
        return self._pq.PGconn.connect(self._make(self._login, **said).encode())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


class _Connection(asyncio.Protocol):
    """One connection's socket."""

    def __init__(self, replay: Replay, plan: Plan, pgconn: Any) -> None:
        self.player = Player(plan)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        self._replay = replay
        self._pgconn = pgconn
        self._end_ns = plan.script.ended_ns
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._go_on()

    def data_received(self, data: bytes) -> None:
        reply = self.player.feed(data)
        if reply and self._transport is not None:
            self._transport.write(reply)
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.lost = not self.player.done and not self.ended.done()
        self._end()

    def leave(self) -> None:
        """End now."""
        self._end()

    def _go_on(self) -> None:
        if self._transport is None or self._timer is not None:
            return
        player, replay = self.player, self._replay
        data = player.ready_units(replay.until_ns())
        if data:
            self._transport.write(data)
        while player.cancels:
            replay.cancel(self._pgconn, player.cancels.pop())
        if player.done:
            self._wait_until(self._end_ns, self._end)
        elif replay.speed != MAX and player.next is not None:
            self._wait_until(player.next[0].sent_ns, self._go_on)

    def _wait_until(self, recorded_ns: int, then: Callable[[], None]) -> None:
        seconds = self._replay.seconds_to(recorded_ns) if self._replay.speed != MAX else 0.0
        if seconds <= 0:
            if then == self._end:
                then()
            return

        def later() -> None:
            self._timer = None
            then()

        self._timer = asyncio.get_running_loop().call_later(seconds, later)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            # libpq says Terminate, on the same socket
            self._pgconn.finish()
            if self._transport is not None:
                self._transport.close()
            self.ended.set_result(None)
