"""The types of a database, as far as introspection queries that passed told them.

While a trace is read, each round trip that returned rows and whose SQL mentions pg_type is noted by its place, nothing else: that is all it costs. What it
said is read from the capture when a value of an unknown type is looked at, one noted round trip after the other until the type is known; and one in each
update of the trace, so that it is not lost where a capture keeps only its end.

What was learned anywhere in a capture holds for all of it, since drivers ask once for each process and not for each connection; told again, the later one
holds. It holds for one database of one file: OIDs mean something else in the next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgtrace.describe import introspection
from pgtrace.inspect import details
from pgtrace.protocol import backend, frontend, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.values import Kind, Type

if TYPE_CHECKING:
    from pgtrace.inspect.details import MessageView
    from pgtrace.trace.trace import Trace

UNREAD_KEPT: Final = 200
"""Noted round trips that wait to be read; of more, the latest."""
LEARNED_KEPT: Final = 20_000
"""Types of one database that are remembered."""
ROWS_READ: Final = 4_000
"""Rows of one introspection that are looked at."""
_OIDS: Final = frozenset({20, 23, 26})
"""int8, int4 and oid: what drivers send an OID as."""


class DatabaseTypes:
    """What is known about the types of one database, beyond those every PostgreSQL has."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[int, Type] = {}
        self._unread: deque[int] = deque(maxlen=UNREAD_KEPT)

    def get(self, oid: int, /) -> Type | None:
        """The type of that OID, if it was told."""
        while oid not in self._known and self._unread:
            self.read_one()
        return self._known.get(oid)

    def passed(self, place: int) -> None:
        """The row at that place may tell about types."""
        self._unread.append(place)

    def read_one(self) -> None:
        """Read the oldest row that is noted, if any."""
        if not self._unread:
            return
        place = self._unread.popleft()
        row = self._trace.rows[place]
        binds: dict[int, MessageView] = {}
        columns: tuple[backend.Column, ...] = ()
        roles: dict[str, int] = {}
        for view in details.read(self._trace, place, run_kept=ROWS_READ).messages:
            if view.side == FRONTEND and view.code == ord("B"):
                binds[view.execution] = view
            elif view.side == BACKEND and view.code == ord("D"):
                if view.columns is not columns:
                    columns, roles = view.columns, introspection.roles(view.columns, row.label.sql)
                if roles:
                    self._learn(_told(view, roles, binds), f"learned from #{row.number}")

    def _learn(self, told: dict[str, str | None], evidence: str) -> None:
        for one in introspection.types(told):
            before = self._known.get(one.oid)
            if one.oid in values.BUILTIN or (before is None and len(self._known) >= LEARNED_KEPT):
                continue
            known = one if before is None else _both(before, one)
            if known != before:
                self._known[one.oid] = replace(known, evidence=evidence)


def _both(before: Type, now: Type) -> Type:
    """What is told now, and what was told before where nothing is told now. Where nothing is new, it stays learned where it was."""
    kind = before.kind if now.kind is Kind.UNKNOWN else now.kind
    element, ranges = (before.element, before.range) if kind is before.kind else (0, 0)
    return replace(before, name=now.name or before.name, kind=kind, element=now.element or element, range=now.range or ranges)


def _told(view: MessageView, roles: dict[str, int], binds: dict[int, MessageView]) -> dict[str, str | None]:
    """The texts of a DataRow by what they tell."""
    try:
        row = backend.DataRow.parse(view.body).columns
    except MalformedMessage:
        return {}
    told = {
        role: values.text(view.columns[place].type_oid, view.format_of(place), row[place])
        for role, place in roles.items()
        if 0 <= place < len(row)
    }
    if "key" in roles:
        told["key"] = _only_parameter(binds.get(view.execution))
    return told


def _only_parameter(bind: MessageView | None) -> str | None:
    """The text of a Bind's parameter, if it has exactly one and that is an OID."""
    if bind is None:
        return None
    try:
        message = frontend.Bind.parse(bind.body)
    except MalformedMessage:
        return None
    if len(message.parameters) != 1 or len(bind.parameter_types) != 1 or bind.parameter_types[0] not in _OIDS:
        return None
    return values.text(bind.parameter_types[0], (message.parameter_formats or (0,))[0], message.parameters[0])
