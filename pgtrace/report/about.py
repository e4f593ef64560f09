"""Who is at the other end of a connection, in words: driver, layer, process, and what they are known by; and how it is protected."""

from __future__ import annotations

from pgtrace import sanitise
from pgtrace.analysis import security
from pgtrace.analysis.connections import Connection
from pgtrace.analysis.trace import Trace
from pgtrace.sanitise import Shown


def process(connection: Connection) -> str:
    """`python3[4711]`, or nothing where it was not recorded. The name is as it came: whoever shows it sanitises it."""
    found = connection.peer_process
    return f"{found.name}[{found.pid}]" if found is not None else ""


def lines(trace: Trace, connection: Connection) -> list[Shown]:
    """Lines to introduce it with: `c1  asyncpg: ...`, one for each of the three that is known, then TLS and login."""
    connection.refresh()
    known = [(connection.driver, connection.driver_evidence), (connection.layer.name, connection.layer.evidence)]
    told = [f"{name}: {'; '.join(evidence)}" for name, evidence in known if evidence]
    if process(connection):
        told.append(f"process {process(connection)}")
    told += [f"{what}: {words}" for what, words in security.in_words(connection.facts, connection.authentication)]
    return [sanitise.line(f"            {trace.name_of(connection)}  {line}") for line in told]
