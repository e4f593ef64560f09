"""The round trips of several legs, each with the key by which it is joined, in the order in which
they ended.

A pooler passes most of a round trip on unchanged. The key contains what stays the same:

- of the frontend: a Bind as its statement's SQL, its formats and parameter bytes; the limit of an
  Execute; the text of a Query; every other message with a body;
- of the backend: the replies with their bytes, an ErrorResponse as its SQLSTATE (its text may have
  the pooler's name of a statement), and the transaction status.

The key excludes what poolers change: Parse and Close (they prepare once for all, under names of
their own), Sync and Flush, ParseComplete and CloseComplete, ParameterStatus, notices and
notifications. A Parse without other messages beside it counts by its SQL.

A round trip has one key for each Sync or Query, because a pooler may pass on a pipeline in several
runs, and one for COPY data, which may be sent before the server has asked for it. Keys are hashes:
nothing of the traffic is kept.

The rows of the trace say which bytes belong to which round trip. The records are read once more,
and each connection is framed from its beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from math import isnan
from typing import Final, NamedTuple

from pgtrace.capture.record import DECRYPTED, Close, Data, Elided, Fact, Gap, Made, Opaque, Record, Resume, Rewrite
from pgtrace.framing import Framer
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.connection import Connection
from pgtrace.trace.files import CaptureFile
from pgtrace.trace.row import RowKind, Shape
from pgtrace.trace.trace import Trace

Side = tuple[int, str]
"""The number of a file, and the letter of a leg in it."""

NAMES_KEPT: Final = 200_000
"""The most prepared statements of all open connections whose SQL is known. Beyond that, a
connection forgets its own."""
SEGMENTS_KEPT: Final = 100_000
"""The most Syncs and Queries of one round trip that have keys of their own."""
NAMES_SHOWN: Final = 4
"""The most names of one round trip that are compared."""
_SLICE: Final = 4096
_AHEAD_NS: Final = 2_000_000_000
_ENDS_SEGMENT: Final = frozenset(b"QSF")
_WITHOUT_KEY: Final = frozenset(b"SHCPX")
"""Frontend messages that poolers add, swallow or change."""
_HANDS_OVER: Final = frozenset(b"GW")
"""After one of these the driver sends COPY data. It may also send all or a part of it before: in
one round trip, or in two. Data sent before belongs to the data sent after."""
_REPLIES_WITHOUT_KEY: Final = frozenset(b"13SNA")
_PARSE, _BIND, _DESCRIBE, _EXECUTE, _CLOSE, _COPY_DATA, _ERROR, _READY = b"PBDECdEZ"
_IDLE: Final = b"I"
_NOTHING: Final = 0


class Trip(NamedTuple):
    """A round trip after set-up."""

    place: int
    """The place of its row."""
    connection: int
    """Index in Trace.connections."""
    opened_ns: int
    """When its first message was sent, or COPY data that came ahead of it."""
    began_ns: int
    """When the first message with a key was sent. The round trip may open earlier, with a Sync or
    Flush that the pooler passed on later than the messages to which it belongs."""
    closed_ns: int
    keys: tuple[int, ...]
    """The key of each of its segments; empty if it has none."""
    bare: tuple[int, ...]
    """The keys that remain if the pooler has swallowed every Parse without a Bind; empty if there
    is no such Parse."""
    asked: int
    """The key of the frontend's part alone."""
    ends_idle: bool
    """Whether its last reply is ReadyForQuery `I`: after that the pooler may give the server
    connection to another driver."""
    is_cut: bool
    """Whether the connection ended before all of it was answered."""
    names: tuple[str, ...]
    """The first few statement names that it uses."""
    has_unknown: bool = False
    """Whether it uses a statement whose Parse was not seen, so that its key does not identify it
    well enough."""


class Lost(NamedTuple):
    """Something was not recorded between these moments."""

    began_ns: int
    ended_ns: int


class _Row(NamedTuple):
    place: int
    opened_ns: int
    closed_ns: int
    ends: tuple[int, int]
    """Where its bytes end in the stream of each side."""
    is_countable: bool
    is_uncertain: bool
    is_cut: bool
    is_open: bool
    """Whether it was not complete when it was read."""


