"""The running sessions of all legs: their numbers, how many fit, and what can change while they
run.

A session takes two descriptors. When only a reserve of descriptors is left, new drivers are refused
(startup.py). When the reserve is gone too, libuv accepts and closes, so that no driver waits and
nothing spins. For that it gives up a descriptor of its own for a moment, and never gets it back if
something else takes it. So drivers' processes are not searched for then.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from time import monotonic_ns
from typing import Final

from pgtrace.capture import peer as peer_fact
from pgtrace.capture.record import LEG, Fact, Open, Setting
from pgtrace.proxy.delay import Delayed
from pgtrace.proxy.driver_processes import DriverProcesses, Found
from pgtrace.proxy.login import Login
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.relay import Leg, Session
from pgtrace.proxy.small_reads import SmallReads
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.upstream import Endpoint

RESERVED_FILES: Final = 48
"""Descriptors that no session gets (a quarter of all if there are few): for cancels, for drivers
that are refused, for the capture and the resolver."""


class Sessions:
    """The running sessions."""

    def __init__(self, tape: Tape, rtt_ns: int) -> None:
        self.running: dict[int, Session] = {}
        self.accepted = 0
        self.idle = asyncio.Event()
        """Set while no session is running."""
        self.idle.set()
        self.pauses = Pauses(tape)
        self._tape = tape
        self._rtt_ns = rtt_ns
        self._loop = asyncio.get_running_loop()
        self._own_files = 0
        self._processes = DriverProcesses(
            lambda found: self._loop.call_soon_threadsafe(self._processes_found, found), may_look=lambda: not self.is_full
        )

    def begin(self) -> None:
        """The listener is open: the descriptors that exist now are the recorder's own."""
        self._own_files = len(os.listdir("/dev/fd"))
        if self._rtt_ns:
            self._tape.add(Setting(monotonic_ns(), "rtt", str(self._rtt_ns)))

    def open(self, transport: asyncio.BaseTransport, upstream: str, leg: str = "") -> Session:
        """Number a driver that has just connected. `upstream` is its upstream's address as captures
        show it, `leg` the letter of its leg if there are several."""
        self.accepted += 1
        session = Session(self.accepted, self.pauses, self._loop, self._rtt_ns)
        session.at_end.append(lambda: self._forget(session.number))
        self.running[session.number] = session
        self.idle.clear()
        sock = transport.get_extra_info("socket")
        own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        listener = Endpoint(sock.family, own).display
        client = Endpoint(sock.family, peer).display if peer else "unix:"
        self._tape.add(Open(monotonic_ns(), session.number, listener, upstream, client, "", time.time_ns()))
        if leg:
            self._tape.add(Fact(monotonic_ns(), session.number, LEG, leg))
        self._processes.ask(session.number, sock, peer, own)
        return session

    def stop_accepting(self) -> None:
        """No new drivers will connect."""
        self._processes.stop()

    def close(self) -> None:
        """End every session."""
        for session in list(self.running.values()):
            session.close()

    @property
    def fits(self) -> int | None:
        """For how many sessions there are descriptors, apart from the reserve; None if nothing
        limits them."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return None
        return max(0, (limit - self._own_files - min(RESERVED_FILES, limit // 4)) // 2)

    @property
    def is_full(self) -> bool:
        """Whether the sessions have used up the descriptors. The driver that asks counts."""
        fits = self.fits
        return fits is not None and len(self.running) > fits

    @property
    def drivers(self) -> int:
        """How many drivers have not ended."""
        return sum(not (session.frontend.eof or session.frontend.lost) for session in self.running.values())

    def set_rtt(self, rtt_ns: int) -> None:
        """Delay every session from now on, including those that run."""
        self._rtt_ns = rtt_ns
        self._tape.add(Setting(monotonic_ns(), "rtt", str(rtt_ns)))
        for session in self.running.values():
            session.rtt_ns = rtt_ns
            for leg in (session.frontend, session.backend):
                if rtt_ns and leg.delayed is None and leg.transport is not None and not leg.lost:
                    _delay(leg, leg.transport)

    def _forget(self, number: int) -> None:
        self.running.pop(number, None)
        if not self.running:
            self.idle.set()

    def _processes_found(self, found: Found) -> None:
        for number, process in found:
            if number in self.running:
                self._tape.add(Fact(monotonic_ns(), number, peer_fact.KEY, process.text))


def _delay(leg: Leg, transport: asyncio.Transport) -> None:
    """Delay a leg that runs without delay. A session with faults never gets here: its legs had
    their lines from the start."""
    protocol = transport.get_protocol()
    if isinstance(protocol, SmallReads) and isinstance(protocol.target, Leg):
        leg.delayed = protocol.target = Delayed(leg, leg, before_login=True)
    elif isinstance(protocol, Leg | Login):
        leg.delayed = line = Delayed(leg, protocol)
        transport.set_protocol(line)
