"""The types of a database, as far as introspection queries in the traffic showed them.

While a trace is read, it notes the place of each round trip that returned rows and whose SQL
mentions pg_type (trace/introspections.py). The contents are read from the capture when you look at
a value of an unknown type, one noted round trip after the other until the type is known. If you
follow a capture that keeps only its end, read ahead after each update of the trace, so that nothing
is lost.

If a type is described twice, the later description applies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pgtrace.describe import introspection
from pgtrace.inspect.message import MessageView
from pgtrace.inspect.walk import NotKept, Walker, passed
from pgtrace.protocol import backend, frontend, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.values import Type, TypeKind
from pgtrace.trace.connection import Connection
from pgtrace.trace.introspections import Introspected
from pgtrace.trace.trace import Trace

LEARNED_KEPT: Final = 20_000
"""The most types of one database that are remembered."""
ROWS_READ: Final = 4_000
"""The most rows of one introspection that are read."""
MESSAGES_READ: Final = 5_000
"""The most messages of one introspection that are read."""
_OIDS: Final = frozenset({20, 23, 26})
"""int8, int4 and oid: the types with which drivers send an OID."""


def of(trace: Trace, connection: Connection) -> DatabaseTypes:
    """The types of a connection's database."""
    return DatabaseTypes(trace, trace.introspections.of(connection.file, connection.database))


def of_row(trace: Trace, place: int) -> DatabaseTypes:
    """The types of the database of the row at this place."""
    return of(trace, trace.connections[trace.rows.entry(place).connection])


def read_ahead(trace: Trace) -> None:
    """Read one more round trip of each database, before its bytes are removed."""
    for introspected in trace.introspections:
        DatabaseTypes(trace, introspected).read_one()


class DatabaseTypes:
    """The known types of one database, beyond those that every PostgreSQL has."""

    def __init__(self, trace: Trace, introspected: Introspected) -> None:
        self._trace = trace
        self._learned = introspected.learned
        self._unread = introspected.unread

    def get(self, oid: int, /) -> Type | None:
        """The type with this OID, if it is known."""
        while oid not in self._learned and self._unread:
            self.read_one()
        return self._learned.get(oid)

    def read_one(self) -> None:
        """Read the oldest noted row, if there is one."""
        if not self._unread:
            return
        place = self._unread.popleft()
        row = self._trace.rows[place]
        binds: dict[int, MessageView] = {}
        columns: tuple[backend.Column, ...] = ()
        roles: dict[str, int] = {}
        for view in self._messages(place):
            if view.side == FRONTEND and view.code == ord("B"):
                binds[view.execution] = view
            elif view.side == BACKEND and view.code == ord("D"):
                if view.columns is not columns:
                    columns, roles = view.columns, introspection.roles(view.columns, row.label.sql)
                if roles:
                    self._learn(_texts(view, roles, binds), f"learned from #{row.number}")

    def _messages(self, place: int) -> list[MessageView]:
        """The messages of this row, as far as they are kept."""
        views: list[MessageView] = []
        walker = Walker(self._trace, place, ROWS_READ, values.NONE)
        starts = self._trace.rows.entry(place).offsets
        try:
            for side, code, body, size, offset, time_ns in passed(self._trace, place):
                if len(views) >= MESSAGES_READ:
                    break
                walker.take(views if offset >= starts[side] else [], side, code, body, size, offset, time_ns)
        except NotKept:
            pass
        return views

    def _learn(self, texts: dict[str, str | None], evidence: str) -> None:
        for one in introspection.types(texts):
            before = self._learned.get(one.oid)
            if one.oid in values.BUILTIN or (before is None and len(self._learned) >= LEARNED_KEPT):
                continue
            known = one if before is None else _both(before, one)
            if known != before:
                self._learned[one.oid] = replace(known, evidence=evidence)


def _both(before: Type, now: Type) -> Type:
    """The later description, completed from the earlier one. If nothing is new, the earlier
    evidence stays."""
    kind = before.kind if now.kind is TypeKind.UNKNOWN else now.kind
    element, ranges = (before.element, before.range) if kind is before.kind else (0, 0)
    return replace(before, name=now.name or before.name, kind=kind, element=now.element or element, range=now.range or ranges)


def _texts(view: MessageView, roles: dict[str, int], binds: dict[int, MessageView]) -> dict[str, str | None]:
    """The texts of a DataRow by their roles."""
    try:
        row = backend.DataRow.parse(view.body).columns
    except MalformedMessage:
        return {}
    texts = {
        role: values.text(view.columns[place].type_oid, view.format_of(place), row[place])
        for role, place in roles.items()
        if 0 <= place < len(row)
    }
    if "key" in roles:
        texts["key"] = _only_parameter(binds.get(view.execution))
    return texts


def _only_parameter(bind: MessageView | None) -> str | None:
    """The text of a Bind's parameter, if the Bind has exactly one and it is an OID."""
    if bind is None:
        return None
    try:
        message = frontend.Bind.parse(bind.body)
    except MalformedMessage:
        return None
    if len(message.parameters) != 1 or len(bind.parameter_types) != 1 or bind.parameter_types[0] not in _OIDS:
        return None
    return values.text(bind.parameter_types[0], (message.parameter_formats or (0,))[0], message.parameters[0])
