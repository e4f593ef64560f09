"""The contents of one CopyData: a replication message, perhaps with another one inside. Rows of a
COPY are handled in inspect/copy_reading.py.

A CopyPayload stands for one CopyData that you look at, and decodes nothing before you ask: `title`
names it, `argument` describes it in a few words, as in `XLogData 0/1A2B3C4 Insert public.items (1,
'SKU-1')`, and fields() gives its fields with their bytes in the CopyData. The text is as it came
from the wire. No bytes make it raise.

A logical change takes the names and types of its columns from the latest Relation message; without
one it shows the OID.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from pgtrace.describe import arguments
from pgtrace.describe.copy_contents import Contents
from pgtrace.protocol import replication, values
from pgtrace.protocol.heads import INSIDE_XLOGDATA, XID_BYTES
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.primitives import Field
from pgtrace.protocol.replication import SubMessage, TupleValue, base_backup, pgoutput, streaming

RelationOf = Callable[[int], pgoutput.Relation | None]

_UNCHANGED: Final = "unchanged"
_TRUNCATE_OPTIONS: Final = {1: " CASCADE", 2: " RESTART IDENTITY", 3: " CASCADE RESTART IDENTITY"}


class CopyPayload(ABC):
    """The contents of one CopyData, as far as they are known."""

    title = ""
    stands_out = False
    """Whether it should get a separate line among many similar ones."""
    rows: int | None = None
    """The number of rows of a COPY that end in it, if they can be counted."""

    @property
    def label(self) -> str:
        """A title, possibly with the table, that many messages share."""
        return self.title

    @property
    @abstractmethod
    def argument(self) -> str:
        """The title and a description of its contents in a few words."""

    @abstractmethod
    def fields(self) -> list[Field]:
        """Its fields; each value is a text for people, or as on the wire."""


def message_inside(contents: Contents, side: int, data: bytes, relation_of: RelationOf, *, in_stream: bool) -> CopyPayload | None:
    """The replication message in the CopyData; None if it is not a message of its family."""
    kind = replication.find(contents.family, side, data) if contents.family is not None else None
    if kind is None:
        return None
    if kind is not streaming.XLogData or not contents.is_logical:
        return _Message(kind, data)
    plugin = replication.find(contents.plugin, side, data[INSIDE_XLOGDATA : INSIDE_XLOGDATA + 1]) if contents.plugin is not None else None
    if plugin is None or not issubclass(plugin, pgoutput.LogicalMessage):
        return _PluginData(kind, data)
    return Change(data, plugin, relation_of, in_stream=in_stream)


class _Message(CopyPayload):
    """A message of streaming replication or of a base backup."""

    def __init__(self, kind: type[SubMessage], data: bytes) -> None:
        self.kind = kind
        self.data = data
        self.title = kind.NAME
        self.stands_out = kind in (base_backup.NewArchive, base_backup.Manifest)

    @property
    def argument(self) -> str:
        try:
            about = self._about(self.kind.parse(self.data[1:]))
        except MalformedMessage as malformed:
            about = _malformed(malformed)
        return f"{self.title} {about}".rstrip()

    def fields(self) -> list[Field]:
        return replication.spans(self.kind, self.data)

    def _about(self, message: SubMessage) -> str:
        match message:
            case streaming.XLogData():
                return f"{message.wal_start} {self._data(message.data)}"
            case streaming.PrimaryKeepalive():
                return f"{message.wal_end}{_reply(message.reply_requested)}"
            case streaming.PrimaryStatusUpdate():
                return f"{message.wal_end} oldest xid {message.oldest_xid} next xid {message.next_xid}"
            case streaming.StandbyStatusUpdate():
                positions = f"written {message.written} flushed {message.flushed} applied {message.applied}"
                return f"{positions}{_reply(message.reply_requested)}"
            case streaming.HotStandbyFeedback():
                catalog = f" catalog_xmin {message.catalog_xmin}" if message.catalog_xmin else ""
                return f"xmin {message.xmin}{catalog}"
            case base_backup.NewArchive():
                return message.name + (f" of {message.directory}" if message.directory else "")
            case base_backup.ArchiveOrManifestData():
                return arguments.counted(len(message.data), "byte")
            case base_backup.ProgressReport():
                return arguments.counted(message.completed_bytes, "byte")
        return ""

    def _data(self, data: bytes) -> str:
        return f"{arguments.counted(len(data), 'byte')} of WAL"


class _PluginData(_Message):
    """XLogData of an unknown output plugin: shown as text if it is text, otherwise as bytes."""

    def fields(self) -> list[Field]:
        return [field._replace(value=self._data(field.value)) if isinstance(field.value, bytes) else field for field in super().fields()]

    def _data(self, data: bytes) -> str:
        return arguments.text(data)


class Change(CopyPayload):
    """XLogData with a message of pgoutput in it."""

    def __init__(self, data: bytes, kind: type[pgoutput.LogicalMessage], relation_of: RelationOf, *, in_stream: bool) -> None:
        self.data = data
        self.kind = kind
        self.relation_of = relation_of
        self.in_stream = in_stream
        self.name = kind.NAME
        self.title = f"{streaming.XLogData.NAME} {kind.NAME}"

    @property
    def argument(self) -> str:
        # it is there: the type byte follows it
        start = streaming.XLogData.parse(self.data[1:]).wal_start
        try:
            about = self._about(self.kind.parse(self._body))
        except MalformedMessage as malformed:
            about = _malformed(malformed)
        return f"{streaming.XLogData.NAME} {start} {self.name} {about}".rstrip()

    @property
    def label(self) -> str:
        if self.kind not in (pgoutput.Insert, pgoutput.Update, pgoutput.Delete):
            return self.title
        return f"{self.title} {self._table(int.from_bytes(self._body[:4], 'big'))}"

    @property
    def relation(self) -> pgoutput.Relation | None:
        """The Relation message inside, if it is one and can be decoded."""
        try:
            return pgoutput.Relation.parse(self._body) if self.kind is pgoutput.Relation else None
        except MalformedMessage:
            return None

    @property
    def _body(self) -> bytes:
        """The body of the inner message, after the xid of a streamed transaction."""
        begin = INSIDE_XLOGDATA + 1
        return self.data[begin + XID_BYTES :] if self.in_stream and self.kind.IN_STREAM else self.data[begin:]

    def fields(self) -> list[Field]:
        outer = replication.spans(streaming.XLogData, self.data)[:-1]
        inner = replication.spans(self.kind, self.data, start=INSIDE_XLOGDATA, depth=1, in_stream=self.in_stream)
        relation = self._relation_in(inner)
        columns = relation.columns if relation is not None else ()
        shown: list[Field] = []
        place = 0
        for field in inner:
            if isinstance(field.value, TupleValue):
                name = columns[place].name if place < len(columns) else field.name
                oid = columns[place].type_oid if place < len(columns) else 0
                field = field._replace(name=name, value=_value(field.value, oid), wire_type=_value_type(field.value, oid))
                place += 1
            else:
                place = 0
                if field.name == "relation_oid" and relation is not None and self.kind is not pgoutput.Relation:
                    field = field._replace(value=f"{field.value} {relation.qualified_name}")
            shown.append(field)
        return outer + shown

    def _relation_in(self, fields: Iterable[Field]) -> pgoutput.Relation | None:
        for field in fields:
            if field.name == "relation_oid" and isinstance(field.value, int):
                return self.relation_of(field.value)
        return None

    def _about(self, message: SubMessage) -> str:
        match message:
            case pgoutput.Begin():
                return f"xid {message.xid}"
            case pgoutput.LogicalDecodingMessage():
                return f"{message.prefix} {arguments.text(message.content or b'')}"
            case pgoutput.Commit():
                return str(message.commit_lsn)
            case pgoutput.Origin():
                return f"{message.name} {message.commit_lsn}"
            case pgoutput.Relation():
                return (
                    f"{message.qualified_name} "
                    f"({arguments.listed(f'{one.name} {values.type_name(one.type_oid)}' for one in message.columns)})"
                )
            case pgoutput.Type():
                return f"{message.namespace or 'pg_catalog'}.{message.name}"
            case pgoutput.Insert():
                return f"{self._table(message.relation_oid)} ({self._row(message.relation_oid, enumerate(message.new))})"
            case pgoutput.Update():
                return (
                    f"{self._table(message.relation_oid)} {self._old(message)}({self._row(message.relation_oid, enumerate(message.new))})"
                )
            case pgoutput.Delete():
                return f"{self._table(message.relation_oid)} {self._old(message)}".rstrip()
            case pgoutput.Truncate():
                tables = arguments.listed(map(self._table, message.truncation.relation_oids))
                return tables + _TRUNCATE_OPTIONS.get(message.truncation.options, "")
            case pgoutput.StreamStart():
                return f"xid {message.xid}" + (" first segment" if message.first_segment else "")
            case pgoutput.StreamCommit():
                return f"xid {message.xid} {message.commit_lsn}"
            case pgoutput.StreamAbort() | pgoutput.ParallelStreamAbort():
                part = f" subtransaction {message.subtransaction_xid}" if message.subtransaction_xid != message.xid else ""
                return f"xid {message.xid}{part}"
            case (
                pgoutput.BeginPrepare()
                | pgoutput.Prepare()
                | pgoutput.CommitPrepared()
                | pgoutput.RollbackPrepared()
                | pgoutput.StreamPrepare()
            ):
                return f"{message.gid} xid {message.xid}"
        return ""

    def _table(self, oid: int) -> str:
        relation = self.relation_of(oid)
        return relation.qualified_name if relation is not None else f"relation {oid}"

    def _old(self, message: pgoutput.Update | pgoutput.Delete) -> str:
        if message.old is None:
            return ""
        row = [one for one in enumerate(message.old.columns) if message.old.kind == "O" or one[1].kind != "n"]
        return f"{'old' if message.old.kind == 'O' else 'key'} ({self._row(message.relation_oid, row)}) "

    def _row(self, oid: int, row: Iterable[tuple[int, TupleValue]]) -> str:
        """A row in text, from values with the indexes of their columns."""
        relation = self.relation_of(oid)
        types = [column.type_oid for column in relation.columns] if relation is not None else []
        return arguments.listed(_value(one, types[place] if place < len(types) else 0) for place, one in row)


def _value(value: TupleValue, oid: int) -> str:
    if value.kind == "u":
        return _UNCHANGED
    return values.decode(oid, int(value.kind == "b"), value.data)


def _value_type(value: TupleValue, oid: int) -> str:
    format = {"b": "binary", "t": "text"}.get(value.kind, "")
    return " ".join(part for part in (values.type_name(oid) if oid else "", format) if part)


def _reply(requested: int) -> str:
    return " reply requested" if requested else ""


def _malformed(malformed: MalformedMessage) -> str:
    return f"malformed {malformed.path}: {malformed.reason}" if malformed.path else f"malformed: {malformed.reason}"
