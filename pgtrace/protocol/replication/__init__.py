"""The messages inside CopyData on a replication connection, each with a type byte of its own.

There are three families, and a type byte means something different in each: streaming replication
in copy-both mode (streaming.py), a base backup in copy-out mode (base_backup.py), and the output
plugin pgoutput inside XLogData (pgoutput.py). The command that began the copy mode decides the
family; the bytes do not, so the caller passes it. No family changes how messages are framed or
round trips counted.

find() and spans() never raise and do not change the bytes. If a message contains another, the
fields of both are listed in sequence, positioned in the whole CopyData, type bytes included.

Source: PostgreSQL manual, "Streaming Replication Protocol" and "Logical Replication Message
Formats".
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from pgtrace.protocol.primitives import Field
from pgtrace.protocol.replication import base_backup, pgoutput, streaming
from pgtrace.protocol.replication.primitives import Moment, OldTuple, SubMessage, Truncation, TupleValue, WalPosition

__all__ = ["MESSAGES", "Family", "Moment", "OldTuple", "SubMessage", "Truncation", "TupleValue", "WalPosition", "find", "spans"]

MESSAGES: Final[tuple[type[SubMessage], ...]] = (*streaming.MESSAGES, *base_backup.MESSAGES, *pgoutput.MESSAGES)


class Family(Enum):
    """A family of messages, which share one set of type bytes."""

    STREAMING = streaming.MESSAGES
    BASE_BACKUP = base_backup.MESSAGES
    PGOUTPUT = tuple(kind for kind in pgoutput.MESSAGES if kind is not pgoutput.ParallelStreamAbort)
    PGOUTPUT_PARALLEL = tuple(kind for kind in pgoutput.MESSAGES if kind is not pgoutput.StreamAbort)
    """pgoutput when START_REPLICATION asked for `streaming 'parallel'`."""


_BY_CODE: Final = {(family, kind.side, kind.code): kind for family in Family for kind in family.value}


def find(family: Family, side: int, data: bytes) -> type[SubMessage] | None:
    """The class of the message `data`, by its first byte; None if the family has no such
    message."""
    return _BY_CODE.get((family, side, data[0])) if data else None


def spans(kind: type[SubMessage], data: bytes, *, start: int = 0, depth: int = 0, in_stream: bool = False) -> list[Field]:
    """The fields of the message from `start` to the end of `data`, its type byte first.

    `in_stream` is for pgoutput: whether the message is between Stream Start and Stream Stop. The
    fields of a malformed message end with a field `malformed`.
    """
    found = [Field("type", kind.NAME, "Byte1", start, start + 1, depth)]
    position = start + 1
    if in_stream and issubclass(kind, pgoutput.LogicalMessage) and kind.IN_STREAM:
        xid = data[position : position + 4]
        if len(xid) < 4:
            return [*found, Field("malformed", f"4 bytes expected, {len(xid)} are there", "", position, len(data), depth)]
        found.append(Field("xid", int.from_bytes(xid, "big"), "Int32", position, position + 4, depth))
        position += 4
    fields = kind.BODY.fields(data[position:])
    return found + [
        Field(field.name, field.value, field.wire_type, position + field.start, position + field.end, depth + field.depth)
        for field in fields
    ]
