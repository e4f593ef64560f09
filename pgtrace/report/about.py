"""A connection in words: its driver, layer and process with their evidence, its protection, and its
end.
"""

from __future__ import annotations

from pgtrace import sanitise
from pgtrace.sanitise import Shown
from pgtrace.trace import security
from pgtrace.trace.connection import Connection
from pgtrace.trace.ends import UNKNOWN
from pgtrace.trace.trace import Trace


def process(connection: Connection) -> str:
    """`python3[4711]`; empty if it was not recorded. The name is as it came: sanitise it before
    showing it.
    """
    found = connection.peer_process
    return f"{found.name}[{found.pid}]" if found is not None else ""


def ends(connection: Connection) -> list[str]:
    """The ends of its two directions, as `driver FIN at 1.0300 s`; a note if it has ended but no
    end was seen.
    """
    if not connection.ends:
        return [UNKNOWN] if connection.closed_ns is not None else []
    return [f"{end.by} {end.how} at {end.time_ns / 1e9:.4f} s" for end in connection.ends]


def lines(trace: Trace, connection: Connection) -> list[Shown]:
    """Lines that introduce a connection, `c1 asyncpg: ...`: one each for driver, layer and process
    if known, then TLS and login, then its end.
    """
    connection.refresh()
    known = [(connection.driver, connection.driver_evidence), (connection.layer.name, connection.layer.evidence)]
    found = [f"{name}: {'; '.join(evidence)}" for name, evidence in known if evidence]
    if process(connection):
        found.append(f"process {process(connection)}")
    found += [f"{what}: {words}" for what, words in security.in_words(connection.facts, connection.authentication)]
    if connection.end:
        found.append(f"end: {connection.end} ({', '.join(ends(connection))})" if connection.ends else f"end: {connection.end}")
    return [sanitise.line(f"            {trace.name_of(connection)}  {line}") for line in found]