class _Rows:
    """The rows of the connections of interest, in the order of their beginning. If captures grow
    beside each other, rows may be out of order by as much as one capture was ahead."""

    def __init__(self, trace: Trace, concerns: Callable[[Connection], bool]) -> None:
        self._trace = trace
        self._concerns = concerns
        self._waiting: dict[int, deque[_Row] | None] = {}
        """The rows not taken yet, by connection; None if a connection's rows are not wanted."""
        self._opened: list[int] = []  # of a slice of the rows
        self._connections: list[int] = []
        self._first = 0  # the slice's first place
        self._at = 0

    def of(self, connection: int) -> deque[_Row] | None:
        """The rows of this connection, which are added as read_until() passes them; None if they
        are not wanted."""
        if connection not in self._waiting:
            self._waiting[connection] = deque() if self._concerns(self._trace.connections[connection]) else None
        return self._waiting[connection]

    def forget(self, connection: int) -> None:
        """No more rows of this connection are wanted."""
        self._waiting[connection] = None

    def read_until(self, time_ns: int) -> None:
        """Pass the rows that began up to this moment, and a little beyond."""
        time_ns += _AHEAD_NS
        while True:
            opened, at = self._opened, self._at
            while at < len(opened) and opened[at] <= time_ns:
                waiting = self.of(self._connections[at])
                if waiting is not None:
                    waiting.append(self.at(self._first + at))
                at += 1
            self._at = at
            if at < len(opened):
                return
            columns = self._trace.rows.columns(self._first + at, self._first + at + _SLICE)
            if not len(columns):
                return
            self._first += at
            self._opened, self._connections, self._at = columns.opened_ns, columns.connections, 0

    def at(self, place: int) -> _Row:
        """The row at this place."""
        entry = self._trace.rows.entry(place)
        shape: Shape = self._trace.rows.shape_at(entry.shape)
        is_open = isnan(entry.duration_ms)
        return _Row(
            place,
            entry.opened_ns,
            self._trace.duration_ns if is_open else entry.opened_ns + round(entry.duration_ms * 1e6),
            (entry.offsets[0] + entry.sent_bytes, entry.offsets[1] + entry.received_bytes),
            shape.kind is RowKind.ROUND_TRIP,
            shape.uncertain or is_open,
            bool(self._trace.rows.label_at(entry.label).end),
            is_open,
        )


class _Names:
    """The number of prepared statements that all connections know together."""

    def __init__(self) -> None:
        self.known = 0


