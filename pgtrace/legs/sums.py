"""The legs of a trace, with the sums over their connections.

A recorder with several legs names each by a letter in a fact of the connection. If two captures are
the sides of a pooler, each of them is a leg. The sums are computed on request, over all
connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pgtrace.legs.joins import Joins
from pgtrace.legs.trips import Side
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.trace import Trace

LISTENERS_KEPT: Final = 16


@dataclass(slots=True)
class Leg:
    """One leg, and the counts of its connections."""

    letter: str
    """Empty for the connections that are on no leg."""
    side: Side
    listeners: list[str] = field(default_factory=list)
    """The addresses to which drivers connected."""
    upstreams: list[str] = field(default_factory=list)
    """The addresses to which its connections went: a name may refer to several servers."""
    connections: int = 0
    counters: Counters = field(default_factory=Counters)


def legs(trace: Trace, joins: Joins | None = None, counted: Iterable[tuple[Connection, Counters]] | None = None) -> list[Leg]:
    """The legs, file by file and in the order of their letters; empty if there is only one.
    `counted` are the connections with their counters; the default is all."""
    if not trace.has_legs and joins is None:
        return []
    found: dict[Side, Leg] = {}
    for connection, counters in trace.connection_counters() if counted is None else counted:
        side = (connection.file, connection.leg)
        if side not in found:
            found[side] = Leg(connection.leg or (joins.leg(connection.index) if joins is not None else ""), side)
        leg = found[side]
        leg.connections += 1
        leg.counters.add(counters)
        for kept, address in ((leg.listeners, connection.listener), (leg.upstreams, connection.upstream)):
            if address not in kept and len(kept) < LISTENERS_KEPT:
                kept.append(address)
    return [found[side] for side in sorted(found)]
