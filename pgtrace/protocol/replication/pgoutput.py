"""The messages of pgoutput, PostgreSQL's own output plugin: the contents of XLogData while a
logical slot that uses it is streamed.

A transaction is Begin, changes, Commit. A Relation comes before the first change of its table (and
a Type before a Relation that needs it); changes identify the table only by its OID. From protocol
version 2 on, a large transaction may be streamed before it ends: blocks of changes between Stream
Start and Stream Stop, then Stream Commit or Stream Abort. Version 3 adds prepared transactions.
Version 4 adds the WAL position and time of a Stream Abort, sent if `streaming` is `parallel`.

Two facts are not in a message's own bytes. Both follow from earlier messages and are never guessed:

- between Stream Start and Stream Stop, the Int32 xid of the transaction precedes the body of some
  messages (`IN_STREAM`);
- a Stream Abort has the layout of ParallelStreamAbort if START_REPLICATION asked for
  `streaming 'parallel'`.

Sources: PostgreSQL manual, "Logical Replication Message Formats" and "Logical Streaming Replication
Protocol".
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from pgtrace.protocol.bodies import Body, Counted, Group
from pgtrace.protocol.codes import BACKEND
from pgtrace.protocol.message import message
from pgtrace.protocol.primitives import Byte1, Int8, Int32, NullableBytes, UInt16, UInt32, ZString
from pgtrace.protocol.replication.primitives import (
    Letter,
    Lsn,
    Moment,
    Old,
    OldTuple,
    SubMessage,
    Timestamp,
    Truncation,
    TruncationData,
    TupleData,
    TupleValue,
    WalPosition,
)

OPTIONS: Final = frozenset({"proto_version", "publication_names"})
"""Options of START_REPLICATION that pgoutput requires."""


class LogicalMessage(SubMessage):
    """A message of pgoutput."""

    __slots__ = ()

    IN_STREAM: ClassVar[bool] = False
    """Whether the Int32 xid of the transaction precedes its body between Stream Start and Stream
    Stop."""


@message(b"B", BACKEND, name="Begin")
class Begin(LogicalMessage):
    """Byte1('B') Int64 Int64 Int32."""

    final_lsn: WalPosition
    commit_timestamp: Moment
    xid: int
    BODY = Body("final_lsn" / Lsn, "commit_timestamp" / Timestamp, "xid" / UInt32)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\2\xe4\x1a\x3b\x5c\x7d\x9e\0\0\3\x0b"


@message(b"M", BACKEND, name="Message")
class LogicalDecodingMessage(LogicalMessage):
    """Byte1('M') Int8 Int64 String Int32 Byten. Written by pg_logical_emit_message(); `flags` of 1
    means that it is part of its transaction."""

    flags: int
    lsn: WalPosition
    prefix: str
    content: bytes | None
    BODY = Body("flags" / Int8, "lsn" / Lsn, "prefix" / ZString, "content" / NullableBytes)
    EXAMPLE = b"\1\0\0\0\0\x01\xa2\xb3\xc4audit\0\0\0\0\5hello"
    IN_STREAM = True


@message(b"C", BACKEND, name="Commit")
class Commit(LogicalMessage):
    """Byte1('C') Int8(0) Int64 Int64 Int64."""

    flags: int
    commit_lsn: WalPosition
    end_lsn: WalPosition
    commit_timestamp: Moment
    BODY = Body("flags" / Int8, "commit_lsn" / Lsn, "end_lsn" / Lsn, "commit_timestamp" / Timestamp)
    EXAMPLE = b"\0\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\x01\xa2\xb3\xf4\0\2\xe4\x1a\x3b\x5c\x7d\x9e"


@message(b"O", BACKEND, name="Origin")
class Origin(LogicalMessage):
    """Byte1('O') Int64 String. The origin where the transaction was first committed."""

    commit_lsn: WalPosition
    name: str
    BODY = Body("commit_lsn" / Lsn, "name" / ZString)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4pg_16402\0"


class RelationColumn(NamedTuple):
    """One column of a Relation. `flags` of 1 means that it is part of the replica identity."""

    flags: int
    name: str
    type_oid: int
    type_modifier: int


@message(b"R", BACKEND, name="Relation")
class Relation(LogicalMessage):
    """Byte1('R') Int32 String String Int8 Int16 (Int8 String Int32 Int32)[]. An empty `namespace`
    is pg_catalog."""

    relation_oid: int
    namespace: str
    name: str
    replica_identity: str
    columns: tuple[RelationColumn, ...]
    BODY = Body(
        "relation_oid" / UInt32,
        "namespace" / ZString,
        "name" / ZString,
        "replica_identity" / Byte1,
        "columns"
        / Counted(
            UInt16,
            Group("flags" / Int8, "name" / ZString, "type_oid" / UInt32, "type_modifier" / Int32, factory=RelationColumn),
        ),
    )
    EXAMPLE = b"\0\0\x40\x01public\0items\0d\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0sku\0\0\0\0\x19\xff\xff\xff\xff"
    IN_STREAM = True

    @property
    def qualified_name(self) -> str:
        """Schema and name, as in `public.items`."""
        return f"{self.namespace or 'pg_catalog'}.{self.name}"


@message(b"Y", BACKEND, name="Type")
class Type(LogicalMessage):
    """Byte1('Y') Int32 String String. A type that is not built in, sent before the Relation with a
    column of it."""

    type_oid: int
    namespace: str
    name: str
    BODY = Body("type_oid" / UInt32, "namespace" / ZString, "name" / ZString)
    EXAMPLE = b"\0\0\x40\x10public\0mood\0"
    IN_STREAM = True


@message(b"I", BACKEND, name="Insert")
class Insert(LogicalMessage):
    """Byte1('I') Int32 Byte1('N') TupleData."""

    relation_oid: int
    new: tuple[TupleValue, ...]
    BODY = Body("relation_oid" / UInt32, Letter("new_kind", "N"), "new" / TupleData)
    EXAMPLE = b"\0\0\x40\x01N\0\4t\0\0\0\00242nub\0\0\0\2\0\x2a"
    IN_STREAM = True


@message(b"U", BACKEND, name="Update")
class Update(LogicalMessage):
    """Byte1('U') Int32 [Byte1('K') or ('O') TupleData] Byte1('N') TupleData. The old row is
    included if the key changed, or if the replica identity is the whole row."""

    relation_oid: int
    old: OldTuple | None
    new: tuple[TupleValue, ...]
    BODY = Body("relation_oid" / UInt32, "old" / Old(optional=True), Letter("new_kind", "N"), "new" / TupleData)
    EXAMPLE = b"\0\0\x40\x01K\0\2t\0\0\0\00242nN\0\2t\0\0\0\00243t\0\0\0\1x"
    IN_STREAM = True


@message(b"D", BACKEND, name="Delete")
class Delete(LogicalMessage):
    """Byte1('D') Int32 Byte1('K') or ('O') TupleData."""

    relation_oid: int
    old: OldTuple
    BODY = Body("relation_oid" / UInt32, "old" / Old(optional=False))
    EXAMPLE = b"\0\0\x40\x01O\0\2t\0\0\0\00242n"
    IN_STREAM = True


@message(b"T", BACKEND, name="Truncate")
class Truncate(LogicalMessage):
    """Byte1('T') Int32 Int8 Int32[]."""

    truncation: Truncation
    BODY = Body("truncation" / TruncationData)
    EXAMPLE = b"\0\0\0\2\1\0\0\x40\x01\0\0\x40\x02"
    IN_STREAM = True


@message(b"S", BACKEND, name="Stream Start")
class StreamStart(LogicalMessage):
    """Byte1('S') Int32 Int8. `first_segment` of 1 means the transaction's first block."""

    xid: int
    first_segment: int
    BODY = Body("xid" / UInt32, "first_segment" / Int8)
    EXAMPLE = b"\0\0\3\x0b\1"