class _Keyer:
    """Frames one connection and gives each of its round trips a key."""

    def __init__(self, connection: Connection, rows: _Rows, waiting: deque[_Row], names: _Names) -> None:
        """`waiting` are the rows of this connection."""
        self.connection = connection.index
        self._all_names = names
        self._all_rows = rows
        self._rows = waiting
        self._framer = Framer()
        self._offsets = [0, 0]
        self._row: _Row | None = None
        self._statements: dict[bytes, int] = {}
        self._ahead: tuple[int, int] | None = None  # COPY data of the next round trip, and its time
        self._begin()

    def _begin(self) -> None:
        self._began_ns: int | None
        self._asking, self._began_ns = self._ahead or (_NOTHING, None)
        self._answering = self._parsing = _NOTHING
        self._ahead = None
        self._parsed: list[int] = []  # the segments of which only a Parse has a key
        self._sent: list[int] = []  # by segment that has ended
        self._received: list[int] = []
        self._data_ns: int | None = None  # when COPY data first came
        self._is_idle = self._hands_over = False
        self._names: list[str] = []
        self._has_unknown = False

    def decrypted(self) -> None:
        self._framer.decrypted()

    def lose(self) -> None:
        """Bytes are missing."""
        self._framer.gap()
        self._row = None
        self._ahead = None
        self._begin()

    def resume(self, offsets: tuple[int, int]) -> None:
        """Continue in the middle, if the connection's beginning was not seen."""
        if not any(self._offsets):
            self._offsets = list(offsets)
            self.lose()

    def elided(self, size: int) -> None:
        """Rows were left out of the capture."""
        self._offsets[BACKEND] += size
        self._answering = hash((self._answering, size))

    def skipped(self, side: int, size: int) -> None:
        """Skip bytes that are not kept."""
        self._offsets[side] += size

    def feed(self, side: int, data: bytes, offset: int, time_ns: int) -> Iterator[Trip]:
        """Take the next bytes of a side. Yields the round trips that end with them."""
        framer, offsets = self._framer, self._offsets
        if framer.seeking:
            offsets[side] = offset
        for code, body, size in framer.feed(side, data):
            row = self._row = self._fresh(self._row) if self._row is not None else None
            if row is None or offsets[side] >= row.ends[side]:
                row = self._advance(side, offsets[side])
            offsets[side] += size
            if row is None or not row.is_countable:
                if side == FRONTEND and code in (_PARSE, _CLOSE):
                    self._name(code, body)
                continue
            if side == FRONTEND:
                self._frontend(code, body, size)
                if self._began_ns is None and (self._asking or self._parsing or code not in _WITHOUT_KEY):
                    self._began_ns = time_ns
                if code == _COPY_DATA and self._data_ns is None:
                    self._data_ns = time_ns
            else:
                self._backend(code, body, size)
            if offsets[0] >= row.ends[0] and offsets[1] >= row.ends[1] and not row.is_open:
                self._row = None
                yield self._trip(row)

    def ended(self) -> Iterator[Trip]:
        """The connection has ended. Yields the round trip that was open."""
        if self._row is not None and self._row.is_countable:
            row, self._row = self._fresh(self._row), None
            yield self._trip(row._replace(is_cut=True))

    def _advance(self, side: int, offset: int) -> _Row | None:
        """The row to which the message at this offset belongs."""
        row = None
        while self._rows and row is None:
            row = self._fresh(self._rows.popleft())
            if offset >= row.ends[side]:
                row = None
        self._row = row
        self._begin()
        return row

    def _fresh(self, row: _Row) -> _Row:
        """The row as it is now."""
        return self._all_rows.at(row.place) if row.is_open else row

    def _trip(self, row: _Row) -> Trip:
        sent, received = self._sent, self._received
        if self._hands_over and self._data_ns is not None and not row.is_cut:
            self._ahead, self._asking = (self._asking, self._data_ns), _NOTHING
        if self._asking or self._parsing:
            self._end_asking()
        if self._answering:
            received.append(self._answering)
        asked = hash(tuple(sent))
        if len(sent) != len(received):
            sent, received = [asked], [hash(tuple(received))]
        keys = tuple(map(hash, zip(sent, received, strict=True))) if row.is_cut or not row.is_uncertain else ()
        bare: tuple[int, ...] = ()
        if self._parsed and len(sent) == len(keys) == len(received):
            parsed = set(self._parsed)
            bare = tuple(hash((_NOTHING, received[at])) if at in parsed else key for at, key in enumerate(keys))
        began_ns = row.opened_ns if self._began_ns is None else self._began_ns
        return Trip(
            row.place,
            self.connection,
            min(row.opened_ns, began_ns),
            began_ns,
            row.closed_ns,
            keys,
            bare,
            asked,
            self._is_idle,
            row.is_cut,
            tuple(self._names),
            self._has_unknown,
        )

    def _end_asking(self) -> None:
        if self._parsing and not self._asking:
            self._parsed.append(len(self._sent))
        self._sent.append(self._asking or self._parsing)
        self._asking = self._parsing = _NOTHING

    def _name(self, code: int, body: bytes) -> bytes:
        """Take note of a Parse or Close. Returns the name that it is about."""
        if code == _PARSE:
            end = body.find(0)
            name = body[: max(0, end)]
            if name not in self._statements:
                if self._all_names.known >= NAMES_KEPT:
                    self.forget()
                self._all_names.known += 1
            self._statements[name] = hash(body[end + 1 : body.find(0, end + 1)])
            return name
        name = body[1:-1]
        if body[:1] == b"S" and self._statements.pop(name, None) is not None:
            self._all_names.known -= 1
        return name

    def forget(self) -> None:
        """Forget its prepared statements."""
        self._all_names.known -= len(self._statements)
        self._statements.clear()

    def _uses(self, name: bytes) -> None:
        self._has_unknown = self._has_unknown or name not in self._statements
        if name and len(self._names) < NAMES_SHOWN:
            self._names.append(name.decode(errors="replace"))

    def _frontend(self, code: int, body: bytes, size: int) -> None:
        if code == _PARSE:
            name = self._name(code, body)
            self._parsing = hash((self._parsing, self._statements[name]))
            self._uses(name)
        elif code == _BIND:
            portal_end = body.find(0)
            end = body.find(0, portal_end + 1)
            name = body[portal_end + 1 : end]
            self._asking = hash((self._asking, code, self._statements.get(name), body[end + 1 :], size - portal_end - len(name)))
            self._uses(name)
        elif code == _DESCRIBE:
            is_statement = body[:1] == b"S"
            self._asking = hash((self._asking, code, self._statements.get(body[1:-1]) if is_statement else None))
            if is_statement:
                self._uses(body[1:-1])
        elif code == _EXECUTE:
            self._asking = hash((self._asking, code, body[-4:]))
        elif code == _CLOSE:
            self._name(code, body)
        elif code not in _WITHOUT_KEY:
            self._asking = hash((self._asking, code, body, size))
        if code in _ENDS_SEGMENT and len(self._sent) < SEGMENTS_KEPT:
            self._end_asking()

    def _backend(self, code: int, body: bytes, size: int) -> None:
        self._is_idle = False
        self._hands_over = code in _HANDS_OVER or (self._hands_over and code in _REPLIES_WITHOUT_KEY)
        if code == _READY:
            self._is_idle = body == _IDLE
            self._answering = hash((self._answering, body))
            if len(self._received) < SEGMENTS_KEPT:
                self._received.append(self._answering)
                self._answering = _NOTHING
        elif code == _ERROR:
            self._answering = hash((self._answering, code, _sqlstate(body)))
        elif code not in _REPLIES_WITHOUT_KEY:
            self._answering = hash((self._answering, code, body, size))
            if code in _HANDS_OVER and len(self._received) < SEGMENTS_KEPT:
                self._received.append(self._answering)
                self._answering = _NOTHING


