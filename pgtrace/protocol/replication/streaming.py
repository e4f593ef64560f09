"""The messages of streaming replication: WAL in one direction, acknowledgements in the other, and
keepalives in both.

They travel in the CopyData of copy-both mode, between START_REPLICATION and the CopyDone of either
side. In a physical stream, XLogData holds the WAL's own bytes, and a record is cut only if it does
not fit. In a logical stream, it holds one message of the output plugin (pgoutput.py).

`clock` is the sender's clock at the moment of sending. The primary status messages are new in
PostgreSQL 19.

Source: PostgreSQL manual, "Streaming Replication Protocol", START_REPLICATION.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol.bodies import Body
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import message
from pgtrace.protocol.primitives import Int8, Rest, UInt32
from pgtrace.protocol.replication.primitives import Lsn, Moment, SubMessage, Timestamp, UInt64, WalPosition


@message(b"w", BACKEND, name="XLogData")
class XLogData(SubMessage):
    """Byte1('w') Int64 Int64 Int64 Byten. `wal_start` is where `data` begins, `wal_end` the end of
    the WAL on the server."""

    wal_start: WalPosition
    wal_end: WalPosition
    clock: Moment
    data: bytes
    BODY = Body("wal_start" / Lsn, "wal_end" / Lsn, "clock" / Timestamp, "data" / Rest)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\1\0\0\0\x28\0\2\xe4\x1a\x3b\x5c\x7d\x9eWAL"


@message(b"k", BACKEND, name="Primary keepalive")
class PrimaryKeepalive(SubMessage):
    """Byte1('k') Int64 Int64 Byte1. `reply_requested` of 1 asks for an immediate status update."""

    wal_end: WalPosition
    clock: Moment
    reply_requested: int
    BODY = Body("wal_end" / Lsn, "clock" / Timestamp, "reply_requested" / Int8)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\2\xe4\x1a\x3b\x5c\x7d\x9e\1"


@message(b"s", BACKEND, name="Primary status update")
class PrimaryStatusUpdate(SubMessage):
    """Byte1('s') Int64 Int64 Int64 Int64. Transaction ids with their epoch: the oldest one that is
    committing, and the next to be assigned."""

    wal_end: WalPosition
    oldest_xid: int
    next_xid: int
    clock: Moment
    BODY = Body("wal_end" / Lsn, "oldest_xid" / UInt64, "next_xid" / UInt64, "clock" / Timestamp)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\0\0\3\x0b\0\0\0\0\0\0\3\x0c\0\2\xe4\x1a\x3b\x5c\x7d\x9e"


@message(b"r", FRONTEND, name="Standby status update")
class StandbyStatusUpdate(SubMessage):
    """Byte1('r') Int64 Int64 Int64 Int64 Byte1. The position after the last byte written, flushed
    to disk and applied; 0/0 if not reported."""

    written: WalPosition
    flushed: WalPosition
    applied: WalPosition
    clock: Moment
    reply_requested: int
    BODY = Body("written" / Lsn, "flushed" / Lsn, "applied" / Lsn, "clock" / Timestamp, "reply_requested" / Int8)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\0\0\0\0\0\2\xe4\x1a\x3b\x5c\x7d\x9e\0"


@message(b"h", FRONTEND, name="Hot standby feedback")
class HotStandbyFeedback(SubMessage):
    """Byte1('h') Int64 Int32 Int32 Int32 Int32. All 0 means that no more feedback will be sent."""

    clock: Moment
    xmin: int
    xmin_epoch: int
    catalog_xmin: int
    catalog_xmin_epoch: int
    BODY = Body("clock" / Timestamp, "xmin" / UInt32, "xmin_epoch" / UInt32, "catalog_xmin" / UInt32, "catalog_xmin_epoch" / UInt32)
    EXAMPLE = b"\0\2\xe4\x1a\x3b\x5c\x7d\x9e\0\0\3\x0b\0\0\0\1\0\0\0\0\0\0\0\0"


@message(b"p", FRONTEND, name="Primary status request")
class PrimaryStatusRequest(SubMessage):
    """Byte1('p') Int64."""

    clock: Moment
    BODY = Body("clock" / Timestamp)
    EXAMPLE = b"\0\2\xe4\x1a\x3b\x5c\x7d\x9e"


MESSAGES: Final[tuple[type[SubMessage], ...]] = (
    XLogData,
    PrimaryKeepalive,
    PrimaryStatusUpdate,
    StandbyStatusUpdate,
    HotStandbyFeedback,
    PrimaryStatusRequest,
)