@message(b"E", BACKEND, name="Stream Stop")
class StreamStop(LogicalMessage):
    """Byte1('E')."""

    BODY = Body()
    EXAMPLE = b""


@message(b"c", BACKEND, name="Stream Commit")
class StreamCommit(LogicalMessage):
    """Byte1('c') Int32 Int8(0) Int64 Int64 Int64."""

    xid: int
    flags: int
    commit_lsn: WalPosition
    end_lsn: WalPosition
    commit_timestamp: Moment
    BODY = Body("xid" / UInt32, "flags" / Int8, "commit_lsn" / Lsn, "end_lsn" / Lsn, "commit_timestamp" / Timestamp)
    EXAMPLE = b"\0\0\3\x0b\0\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\x01\xa2\xb3\xf4\0\2\xe4\x1a\x3b\x5c\x7d\x9e"


@message(b"A", BACKEND, name="Stream Abort")
class StreamAbort(LogicalMessage):
    """Byte1('A') Int32 Int32. The xid of the transaction, and of the aborted subtransaction. They
    are equal if the whole transaction is aborted."""

    xid: int
    subtransaction_xid: int
    BODY = Body("xid" / UInt32, "subtransaction_xid" / UInt32)
    EXAMPLE = b"\0\0\3\x0b\0\0\3\x0c"


