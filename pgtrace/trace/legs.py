"""The legs of a trace, with the sums over their connections.

A leg is one listener and its upstream. A recorder with several of them names each by a letter in a
fact of the connection. The sums are made when they are asked for, over all connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pgtrace.trace.counters import Counters
from pgtrace.trace.trace import Trace

LISTENERS_KEPT: Final = 16


@dataclass(slots=True)
class Leg:
    """One leg, and the counts of its connections."""

    letter: str
    listeners: list[str] = field(default_factory=list)
    """The addresses at which drivers came in."""
    upstreams: list[str] = field(default_factory=list)
    """Where its connections went, by address: a name may stand for several servers."""
    connections: int = 0
    counters: Counters = field(default_factory=Counters)


def legs(trace: Trace) -> list[Leg]:
    """The legs in the order of their letters; empty if no recorder had several."""
    if not trace.has_legs:
        return []
    found: dict[str, Leg] = {}
    for connection in trace.counted_connections():
        if connection.leg:
            leg = found.setdefault(connection.leg, Leg(connection.leg))
            leg.connections += 1
            leg.counters.add(connection.counters(trace.duration_ns))
            for kept, address in ((leg.listeners, connection.listener), (leg.upstreams, connection.upstream)):
                if address not in kept and len(kept) < LISTENERS_KEPT:
                    kept.append(address)
    return [found[letter] for letter in sorted(found)]
