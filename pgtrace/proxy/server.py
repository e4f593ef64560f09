"""Listens for drivers, and decides how they are served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from time import monotonic_ns

from pgtrace.address import Listen, Upstream
from pgtrace.capture.record import Setting
from pgtrace.certificates import DriverTls
from pgtrace.exposure import Served
from pgtrace.faults import Rule
from pgtrace.proxy.admission import Admission
from pgtrace.proxy.fault_rules import FaultRules
from pgtrace.proxy.listening import BACKLOG, Listener
from pgtrace.proxy.log import Log
from pgtrace.proxy.sessions import Sessions
from pgtrace.proxy.startup import Service, Startup
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.tls import DriverSide


class Server:
    """Accepts drivers; their sessions outlive its listening."""

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
        """Raises AddressError if the TLS settings of either leg cannot be used."""
        self.log = Log()
        self._admission = Admission(served, upstream)
        driver_side = DriverSide(tls) if tls.mode == "end" else None
        self.sessions = Sessions(tape, upstream.display, rtt_ns)
        self._service = Service(
            upstream,
            self._admission,
            self.sessions,
            self.log,
            passes_tls=tls.mode == "pass",
            driver_side=driver_side,
            dials_first=dial_first,
            startup_timeout_s=startup_timeout_s,
            faults=FaultRules(faults, self.log.warn) if faults else None,
        )
        self._listen = listen
        self._allow_others = allow_others
        self._tape = tape
        self._servers: list[asyncio.Server] = []
        self.listener: Listener

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        loop = asyncio.get_running_loop()
        self.listener = Listener(self._listen, allow_others=self._allow_others)
        try:
            self._admission.open(self._listen.display, self.listener.hosts)
        except BaseException:
            self.listener.close()
            raise
        for sock in self.listener.sockets:
            listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await listen(lambda: Startup(self._service), sock=sock, backlog=BACKLOG))
        self.sessions.begin()
        if self._service.faults is not None:
            self._tape.add(Setting(monotonic_ns(), "faults", "\n".join(rule.text for rule in self._service.faults.rules)))

    def stop_listening(self) -> None:
        """Take no new connections; sessions go on."""
        for server in self._servers:
            server.close()
        self._servers = []
        self.sessions.ask_no_more()
        self._admission.close()
        self.listener.remove()
