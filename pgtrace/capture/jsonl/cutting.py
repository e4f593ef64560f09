"""Records into lines: messages are cut out of the reads they came in.

Each direction of a connection keeps the bytes that are not yet part of a whole message, in the
pieces in which they were read. A frame takes its bytes from them. If the frame decodes, and its
fields encode to the same bytes, it becomes a line; otherwise its pieces do.

Lines wait until no message that began before them is unfinished, so they are written in the order
of their first record. The number of waiting lines is bounded: beyond the bound, the oldest
unfinished message is written in pieces.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from typing import Any, Final, NamedTuple

from pgtrace.capture.jsonl import LONGEST_LINE, SCHEMA, SIDES
from pgtrace.capture.jsonl.spelling import spell
from pgtrace.capture.record import Close, Data, Elided, Gap, Made, Opaque, Record, Resume, Rewrite
from pgtrace.capture.versions import Header
from pgtrace.framing import Framer
from pgtrace.protocol import codes, registry
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage, Message

Line = dict[str, Any]
_NO_MESSAGES: Final = frozenset({codes.OPAQUE, codes.UNDECODED})
_MOST_WAITING: Final = 20_000
"""The most lines that wait for an unfinished message before them."""


class _Piece(NamedTuple):
    """Bytes of one record."""

    record: int
    time_ns: int
    data: bytes
    is_read: bool
    """Whether it is part of a Data record. Bytes that pgtrace made or changed are a record of
    another kind, which has its own line."""
    offset: int | None
    """Its place in the stream, for the first piece of a read whose place does not follow from
    earlier pieces."""


class _Direction:
    """One direction of a connection."""

    __slots__ = ("given_up", "next_offset", "pieces")

    def __init__(self) -> None:
        self.pieces: deque[_Piece] = deque()
        self.next_offset = 0
        self.given_up = 0  # bytes of the current message that were already written


class _Connection:
    __slots__ = ("authentication", "directions", "framer")

    def __init__(self) -> None:
        self.framer = Framer(kept_bytes=LONGEST_LINE)
        self.directions = (_Direction(), _Direction())
        self.authentication = -1


class Cutter:
    """Turns records into lines. Times count from `start_ns`."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._number = -1
        self._connections: dict[int, _Connection] = {}
        self._lines: list[tuple[int, int, Line]] = []  # a heap: first record, sequence number
        self._made = 0
        # (connection, side) -> the record in which its message begins
        self._unfinished: OrderedDict[tuple[int, int], int] = OrderedDict()

    def feed(self, record: Record) -> list[Line]:
        """The lines that the next record completes."""
        self._number += 1
        if type(record) is Data:
            self._data(record)
        else:
            self._add_record(record)
        return self._ready()

    def finish(self) -> list[Line]:
        """The remaining lines."""
        for number, side in list(self._unfinished):
            self._give_up(number, side)
        return self._ready()

    # The stream.

    def _data(self, record: Data) -> None:
        time_ns, number, side, offset, data = record
        connection = self._connection(number)
        direction = connection.directions[side]
        piece = _Piece(self._number, time_ns, data, True, None if offset == direction.next_offset else offset)
        if not data:
            self._add_bytes(number, side, piece)
        self._pass(number, connection, side, offset, piece)

    def _pass(self, number: int, connection: _Connection, side: int, offset: int, piece: _Piece) -> None:
        direction = connection.directions[side]
        direction.next_offset = offset + len(piece.data)
        if piece.data:
            direction.pieces.append(piece)
        for code, body, size in connection.framer.feed(side, piece.data):
            if code == 0x52 and side == BACKEND:
                connection.authentication = codes.authentication_subtype(body)
            # The rest of an unfinished message before it will not complete it either.
            if code in _NO_MESSAGES:
                for one in self._take(direction, sum(len(piece.data) for piece in direction.pieces)):
                    self._add_bytes(number, side, one)
                direction.given_up = 0
                continue
            pieces = self._take(direction, size - min(size, direction.given_up))
            whole = not direction.given_up and all(one.is_read for one in pieces)
            direction.given_up = max(0, direction.given_up - size)
            spelled = _spelled(side, code, body, pieces, connection.authentication) if whole and pieces else None
            if spelled is not None:
                self._add_message(number, side, pieces, spelled)
            else:
                for one in pieces:
                    self._add_bytes(number, side, one)
        key = (number, side)
        first = direction.pieces[0].record if direction.pieces else None
        if connection.framer.unfinished_bytes(side) > LONGEST_LINE:
            self._give_up(number, side)
        # A new one: it begins in the current record and goes last.
        elif self._unfinished.get(key) != first:
            self._unfinished.pop(key, None)
            if first is not None:
                self._unfinished[key] = first

    @staticmethod
    def _take(direction: _Direction, size: int) -> list[_Piece]:
        pieces = direction.pieces
        taken: list[_Piece] = []
        while size and pieces:
            first = pieces.popleft()
            if len(first.data) > size:
                pieces.appendleft(first._replace(data=first.data[size:], offset=None))
                first = first._replace(data=first.data[:size])
            taken.append(first)
            size -= len(first.data)
        return taken

    def _give_up(self, number: int, side: int) -> None:
        """Write the current message in pieces."""
        direction = self._connections[number].directions[side]
        for piece in direction.pieces:
            direction.given_up += len(piece.data)
            self._add_bytes(number, side, piece)
        direction.pieces.clear()
        self._unfinished.pop((number, side), None)

    # Other records.

    def _add_record(self, record: Record) -> None:
        fields = {name: spell(value) for name, value in zip(record._fields, record, strict=True)}
        kind = type(record).__name__.lower()
        time_ns = fields.pop("time_ns") - self._start_ns
        if "side" in fields:
            fields["from"] = SIDES[fields["side"]] if fields["side"] < len(SIDES) else None
            del fields["side"]
        self._add({"record": self._number, "time_ns": time_ns, "kind": kind, **fields}, self._number)
        if isinstance(record, Made):
            self._pass_record(record.connection, BACKEND, record.offset, record.time_ns, record.data)
        elif isinstance(record, Rewrite):
            self._pass_record(record.connection, record.side, record.offset, record.time_ns, record.data)
        elif isinstance(record, Opaque):
            self._connection(record.connection).directions[record.side].next_offset = record.offset + record.length
        elif isinstance(record, Elided):
            self._connection(record.connection).directions[record.side].next_offset = record.offset + record.bytes
            self._lose(record.connection)
        elif isinstance(record, Gap):
            for number in [record.connection] if record.connection else list(self._connections):
                self._lose(number)
        elif isinstance(record, Resume):
            self._lose(record.connection)
            for direction, offset in zip(self._connections[record.connection].directions, record.offsets, strict=True):
                direction.next_offset = offset
        elif isinstance(record, Close):
            self._lose(record.connection)
            del self._connections[record.connection]

    def _pass_record(self, number: int, side: int, offset: int, time_ns: int, data: bytes) -> None:
        self._pass(number, self._connection(number), side, offset, _Piece(self._number, time_ns, data, False, None))

    def _lose(self, number: int) -> None:
        """The place in both streams is lost."""
        connection = self._connection(number)
        for side in (FRONTEND, BACKEND):
            self._give_up(number, side)
            connection.directions[side].given_up = 0
        connection.framer.gap()

    def _connection(self, number: int) -> _Connection:
        found = self._connections.get(number)
        if found is None:
            found = self._connections[number] = _Connection()
        return found

    # Lines.

    def _add_message(self, number: int, side: int, pieces: list[_Piece], spelled: Line) -> None:
        line = self._head(number, side, pieces[0]) | spelled
        if len(pieces) > 1:
            places = []
            position = 0
            for before, piece in itertools.pairwise(pieces):
                position += len(before.data)
                place = {"record": piece.record, "time_ns": piece.time_ns - self._start_ns, "at": position}
                places.append(place if piece.offset is None else place | {"offset": piece.offset})
            line["continues"] = places
        self._add(line, pieces[0].record)

    def _add_bytes(self, number: int, side: int, piece: _Piece) -> None:
        if not piece.is_read:
            return
        self._add(self._head(number, side, piece) | {"bytes": spell(piece.data[:LONGEST_LINE])}, piece.record)
        for start in range(LONGEST_LINE, len(piece.data), LONGEST_LINE):
            rest = piece._replace(data=piece.data[start : start + LONGEST_LINE], offset=None)
            self._add(self._head(number, side, rest) | {"bytes": spell(rest.data)}, piece.record)

    def _head(self, number: int, side: int, piece: _Piece) -> Line:
        head: Line = {"record": piece.record, "time_ns": piece.time_ns - self._start_ns, "connection": number, "from": SIDES[side]}
        return head if piece.offset is None else head | {"offset": piece.offset}

    def _add(self, line: Line, first: int) -> None:
        self._made += 1
        heapq.heappush(self._lines, (first, self._made, line))

    def _ready(self) -> list[Line]:
        while len(self._lines) > _MOST_WAITING and self._unfinished:
            self._give_up(*next(iter(self._unfinished)))
        oldest = next(iter(self._unfinished.values()), self._number + 1)
        ready: list[Line] = []
        # Everything before the record in which an unfinished message begins already has its line.
        while self._lines and self._lines[0][0] <= oldest:
            ready.append(heapq.heappop(self._lines)[2])
        return ready


