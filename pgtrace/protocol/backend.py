"""What the backend sends after authentication.

Three kinds of messages share the stream:

- Replies: one for each frontend message that has a reply (ParseComplete, BindComplete,
  CloseComplete, the descriptions, DataRow and the end of an execution), then ReadyForQuery for
  Query, FunctionCall and Sync.
- Copy modes: after CopyInResponse, CopyOutResponse or CopyBothResponse the stream is CopyData.
- Messages that may arrive at any time: ParameterStatus, NoticeResponse, NotificationResponse, and
  an ErrorResponse that ends an idle session.

RowDescription describes the columns; a DataRow has only their number and bytes. The description of
a statement gives format 0 for all columns, since Bind has not chosen the formats yet. A value is
NULL (None) if its length is -1, and empty if its length is 0. Counts are unsigned.

Source: PostgreSQL manual, "Message Formats". Authentication requests are in authentication.py,
replies to start-up packets in startup.py.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pgtrace.protocol.bodies import Body, Counted, Group, ZeroEnded
from pgtrace.protocol.codes import BACKEND
from pgtrace.protocol.fields import FIELD_NAMES
from pgtrace.protocol.message import Message, message
from pgtrace.protocol.primitives import Byte1, Int8, Int16, Int32, NullableBytes, Rest, UInt16, UInt32, ZString


@message(b"v", BACKEND)
class NegotiateProtocolVersion(Message):
    """Byte1('v') Int32 Int32 Int32 String[].

    `protocol` is the version that the server offers instead. On the wire it is the whole version
    (196610 is 3.2), although the manual says minor version.
    """

    protocol: int
    unrecognized_options: tuple[str, ...]
    BODY = Body("protocol" / UInt32, "unrecognized_options" / Counted(Int32, ZString))
    EXAMPLE = b"\0\3\0\2\0\0\0\1_pq_.test_protocol_negotiation\0"


@message(b"K", BACKEND)
class BackendKeyData(Message):
    """Byte1('K') Int32 Int32 Byten. The key has 4 bytes up to protocol 3.1; from 3.2 on it fills
    the rest of the message."""

    process_id: int
    secret_key: bytes
    BODY = Body("process_id" / UInt32, "secret_key" / Rest)
    EXAMPLE = b"\0\0\x12\x67\x01\x02\x03\x04"


@message(b"S", BACKEND)
class ParameterStatus(Message):
    """Byte1('S') Int32 String String."""

    name: str
    value: str
    BODY = Body("name" / ZString, "value" / ZString)
    EXAMPLE = b"server_version\x0018.1\0"


@message(b"Z", BACKEND)
class ReadyForQuery(Message):
    """Byte1('Z') Int32(5) Byte1. `I` idle, `T` in a transaction block, `E` in a failed transaction
    block."""

    transaction_status: str
    BODY = Body("transaction_status" / Byte1)
    EXAMPLE = b"I"


class Column(NamedTuple):
    """One column of a RowDescription. `table_oid` and `number` are 0 if it is not a column of a
    table; `type_size` is negative if the type has variable size."""

    name: str
    table_oid: int
    number: int
    type_oid: int
    type_size: int
    type_modifier: int
    format: int


@message(b"T", BACKEND)
class RowDescription(Message):
    """Byte1('T') Int32 Int16 (String Int32 Int16 Int32 Int16 Int32 Int16)[]."""

    columns: tuple[Column, ...]
    BODY = Body(
        "columns"
        / Counted(
            UInt16,
            Group(
                "name" / ZString,
                "table_oid" / UInt32,
                "number" / Int16,
                "type_oid" / UInt32,
                "type_size" / Int16,
                "type_modifier" / Int32,
                "format" / Int16,
                factory=Column,
            ),
        )
    )
    EXAMPLE = (
        b"\0\2id\0\0\0\x40\x01\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\1"  # id int4, binary
        b"sku\0\0\0\0\0\0\0\0\0\x04\x13\xff\xff\0\0\0\x24\0\0"  # sku varchar(32), text
    )


@message(b"t", BACKEND)
class ParameterDescription(Message):
    """Byte1('t') Int32 Int16 Int32[]. The OIDs of the parameters' types."""

    parameter_types: tuple[int, ...]
    BODY = Body("parameter_types" / Counted(UInt16, UInt32))
    EXAMPLE = b"\0\2\0\0\0\x17\0\0\0\x19"


@message(b"D", BACKEND)
class DataRow(Message):
    """Byte1('D') Int32 Int16 (Int32 Byten)[]."""

    columns: tuple[bytes | None, ...]
    BODY = Body("columns" / Counted(UInt16, NullableBytes))
    EXAMPLE = b"\0\3\0\0\0\4\0\0\0\x2a\0\0\0\0\xff\xff\xff\xff"


