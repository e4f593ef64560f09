"""The types of a database, as far as introspection queries that passed told them.

While a trace is read, the place of each round trip is noted that returned rows and whose SQL mentions pg_type
(trace/introspections.py). What it said is read from the capture when a value of an unknown type is looked at, one
noted round trip after the other until the type is known. Who follows a capture that keeps only its end reads ahead
after each update of the trace, so that nothing is lost.

Where a type is told twice, the later telling holds.
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
from pgtrace.protocol.values import Kind, Type
from pgtrace.trace.connection import Connection
from pgtrace.trace.introspections import Introspected
from pgtrace.trace.trace import Trace

LEARNED_KEPT: Final = 20_000
"""Types of one database that are remembered."""
ROWS_READ: Final = 4_000
"""Rows of one introspection that are looked at."""
MESSAGES_READ: Final = 5_000
"""Messages of one introspection that are looked at."""
_OIDS: Final = frozenset({20, 23, 26})
"""int8, int4 and oid: what drivers send an OID as."""


def of(trace: Trace, connection: Connection) -> DatabaseTypes:
    """The types of a connection's database."""
    return DatabaseTypes(trace, trace.introspections.of(connection.file, connection.database))


def of_row(trace: Trace, place: int) -> DatabaseTypes:
    """The types of the database that the row at that place is about."""
    return of(trace, trace.connections[trace.rows.entry(place).connection])


def read_ahead(trace: Trace) -> None:
    """Read one round trip more of each database, before its bytes are gone."""
    for introspected in trace.introspections:
        DatabaseTypes(trace, introspected).read_one()


class DatabaseTypes:
    """What is known about the types of one database, beyond those every PostgreSQL has."""

    def __init__(self, trace: Trace, introspected: Introspected) -> None:
        self._trace = trace
        self._learned = introspected.learned
        self._unread = introspected.unread

    def get(self, oid: int, /) -> Type | None:
        """The type of that OID, if it was told."""
        while oid not in self._learned and self._unread:
            self.read_one()
        return self._learned.get(oid)

    def read_one(self) -> None:
        """Read the oldest row that was noted, if any."""
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
                    self._learn(_told(view, roles, binds), f"learned from #{row.number}")

    def _messages(self, place: int) -> list[MessageView]:
        """The messages of that row, as far as they are kept."""
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

    def _learn(self, told: dict[str, str | None], evidence: str) -> None:
        for one in introspection.types(told):
            before = self._learned.get(one.oid)
            if one.oid in values.BUILTIN or (before is None and len(self._learned) >= LEARNED_KEPT):
                continue
            known = one if before is None else _both(before, one)
            if known != before:
                self._learned[one.oid] = replace(known, evidence=evidence)


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
