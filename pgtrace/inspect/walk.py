"""The messages of one row, framed again, with their context.

A row's entry says where its first bytes are and how many of each side belong to it. The blocks from
there on are read and their bytes framed (passed()), and a machine like the session's decides which
message answers which (Walker).

The caller provides the types of the values: types.py reads rows to learn about types, details.py
reads them with the learned types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgtrace.capture.record import DECRYPTED
from pgtrace.describe.copy_messages import CopyPayload
from pgtrace.framing import KEPT_BYTES, Framer
from pgtrace.inspect.copy_reading import CopyReading
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import answers, backend, codes, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.session import owed
from pgtrace.session.owed import Owed
from pgtrace.session.statements import Portal, Statement
from pgtrace.session.watched import Watched
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

_FROM_START: Final = frozenset({RowKind.SETUP, RowKind.CANCEL})
"""Rows that cannot be read without the bytes before them."""
_RUNS: Final = frozenset({ord("D"), ord("d")})
_COPY_DATA: Final = ord("d")
_COPY_DONE: Final = ord("c")
_COPYING: Final = frozenset(b"dcGHW")
_OF_EXECUTIONS: Final = frozenset(b"PBDEQF")
"""Messages that belong to the next execution, or are one."""


class NotKept(Exception):
    """The capture does not keep the bytes of a row any more."""


def passed(trace: Trace, place: int, kept_bytes: int = KEPT_BYTES) -> Iterator[tuple[int, int, bytes, int, int, int]]:
    """The side, code, body, size, offset and time of each message, beginning with the messages that
    are needed to understand the row's. Raises NotKept."""
    row, entry = trace.rows[place], trace.rows.entry(place)
    connection = trace.connections[entry.connection]
    from_start = row.shape.kind in _FROM_START
    ends = (entry.offsets[0] + entry.sent_bytes, entry.offsets[1] + entry.received_bytes)
    starts = (0, 0) if from_start else entry.offsets
    framer = Framer(kept_bytes=kept_bytes) if from_start else Framer.typed(kept_bytes=kept_bytes)
    offsets = list(starts)
    expected = list(starts)
    position = connection.position if from_start else entry.position
    blocks, place_in_file, shift_ns = trace.blocks_at(position)
    shift_ns -= trace.start_ns + entry.opened_ns
    reached = [0, 0]
    for time_ns, side, offset, data, left_out in blocks.pieces(place_in_file, connection.number, starts):
        if offset < reached[side]:
            raise NotKept  # the stream goes back: the bytes may never come
        reached[side] = offset + len(data) + left_out
        if left_out and offset >= expected[side]:
            expected[side] += left_out
            offsets[side] += left_out
        skip = max(0, expected[side] - offset)
        data = data[skip : ends[side] - offset] if ends[side] > offset else b""
        if data and offset + skip != expected[side]:
            raise NotKept
        expected[side] += len(data)
        for code, body, size in framer.feed(side, data):
            if code == codes.SSL_REPLY and body == b"S" and DECRYPTED in connection.facts:
                framer.decrypted()
            begin = offsets[side]
            offsets[side] += size
            if code not in (codes.RESUMED, codes.UNDECODED):
                yield side, code, body, size, begin, max(time_ns + shift_ns, 0)
        if expected[0] >= ends[0] and expected[1] >= ends[1]:
            return
    raise NotKept


