"""The sockets of `pgtrace serve`: one Connection for each driver, one event loop for all.

session.py handles the protocol; this module reads bytes, and writes the outputs in order. Answers
that a driver does not read stay in the recording's file: at most WRITTEN_BYTES per connection are
in memory, and while a driver does not read, nothing is read from it either.

`timing` is the factor on recorded waits: 1 for real time, 0 for none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Final, cast

from pgtrace.address import Listen, bound_path, display_address, socket_path
from pgtrace.errors import ListenError
from pgtrace.serve.anyorder import Units
from pgtrace.serve.choice import Choice
from pgtrace.serve.mismatch import Mismatch
from pgtrace.serve.recording import Recording
from pgtrace.serve.replies import AwaitCancel, Copy, End, Pause, Send
from pgtrace.serve.scram import Verifier
from pgtrace.serve.session import Keys, Session

STARTUP_S: Final = 60.0
"""How long a driver has for its start-up."""
WRITTEN_BYTES: Final = 256 * 1024
_BACKLOG: Final = 1024


class Server:
    """Serves a recording. All of it runs in one event loop."""

    def __init__(
        self,
        recording: Recording,
        *,
        verifier: Verifier | None = None,
        timing: float = 0.0,
        on_mismatch: Callable[[Mismatch], None] = lambda _: None,
        on_repeat: Callable[[int, int], None] = lambda _, __: None,
        on_refused: Callable[[int, str], None] = lambda _, __: None,
    ) -> None:
        """`on_mismatch` is called with each mismatch; `on_repeat` for each connection that gets a
        used recorded one, with both numbers; `on_refused` with number and user of each connection
        whose password is wrong.
        """
        self.recording = recording
        self.choice = Choice(recording)
        self.addresses: list[str] = []
        """The addresses on which it listens."""
        self.port = 0
        self.connections = 0
        """Drivers' connections that got through start-up."""
        self.mismatches = 0
        self.unstarted = 0
        """Connections that ended before a start-up."""
        self.timing = timing
        self._verifier = verifier
        self._units = Units(recording) if recording.options.any_order else None
        self._keys = Keys()
        self._on_mismatch = on_mismatch
        self._on_repeat = on_repeat
        self._on_refused = on_refused
        self._accepted = 0
        self._open: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._socket_file = ""

    @property
    def unrequested(self) -> int:
        """Recorded requests that no driver has asked for."""
        return self._units.unrequested if self._units is not None else self.recording.unrequested

    async def listen(self, listen: Listen) -> None:
        """Begin to listen. Raises ListenError."""
        loop = asyncio.get_running_loop()
        self.port = listen.port
        try:
            if listen.unix is not None:
                path = socket_path(listen.unix, listen.port)
                if not listen.is_abstract:
                    self._socket_file = _free(path)
                self._servers.append(await loop.create_unix_server(self._accept, bound_path(path), backlog=_BACKLOG))
                if not listen.is_abstract:
                    os.chmod(path, 0o600)
                self.addresses.append(f"unix:{path}")
                return
            for host in listen.hosts:
                await self._listen_on(host, optional=len(listen.hosts) > 1)
            if not self._servers:
                raise ListenError(listen.display, "no address of this machine")
        except OSError as error:
            # the system's reason; asyncio puts its own words around it
            reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
            raise ListenError(listen.display, reason.lower()) from None

    async def _listen_on(self, host: str, *, optional: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._accept, host, self.port, backlog=_BACKLOG)
        except OSError:
            if optional and self._servers:
                return  # the machine has no IPv6
            raise
        self._servers.append(server)
        for one in server.sockets:
            name = one.getsockname()
            self.port = self.port or name[1]
            self.addresses.append(display_address(name[0], name[1]))

    def _accept(self) -> Connection:
        self._accepted += 1
        return Connection(self, self._accepted)

    async def close(self) -> None:
        """Stop listening, and close what is open."""
        for server in self._servers:
            server.close()
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)
        if self._socket_file:
            with contextlib.suppress(OSError):
                os.unlink(self._socket_file)

    # What connections need.

    def session(self, number: int, wake: Callable[[], None]) -> Session:
        """A session for a new connection."""
        return Session(
            number,
            self.recording,
            self.choice,
            self._keys,
            units=self._units,
            verifier=self._verifier,
            on_mismatch=self._report_mismatch,
            on_repeat=lambda recorded: self._on_repeat(number, recorded),
            on_refused=lambda user: self._on_refused(number, user),
            wake=wake,
        )

    def opened(self, connection: Connection) -> None:
        """Called when a driver has connected."""
        self._open.add(connection)

    def closed(self, connection: Connection, session: Session) -> None:
        """Called when a driver has disconnected."""
        self._open.discard(connection)
        session.disconnected(hung_up=not connection.aborted)
        self.connections += session.ready
        self.unstarted += not session.began

    def _report_mismatch(self, mismatch: Mismatch) -> None:
        self.mismatches += 1
        self._on_mismatch(mismatch)


