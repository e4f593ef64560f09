"""Listening: the sockets, the sessions behind them, and what can be set while they run.

- A LISTEN of several addresses is one port on each; a loopback that this machine does not have (::1 without IPv6) is left out. Port 0 picks one.
- A Unix socket is 0600 unless others are allowed (its mode is what keeps them out), in a directory that is made 0700 where it does not exist. One
  left behind by a process that is gone is removed: nobody answers there. On the way out only a socket that is still our own is removed.
- A session takes two descriptors. When they run out but for a reserve new drivers are told (startup.py); beyond the reserve libuv accepts and closes, so
  that nobody waits and nothing spins.
- Failures of single sessions are counted, the first of each kind is logged in one line; they end nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import stat
import sys
import time
from collections.abc import Sequence
from time import monotonic_ns
from typing import Final

from pgtrace import sanitise
from pgtrace.address import LOOPBACK, Listen, Upstream, bound_path, display_address, socket_path
from pgtrace.capture import peer as peer_fact
from pgtrace.capture.record import Fact, Mark, Open, Setting
from pgtrace.certificates import DriverTls
from pgtrace.errors import ListenError, UpstreamError
from pgtrace.exposure import Served
from pgtrace.faults import Rule
from pgtrace.proxy.admission import Door
from pgtrace.proxy.book import Book
from pgtrace.proxy.cancel import CancelKeys
from pgtrace.proxy.delay import Delayed
from pgtrace.proxy.faults import Faults
from pgtrace.proxy.narrow import Narrow
from pgtrace.proxy.peers import Found, Peers
from pgtrace.proxy.relay import Leg, Session
from pgtrace.proxy.startup import Reception
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.tls import DriverSide
from pgtrace.proxy.upstream import Endpoint

BACKLOG: Final = 4096
RESERVED_FILES: Final = 48
"""Descriptors no session gets, or a quarter where there are few: for cancels, for drivers while they are told, for the capture and the resolver."""
PORT_TRIES: Final = 20
"""How often port 0 is tried again when the second loopback does not have the first one's free port."""


