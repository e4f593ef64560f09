"""Listens for drivers on every leg, and decides how they are served.

All legs are in one process, so everything that passes on them has one clock and one order, and
connections are numbered in one sequence.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from time import monotonic_ns

from pgtrace.address import Leg, leg_letter
from pgtrace.capture.record import Setting
from pgtrace.certificates import DriverTls
from pgtrace.exposure import Served
from pgtrace.faults import Rule
from pgtrace.proxy.admission import Admission
from pgtrace.proxy.cancel_keys import CancelKeys
from pgtrace.proxy.fault_rules import FaultRules
from pgtrace.proxy.listening import BACKLOG, Listener
from pgtrace.proxy.log import Log
from pgtrace.proxy.sessions import Sessions
from pgtrace.proxy.startup import Service, Startup
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.tls import DriverSide


class Server:
    """Accepts drivers. Their sessions may outlive its listening."""

    def __init__(
        self,
        legs: Sequence[tuple[Leg, Served]],
        tape: Tape,
        *,
        tls: DriverTls,
        rtt_ns: int = 0,
        allow_others: bool = False,
        faults: Sequence[Rule] = (),
        dial_first: bool = False,
        startup_timeout_s: float,
    ) -> None:
        """Everything except the addresses is the same for all legs. Raises AddressError if the TLS
        settings of either side cannot be used."""
        self.log = Log()
        driver_side = DriverSide(tls) if tls.mode == "end" else None
        self._faults = FaultRules(faults, self.log.warn) if faults else None
        self.sessions = Sessions(tape, rtt_ns)
        self._entrances = []
        for index, (leg, served) in enumerate(legs):
            admission = Admission(served, leg.upstream)
            service = Service(
                leg.upstream,
                admission,
                self.sessions,
                CancelKeys(),
                leg_letter(index) if len(legs) > 1 else "",
                self.log,
                passes_tls=tls.mode == "pass",
                driver_side=driver_side,
                dials_first=dial_first,
                startup_timeout_s=startup_timeout_s,
                faults=self._faults,
            )
            self._entrances.append(_Entrance(leg, service, allow_others=allow_others))
        self._tape = tape

    @property
    def listeners(self) -> list[Listener]:
        """The listener of each leg, once started."""
        return [entrance.listener for entrance in self._entrances]

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        try:
            for entrance in self._entrances:
                await entrance.open()
        except BaseException:
            for entrance in self._entrances:
                entrance.close()
            raise
        self.sessions.begin()
        if self._faults is not None:
            self._tape.add(Setting(monotonic_ns(), "faults", "\n".join(rule.text for rule in self._faults.rules)))

    def stop_listening(self) -> None:
        """Accept no new connections; sessions continue."""
        self.sessions.stop_accepting()
        for entrance in self._entrances:
            entrance.close()


class _Entrance:
    """Accepts the drivers of one leg."""

    def __init__(self, leg: Leg, service: Service, *, allow_others: bool) -> None:
        self._leg = leg
        self._service = service
        self._allow_others = allow_others
        self._servers: list[asyncio.Server] = []
        self._is_open = False
        self.listener: Listener

    async def open(self) -> None:
        """Listen. Raises ListenError."""
        loop = asyncio.get_running_loop()
        self.listener = Listener(self._leg.listen, allow_others=self._allow_others)
        self._is_open = True
        try:
            self._service.admission.open(self._leg.listen.display, self.listener.hosts)
        except BaseException:
            self.listener.close()
            raise
        for sock in self.listener.sockets:
            listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await listen(lambda: Startup(self._service), sock=sock, backlog=BACKLOG))

    def close(self) -> None:
        """Accept no new connections."""
        for server in self._servers:
            server.close()
        self._servers = []
        self._service.admission.close()
        if self._is_open:
            self.listener.remove()
