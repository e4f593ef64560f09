"""What replication messages consist of besides the common primitives: WAL positions, timestamps,
and the rows of logical changes.

Positions and timestamps are integers with a text form: `0/1A2B3C4` for an XLogRecPtr, the wall
clock for a TimestampTz, which counts microseconds from 2000-01-01. They stay integers, so a parsed
message builds back to the same bytes.

A TupleData is a count and that many values. Each begins with its kind: `n` NULL, `u` an unchanged
TOASTed value that is not sent, `t` text, `b` binary. An old row, if there is one, precedes the new
one, and its letter says whether it is a key (`K`) or a whole row (`O`).
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from construct import Int8sb, Int64sb, Int64ub, StreamError

from pgtrace.protocol import values
from pgtrace.protocol.bodies import Counted
from pgtrace.protocol.message import Message
from pgtrace.protocol.primitives import Base, Field, Int32, UInt16

Int64: Final = Int64sb
UInt64: Final = Int64ub
TIMESTAMPTZ: Final = 1184
"""The OID of timestamptz."""


class SubMessage(Message):
    """A message inside CopyData: its type byte, then its body up to the end of the CopyData. The
    `message` decorator makes its subclasses."""

    __slots__ = ()

    def wire(self) -> bytes:
        """The contents of the CopyData."""
        return bytes([self.code]) + self.build()


class WalPosition(int):
    """A position in the write-ahead log, in bytes: XLogRecPtr, printed as the server prints
    pg_lsn."""

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"


class Moment(int):
    """A TimestampTz: microseconds since 2000-01-01 00:00 UTC, printed as the server prints
    timestamptz in UTC."""

    def __str__(self) -> str:
        return values.text(TIMESTAMPTZ, 1, struct.pack(">q", self)) or str(int(self))


class TupleValue(NamedTuple):
    """One column of a TupleData. `data` is None if the kind is `n` or `u`."""

    kind: str
    data: bytes | None


class OldTuple(NamedTuple):
    """The row before a change: the columns of its replica identity (`K`, others NULL) or all of
    them (`O`)."""

    kind: str
    columns: tuple[TupleValue, ...]


class Truncation(NamedTuple):
    """The tables that are truncated, and how. `options` is 1 for CASCADE, 2 for RESTART IDENTITY, 3
    for both."""

    options: int
    relation_oids: tuple[int, ...]


class _Meant(Base):
    """One of construct's integers, read into a class of our own."""

    def __init__(self, integer: Any, meaning: type[int], wire_type: str) -> None:
        super().__init__()
        self.integer = integer
        self.meaning = meaning
        self.wire_type = wire_type

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        return self.meaning(self.integer._parse(stream, context, path))

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        return self.integer._build(obj, stream, context, path)

    def _emitparse(self, code: Any) -> str:
        code.linkedinstances[id(self)] = self.meaning
        return f"linkedinstances[{id(self)}]({self.integer._compileparse(code)})"

    def _emitbuild(self, code: Any) -> str:
        return str(self.integer._compilebuild(code))


Lsn: Final = _Meant(UInt64, WalPosition, "Int64 (XLogRecPtr)")
Timestamp: Final = _Meant(Int64, Moment, "Int64 (TimestampTz)")


class Letter(Base):
    """A fixed Byte1. It says what follows and is not a field of the message class."""

    wire_type = "Byte1"

    def __init__(self, name: str, letter: str) -> None:
        super().__init__()
        self.label = name
        self.letter = letter.encode()

    def _parse(self, stream: Any, context: Any, path: str) -> str:
        data: bytes = stream.read(1)
        if data != self.letter:
            raise StreamError(f"{data!r} instead of {self.letter!r}", path=f"{path} -> {self.label}")
        return self.letter.decode()

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        stream.write(self.letter)
        return obj

    def _emitparse(self, code: Any) -> str:
        code.append("""
            def parse_letter(io, expected):
                if io.read(1) != expected:
                    raise StreamError('another letter')
        """)
        return f"parse_letter(io, {self.letter!r})"

    def _emitbuild(self, code: Any) -> str:
        return f"io.write({self.letter!r})"


class _TupleValue(Base):
    """Byte1('n') or Byte1('u'); or Byte1('t') or Byte1('b'), an Int32 and that many bytes."""

    wire_type = "Byte1 Int32 Byten"

    def _parse(self, stream: Any, context: Any, path: str) -> TupleValue:
        kind = stream.read(1)
        if kind in (b"n", b"u"):
            return TupleValue(kind.decode(), None)
        if kind not in (b"t", b"b"):
            raise StreamError(f"a value of the kind {kind!r}", path=path)
        length = Int32._parse(stream, context, path)
        if length < 0:
            raise StreamError(f"a length of {length}", path=path)
        data = stream.read(length)
        if len(data) != length:
            raise StreamError(f"a value of {length} bytes, of which {len(data)} are there", path=path)
        return TupleValue(kind.decode(), data)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        kind, data = obj
        stream.write(kind.encode("latin-1") + (b"" if data is None else struct.pack(">i", len(data)) + data))
        return obj

    def _emitparse(self, code: Any) -> str:
        code.linkedinstances[id(self)] = TupleValue
        code.append("tuple_value_length = struct.Struct('>i')")
        code.append(f"""
            def parse_tuple_value(io):
                kind = io.read(1)
                if kind == b'n' or kind == b'u':
                    return linkedinstances[{id(self)}](kind.decode(), None)
                if kind != b't' and kind != b'b':
                    raise StreamError('another kind of value')
                length = tuple_value_length.unpack(io.read(4))[0]
                data = io.read(length)
                if len_(data) != length:
                    raise StreamError('a value cut short, or a negative length')
                return linkedinstances[{id(self)}](kind.decode(), data)
        """)
        return "parse_tuple_value(io)"

    def _emitbuild(self, code: Any) -> str:
        code.append("tuple_value_length = struct.Struct('>i')")
        code.append("""
            def build_tuple_value(obj, io):
                kind, data = obj
                io.write(kind.encode('latin-1') + (b'' if data is None else tuple_value_length.pack(len_(data)) + data))
                return obj
        """)
        return "build_tuple_value(obj, io)"


