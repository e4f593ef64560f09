"""The few kinds of fields that message bodies consist of, each with an interpreted and a compiled
form.

construct's own classes are too slow or wrong: GreedyRange swallows every error, CString requires an
encoding although the client encoding is unknown, compiled Bytes returns short data, and a class
without `_emit*` is interpreted. So a Body (bodies.py) uses only the constructs in these two modules
and construct's fixed integers. Each one has:

- `_parse` and `_build`, interpreted: slow, but an error carries its path (`columns[3].name`);
- `_emitparse` and `_emitbuild`: Python source that construct's `compile()` joins into one function
  per message. Neither form may accept what the other refuses; tests compare them on thousands of
  mutants of all messages;
- `wire_type`, the manual's notation, and in bodies.py `_spans`: the fields with their bytes, to
  show a message beside its hex.

Values: a String is text decoded as UTF-8 with `surrogateescape`, which loses no byte of any client
encoding. Byten stays bytes. A length of -1 is None (NULL), which differs from an empty value. A
value is read only if all its bytes are present.

The streams are always a BytesIO over one whole body: a String looks for its zero byte in the body
itself. `_emit*` is internal to construct, stable through 2.10, and pinned in pyproject.toml.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from construct import (
    Construct,
    ConstructError,
    FormatField,
    Int8sb,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Renamed,
    StreamError,
    StringError,
)

if TYPE_CHECKING:
    Base = Construct[Any, Any]
else:
    Base = Construct

Int8: Final = Int8sb
Int16: Final = Int16sb
Int32: Final = Int32sb
UInt16: Final = Int16ub
"""An Int16 that the server reads as unsigned: counts, up to 65535 parameters."""
UInt32: Final = Int32ub
"""An unsigned Int32: an OID, a protocol version or a process id. A pooler may send any number as a
process id."""


class Field(NamedTuple):
    """One field of a message at bytes `start` to `end` of the body. Items of a list are one `depth`
    below it."""

    name: str
    value: object
    wire_type: str
    start: int
    end: int
    depth: int


class _String(Base):
    """String: the bytes up to a zero byte."""

    wire_type = "String"

    def _parse(self, stream: Any, context: Any, path: str) -> str:
        data, start = stream.getvalue(), stream.tell()
        end = data.find(0, start)
        if end < 0:
            raise StreamError("a string without its zero byte", path=path)
        stream.seek(end + 1)
        return str(data[start:end], "utf-8", "surrogateescape")

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        data = obj.encode("utf-8", "surrogateescape")
        if 0 in data:
            raise StringError("a string cannot hold a zero byte", path=path)
        stream.write(data + b"\0")
        return obj

    def _emitparse(self, code: Any) -> str:
        code.append("""
            def parse_string(io):
                data = io.getvalue()
                start = io.tell()
                end = data.index(0, start)
                io.seek(end + 1)
                return data[start:end].decode('utf-8', 'surrogateescape')
        """)
        return "parse_string(io)"

    def _emitbuild(self, code: Any) -> str:
        code.append("""
            def build_string(obj, io):
                data = obj.encode('utf-8', 'surrogateescape')
                if 0 in data:
                    raise StringError('a string cannot hold a zero byte')
                io.write(data + b'\\0')
                return obj
        """)
        return "build_string(obj, io)"


class _Byte1(Base):
    """Byte1: one byte, as the character with that code."""

    wire_type = "Byte1"

    def _parse(self, stream: Any, context: Any, path: str) -> str:
        data = stream.read(1)
        if not data:
            raise StreamError("the body ends before this byte", path=path)
        return str(data, "latin-1")

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        stream.write(struct.pack("c", obj.encode("latin-1")))
        return obj

    def _emitparse(self, code: Any) -> str:
        return "chr(io.read(1)[0])"

    def _emitbuild(self, code: Any) -> str:
        return "(io.write(struct.pack('c', obj.encode('latin-1'))), obj)[1]"


class _NullableBytes(Base):
    """Int32 and that many bytes. A length of -1 is None, the protocol's NULL."""

    wire_type = "Int32 Byten"

    def _parse(self, stream: Any, context: Any, path: str) -> bytes | None:
        length = Int32._parse(stream, context, path)
        if length == -1:
            return None
        if length < 0:
            raise StreamError(f"a length of {length}", path=path)
        data: bytes = stream.read(length)
        if len(data) != length:
            raise StreamError(f"a value of {length} bytes, of which {len(data)} are there", path=path)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        stream.write(b"\xff\xff\xff\xff" if obj is None else struct.pack(">i", len(obj)) + obj)
        return obj

    def _emitparse(self, code: Any) -> str:
        code.append("nullable_length = struct.Struct('>i')")
        code.append("""
            def parse_nullable(io):
                length = nullable_length.unpack(io.read(4))[0]
                if length == -1:
                    return None
                data = io.read(length)
                if len_(data) != length:
                    raise StreamError('a value cut short, or a negative length')
                return data
        """)
        return "parse_nullable(io)"

    def _emitbuild(self, code: Any) -> str:
        code.append("nullable_length = struct.Struct('>i')")
        return r"(io.write(b'\xff\xff\xff\xff' if obj is None else nullable_length.pack(len_(obj)) + obj), obj)[1]"