class Walker:
    """Gives each message its context: the session's own machine decides which message answers
    which."""

    def __init__(self, trace: Trace, place: int, run_kept: int, types: values.Types) -> None:
        """For the row at this place. Of a run of DataRow or CopyData, the first `run_kept` are
        messages of their own."""
        row, entry = trace.rows[place], trace.rows.entry(place)
        self._connection = trace.connections[entry.connection]
        self._place = place
        self._types = types
        self._redacted = trace.redacted
        self._run_kept = run_kept
        self._run = 0
        from_start = row.shape.kind in _FROM_START
        self._machine: Watched[MessageView] = Watched() if from_start else Watched(row.shape.owed_before, entry.offsets)
        self._looked_up: set[tuple[str, str]] = set()
        # What names meant before the row. These are copies, because the machine writes into them.
        self._copied: dict[Statement, Statement] = {}
        self._earlier: dict[Statement, Statement] = {}  # of the copies
        self._sent = 0
        self._authentication = -1
        self._columns: tuple[backend.Column, ...] = ()  # of a Query
        self._described: tuple[bytes, tuple[backend.Column, ...]] = (b"", ())
        self._copies = CopyReading(self._connection.copies, place)

    def take(self, messages: list[MessageView], side: int, code: int, body: bytes, size: int, offset: int, time_ns: int) -> None:
        latest = messages[-1] if messages else None
        alike = latest is not None and latest.code == code and latest.side == side
        self._run = self._run + 1 if alike else 1
        run = latest if code in _RUNS and self._run > self._run_kept else None
        inside = self._inside(side, code, body, size, run.inside if run is not None else None) if code in _COPYING else None
        if run is not None and not (inside is not None and inside.stands_out) and not (run.inside is not None and run.inside.stands_out):
            run.count += 1
            run.size += size
            return
        if code == 0x52:
            self._authentication = codes.authentication_subtype(body)
        name = codes.message_name(side, code, self._authentication)
        view = MessageView(
            side, code, name, time_ns, offset, size, body, self._authentication, types=self._types, redacted=self._redacted, inside=inside
        )
        if side == FRONTEND:
            self._frontend(view)
        else:
            self._backend(view)
        if code != codes.OPAQUE:
            messages.append(view)

    def _inside(self, side: int, code: int, body: bytes, size: int, run: CopyPayload | None) -> CopyPayload | None:
        if code == _COPY_DATA:
            return self._copies.data(side, body, size, run)
        if code == _COPY_DONE:
            return self._copies.done(side)
        if side == BACKEND:
            self._copies.responded()
        return None

    def _frontend(self, view: MessageView) -> None:
        about = self._about(view)
        for kind, name in about:
            self._look_up(kind, name)
        copying = self._machine.due if view.code in answers.COPY_ENDS else None
        begun = copying.asked if copying is not None else None
        view.skipped = self._machine.sent(view.time_ns, (view.code, view.body, view.size), view)
        if begun is not None:
            view.execution = begun.execution
        if view.code in _OF_EXECUTIONS:
            view.execution = self._sent + 1
        self._sent += view.code in answers.RUNS
        statements = self._machine.statements
        if view.code == 0x42:
            portal = statements.sending_portals[about[0][1]]
            view.statement, view.parameter_types = self._known(portal.statement), portal.statement.parameter_types
        elif about and view.code != 0x43:
            kind, name = about[0]
            view.statement = self._known(statements.statement(name) if kind == "S" else statements.portal(name).statement)

    def _about(self, view: MessageView) -> list[tuple[str, str]]:
        """The names that a message uses, `S`tatement or `P`ortal, its main name first."""
        bodies, body = self._machine.bodies, view.body
        match view.code:
            case 0x50:
                return [("S", bodies.parse(body)[0])]
            case 0x42:
                portal, statement, *_ = bodies.bind(body)
                return [("P", portal), ("S", statement)]
            case 0x44 | 0x43:
                return [bodies.kind_and_name(body)]
            case 0x45:
                return [("P", bodies.portal(body))]
        return []

    def _look_up(self, kind: str, name: str) -> None:
        """When a name first occurs, give the machine the meaning that it had when the row began."""
        if (kind, name) in self._looked_up:
            return
        self._looked_up.add((kind, name))
        statements = self._machine.statements
        known = self._connection.meaning(kind, name, self._place)
        if isinstance(known, Statement) and name not in statements.sending:
            statements.sending[name] = statements.live[name] = self._copy(known)
        elif isinstance(known, Portal) and name not in statements.sending_portals:
            portal = Portal(name, self._copy(known.statement), known.result_formats)
            statements.sending_portals[name] = statements.live_portals[name] = portal

    def _copy(self, known: Statement) -> Statement:
        """A copy for the machine, which writes into it."""
        copied = self._copied.get(known)
        if copied is None:
            copied = self._copied[known] = Statement(known.name, known.sql, known.sent_types, simple=known.simple)
            copied.parameter_types, copied.columns = known.parameter_types, known.columns
            self._earlier[copied] = known
        return copied

    def _known(self, statement: Statement) -> Statement | None:
        """The original of a copied statement; None if its Parse was not seen."""
        return self._earlier.get(statement, statement) if statement.sql is not None else None

    def _backend(self, view: MessageView) -> None:
        item, skipped = self._machine.received(view.time_ns, (view.code, view.body, view.size))
        for one in skipped:
            one.skipped = True
        if item is None:
            return
        view.answers = item.asked
        if item.asked is not None and item.kind != owed.SYNC and view.code != 0x5A:
            view.execution = item.asked.execution
        if view.code == 0x54 and item.kind == owed.QUERY:
            self._columns = _columns(view.body)
        elif view.code == 0x44:
            self._data_row(view, item)

    def _data_row(self, view: MessageView, item: Owed) -> None:
        if item.kind == owed.QUERY:
            view.columns = self._columns
            view.formats = tuple(column.format for column in view.columns)
        elif item.kind == owed.EXECUTE and item.asked is not None:
            portal = self._machine.statements.live_portals.get(item.portal) or self._machine.statements.portal(item.portal)
            if self._described[0] != portal.statement.columns:
                self._described = portal.statement.columns, _columns(portal.statement.columns)
            view.columns, view.formats = self._described[1], portal.result_formats


def _columns(description: bytes) -> tuple[backend.Column, ...]:
    """The columns in a RowDescription's body; empty if the body is empty or malformed."""
    try:
        return backend.RowDescription.parse(description).columns if description else ()
    except MalformedMessage:
        return ()
