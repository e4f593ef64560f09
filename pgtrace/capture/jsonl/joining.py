"""Lines into records: what cutting.py wrote, also after somebody has edited it.

Bytes of a record are those of its lines, in their order, behind what a message of an earlier line left in it. A record is whole when a line of a later one
comes. A line without `record` is a read of its own, after the one before it; without `time_ns` at the same time. Places in the stream follow from the bytes,
so a longer value moves what comes behind it; `offset` is written where they do not.

A line that means nothing ends the reading, and the error names it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from pgtrace.capture.jsonl import SCHEMA, SIDES
from pgtrace.capture.jsonl.cutting import MESSAGE_NAMES
from pgtrace.capture.jsonl.spelling import read
from pgtrace.capture.record import LAYOUTS, NEITHER, Data, Elided, Made, Opaque, Open, Record, Resume, Rewrite, encode
from pgtrace.capture.versions import Header
from pgtrace.errors import CaptureError

MAGIC: Final = b'{"schema":"' + SCHEMA.encode() + b'"'
"""How such a file begins."""
LONGEST: Final = 64 * 1024 * 1024
"""Bytes of a line; no line that pgtrace writes comes near."""
_KINDS: Final = {kind.__name__.lower(): kind for kind, _ in LAYOUTS.values() if kind is not Data}

Line = dict[str, Any]
_Number = tuple[int, int]
"""A record's number, and which one behind it that has none."""


class _Read:
    """A Data record that is still growing."""

    def __init__(self, time_ns: int, connection: int, side: int, offset: int | None) -> None:
        self.time_ns = time_ns
        self.connection = connection
        self.side = side
        self.offset = offset
        self.data = bytearray()


class JsonLines:
    """A jsonl file, from its first byte: bytes into records."""

    def __init__(self, path: str) -> None:
        """`path` is for messages."""
        self.header: Header | None = None
        """The capture's header, once it is there."""
        self.connections = 0
        """Connections that were opened so far."""
        self._path = path
        self._rest = b""
        self._line = 0
        self._number: _Number = (-1, 0)
        self._time_ns = 0
        self._reads: dict[_Number, _Read] = {}
        self._offsets: dict[tuple[int, int], int] = {}

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data`, the next bytes, completes. Raises CaptureError for a line that means nothing."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            raise self._wrong("longer than any line of a capture")
        return [record for line in lines for record in self._take(line)]

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The file has ended. Raises CaptureError."""
        last = self._take(self._rest) if self._rest else []
        if self.header is None:
            raise CaptureError(self._path, f"not a jsonl of pgtrace: its first line does not say {SCHEMA}")
        return last + self._flush(None)

    def notes(self) -> list[str]:
        """Nothing is left out."""
        return []

    def nothing_found(self) -> str:
        """A capture may well be without connections."""
        return ""

    # Lines.

    def _take(self, text: bytes) -> list[Record]:
        self._line += 1
        if not text.strip():
            return []
        try:
            line = msgspec.json.decode(text)
            if not isinstance(line, dict):
                raise ValueError("not an object")
            if self.header is None:
                return self._first(line)
            return self._next(line)
        except KeyError as error:
            raise self._wrong(f"{error.args[0]!r} is missing") from None
        except struct.error as error:
            raise self._wrong(f"a number that does not fit its field: {error}") from None
        except (ValueError, TypeError, AttributeError, msgspec.DecodeError) as error:
            raise self._wrong(str(error) or "it means nothing") from None

    def _first(self, line: Line) -> list[Record]:
        if line.get("schema") != SCHEMA:
            raise ValueError(f"the first line does not say {SCHEMA}")
        texts = {"pgtrace": line["pgtrace"], "host": read(line["host"])}
        self.header = Header(tuple(line["version"]), bytes.fromhex(line["mark"]), line["wall_ns"], line["monotonic_ns"], **texts)
        self.header.encode()
        return []

    def _next(self, line: Line) -> list[Record]:
        number = (line["record"], 0) if "record" in line else (self._number[0], self._number[1] + 1)
        if number < self._number:
            raise ValueError(f"record {number[0]} comes after record {self._number[0]}")
        time_ns = self._time_ns = line.get("time_ns", self._time_ns)
        done = self._flush(number) if number > self._number else []
        self._number = number
        if "kind" in line:
            record = self._other(line, time_ns)
            self.connections += isinstance(record, Open)
            return [*done, *self._flush((number[0], number[1] + 1)), record]
        side = _side(line)
        wire = _wire(side, line)
        places = [(number, time_ns, 0, line.get("offset"))]
        for place in line.get("continues", ()):
            places.append(((place["record"], 0), place["time_ns"], place["at"], place.get("offset")))
        for (record_number, at_ns, start, offset), after in zip(places, [*places[1:], None], strict=True):
            data = wire[start : after[2] if after else None]
            found = self._reads.get(record_number)
            if found is None:
                found = self._reads[record_number] = _Read(at_ns, line["connection"], side, offset)
            elif (found.connection, found.side) != (line["connection"], side):
                raise ValueError(f"record {record_number[0]} is a read of another connection or side: leave `record` out")
            found.data += data
        return done

    def _flush(self, before: _Number | None) -> list[Record]:
        """The reads before that number, which get no more bytes."""
        records: list[Record] = []
        for number in sorted(number for number in self._reads if before is None or number < before):
            one = self._reads.pop(number)
            offset = self._offsets.get((one.connection, one.side), 0) if one.offset is None else one.offset
            record = Data(one.time_ns + self._start_ns, one.connection, one.side, offset, bytes(one.data))
            encode(record)  # raises where an edited number does not fit
            self._offsets[one.connection, one.side] = offset + len(one.data)
            records.append(record)
        return records

    def _other(self, line: Line, time_ns: int) -> Record:
        kind = _KINDS.get(line["kind"])
        if kind is None:
            raise ValueError(f"no kind of record is called {line['kind']!r}")
        values = {name: read(line[name]) for name in kind._fields if name not in ("time_ns", "side")}
        if "side" in kind._fields:
            values["side"] = NEITHER if line["from"] is None else _side(line)
        record = kind(time_ns=time_ns + self._start_ns, **values)
        encode(record)  # raises where an edited number does not fit
        self._move_on(record)
        return record

    def _move_on(self, record: Record) -> None:
        """The streams stand behind what this record holds or counts."""
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

    def _wrong(self, reason: str) -> CaptureError:
        return CaptureError(self._path, f"line {self._line}: {reason}")


def _side(line: Line) -> int:
    if line["from"] not in (*SIDES,):
        raise ValueError(f"`from` is F or B, not {line['from']!r}")
    return SIDES.index(line["from"])


def _wire(side: int, line: Line) -> bytes:
    """The bytes a message, or bytes that are none, travelled as."""
    for name in ("bytes", "raw"):
        if name in line:
            data = read(line[name])
            if not isinstance(data, bytes):
                raise ValueError(f"`{name}` is bytes: an object with `text` or `hex`")
            return data
    kind = MESSAGE_NAMES.get((side, line["message"]))
    if kind is None:
        raise ValueError(f"no message of that side is called {line['message']!r}")
    fields = line["fields"]
    unknown = fields.keys() ^ set(kind.BODY.names)
    if unknown:
        raise ValueError(f"{kind.NAME} has the fields {', '.join(kind.BODY.names) or 'none'}; look at {', '.join(sorted(unknown))}")
    return kind(**{name: read(value) for name, value in fields.items()}).wire()