@message(b"C", BACKEND)
class CommandComplete(Message):
    """Byte1('C') Int32 String. The tag, such as `INSERT 0 1`, `SELECT 20` or `BEGIN`."""

    command_tag: str
    BODY = Body("command_tag" / ZString)
    EXAMPLE = b"INSERT 0 1\0"


@message(b"I", BACKEND)
class EmptyQueryResponse(Message):
    """Byte1('I') Int32(4). Replaces CommandComplete for an empty query."""

    BODY = Body()
    EXAMPLE = b""


_ERROR_FIELDS: Final = ZeroEnded(Group("field_type" / Byte1, "value" / ZString), names=FIELD_NAMES)


@message(b"E", BACKEND)
class ErrorResponse(Message):
    """Byte1('E') Int32 (Byte1 String)* Byte1(0). fields.py names the letters; unknown ones are
    kept."""

    fields: tuple[tuple[str, str], ...]
    BODY = Body("fields" / _ERROR_FIELDS)
    EXAMPLE = b"SERROR\0VERROR\0C23505\0Mduplicate key value violates unique constraint\0nitems_pkey\0\0"


@message(b"N", BACKEND)
class NoticeResponse(Message):
    """Byte1('N') Int32 (Byte1 String)* Byte1(0). Fields as in ErrorResponse."""

    fields: tuple[tuple[str, str], ...]
    BODY = Body("fields" / _ERROR_FIELDS)
    EXAMPLE = b"SNOTICE\0VNOTICE\0C42P07\0Mrelation exists, skipping\0\0"


@message(b"1", BACKEND)
class ParseComplete(Message):
    """Byte1('1') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"2", BACKEND)
class BindComplete(Message):
    """Byte1('2') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"3", BACKEND)
class CloseComplete(Message):
    """Byte1('3') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"n", BACKEND)
class NoData(Message):
    """Byte1('n') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"s", BACKEND)
class PortalSuspended(Message):
    """Byte1('s') Int32(4). Execute reached its row limit."""

    BODY = Body()
    EXAMPLE = b""


@message(b"A", BACKEND)
class NotificationResponse(Message):
    """Byte1('A') Int32 Int32 String String. `process_id` is the backend that sent the
    notification."""

    process_id: int
    channel: str
    payload: str
    BODY = Body("process_id" / UInt32, "channel" / ZString, "payload" / ZString)
    EXAMPLE = b"\0\0\x12\x67orders\0 42\0"


@message(b"G", BACKEND)
class CopyInResponse(Message):
    """Byte1('G') Int32 Int8 Int16 Int16[]. The format of the whole COPY (0 text, 1 binary), and of
    each column."""

    format: int
    column_formats: tuple[int, ...]
    BODY = Body("format" / Int8, "column_formats" / Counted(UInt16, Int16))
    EXAMPLE = b"\0\0\2\0\0\0\0"


@message(b"H", BACKEND)
class CopyOutResponse(Message):
    """Byte1('H') Int32 Int8 Int16 Int16[]. As CopyInResponse."""

    format: int
    column_formats: tuple[int, ...]
    BODY = Body("format" / Int8, "column_formats" / Counted(UInt16, Int16))
    EXAMPLE = b"\1\0\1\0\1"


@message(b"W", BACKEND)
class CopyBothResponse(Message):
    """Byte1('W') Int32 Int8 Int16 Int16[]. As CopyInResponse; only for streaming replication."""

    format: int
    column_formats: tuple[int, ...]
    BODY = Body("format" / Int8, "column_formats" / Counted(UInt16, Int16))
    EXAMPLE = b"\0\0\1\0\0"


@message(b"d", BACKEND)
class CopyData(Message):
    """Byte1('d') Int32 Byten. In COPY TO, one row per message, plus a binary COPY's header and
    trailer."""

    data: bytes
    BODY = Body("data" / Rest)
    EXAMPLE = b"1\tSKU-1\t\\N\n"


@message(b"c", BACKEND)
class CopyDone(Message):
    """Byte1('c') Int32(4)."""

    BODY = Body()
    EXAMPLE = b""


@message(b"V", BACKEND)
class FunctionCallResponse(Message):
    """Byte1('V') Int32 Int32 Byten."""

    result: bytes | None
    BODY = Body("result" / NullableBytes)
    EXAMPLE = b"\0\0\0\4\0\0\0\x2a"


MESSAGES: Final[tuple[type[Message], ...]] = (
    NegotiateProtocolVersion,
    BackendKeyData,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
    ParameterDescription,
    DataRow,
    CommandComplete,
    EmptyQueryResponse,
    ErrorResponse,
    NoticeResponse,
    ParseComplete,
    BindComplete,
    CloseComplete,
    NoData,
    PortalSuspended,
    NotificationResponse,
    CopyInResponse,
    CopyOutResponse,
    CopyBothResponse,
    CopyData,
    CopyDone,
    FunctionCallResponse,
)
