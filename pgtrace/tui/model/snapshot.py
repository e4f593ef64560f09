"""The numbers of one moment, so that all widgets show the same one: totals, drivers, and findings.

Drivers and findings are sums over all connections, too expensive for every drawing: findings are
reused for a second, and drivers for half a second if there are many connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from pgtrace.identify.drivers.evidence import UNKNOWN
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.unexplained import NOTHING, Unexplained
from pgtrace.trace.counters import Counters
from pgtrace.trace.trace import Trace

FINDINGS_AGAIN_S: Final = 1.0
"""How long findings are reused while the capture grows, in seconds."""
MANY_CONNECTIONS: Final = 200
"""With more connections, drivers are added up only when due."""
IDENTIFIED_WITHIN_S: Final = 2.0
"""How long an unknown driver gets no separate line, in seconds, because most are known after a few
messages.
"""


class DriverTotals(NamedTuple):
    """One driver of the trace."""

    driver: str
    connections: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one moment."""

    totals: Counters
    drivers: tuple[DriverTotals, ...]
    connections: int
    duration_ns: int
    gaps: int
    findings: tuple[Finding, ...] = ()
    """Failures first, then by cost; at most a second old."""
    unexplained: Unexplained = NOTHING
    """Errors and ends that no finding explains."""

    @property
    def all_name(self) -> str:
        """The name of the sum over everything: the driver's, if there is only one."""
        alone = len(self.drivers) == 1 and self.drivers[0].connections == self.connections
        return self.drivers[0].driver if alone and self.drivers[0].driver != UNKNOWN else "all"


class Snapshots:
    """Takes snapshots, one after the other."""

    def __init__(self, trace: Trace, advice: Advice) -> None:
        self.drivers_due = True
        """Whether drivers may have become known since they were added up."""
        self.findings_due = True
        """Whether the advice has seen more since it was asked for findings."""
        self._trace = trace
        self._advice = advice
        self._drivers: tuple[DriverTotals, ...] = ()
        self._findings: tuple[Finding, ...] = ()
        self._unexplained = NOTHING
        self._findings_until_s = 0.0
        self._unknown_since_s: float | None = None
        self._found: frozenset[tuple[str, str]] = frozenset()
        """Kind and driver of the findings."""
        self._named: dict[int, str] = {}
        """The drivers of connections, as they were when they were asked."""

    def take(self, now_s: float, *, growing: bool) -> Snapshot:
        """Take the numbers of this moment."""
        trace = self._trace
        if self.drivers_due or len(trace.connections) <= MANY_CONNECTIONS:
            self._drivers = self._known_drivers(now_s, growing=growing)
            self.drivers_due = False
        if self.findings_due and not (growing and now_s < self._findings_until_s):
            self.findings_due, self._findings_until_s = False, now_s + FINDINGS_AGAIN_S
            self._findings = tuple(self._advice.findings())
            self._unexplained = self._advice.unexplained()
            self._found = frozenset((finding.name, finding.driver) for finding in self._findings)
        return Snapshot(trace.totals(), self._drivers, trace.counted, trace.duration_ns, trace.gaps, self._findings, self._unexplained)

    def ask_again(self) -> None:
        """Compute the findings again at the next snapshot, however recent the latest are."""
        self.findings_due, self._findings_until_s = True, -inf

    def forget_drivers(self) -> None:
        """Identify the drivers of connections again, because more may be known."""
        self._named.clear()
        self.drivers_due = True

    def driver(self, number: int) -> str:
        """The driver of a connection, as of the latest look; nothing for rows without one."""
        driver = self._named.get(number)
        if driver is None:
            connections = self._trace.connections
            driver = self._named[number] = connections[number].driver if 0 <= number < len(connections) else ""
        return driver

    def shows(self, kind: str, driver: str) -> bool:
        """Whether there is a finding of that kind for a driver."""
        return (kind, driver) in self._found

    def _known_drivers(self, now_s: float, *, growing: bool) -> tuple[DriverTotals, ...]:
        """The drivers' sums, without connections whose driver may be known in a moment, so that no
        line comes and goes."""
        drivers = tuple(DriverTotals(*driver) for driver in self._trace.drivers())
        known = tuple(driver for driver in drivers if driver.driver != UNKNOWN)
        if known == drivers:
            self._unknown_since_s = None
        elif self._unknown_since_s is None:
            self._unknown_since_s = now_s
        may_become_known = growing and self._unknown_since_s is not None and now_s - self._unknown_since_s < IDENTIFIED_WITHIN_S
        return known if may_become_known and known else drivers
