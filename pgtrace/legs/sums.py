"""The legs of a trace, with the sums over their connections.

A recorder with several legs names each by a letter in a fact of the connection. Where two captures
are the sides of a pooler, each of them is a leg. The sums are made when they are asked for, over
all connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pgtrace.legs.joins import Joins
from pgtrace.trace.counters import Counters
from pgtrace.trace.trace import Trace

LISTENERS_KEPT: Final = 16


@dataclass(slots=True)
class Leg:
    """One leg, and the counts of its connections."""

    letter: str
    file: int
    listeners: list[str] = field(default_factory=list)
    """The addresses at which drivers came in."""
    upstreams: list[str] = field(default_factory=list)
    """Where its connections went, by address: a name may stand for several servers."""
    connections: int = 0
    counters: Counters = field(default_factory=Counters)


def legs(trace: Trace, joins: Joins | None = None) -> list[Leg]:
    """The legs, file by file and in the order of their letters; empty if there is only one."""
    if not trace.has_legs and joins is None:
        return []
    found: dict[tuple[int, str], Leg] = {}
    for connection in trace.counted_connections():
        letter = connection.leg or (joins.leg(connection.index) if joins is not None else "")
        if letter:
            leg = found.setdefault((connection.file, letter), Leg(letter, connection.file))
            leg.connections += 1
            leg.counters.add(connection.counters(trace.duration_ns))
            for kept, address in ((leg.listeners, connection.listener), (leg.upstreams, connection.upstream)):
                if address not in kept and len(kept) < LISTENERS_KEPT:
                    kept.append(address)
    return [found[key] for key in sorted(found)]
