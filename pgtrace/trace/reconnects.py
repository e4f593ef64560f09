"""Drivers that were refused TLS (refused_tls.py): whether they came back without it, and what to
say if they did not."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace.capture import peer
from pgtrace.capture.record import DECRYPTED
from pgtrace.trace import refused_tls
from pgtrace.trace.connection import Connection
from pgtrace.trace.trace import Trace

COMES_BACK_NS: Final = 1_000_000_000
LOOKED_AT: Final = 8
"""The number of later connections that are searched."""


def came_back(trace: Trace, connection: Connection, *, plain: bool = False) -> bool:
    """Whether the same program, or at least a program on the same host, connected right afterwards.
    `plain`: only without TLS."""
    until_ns = connection.last_ns + COMES_BACK_NS
    for other in trace.connections[connection.index + 1 : connection.index + 1 + LOOKED_AT]:
        if other.opened_ns > until_ns:
            return False
        counts = other.startup_parameters and not (plain and DECRYPTED in other.facts)
        if other.file == connection.file and counts and _is_same(connection, other):
            return True
    return False


def lines(trace: Trace) -> list[str]:
    """A line with the remedy for each way in which drivers asked for TLS, got none, left and did
    not come back."""
    counted = Counter(one.tls_refused for one in trace.connections if one.tls_refused and not came_back(trace, one, plain=True))
    return [
        f"{number} {'connection' if number == 1 else 'connections'} {refused_tls.in_words(how)}" for how, number in sorted(counted.items())
    ]


def _is_same(one: Connection, other: Connection) -> bool:
    """Whether the same program may have opened both, as far as processes are known: the process of
    a very short connection is often not found."""
    if one.client.rpartition(":")[0] != other.client.rpartition(":")[0]:
        return False
    programs = {connection.facts.get(peer.KEY, "") for connection in (one, other)} - {""}
    return len(programs) < 2