TupleData: Final[Any] = Counted(UInt16, _TupleValue(), label="column ")
"""Int16 and that many values."""


class Old(Base):
    """Byte1('K') or ('O') and TupleData. If `optional`, any other byte means that there is no old
    row: None."""

    wire_type = "Byte1 TupleData"

    def __init__(self, *, optional: bool) -> None:
        super().__init__()
        self.optional = optional

    def _parse(self, stream: Any, context: Any, path: str) -> OldTuple | None:
        kind = self._kind(stream, path)
        return OldTuple(kind, TupleData._parse(stream, context, path)) if kind else None

    def _kind(self, stream: Any, path: str) -> str:
        first: bytes = stream.read(1)
        if first in (b"K", b"O"):
            return first.decode()
        if not self.optional:
            raise StreamError(f"{first!r} instead of b'K' or b'O'", path=path)
        if first:
            stream.seek(-1, 1)
        return ""

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is not None:
            kind, columns = obj
            stream.write(kind.encode("latin-1"))
            TupleData._build(columns, stream, context, path)
        elif not self.optional:
            raise StreamError("the old row is missing", path=path)
        return obj

    def _emitparse(self, code: Any) -> str:
        code.linkedinstances[id(self)] = OldTuple
        name = f"parse_old_{code.allocateId()}"
        absent = "if first: io.seek(-1, 1)\n                return None" if self.optional else "raise StreamError('no old row')"
        code.append(f"""
            def {name}(io, this):
                first = io.read(1)
                if first == b'K' or first == b'O':
                    return linkedinstances[{id(self)}](first.decode(), {TupleData._compileparse(code)})
                {absent}
        """)
        return f"{name}(io, this)"

    def _emitbuild(self, code: Any) -> str:
        name = f"build_old_{code.allocateId()}"
        absent = "return old" if self.optional else "raise StreamError('the old row is missing')"
        code.append(f"""
            def {name}(old, io, this):
                if old is None:
                    {absent}
                io.write(old[0].encode('latin-1'))
                obj = old[1]
                {TupleData._compilebuild(code)}
                return old
        """)
        return f"{name}(obj, io, this)"

    def _spans(self, stream: Any, name: str, depth: int, out: list[Field]) -> None:
        start = stream.tell()
        kind = self._kind(stream, "")
        if kind:
            out.append(Field(f"{name}_kind", kind, "Byte1", start, stream.tell(), depth))
            TupleData._spans(stream, name, depth, out)


class _Truncation(Base):
    """Int32 Int8 Int32[]: the options are between the count and the OIDs that it counts."""

    wire_type = "Int32 Int8 Int32[]"

    def _parse(self, stream: Any, context: Any, path: str) -> Truncation:
        count = Int32._parse(stream, context, path)
        options = Int8sb._parse(stream, context, path)
        data = stream.read(4 * max(count, 0))
        if count < 0 or len(data) != 4 * count:
            raise StreamError(f"a count of {count}, and {len(data)} bytes", path=path)
        return Truncation(options, struct.unpack(f">{count}I", data))

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        options, oids = obj
        stream.write(struct.pack(f">ib{len(oids)}I", len(oids), options, *oids))
        return obj

    def _emitparse(self, code: Any) -> str:
        code.linkedinstances[id(self)] = Truncation
        code.append("truncation_head = struct.Struct('>ib')")
        code.append(f"""
            def parse_truncation(io):
                count, options = truncation_head.unpack(io.read(5))
                if count < 0:
                    raise StreamError('a negative count')
                return linkedinstances[{id(self)}](options, struct.unpack('>%dI' % count, io.read(4 * count)))
        """)
        return "parse_truncation(io)"

    def _emitbuild(self, code: Any) -> str:
        code.append("""
            def build_truncation(obj, io):
                options, oids = obj
                io.write(struct.pack('>ib%dI' % len_(oids), len_(oids), options, *oids))
                return obj
        """)
        return "build_truncation(obj, io)"

    def _spans(self, stream: Any, name: str, depth: int, out: list[Field]) -> None:
        start = stream.tell()
        found = self._parse(stream, None, "")
        out.append(Field("relations", len(found.relation_oids), "Int32", start, start + 4, depth))
        out.append(Field("options", found.options, "Int8", start + 4, start + 5, depth))
        out.append(Field("relation_oids", found.relation_oids, "Int32[]", start + 5, stream.tell(), depth))


TruncationData: Final = _Truncation()