def _spelled(side: int, code: int, body: bytes, pieces: list[_Piece], authentication: int) -> Line | None:
    """The name and fields of a message, or its body unchanged; None if it is not a whole
    message."""
    wire = b"".join([piece.data for piece in pieces])
    if len(body) + 5 < len(wire):
        return None
    try:
        message = registry.decode(side, code, body, authentication)
        if message.wire() == wire and MESSAGE_NAMES.get((side, message.NAME)) is type(message):
            names = type(message).BODY.names
            return {"message": message.NAME, "fields": {name: spell(getattr(message, name)) for name in names}}
    except MalformedMessage:
        pass
    return {"message": codes.message_name(side, code, authentication), "raw": spell(wire)}


MESSAGE_NAMES: Final[dict[tuple[int, str], type[Message]]] = {(kind.side, kind.NAME): kind for kind in registry.MESSAGES}
"""(side, name) -> the class of a line's fields. If two classes share a name (an error in protocol
2.0 and 3), the later one in the list."""


def first_line(header: Header) -> Line:
    """The first line of a file: the schema, and the capture's header."""
    clocks = {"wall_ns": header.wall_ns, "monotonic_ns": header.monotonic_ns}
    about = {"pgtrace": spell(header.pgtrace), "host": spell(header.host), "mark": header.mark.hex(), "version": list(header.version)}
    return {"schema": SCHEMA, **clocks, **about}
