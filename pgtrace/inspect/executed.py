"""What a round trip ran: its statements, each with its bound parameters, as they passed.

    for one in executed(trace, place): one.sql, one.types, one.formats, one.parameters

There is one for each execution of the row with a Parse, Bind, Describe or Execute, in the order in
which they were sent, and one for each Query. Nothing is made up: if the Bind is not in the row, or
was blanked in the capture (`--redact params`), `parameters` is None and `missing` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgtrace.inspect import details
from pgtrace.protocol import frontend, heads
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage

if TYPE_CHECKING:
    from pgtrace.session.statements import Statement
    from pgtrace.trace.trace import Trace

LONGEST_BYTES: Final = 16 * 1024 * 1024
"""A longer Bind is not read."""
MOST: Final = 1000
NO_BIND: Final = "its parameters are not in this round trip"
REDACTED: Final = "its parameters were blanked when it was recorded"
TOO_LONG: Final = "its parameters cannot be read"


@dataclass(slots=True)
class Executed:
    """One statement as it was run, or would have been run without an error."""

    execution: int
    """Its number in the row, from 1."""
    sql: str | None = None
    """None if its Parse was not seen."""
    types: tuple[int, ...] = ()
    """The type OIDs of the parameters, as far as they are known."""
    formats: tuple[int, ...] = ()
    """The format of each parameter: 0 for text, 1 for binary."""
    parameters: tuple[bytes | None, ...] | None = None
    """The bound values; None if they are not known."""
    missing: str = NO_BIND
    """Why they are not known."""

    def type_of(self, place: int) -> int:
        """The type OID of a parameter, or 0 if it is not known."""
        return self.types[place] if place < len(self.types) else 0


def executed(trace: Trace, place: int, execution: int | None = None) -> list[Executed]:
    """The first MOST statements of the row at this place, or only the statement with the number
    `execution`. Raises details.NotKept."""
    connection = trace.connections[trace.rows.entry(place).connection]
    redacted = "params" in trace.settings.get((connection.file, "redact"), "").split(",")
    found: dict[int, Executed] = {}
    statements: dict[int, Statement] = {}
    for view in details.scan(trace, place, LONGEST_BYTES):
        number = view.execution
        if view.side != FRONTEND or not number or (execution is not None and number != execution):
            continue
        if number not in found and len(found) == MOST:
            break
        one = found.setdefault(number, Executed(number))
        if view.statement is not None:
            statements[number] = view.statement
        if view.code == ord("Q"):
            texts = heads.strings(view.body, 1)
            one.sql, one.parameters = texts[0] if texts else None, ()
        elif view.code == ord("B"):
            _bound(one, view.body, redacted=redacted)
    for number, statement in statements.items():
        one = found[number]
        # ParameterDescription may have come last.
        one.sql, one.types = statement.sql, statement.parameter_types
    return list(found.values())


def _bound(one: Executed, body: bytes, *, redacted: bool) -> None:
    """Add the contents of a Bind."""
    try:
        bind = frontend.Bind.parse(body)
    except MalformedMessage:
        one.missing = TOO_LONG
        return
    if redacted and bind.parameters:
        one.missing = REDACTED
        return
    formats = bind.parameter_formats
    one.formats = formats * len(bind.parameters) if len(formats) == 1 else formats or (0,) * len(bind.parameters)
    one.parameters, one.missing = bind.parameters, ""
