"""The few constructs every message body is made of, each with an interpreted and a compiled form.

construct's own pieces would do, slowly or wrongly: GreedyRange swallows every error, CString insists on an encoding that is not ours to choose,
compiled Bytes hands out short data, and what has no `_emit*` is interpreted. So a body is a Body of the constructs below and construct's fixed
integers, and nothing else. Each one gives three things:

- `_parse` and `_build`, interpreted: slow, but an error carries its path (`columns[3].name`);
- `_emitparse` and `_emitbuild`: Python source that construct's `compile()` joins into one function per message. Neither form may accept what the
  other refuses; tests compare them on many thousand mutants of all messages;
- `_spans`: the fields with the bytes they took, for whoever shows a message beside its hex.

Values: a String is text decoded as UTF-8 with `surrogateescape`, which loses no byte of any client encoding; Byten stays bytes; a list is a tuple;
a length of -1 is None (NULL), which an empty value is not. A value is read only where all its bytes are there, and a Body ends where its bytes end.

A Group reads its integers together: neighbours become one `struct` call. Groups give tuples, or a NamedTuple where a class is named. The streams are
always a BytesIO over one whole body. `_emit*` is internal to construct, stable through 2.10, and pinned in pyproject.toml.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from construct import (
    Construct,
    ConstructError,
    Container,
    FormatField,
    Int8sb,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Renamed,
    StreamError,
    StringError,
    TerminatedError,
)

if TYPE_CHECKING:
    Base = Construct[Any, Any]
else:
    Base = Construct

Int8: Final = Int8sb
Int16: Final = Int16sb
Int32: Final = Int32sb
UInt16: Final = Int16ub
"""An Int16 the server reads without sign: counts, up to 65535 parameters."""
UInt32: Final = Int32ub
"""An Int32 that is an OID or a protocol version."""


class Field(NamedTuple):
    """One field of a message as it lies in the body: bytes `start` to `end`; items of a list are one `depth` below it."""

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
    """Byte1: one byte, given as the character of that code."""

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
    """Int32 and as many bytes; -1 and no bytes is None, the NULL of the protocol."""

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
    """Byten: all bytes that are left, perhaps none."""

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
    """Byte4 and the like: exactly so many bytes."""

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


class Constant(Base):
    """An Int32 that always has this value: it tells the message from its relatives, and is no field of the message class."""

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


class Counted(Base):
    """A count and as many elements. `label` names the elements of a list that is shown one by one (`$` gives `$1`, `$2`)."""

    def __init__(self, count: Any, element: Any, label: str = "") -> None:
        super().__init__()
        self.count = count
        self.element = element
        self.label = label
        self.wire_type = f"{wire_type(element)}[]"

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        count = self.count._parse(stream, context, path)
        if count < 0:
            raise StreamError(f"a count of {count}", path=path)
        parse = self.element._parse
        return tuple([parse(stream, context, f"{path}[{index}]") for index in range(count)])

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self.count._build(len(obj), stream, context, path)
        for index, item in enumerate(obj):
            self.element._build(item, stream, context, f"{path}[{index}]")
        return obj

    def _emitparse(self, code: Any) -> str:
        name = f"parse_counted_{code.allocateId()}"
        element = self.element
        if isinstance(element, FormatField):
            items = f"struct.unpack('>%d{element.fmtstr[1:]}' % count, io.read({element.length} * count))"
        else:
            items = f"tuple([{element._compileparse(code)} for _ in range(count)])"
        code.append(f"""
            def {name}(io, this):
                count = {self.count._compileparse(code)}
                if count < 0:
                    raise StreamError('a negative count')
                return {items}
        """)
        return f"{name}(io, this)"

    def _emitbuild(self, code: Any) -> str:
        name = f"build_counted_{code.allocateId()}"
        code.append(f"""
            def {name}(items, io, this):
                obj = len_(items)
                {self.count._compilebuild(code)}
                for obj in items:
                    {self.element._compilebuild(code)}
                return items
        """)
        return f"{name}(obj, io, this)"

    def _spans(self, stream: Any, name: str, depth: int, out: list[Field]) -> None:
        start = stream.tell()
        if isinstance(self.element, FormatField):
            out.append(Field(name, self._parse(stream, None, ""), self.wire_type, start, stream.tell(), depth))
            return
        count = self.count._parse(stream, None, "")
        out.append(Field(name, count, wire_type(self.count), start, stream.tell(), depth))
        if count < 0:
            raise StreamError(f"a count of {count}")
        for index in range(count):
            spans(self.element, stream, f"{self.label}{index + 1}", depth + 1, out)


class ZeroEnded(Base):
    """Elements up to a zero byte where the next would begin. A pair is shown as one field, named by its first half."""

    def __init__(self, element: Any, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.element = element
        self.names = names or {}
        self.wire_type = f"{wire_type(element)}[]"

    def _parse(self, stream: Any, context: Any, path: str) -> tuple[Any, ...]:
        items: list[Any] = []
        while self._another(stream, f"{path}[{len(items)}]"):
            items.append(self.element._parse(stream, context, f"{path}[{len(items)}]"))
        return tuple(items)

    @staticmethod
    def _another(stream: Any, path: str) -> bool:
        first = stream.read(1)
        if not first:
            raise StreamError("a list without its zero byte", path=path)
        if first == b"\0":
            return False
        stream.seek(-1, 1)
        return True

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        for index, item in enumerate(obj):
            start = stream.tell()
            self.element._build(item, stream, context, f"{path}[{index}]")
            if stream.getvalue()[start] == 0:
                raise StringError("an element that begins with a zero byte would end the list", path=f"{path}[{index}]")
        stream.write(b"\0")
        return obj

    def _emitparse(self, code: Any) -> str:
        name = f"parse_zero_ended_{code.allocateId()}"
        code.append(f"""
            def {name}(io, this):
                items = []
                while True:
                    if io.read(1)[0] == 0:
                        return tuple(items)
                    io.seek(-1, 1)
                    items.append({self.element._compileparse(code)})
        """)
        return f"{name}(io, this)"

    def _emitbuild(self, code: Any) -> str:
        name = f"build_zero_ended_{code.allocateId()}"
        code.append(f"""
            def {name}(items, io, this):
                for obj in items:
                    start = io.tell()
                    {self.element._compilebuild(code)}
                    if io.getvalue()[start] == 0:
                        raise StringError('an element that begins with a zero byte')
                io.write(b'\\0')
                return items
        """)
        return f"{name}(obj, io, this)"

    def _spans(self, stream: Any, name: str, depth: int, out: list[Field]) -> None:
        number = 0
        while self._another(stream, ""):
            start = stream.tell()
            number += 1
            item = self.element._parse(stream, None, "")
            label, value = (self.names.get(item[0], item[0]), item[1]) if isinstance(item, tuple) else (f"{name} {number}", item)
            out.append(Field(label, value, wire_type(self.element), start, stream.tell(), depth))
        out.append(Field("terminator", 0, "Byte1", stream.tell() - 1, stream.tell(), depth))


class Group(Base):
    """Named constructs one after the other, read into `factory(...)` or a tuple. An unnamed Constant between them gives no value."""

    def __init__(self, *members: Any, factory: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.members = members
        self.factory = factory
        self.names = tuple(member.name for member in members if member.name)
        self.wire_type = " ".join(wire_type(member) for member in members)

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        values = []
        for member in self.members:
            value = member._parse(stream, context, path)
            if member.name:
                values.append(value)
        return self.factory(*values) if self.factory else tuple(values)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        values = iter(obj)
        for member in self.members:
            member._build(next(values) if member.name else None, stream, context, path)
        return obj

    def _emitparse(self, code: Any) -> str:
        lines: list[str] = []
        integers: list[int] = []

        def read_integers() -> None:
            if integers:
                formats = ">" + "".join(subconstruct(self.members[index]).fmtstr[1:] for index in integers)
                reader = f"integers_{code.allocateId()}"
                code.append(f"{reader} = struct.Struct('{formats}')")
                targets = "".join(f"v{index}, " for index in integers)
                lines.append(f"{targets}= {reader}.unpack(io.read({struct.calcsize(formats)}))")
                integers.clear()

        for index, member in enumerate(self.members):
            if isinstance(subconstruct(member), FormatField):
                integers.append(index)
            else:
                read_integers()
                lines.append(f"v{index} = {member._compileparse(code)}")
        read_integers()
        lines += self._last_lines(code)
        result = ", ".join(f"v{index}" for index, member in enumerate(self.members) if member.name)
        if self.factory:
            code.linkedinstances[id(self)] = self.factory
            result = f"linkedinstances[{id(self)}]({result})"
        else:
            result = f"({result},)" if result else "()"
        name = f"parse_group_{code.allocateId()}"
        block = [f"def {name}(io, this):", *(f"    {line}" for line in lines), f"    return {result}"]
        code.append("\n".join(block))
        return f"{name}(io, this)"

    def _last_lines(self, code: Any) -> list[str]:
        return []

    def _emitbuild(self, code: Any) -> str:
        lines = ["values = iter(obj)"]
        for member in self.members:
            if member.name:
                lines.append("obj = next(values)")
            lines.append(member._compilebuild(code))
        name = f"build_group_{code.allocateId()}"
        code.append("\n".join([f"def {name}(obj, io, this):", *(f"    {line}" for line in lines)]))
        return f"{name}(obj, io, this)"

    def _spans(self, stream: Any, name: str, depth: int, out: list[Field]) -> None:
        for index, member in enumerate(self.members):
            spans(subconstruct(member), stream, member.name or member.label, depth + (index > 0 and depth > 0), out)


class Body(Group):
    """All of a message behind type byte and length: nothing may follow its last field."""

    def __init__(self, *members: Any) -> None:
        super().__init__(*members)
        self._compiled: Any = None

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        values = super()._parse(stream, context, path)
        trailing = len(stream.getvalue()) - stream.tell()
        if trailing:
            raise TerminatedError(f"{trailing} bytes behind the last field", path=path)
        return values

    def _last_lines(self, code: Any) -> list[str]:
        code.append("""
            def parse_end(io):
                if io.read(1):
                    raise TerminatedError('bytes behind the last field')
        """)
        return ["parse_end(io)"]

    def warm(self) -> Any:
        """The compiled form, made at the first call (about a millisecond)."""
        if self._compiled is None:
            self._compiled = self.compile()
        return self._compiled

    def read(self, body: bytes) -> tuple[Any, ...]:
        """The values of a body, compiled. Raises struct.error, IndexError, ValueError or ConstructError, without a path."""
        values: tuple[Any, ...] = (self._compiled or self.warm()).parsefunc(BytesIO(body), None)
        return values

    def read_interpreted(self, body: bytes) -> tuple[Any, ...]:
        """The same values, slowly. Raises ConstructError with the path of the field that could not be read."""
        values: tuple[Any, ...] = self._parse(BytesIO(body), Container(), "")
        return values

    def write(self, values: tuple[Any, ...]) -> bytes:
        """The body of these values. Raises what struct and str.encode raise on values that do not fit."""
        stream = BytesIO()
        self.warm().buildfunc(values, stream, None)
        return stream.getvalue()

    def write_interpreted(self, values: tuple[Any, ...]) -> bytes:
        """The same body, slowly."""
        stream = BytesIO()
        self._build(values, stream, Container(), "")
        return stream.getvalue()

    def fields(self, body: bytes) -> list[Field]:
        """Every field in order with its bytes; where the body is malformed, what could be read and then a field `malformed`."""
        stream = BytesIO(body)
        out: list[Field] = []
        reason = ""
        try:
            self._spans(stream, "", 0, out)
        except (ConstructError, struct.error) as error:
            reason = reason_of(error)
        position = out[-1].end if out else 0
        if not reason and position < len(body):
            reason = f"{len(body) - position} bytes behind the last field"
        if reason:
            out.append(Field("malformed", reason, "", position, len(body), 0))
        return out


def subconstruct(construct: Any) -> Any:
    """The construct behind a name."""
    return construct.subcon if isinstance(construct, Renamed) else construct


def wire_type(construct: Any) -> str:
    """The manual's notation of a construct: Int16, String, Byten."""
    construct = subconstruct(construct)
    return f"Int{8 * construct.length}" if isinstance(construct, FormatField) else str(construct.wire_type)


def spans(construct: Any, stream: Any, name: str, depth: int, out: list[Field]) -> None:
    """Read one construct and append the fields it is made of. Raises ConstructError on what cannot be read."""
    if hasattr(construct, "_spans"):
        construct._spans(stream, name, depth, out)
        return
    start = stream.tell()
    value = construct._parse(stream, None, "")
    out.append(Field(name, value, wire_type(construct), start, stream.tell(), depth))


def reason_of(error: Exception) -> str:
    """What went wrong, without the line construct puts before it."""
    return str(error).rpartition("\n")[2]


def path_of(error: ConstructError) -> str:
    """Where it went wrong: `columns[3].name`, or nothing for the body as a whole."""
    return (error.path or "").replace(" -> ", ".").lstrip(".")


ZString: Final = _String()
Byte1: Final = _Byte1()
NullableBytes: Final = _NullableBytes()
Rest: Final = _Rest()
