"""Writes the rows of one connection into the timeline.

A row is reserved when a run of messages begins, so rows keep the order in which they began. It is
written when the run has ended. Each message outside a run is a row, except in runs of CopyData and
of unreadable bytes: those join the previous row, CopyData up to RUN_KEPT messages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.effects import Counts
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import Statement
from pgtrace.trace import labels
from pgtrace.trace.copy_log import CopyLog
from pgtrace.trace.identity import Identity, Keepalive
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.marks import Interval
from pgtrace.trace.row import RUN_KEPT, Label, RowEntry, RowKind, Shape

if TYPE_CHECKING:
    from pgtrace.describe.copy_messages import CopyPayload

_MERGED: Final = frozenset({codes.OPAQUE, codes.UNDECODED, ord("d")})
_KEEPALIVE, _STATUS_UPDATE = b"k", b"r"
_KEEPALIVE_BYTES: Final = 18
_COPY_DATA: Final = ord("d")
_QUIET: Final = frozenset({codes.SSL_REPLY, codes.GSSENC_REPLY})
"""Replies outside a run that belong to the set-up's row."""
_SHAPES_KEPT: Final = 256
"""The most shapes kept for one effect. They differ in the name of the statement."""
_MAJOR: Final = re.compile(r"\d{1,4}")


class RowNote(NamedTuple):
    """What is kept of an open round trip."""

    place: int
    position: int
    marks: tuple[Interval, ...]


_note: Final[Callable[..., RowNote]] = tuple.__new__