class Server:
    """Accepts drivers and keeps their sessions."""

    def __init__(
        self,
        listen: Listen,
        upstream: Upstream,
        tape: Tape,
        *,
        tls: DriverTls,
        rtt_ns: int = 0,
        allow_others: bool = False,
        served: Served = Served.ALL,
        faults: Sequence[Rule] = (),
        dial_first: bool = False,
        startup_timeout_s: float,
    ) -> None:
        """AddressError where the TLS settings of either leg cannot be used."""
        self.listen = listen
        self.upstream = upstream
        self.door = Door(served, upstream)
        self.passes_tls = tls.mode == "pass"
        self.driver_side = DriverSide(tls) if tls.mode == "end" else None
        self.dials_first = dial_first
        self.startup_timeout_s = startup_timeout_s
        self.cancels = CancelKeys()
        self.tape = tape
        self.sessions: dict[int, Session] = {}
        tape.pauses.sessions = self.sessions
        self.accepted = 0
        self.failures = 0
        self.upstream_error: str | None = None
        """Why the upstream could not be reached the last time, None since it could."""
        self.addresses: list[str] = []
        self.port = listen.port
        self.idle = asyncio.Event()
        """Set while there is no session."""
        self.idle.set()
        self._allow_others = allow_others
        self._rtt_ns = rtt_ns
        self._faults = Book(faults, self.warn) if faults else None
        self._servers: list[asyncio.Server] = []
        self._own_files = 0
        self._own_socket: tuple[str, int] | None = None
        self._kinds: set[str] = set()
        self._mark_ids: dict[str, list[int]] = {}
        self._marks = 0
        self._peers: Peers

    async def start(self) -> None:
        """Listen; ListenError where that is not possible."""
        loop = asyncio.get_running_loop()
        self._peers = Peers(lambda found: loop.call_soon_threadsafe(self._peers_found, found))
        sockets = self._unix_socket() if self.listen.unix is not None else self._tcp_sockets()
        try:
            self.door.open(self.listen.display, [sock.getsockname()[0] for sock in sockets if sock.family != socket.AF_UNIX])
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(lambda: Reception(self), sock=sock, backlog=BACKLOG))
            else:
                self._servers.append(await loop.create_server(lambda: Reception(self), sock=sock, backlog=BACKLOG))
        self._own_files = len(os.listdir("/dev/fd"))
        if self._rtt_ns:
            self.tape.add(Setting(monotonic_ns(), "rtt", str(self._rtt_ns)))
        if self._faults is not None:
            self.tape.add(Setting(monotonic_ns(), "faults", "\n".join(rule.text for rule in self._faults.rules)))

    def stop_listening(self) -> None:
        """Take no new connections; sessions go on."""
        for server in self._servers:
            server.close()
        self._servers = []
        self._peers.stop()
        self.door.close()
        if self._own_socket is not None:
            path, inode = self._own_socket
            self._own_socket = None
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                pass

    def close_sessions(self) -> None:
        """End every session."""
        for session in list(self.sessions.values()):
            session.close()

    def open_session(self, transport: asyncio.BaseTransport) -> Session:
        """Number a driver that has just connected."""
        self.accepted += 1
        session = Session(self.accepted, self.tape, asyncio.get_running_loop(), self._rtt_ns, self._session_done)
        self.sessions[session.number] = session
        self.idle.clear()
        sock = transport.get_extra_info("socket")
        own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        listener = Endpoint(sock.family, own).display
        client = Endpoint(sock.family, peer).display if peer else "unix:"
        self.tape.add(Open(monotonic_ns(), session.number, listener, self.upstream.display, client, "", time.time_ns()))
        self._peers.ask(session.number, sock, peer, own)
        if self._faults is not None:
            session.faults = Faults(self._faults, session)
        return session

    @property
    def fits(self) -> int | None:
        """How many sessions there are descriptors for, two each, but for a reserve; None where there is no limit."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return None
        return max(0, (limit - self._own_files - min(RESERVED_FILES, limit // 4)) // 2)

    @property
    def is_full(self) -> bool:
        """Whether the descriptors are used up: by the sessions there are, the one that asks included."""
        fits = self.fits
        return fits is not None and len(self.sessions) > fits

    def set_rtt(self, rtt_ns: int) -> None:
        """Delay every session from here on, those that run included."""
        self._rtt_ns = rtt_ns
        self.tape.add(Setting(monotonic_ns(), "rtt", str(rtt_ns)))
        for session in self.sessions.values():
            session.rtt_ns = rtt_ns
            for leg in (session.frontend, session.backend):
                if not rtt_ns or leg.delayed is not None or leg.lost or leg.transport is None:
                    continue
                protocol = leg.transport.get_protocol()
                if isinstance(protocol, Narrow) and isinstance(protocol.target, Leg):
                    leg.delayed = protocol.target = Delayed(leg, leg, is_narrow=True)
                if isinstance(protocol, asyncio.Protocol) and not isinstance(protocol, Reception):
                    leg.delayed = Delayed(leg, protocol)
                    leg.transport.set_protocol(leg.delayed)

    def mark(self, begin: bool, name: str) -> int:
        """Begin or end a named interval here; returns its id. Ending one that is not open ends nothing and returns 0."""
        if begin:
            self._marks += 1
            self._mark_ids.setdefault(name, []).append(self._marks)
            number = self._marks
        else:
            number = self._mark_ids[name].pop() if self._mark_ids.get(name) else 0
        if number:
            self.tape.add(Mark(monotonic_ns(), begin, name, number))
        return number

    def upstream_failed(self, error: UpstreamError) -> None:
        """The upstream could not be reached; log the first of each reason."""
        self.upstream_error = error.reason
        self._log_once(str(error))

    def warn(self, text: str) -> None:
        """Something the user should know; said once."""
        self._log_once(text)

    def failed(self, error: BaseException) -> None:
        """Something of ours went wrong in one session: count it, log the first of its kind."""
        self.failures += 1
        self._log_once(f"a session failed: {type(error).__name__}: {error}")

    def _peers_found(self, found: Found) -> None:
        for number, process in found:
            if number in self.sessions:
                self.tape.add(Fact(monotonic_ns(), number, peer_fact.KEY, process.text))

    def _log_once(self, text: str) -> None:
        if text not in self._kinds and len(self._kinds) < 100:
            self._kinds.add(text)
            try:
                print(sanitise.line(f"pgtrace: {text}"), file=sys.stderr, flush=True)
            except OSError:
                pass

    def _session_done(self, session: Session) -> None:
        self.cancels.forget(session.number)
        if session.faults is not None:
            session.faults.cancel()
        self.sessions.pop(session.number, None)
        if not self.sessions:
            self.idle.set()

    def _tcp_sockets(self) -> list[socket.socket]:
        for _ in range(PORT_TRIES):
            sockets: list[socket.socket] = []
            port = self.listen.port
            try:
                for host in self.listen.hosts:
                    sock = self._bind(host, port)
                    if sock is not None:
                        sockets.append(sock)
                        port = sock.getsockname()[1]
            except OSError as error:
                for sock in sockets:
                    sock.close()
                if error.errno == errno.EADDRINUSE and self.listen.port == 0:
                    continue
                raise ListenError(display_address(host, port), _listen_reason(error, port)) from None
            if not sockets:
                raise ListenError(self.listen.display, "this machine has no such address")
            self.port = port
            self.addresses = [Endpoint(sock.family, sock.getsockname()).display for sock in sockets]
            return sockets
        raise ListenError(self.listen.display, "no port is free on both loopbacks")

    def _bind(self, host: str, port: int) -> socket.socket | None:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        except socket.gaierror as error:
            raise OSError(errno.EADDRNOTAVAIL, f"the name cannot be resolved ({error.strerror})") from None
        optional = host in (LOOPBACK[1], "::") and len(self.listen.hosts) > 1
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError:
            if optional:
                return None
            raise
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return None
            raise
        return sock

    def _unix_socket(self) -> list[socket.socket]:
        directory = self.listen.unix or ""
        path = socket_path(directory, self.listen.port)
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if self.listen.is_abstract:
                    sock.bind(bound_path(path))
                else:
                    self._bind_file(sock, directory, path)
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
            sock.setblocking(False)
        except OSError as error:
            raise ListenError(f"unix:{path}", _listen_reason(error, self.listen.port)) from None
        self.addresses = [f"unix:{path}"]
        return [sock]

    def _bind_file(self, sock: socket.socket, directory: str, path: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if self._allow_others:
            os.chmod(path, 0o777)  # noqa: S103 (this is what --allow-others asks for)
        self._own_socket = (path, os.stat(path).st_ino)


def _remove_stale(path: str) -> None:
    """Remove a socket nobody listens on; OSError EADDRINUSE where somebody does, and where it is no socket at all."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _listen_reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "something listens there already: choose another port, or :0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission" + (": choose a port from 1024" if 0 < port < 1024 else "")
    if error.errno == errno.EADDRNOTAVAIL and not (error.strerror or "").startswith("the name"):
        return "this machine has no such address"
    return error.strerror or str(error)