class Connection(asyncio.Protocol):
    """One driver's socket."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._session = server.session(number, self._write_next)
        self._outputs = self._session.replies.outputs
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._timer: asyncio.TimerHandle | None = None
        self._pausing = False
        self._closing = self._resetting = False
        self.aborted = False
        """Whether we ended it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITTEN_BYTES, low=WRITTEN_BYTES // 4)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timer = asyncio.get_running_loop().call_later(STARTUP_S, self._time_out)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._session.receive(data)
        if self._session.ready and self._timer is not None and not self._pausing:
            self._timer.cancel()
            self._timer = None
        self._write_next()

    def eof_received(self) -> bool:
        return bool(self._outputs)  # a half-closed driver still gets the rest

    def pause_writing(self) -> None:
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        if self._resetting:
            self._reset()
        elif self._transport is not None and not self._closing:
            self._transport.resume_reading()
            self._write_next()

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._server.closed(self, self._session)

    def abort(self) -> None:
        """Close at once."""
        self.aborted = True
        if self._transport is not None:
            self._transport.abort()

    def _time_out(self) -> None:
        self._timer = None
        if not self._session.ready:
            self.abort()

    def _write_next(self) -> None:
        """Write what may be written now."""
        while self._outputs and not (self._full or self._pausing or self._closing) and self._transport is not None:
            output = self._outputs[0]
            if isinstance(output, Send):
                self._transport.write(output.data)
            elif isinstance(output, Copy):
                data = output.stream.read(output.offset, min(output.size, WRITTEN_BYTES))
                self._transport.write(data)
                if data and len(data) < output.size:
                    self._outputs[0] = Copy(output.stream, output.offset + len(data), output.size - len(data))
                    continue
            elif isinstance(output, Pause):
                if self._wait(output.ns):
                    return
            elif isinstance(output, AwaitCancel):
                if not self._session.cancel_received:
                    return
                self._session.cancel_received = False
            else:
                self._end(output)
                return
            self._outputs.popleft()

    def _wait(self, ns: int) -> bool:
        """Begin a recorded pause. Returns False if there is nothing to wait for."""
        seconds = ns / 1e9 * self._server.timing
        if seconds <= 0:
            return False
        self._outputs.popleft()
        self._pausing = True
        self._timer = asyncio.get_running_loop().call_later(seconds, self._resume)
        return True

    def _resume(self) -> None:
        self._timer, self._pausing = None, False
        self._write_next()

    def _end(self, output: End) -> None:
        self._outputs.clear()
        self._closing = True
        if self._transport is None:
            return
        if not output.reset:
            self._transport.close()
            return
        # bytes written before a reset still arrive
        self._resetting = True
        self._transport.set_write_buffer_limits(high=0)
        if not self._transport.get_write_buffer_size():
            self._reset()

    def _reset(self) -> None:
        assert self._transport is not None
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _free(path: str) -> str:
    """The path of a socket, without the file that a server which is gone left there. Raises
    OSError."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(path):
                    os.unlink(path)
    except FileNotFoundError:
        pass
    return path