class TimelineWriter:
    """Writes the rows of one open connection."""

    __slots__ = ("_began", "_copies", "_index", "_latest", "_ledger", "_marks", "_rows", "_streamed", "_who")

    def __init__(self, ledger: Ledger, who: Identity, began: list[int], copies: CopyLog) -> None:
        """`began` is the caller's: for each side, the position of the record in which its
        incomplete message began, or otherwise its latest read."""
        self._ledger = ledger
        self._rows = ledger.rows
        self._marks = ledger.marks_of(who.file, who.index)
        self._who = who
        self._index = who.index
        self._began = began
        self._copies = copies
        # The side, code and place of the last row, if it was not a round trip.
        self._latest: tuple[int, int, int] | None = None
        self._streamed = 0  # messages of a CopyData stream that have joined the latest row

    @property
    def latest_alone(self) -> int | None:
        """The place of the last row, if it was not a round trip."""
        return self._latest[2] if self._latest is not None else None

    def begins(self) -> RowNote:
        """A run of frontend messages begins: reserve its row."""
        place = self._rows.reserve() if self._ledger.timeline else 0
        began, session = self._began, self._who.session
        position = began[FRONTEND]
        if session is not None and session.framer.cut[BACKEND]:
            position = min(position, began[BACKEND])
        self._latest = None
        if self._copies.now is not None:
            self._copies.row_began(place)
        for mark in self._marks.open:
            mark.opened(self._who.index)
        return _note(RowNote, (place, position, self._marks.open))

    def draw(self, exchange: Exchange, passage: Passage) -> None:
        """Write the row of a round trip, as it is now."""
        if exchange.note is None:
            exchange.note = self._label_and_shape(exchange, passage)
        label, shape, introspects = exchange.note
        note, opened_ns, _, first_ns, closed_ns, waited_ns, offsets, rows, sent_bytes, received_bytes, values, _, _ = passage
        self._rows.write(
            note.place,
            note.position,
            opened_ns,
            offsets,
            self._index,
            label,
            shape,
            rows,
            math.nan if closed_ns is None else (closed_ns - opened_ns) / 1e6,
            math.nan if first_ns is None else (first_ns - opened_ns) / 1e6,
            sent_bytes,
            received_bytes,
            waited_ns,
            exchange.effect.counts.number,
            1,
            values,
        )
        if introspects and rows and closed_ns is not None:
            self._ledger.introspections.note(self._who.file, self._who.database, note.place)

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        """A message outside any round trip: give it its own row, or add it to the previous row."""
        ledger, session = self._ledger, self._who.session
        if code in _QUIET or not ledger.timeline:
            return
        latest, copies = self._latest, self._copies
        streamed = code == _COPY_DATA and copies.now is not None
        self._streamed = self._streamed + 1 if streamed else 0
        if latest is not None and latest[:2] == (side, code) and code in _MERGED and self._streamed != RUN_KEPT:
            if streamed:
                copies.passed(side, body, latest[2])
                if copies.describes_more(body):
                    self._rows.relabel(latest[2], self._describe(side, code, body)[2])
            self._rows.grow(latest[2], side, size)
            if streamed:
                self._keep_alive(side, body, time_ns, latest[2])
            return
        kind, letter, label = self._describe(side, code, body)
        status = session.status if session is not None else ""
        offsets = session.offsets if session is not None else (0, 0)
        sent, received = (size, 0) if side == FRONTEND else (0, size)
        shape = Shape(kind, letter, errors=int(bool(label.error)), status_before=status, status=status)
        place = self._rows.append(
            RowEntry(
                position=self._began[side],
                opened_ns=time_ns,
                offsets=(offsets[0] - sent, offsets[1] - received),
                connection=self._who.index,
                label=self._rows.label(label),
                shape=self._rows.shape(shape),
                duration_ms=0.0,
                sent_bytes=sent,
                received_bytes=received,
                effect=(ledger.reads.effects.nothing if counts is None else counts).number,
            )
        )
        self._latest = (side, code, place)
        if streamed:
            self._streamed = 0
            copies.row_began(place)
            copies.passed(side, body, place)
            copies.describes_more(body)
            self._keep_alive(side, body, time_ns, place)

    def _keep_alive(self, side: int, body: bytes, time_ns: int, place: int) -> None:
        """Note whether a CopyData of a replication stream asks for a reply, or is one."""
        if side == FRONTEND:
            if body[:1] == _STATUS_UPDATE:
                self._who.keepalive = None
        elif self._who.keepalive is None and len(body) == _KEEPALIVE_BYTES and body[:1] == _KEEPALIVE and body[-1]:
            self._who.keepalive = Keepalive(time_ns, place)

    def copy_began(self, note: RowNote | None, code: int, response: bytes, statement: Statement | None) -> None:
        """A copy response arrived: note the content of the CopyData after it."""
        if not self._ledger.timeline:
            return
        from pgtrace.describe.copy_contents import contents

        session, slots, upstream = self._who.session, self._ledger.slots, self._who.upstream
        version = session.parameters.get("server_version", "") if session is not None else ""
        major = int(found[0]) if (found := _MAJOR.match(version)) else 0
        sql = statement.sql if statement is not None else None
        place = note.place if note is not None else len(self._rows)
        self._copies.began(place, contents(code, response, sql, major, lambda slot: slots.get((upstream, slot))))

    def copy_ended(self) -> None:
        """The copying is over."""
        self._copies.ended(len(self._rows) - 1)

    def _describe(self, side: int, code: int, body: bytes) -> tuple[RowKind, str, Label]:
        """The kind, flight and label of a message outside any round trip."""
        if code == codes.CANCEL_REQUEST:
            target = self._ledger.keys.get(body[4:])
            return (
                RowKind.CANCEL,
                "Cancel →",
                Label(f"cancels {self._ledger.name_of(*target[1:])}" if target else "cancels a session not seen here"),
            )
        return labels.alone(side, code, body, self._inside(side, body) if code == _COPY_DATA else None)

    def _inside(self, side: int, body: bytes) -> CopyPayload | None:
        """The content of a CopyData outside any round trip, at this point of the reading."""
        copies, here = self._copies, len(self._rows)
        if copies.now is None:
            return None
        from pgtrace.describe.copy_messages import message_inside

        return message_inside(copies.now, side, body, lambda oid: copies.relation_at(oid, here), in_stream=copies.in_stream)

    def _label_and_shape(self, exchange: Exchange, passage: Passage) -> tuple[int, int, bool]:
        """The numbers of the label and shape of an exchange's row, and whether its rows may contain
        information about types."""
        from pgtrace.describe import introspection

        rows, who = self._rows, self._who
        label = labels.label(exchange, passage, lambda: f"user={who.user} database={who.database}")
        return rows.label(label), self._shape(exchange, passage), introspection.TABLE in label.sql

    def _shape(self, exchange: Exchange, passage: Passage) -> int:
        """The number of the shape of an exchange's row."""
        about = labels.about(exchange)
        key = about[0].name if about else "", min(len(about), 2), passage.closed_ns is None
        effect = exchange.effect
        shapes: dict[tuple[str, int, bool], int] = effect.note
        if shapes is None or len(shapes) >= _SHAPES_KEPT:
            shapes = effect.note = {}
        found = shapes.get(key)
        if found is None:
            found = shapes[key] = self._rows.shape(labels.shape(exchange, passage))
        return found