def _sqlstate(body: bytes) -> bytes:
    at = 0 if body[:1] == b"C" else body.find(b"\0C") + 1
    return body[at : at + 6] if at or body[:1] == b"C" else b""


class Trips:
    """The round trips of the sessions on some sides, and what was lost, read from the captures once
    more."""

    def __init__(self, trace: Trace, sides: Collection[Side]) -> None:
        self._trace = trace
        self._sides = sides
        self._again = trace.again()
        self._rows = _Rows(trace, self._concerns)
        self._names = _Names()
        self._keyers: dict[tuple[int, int], tuple[Side, _Keyer] | None] = {}
        self._read_until_ns = -1
        self._latest_ns = 0

    def new(self, *, is_all: bool) -> Iterator[tuple[Side, Trip | Lost]]:
        """The round trips that have ended since the last call, in the order in which they ended.
        Unless `is_all`, they wait for captures that still grow and are behind."""
        keyers, sides, start_ns = self._keyers, self._sides, self._trace.start_ns
        for file, _, records in self._again.new(is_all=is_all):
            for record in records:
                number = getattr(record, "connection", 0)
                key = (file.number, number)
                if key in keyers:
                    found = keyers[key]
                else:
                    found = keyers[key] = self._find(file, number) if number else None
                now_ns = record[0] + file.shift_ns - start_ns
                if isinstance(record, Gap) and record.bytes and (found is not None or not number):
                    for letter in {side for side in sides if side[0] == file.number}:
                        yield letter, Lost(self._latest_ns, now_ns)
                    for other in keyers.values() if not number else ():
                        if other is not None and other[0][0] == file.number:
                            other[1].lose()
                self._latest_ns = max(self._latest_ns, now_ns)
                if found is None:
                    continue
                side, keyer = found
                if now_ns > self._read_until_ns:
                    self._read_until_ns = now_ns
                    self._rows.read_until(now_ns)
                for trip in _taken(keyer, record, now_ns):
                    yield side, trip
                if isinstance(record, Close):
                    self._rows.forget(keyer.connection)
                    keyer.forget()
                    keyers[key] = None

    def open(self) -> Iterator[tuple[Side, Trip]]:
        """The round trips that are open at the end of the captures."""
        for found in self._keyers.values():
            if found is not None:
                for trip in found[1].ended():
                    yield found[0], trip

    def close(self) -> None:
        """Close the captures."""
        self._again.close()

    def _find(self, file: CaptureFile, number: int) -> tuple[Side, _Keyer] | None:
        connection = self._trace.connections.numbered(file, number)
        waiting = self._rows.of(connection.index) if connection is not None else None
        if connection is None or waiting is None:
            return None
        return (file.number, connection.leg), _Keyer(connection, self._rows, waiting, self._names)

    def _concerns(self, connection: Connection) -> bool:
        return connection.kind != "cancel" and (connection.file, connection.leg) in self._sides


def _taken(keyer: _Keyer, record: Record, time_ns: int) -> Iterator[Trip]:
    """The round trips that end with a record of this connection."""
    if isinstance(record, Data | Rewrite):
        yield from keyer.feed(record.side, record.data, record.offset, time_ns)
    elif isinstance(record, Made):
        yield from keyer.feed(BACKEND, record.data, record.offset, time_ns)
    elif isinstance(record, Elided):
        keyer.elided(record.bytes)
    elif isinstance(record, Opaque):
        keyer.skipped(record.side, record.length)
    elif isinstance(record, Gap):
        if record.bytes:
            keyer.lose()
    elif isinstance(record, Resume):
        keyer.resume(record.offsets)
    elif isinstance(record, Fact):
        if record.key == DECRYPTED:
            keyer.decrypted()
    elif isinstance(record, Close):
        yield from keyer.ended()
