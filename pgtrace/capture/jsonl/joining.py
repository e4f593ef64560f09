"""Lines into records: what cutting.py wrote, even after somebody edited it.

The bytes of a record are those of its lines, in order, after what a message of an earlier line left
in it. A record is whole when a line of a later one arrives. A line without `record` is a read of
its own, after the previous one; a line without `time_ns` has the same time as the previous one.
Places in the stream follow from the bytes, so a longer value moves what comes after it. Where they
do not follow, `offset` gives them.

A line that is not valid ends the reading, and the error names it. Its fields are checked once
against their classes, so every message and record made here has fields of the right types. Lines
can make this module keep only so much: the length and parts of a line are bounded, and so are the
reads that wait for the rest of a message.
"""

from __future__ import annotations

import heapq
import re
import struct
from typing import Annotated, Any, Final, TypeVar

import msgspec
from construct import ConstructError

from pgtrace.capture.jsonl import SCHEMA, SIDES
from pgtrace.capture.jsonl.cutting import MESSAGE_NAMES
from pgtrace.capture.jsonl.spelling import read
from pgtrace.capture.record import LAYOUTS, NEITHER, Data, Elided, Made, Opaque, Open, Record, Resume, Rewrite, encode, misfit
from pgtrace.capture.versions import Header, parse_header
from pgtrace.errors import CaptureError

MAGIC: Final = b'{"schema":"' + SCHEMA.encode() + b'"'
"""The first bytes of a jsonl file."""
LONGEST: Final = 16 * 1024 * 1024
"""The longest line, in bytes. No line that pgtrace writes comes near it, unless a record has such a
long text."""
MOST_PARTS: Final = 256 * 1024
"""The most lists, objects and items in a line. As a Python object, each takes many times its
characters. The smallest item of a message takes two bytes."""
TOO_LONG: Final = "longer than any line of a capture"
MOST_WAITING: Final = 20_000
"""The most reads in which a message continues before their own lines arrive."""
_PART: Final = re.compile(rb"[\[{,]")
_KINDS: Final = {kind.__name__.lower(): kind for kind, _ in LAYOUTS.values() if kind is not Data}

Line = dict[str, Any]
_Number = tuple[int, int]
"""A record's number, and a counter for the records after it that have no number."""
_Natural = Annotated[int, msgspec.Meta(ge=0)]
Converted = TypeVar("Converted")


class _First(msgspec.Struct):
    """The first line."""

    schema: str
    wall_ns: _Natural
    monotonic_ns: _Natural
    pgtrace: Any
    host: Any
    mark: str
    version: tuple[_Natural, _Natural]


class _Place(msgspec.Struct):
    """A place where a message continues."""

    record: _Natural
    time_ns: int
    at: _Natural
    offset: _Natural | None = None


class _Head(msgspec.Struct):
    """What any line may have besides its content."""

    record: int | None = None
    time_ns: int | None = None
    kind: str | None = None
    offset: _Natural | None = None
    continues: tuple[_Place, ...] = ()


class _Read:
    """A Data record that is still growing."""

    def __init__(self, time_ns: int, connection: int, side: int, offset: int | None) -> None:
        self.time_ns = time_ns
        self.connection = connection
        self.side = side
        self.offset = offset
        self.data = bytearray()