@message(b"A", BACKEND, name="Stream Abort")
class ParallelStreamAbort(LogicalMessage):
    """Byte1('A') Int32 Int32 Int64 Int64. A Stream Abort with parallel streaming."""

    xid: int
    subtransaction_xid: int
    abort_lsn: WalPosition
    abort_timestamp: Moment
    BODY = Body("xid" / UInt32, "subtransaction_xid" / UInt32, "abort_lsn" / Lsn, "abort_timestamp" / Timestamp)
    EXAMPLE = b"\0\0\3\x0b\0\0\3\x0c\0\0\0\0\x01\xa2\xb3\xc4\0\2\xe4\x1a\x3b\x5c\x7d\x9e"


@message(b"b", BACKEND, name="Begin Prepare")
class BeginPrepare(LogicalMessage):
    """Byte1('b') Int64 Int64 Int64 Int32 String. `gid` is the name from PREPARE TRANSACTION."""

    prepare_lsn: WalPosition
    end_lsn: WalPosition
    prepare_timestamp: Moment
    xid: int
    gid: str
    BODY = Body("prepare_lsn" / Lsn, "end_lsn" / Lsn, "prepare_timestamp" / Timestamp, "xid" / UInt32, "gid" / ZString)
    EXAMPLE = b"\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\x01\xa2\xb3\xf4\0\2\xe4\x1a\x3b\x5c\x7d\x9e\0\0\3\x0btransfer\0"


@message(b"P", BACKEND, name="Prepare")
class Prepare(LogicalMessage):
    """Byte1('P') Int8(0) Int64 Int64 Int64 Int32 String."""

    flags: int
    prepare_lsn: WalPosition
    end_lsn: WalPosition
    prepare_timestamp: Moment
    xid: int
    gid: str
    BODY = Body("flags" / Int8, *BeginPrepare.BODY.members)
    EXAMPLE = b"\0" + BeginPrepare.EXAMPLE


@message(b"K", BACKEND, name="Commit Prepared")
class CommitPrepared(LogicalMessage):
    """Byte1('K') Int8(0) Int64 Int64 Int64 Int32 String."""

    flags: int
    commit_lsn: WalPosition
    end_lsn: WalPosition
    commit_timestamp: Moment
    xid: int
    gid: str
    BODY = Body("flags" / Int8, "commit_lsn" / Lsn, "end_lsn" / Lsn, "commit_timestamp" / Timestamp, "xid" / UInt32, "gid" / ZString)
    EXAMPLE = Prepare.EXAMPLE


@message(b"r", BACKEND, name="Rollback Prepared")
class RollbackPrepared(LogicalMessage):
    """Byte1('r') Int8(0) Int64 Int64 Int64 Int64 Int32 String."""

    flags: int
    prepare_end_lsn: WalPosition
    rollback_end_lsn: WalPosition
    prepare_timestamp: Moment
    rollback_timestamp: Moment
    xid: int
    gid: str
    BODY = Body(
        "flags" / Int8,
        "prepare_end_lsn" / Lsn,
        "rollback_end_lsn" / Lsn,
        "prepare_timestamp" / Timestamp,
        "rollback_timestamp" / Timestamp,
        "xid" / UInt32,
        "gid" / ZString,
    )
    EXAMPLE = (
        b"\0\0\0\0\0\x01\xa2\xb3\xc4\0\0\0\0\x01\xa2\xb3\xf4\0\2\xe4\x1a\x3b\x5c\x7d\x9e\0\2\xe4\x1a\x3b\x5c\x7d\x9f\0\0\3\x0btransfer\0"
    )


@message(b"p", BACKEND, name="Stream Prepare")
class StreamPrepare(LogicalMessage):
    """Byte1('p') Int8(0) Int64 Int64 Int64 Int32 String."""

    flags: int
    prepare_lsn: WalPosition
    end_lsn: WalPosition
    prepare_timestamp: Moment
    xid: int
    gid: str
    BODY = Body(*Prepare.BODY.members)
    EXAMPLE = Prepare.EXAMPLE


MESSAGES: Final[tuple[type[LogicalMessage], ...]] = (
    Begin,
    LogicalDecodingMessage,
    Commit,
    Origin,
    Relation,
    Type,
    Insert,
    Update,
    Delete,
    Truncate,
    StreamStart,
    StreamStop,
    StreamCommit,
    StreamAbort,
    ParallelStreamAbort,
    BeginPrepare,
    Prepare,
    CommitPrepared,
    RollbackPrepared,
    StreamPrepare,
)
