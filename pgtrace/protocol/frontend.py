"""What the frontend sends after start-up.

The simple query protocol is Query alone. The extended one splits it up: Parse makes a prepared
statement, Bind makes a portal from it, Describe asks for the types of either, Execute runs the
portal, Close drops either, Sync ends the batch, and Flush only asks for the replies so far.
CopyData, CopyDone and CopyFail feed a COPY; FunctionCall is the old way to call one function. Names
may be empty: the unnamed statement, the unnamed portal.

Lists of formats: an empty list means all text (0), one element applies to all values, otherwise
there is one element per value. A parameter or result value is NULL (None) if its length is -1, and
empty if its length is 0. Counts are unsigned, as in the server: a Bind may carry 65535 parameters.

BindHead and bind_summary() are for the reading path: a Bind's names and formats without its values.

Source: PostgreSQL manual, "Message Formats". The frontend's responses to authentication requests
are in authentication.py.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pgtrace.protocol.bodies import Body, Counted
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage, Message, message
from pgtrace.protocol.primitives import Byte1, Int16, Int32, NullableBytes, Rest, UInt16, UInt32, ZString


@message(b"Q", FRONTEND)
class Query(Message):
    """Byte1('Q') Int32 String. One statement, several, or none."""

    query: str
    BODY = Body("query" / ZString)
    EXAMPLE = b"SELECT 1; SELECT 'caf\xc3\xa9'\0"


@message(b"P", FRONTEND)
class Parse(Message):
    """Byte1('P') Int32 String String Int16 Int32[].

    `parameter_types` are OIDs. A 0, or a list shorter than the parameters, leaves the type to the
    backend.
    """

    statement: str
    query: str
    parameter_types: tuple[int, ...]
    BODY = Body("statement" / ZString, "query" / ZString, "parameter_types" / Counted(UInt16, UInt32))
    EXAMPLE = b"s1\0SELECT * FROM items WHERE id = $1 AND sku = $2\0\0\2\0\0\0\x17\0\0\0\0"


@message(b"B", FRONTEND)
class Bind(Message):
    """Byte1('B') Int32 String String Int16 Int16[] Int16 (Int32 Byten)[] Int16 Int16[]."""

    portal: str
    statement: str
    parameter_formats: tuple[int, ...]
    parameters: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]
    BODY = Body(
        "portal" / ZString,
        "statement" / ZString,
        "parameter_formats" / Counted(UInt16, Int16),
        "parameters" / Counted(UInt16, NullableBytes, label="$"),
        "result_formats" / Counted(UInt16, Int16),
    )
    EXAMPLE = b"\0s1\0\0\2\0\1\0\0\0\3\0\0\0\4\0\0\0\x2a\0\0\0\0\xff\xff\xff\xff\0\1\0\1"


@message(b"D", FRONTEND)
class Describe(Message):
    """Byte1('D') Int32 Byte1 String. `kind` is `S` for a prepared statement, `P` for a portal."""

    kind: str
    name: str
    BODY = Body("kind" / Byte1, "name" / ZString)
    EXAMPLE = b"Ss1\0"


@message(b"E", FRONTEND)
class Execute(Message):
    """Byte1('E') Int32 String Int32. `max_rows` of 0 means no limit; the backend answers with
    PortalSuspended when it reaches the limit."""

    portal: str
    max_rows: int
    BODY = Body("portal" / ZString, "max_rows" / Int32)
    EXAMPLE = b"p1\0\0\0\0\x32"


@message(b"C", FRONTEND)
class Close(Message):
    """Byte1('C') Int32 Byte1 String. `kind` is `S` for a prepared statement, `P` for a portal. It
    is not an error if the name does not exist."""

    kind: str
    name: str
    BODY = Body("kind" / Byte1, "name" / ZString)
    EXAMPLE = b"Pp1\0"


@message(b"S", FRONTEND)
class Sync(Message):
    """Byte1('S') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"H", FRONTEND)
class Flush(Message):
    """Byte1('H') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"F", FRONTEND)
class FunctionCall(Message):
    """Byte1('F') Int32 Int32 Int16 Int16[] Int16 (Int32 Byten)[] Int16."""

    function_oid: int
    argument_formats: tuple[int, ...]
    arguments: tuple[bytes | None, ...]
    result_format: int
    BODY = Body(
        "function_oid" / UInt32,
        "argument_formats" / Counted(UInt16, Int16),
        "arguments" / Counted(UInt16, NullableBytes, label="$"),
        "result_format" / Int16,
    )
    EXAMPLE = b"\0\0\3\xbc\0\1\0\1\0\2\0\0\0\4\0\0\0\7\xff\xff\xff\xff\0\1"


@message(b"d", FRONTEND)
class CopyData(Message):
    """Byte1('d') Int32 Byten. May be cut anywhere: one message is not one row."""

    data: bytes
    BODY = Body("data" / Rest)
    EXAMPLE = b"1\tSKU-1\t\\N\n"


@message(b"c", FRONTEND)
class CopyDone(Message):
    """Byte1('c') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"f", FRONTEND)
class CopyFail(Message):
    """Byte1('f') Int32 String. The text appears in the server's ErrorResponse."""

    message: str
    BODY = Body("message" / ZString)
    EXAMPLE = b"out of rows\0"


@message(b"X", FRONTEND)
class Terminate(Message):
    """Byte1('X') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


MESSAGES: Final[tuple[type[Message], ...]] = (
    Query,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    Flush,
    FunctionCall,
    CopyData,
    CopyDone,
    CopyFail,
    Terminate,
)


@message(b"B", FRONTEND)
class BindHead(Message):
    """The beginning of a Bind: names and parameter formats, then all other bytes. It also reads a
    body that was cut."""

    portal: str
    statement: str
    parameter_formats: tuple[int, ...]
    rest: bytes
    BODY = Body("portal" / ZString, "statement" / ZString, "parameter_formats" / Counted(UInt16, Int16), "rest" / Rest)
    EXAMPLE = Bind.EXAMPLE


class BindSummary(NamedTuple):
    """A Bind without its values."""

    portal: str
    statement: str
    parameter_formats: tuple[int, ...]
    parameter_count: int
    result_formats: tuple[int, ...]


_INT16: Final = struct.Struct(">H").unpack_from
_INT32: Final = struct.Struct(">i").unpack_from


def bind_summary(body: bytes) -> BindSummary:
    """The names, formats and number of parameters of a Bind, read without its values. Raises
    MalformedMessage."""
    head = BindHead.parse(body)
    rest = head.rest
    try:
        (count,) = _INT16(rest)
        position = 2
        for _ in range(count):
            (length,) = _INT32(rest, position)
            if length < -1:
                raise MalformedMessage("Bind", "parameters", f"a length of {length}")
            position += 4 + max(length, 0)
        (formats,) = _INT16(rest, position)
        result_formats: tuple[int, ...] = struct.unpack(f">{formats}h", rest[position + 2 :])
    except struct.error:
        raise MalformedMessage("Bind", "", "the lists and the length of the body disagree") from None
    return BindSummary(head.portal, head.statement, head.parameter_formats, count, result_formats)