class JsonLines:
    """A jsonl file, read from its first byte: turns bytes into records."""

    def __init__(self, path: str) -> None:
        """`path` is for error messages."""
        self.header: Header | None = None
        """The capture's header, once it has arrived."""
        self.connections = 0
        """The number of connections opened so far."""
        self._path = path
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._line = 0
        self._number: _Number = (-1, 0)
        self._time_ns = 0
        self._reads: dict[_Number, _Read] = {}
        self._waiting: list[_Number] = []  # the same numbers, as a heap
        self._offsets: dict[tuple[int, int], int] = {}

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data`, the next bytes, completes. Raises CaptureError for a line that
        is not valid."""
        first, *others = data.split(b"\n")
        self._rest.append(first)
        self._rest_bytes += len(first)
        records: list[Record] = []
        for begun in others:
            records += self._take(b"".join(self._rest))
            self._rest, self._rest_bytes = [begun], len(begun)
        if self._rest_bytes > LONGEST:
            raise self._error(TOO_LONG, self._line + 1)
        return records

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The file has ended. Returns the remaining records. Raises CaptureError."""
        last = self._take(b"".join(self._rest)) if self._rest_bytes else []
        if self.header is None:
            raise CaptureError(self._path, f"not a pgtrace jsonl file: its first line does not name the schema {SCHEMA}")
        return last + self._flush(None)

    def notes(self) -> list[str]:
        """Always empty: a jsonl file has nothing to note."""
        return []

    def nothing_found(self) -> str:
        """Always empty: a capture may well have no connections."""
        return ""

    # Lines.

    def _take(self, text: bytes) -> list[Record]:
        self._line += 1
        if not text.strip():
            return []
        if len(text) > LONGEST or (len(text) > MOST_PARTS and len(_PART.findall(text)) > MOST_PARTS):
            raise self._error(TOO_LONG)
        try:
            try:
                line = msgspec.json.decode(text)
            except msgspec.DecodeError:
                raise ValueError("not valid JSON") from None
            if not isinstance(line, dict):
                raise ValueError("not an object")
            if self.header is None:
                return self._first(line)
            return self._next(line)
        except KeyError as error:
            raise self._error(f"{error.args[0]!r} is missing") from None
        except RecursionError:
            raise self._error("nested too deeply") from None
        except ValueError as error:  # msgspec's errors are ValueErrors too
            raise self._error(str(error) or "not a valid line") from None

    def _first(self, line: Line) -> list[Record]:
        if line.get("schema") != SCHEMA:
            raise ValueError(f"the first line does not name the schema {SCHEMA}")
        first = _converted(line, _First)
        texts = [_converted(read(text), str) for text in (first.pgtrace, first.host)]
        try:
            encoded = Header(first.version, bytes.fromhex(first.mark), first.wall_ns, first.monotonic_ns, *texts).encode()
        except struct.error as error:
            raise ValueError(f"a number that does not fit its field: {error}") from None
        parsed = parse_header(self._path, encoded)
        self.header = parsed[0] if parsed is not None else None
        return []

    def _next(self, line: Line) -> list[Record]:
        head = _converted(line, _Head)
        number = (head.record, 0) if head.record is not None else (self._number[0], self._number[1] + 1)
        if number < self._number:
            raise ValueError(f"record {number[0]} comes after record {self._number[0]}")
        time_ns = self._time_ns = self._time_ns if head.time_ns is None else head.time_ns
        done = self._flush(number) if number > self._number else []
        self._number = number
        if head.kind is not None:
            record = self._take_other(head.kind, line, time_ns)
            self.connections += isinstance(record, Open)
            return [*done, *self._flush((number[0], number[1] + 1)), record]
        side, connection = _side(line), _converted(line["connection"], int)
        wire = memoryview(_wire(side, line))
        start, latest = 0, self._read(number, time_ns, connection, side, head.offset)
        for place in head.continues:
            if not start <= place.at <= len(wire):
                raise ValueError(f"it continues at byte {place.at}, which is outside the rest of the message")
            latest.data += wire[start : place.at]
            start, latest = place.at, self._read((place.record, 0), place.time_ns, connection, side, place.offset)
        latest.data += wire[start:]
        return done

    def _read(self, number: _Number, time_ns: int, connection: int, side: int, offset: int | None) -> _Read:
        """The read with that number, which may have begun in an earlier line."""
        if number < self._number:
            raise ValueError(f"it continues in record {number[0]}, which is an earlier one")
        found = self._reads.get(number)
        if found is None:
            if len(self._reads) >= MOST_WAITING:
                raise ValueError(f"more than {MOST_WAITING} records are waiting for a message to end: leave `continues` out")
            found = self._reads[number] = _Read(time_ns, connection, side, offset)
            heapq.heappush(self._waiting, number)
        elif (found.connection, found.side) != (connection, side):
            raise ValueError(f"record {number[0]} is a read of another connection or side: leave `record` out")
        return found

    def _flush(self, before: _Number | None) -> list[Record]:
        """The reads before that number, which get no more bytes."""
        records: list[Record] = []
        waiting = self._waiting
        while waiting and (before is None or waiting[0] < before):
            one = self._reads.pop(heapq.heappop(waiting))
            offset = self._offsets.get((one.connection, one.side), 0) if one.offset is None else one.offset
            record = _checked(Data(one.time_ns + self._start_ns, one.connection, one.side, offset, bytes(one.data)))
            self._offsets[one.connection, one.side] = offset + len(one.data)
            records.append(record)
        return records

    def _take_other(self, kind_name: str, line: Line, time_ns: int) -> Record:
        kind = _KINDS.get(kind_name)
        if kind is None:
            raise ValueError(f"unknown kind of record {kind_name!r}")
        values = {name: read(line[name]) for name in kind._fields if name not in ("time_ns", "side")}
        values["time_ns"] = time_ns + self._start_ns
        if "side" in kind._fields:
            values["side"] = NEITHER if line["from"] is None else _side(line)
        record: Record = _converted([values[name] for name in kind._fields], kind)
        encode(_checked(record))  # raises if it is longer than any record
        self._advance(record)
        return record

    def _advance(self, record: Record) -> None:
        """Advance the streams by the bytes that this record holds or counts."""
        if isinstance(record, Made):
            self._offsets[record.connection, 1] = record.offset + len(record.data)
        elif isinstance(record, Rewrite):
            self._offsets[record.connection, record.side] = record.offset + len(record.data)
        elif isinstance(record, Opaque):
            self._offsets[record.connection, record.side] = record.offset + record.length
        elif isinstance(record, Elided):
            self._offsets[record.connection, record.side] = record.offset + record.bytes
        elif isinstance(record, Resume):
            for side, offset in enumerate(record.offsets):
                self._offsets[record.connection, side] = offset

    @property
    def _start_ns(self) -> int:
        return self.header.monotonic_ns if self.header is not None else 0

    def _error(self, reason: str, line: int | None = None) -> CaptureError:
        return CaptureError(self._path, f"line {line or self._line}: {reason}")


def _converted(value: Any, kind: type[Converted]) -> Converted:
    """The value converted to a class, with types checked. Raises msgspec.ValidationError, a
    ValueError."""
    return msgspec.convert(value, type=kind, builtin_types=(bytes,))


def _checked(record: Record) -> Record:
    """The record, checked. Raises ValueError if an edited number is out of range."""
    if wrong := misfit(record):
        raise ValueError(f"a number that does not fit its field: {wrong}")
    return record


def _side(line: Line) -> int:
    if line["from"] not in (*SIDES,):
        raise ValueError(f"`from` is F or B, not {line['from']!r}")
    return SIDES.index(line["from"])


def _wire(side: int, line: Line) -> bytes:
    """The wire bytes of a message, or of bytes that are not a message."""
    for name in ("bytes", "raw"):
        if name in line:
            data = read(line[name])
            if not isinstance(data, bytes):
                raise ValueError(f"`{name}` must be bytes: an object with `text` or `hex`")
            return data
    name, fields = _converted(line["message"], str), _converted(line["fields"], dict[str, Any])
    kind = MESSAGE_NAMES.get((side, name))
    if kind is None:
        raise ValueError(f"unknown message {name!r} for that side")
    unknown = fields.keys() ^ set(kind.BODY.names)
    if unknown:
        raise ValueError(f"{kind.NAME} has the fields {', '.join(kind.BODY.names) or 'none'}; check {', '.join(sorted(unknown))}")
    message = _converted({name: read(value) for name, value in fields.items()}, kind)
    try:
        return message.wire()
    except (
        ConstructError,
        struct.error,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # a column's fields have no types to check against
        raise ValueError(f"{kind.NAME} cannot have such a field: {error}") from None