class _Rest(Base):
    """Byten: all remaining bytes, possibly none."""

    wire_type = "Byten"

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        data: bytes = stream.read()
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        stream.write(obj)
        return obj

    def _emitparse(self, code: Any) -> str:
        return "io.read()"

    def _emitbuild(self, code: Any) -> str:
        return "(io.write(obj), obj)[1]"


class Fixed(Base):
    """Byte4 and similar: exactly that many bytes."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.wire_type = f"Byte{length}"

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        data: bytes = stream.read(self.length)
        if len(data) != self.length:
            raise StreamError(f"{self.length} bytes expected, {len(data)} are there", path=path)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if len(obj) != self.length:
            raise StreamError(f"{self.length} bytes expected, {len(obj)} given", path=path)
        stream.write(obj)
        return obj

    def _emitparse(self, code: Any) -> str:
        return f"struct.unpack('{self.length}s', io.read({self.length}))[0]"

    def _emitbuild(self, code: Any) -> str:
        code.append("""
            def build_fixed(obj, io, length):
                if len_(obj) != length:
                    raise StreamError('not the fixed length')
                io.write(obj)
                return obj
        """)
        return f"build_fixed(obj, io, {self.length})"


class Padded(Base):
    """LimString: text in a field of fixed length, padded with zero bytes."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.wire_type = f"LimString{length}"

    def _parse(self, stream: Any, context: Any, path: str) -> str:
        data: bytes = stream.read(self.length)
        if len(data) != self.length:
            raise StreamError(f"{self.length} bytes expected, {len(data)} are there", path=path)
        return str(data.rstrip(b"\0"), "utf-8", "surrogateescape")

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        data = obj.encode("utf-8", "surrogateescape")
        if len(data) > self.length:
            raise StringError(f"a string of {len(data)} bytes in a field of {self.length}", path=path)
        stream.write(data.ljust(self.length, b"\0"))
        return obj

    def _emitparse(self, code: Any) -> str:
        return f"str(struct.unpack('{self.length}s', io.read({self.length}))[0].rstrip(b'\\0'), 'utf-8', 'surrogateescape')"

    def _emitbuild(self, code: Any) -> str:
        code.append("""
            def build_padded(obj, io, length):
                data = obj.encode('utf-8', 'surrogateescape')
                if len_(data) > length:
                    raise StringError('longer than its field')
                io.write(data.ljust(length, b'\\0'))
                return obj
        """)
        return f"build_padded(obj, io, {self.length})"


class Constant(Base):
    """An Int32 with a fixed value. It identifies the message and is not a field of the message
    class."""

    def __init__(self, name: str, value: int) -> None:
        super().__init__()
        self.label = name
        self.value = value
        self.wire_type = "Int32"

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        value: int = Int32._parse(stream, context, f"{path} -> {self.label}")
        if value != self.value:
            raise StreamError(f"{value} instead of {self.value}", path=f"{path} -> {self.label}")
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        stream.write(struct.pack(">i", self.value))
        return obj

    def _emitparse(self, code: Any) -> str:
        code.append("""
            def parse_constant(io, expected):
                if io.read(4) != expected:
                    raise StreamError('another constant')
        """)
        return f"parse_constant(io, {struct.pack('>i', self.value)!r})"

    def _emitbuild(self, code: Any) -> str:
        return f"io.write({struct.pack('>i', self.value)!r})"


def subconstruct(construct: Any) -> Any:
    """The construct that a name wraps."""
    return construct.subcon if isinstance(construct, Renamed) else construct


def wire_type(construct: Any) -> str:
    """The manual's notation of a construct: Int16, String, Byten."""
    construct = subconstruct(construct)
    return f"Int{8 * construct.length}" if isinstance(construct, FormatField) else str(construct.wire_type)


def append_spans(construct: Any, stream: Any, name: str, depth: int, out: list[Field]) -> None:
    """Read one construct and append its fields. Raises ConstructError if it cannot be read."""
    if hasattr(construct, "_spans"):
        construct._spans(stream, name, depth, out)
        return
    start = stream.tell()
    value = construct._parse(stream, None, "")
    out.append(Field(name, value, wire_type(construct), start, stream.tell(), depth))


def reason_of(error: Exception) -> str:
    """The reason for an error, without the line that construct puts before it."""
    return str(error).rpartition("\n")[2]


def path_of(error: ConstructError) -> str:
    """The path of an error: `columns[3].name`, or empty for the body as a whole."""
    return (error.path or "").replace(" -> ", ".").lstrip(".")


ZString: Final = _String()
Byte1: Final = _Byte1()
NullableBytes: Final = _NullableBytes()
Rest: Final = _Rest()
