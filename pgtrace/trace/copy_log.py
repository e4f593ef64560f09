"""What the CopyData of one connection holds, at every row: rows of a COPY, messages of replication, or bytes.

It follows from the command that the backend answered with a copy mode, never from the bytes:

- CopyInResponse and CopyOutResponse tell a binary COPY; text from CSV only the statement does. BASE_BACKUP has messages of its own from PostgreSQL 15
  on. Of an unknown statement, and of what else a walsender copies (UPLOAD_MANIFEST), the data is bytes.
- CopyBothResponse is streaming replication. What XLogData holds is WAL after START_REPLICATION ... PHYSICAL, and the output plugin's business after
  LOGICAL. The plugin is pgoutput if the slot's CREATE_REPLICATION_SLOT was seen to say so; where it was not seen, if the server accepted the options
  that pgoutput needs and other plugins refuse.

A row is decoded long after it was read, so what applied when it began is kept as a log: the copy modes, and of a pgoutput stream what later messages
depend on, the Relations (as bodies, they are decoded when asked for) and whether a streamed transaction was open. On the reading path that is a look
at one byte of each XLogData.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pgtrace.protocol.codes import BACKEND
from pgtrace.protocol.heads import INSIDE_XLOGDATA, XID_BYTES

if TYPE_CHECKING:
    from pgtrace.describe.copy_contents import Contents
    from pgtrace.protocol.replication import pgoutput

_CHANGES: Final = frozenset({b"I", b"U", b"D", b"T"})
_XLOGDATA: Final = ord("w")
_RELATION: Final = ord("R")
_STREAM_START: Final = ord("S")
_STREAM_STOP: Final = ord("E")

T = TypeVar("T")


class _Log(Generic[T]):
    """Values by the row from which on they hold."""

    __slots__ = ("places", "values")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.values: list[T] = []

    def add(self, place: int, value: T) -> None:
        self.places.append(place)
        self.values.append(value)

    def before(self, place: int) -> T | None:
        """What held when the row at that place began."""
        found = bisect_left(self.places, place)
        return self.values[found - 1] if found else None

    def within(self, place: int) -> list[T]:
        """What was added in the row at that place."""
        return self.values[bisect_left(self.places, place) : bisect_left(self.places, place + 1)]


class CopyLog:
    """The log of one connection. `may_log` says whether one more entry may be kept; the end of what is kept always is."""

    def __init__(self, may_log: Callable[[bool], bool]) -> None:
        self.now: Contents | None = None
        """What CopyData holds at this point of the reading."""
        self.in_stream = False
        """Whether a streamed transaction is open at this point."""
        self._told = -1  # how much the latest row's messages say about it
        self._may_log = may_log
        self._contents: _Log[Contents | None] = _Log()
        self._streams: _Log[bool] = _Log()
        self._relations: dict[int, _Log[bytes]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_may_log"}  # the trace's: nothing is logged any more

    @property
    def is_logged(self) -> bool:
        """Whether anything of it was kept."""
        return bool(self._contents.places or self._streams.places or self._relations)

    def began(self, place: int, now: Contents) -> None:
        """A copy response came, in the row at that place."""
        self.now, self.in_stream = now, False
        if self._may_log(bool(self._contents.places)):
            self._contents.add(place, now)

    def ended(self, place: int) -> None:
        """The copying is over, in the row at that place."""
        self.now, self.in_stream = None, False
        if self._contents.values and self._contents.values[-1] is not None:
            self._contents.add(place, None)

    def row_began(self, place: int) -> None:
        """A row that begins with CopyData; told before passed() is told of its first."""
        self._told = -1
        if self.in_stream != bool(self._streams.values and self._streams.values[-1]) and self._may_log(True):
            self._streams.add(place, self.in_stream)

    def tells_more(self, data: bytes) -> bool:
        """Whether this CopyData says better than those before it what its row is about: a change of a table, else the log, else a status."""
        told = int(data[:1] == b"w")
        if told and self.now is not None and self.now.plugin is not None and data[INSIDE_XLOGDATA : INSIDE_XLOGDATA + 1] in _CHANGES:
            told = 2
        more = told > self._told
        self._told = max(told, self._told)
        return more

    def passed(self, side: int, data: bytes, place: int) -> None:
        """CopyData of copy-both passed in the row at that place: keep what later messages depend on."""
        if side != BACKEND or self.now is None or self.now.plugin is None or len(data) <= INSIDE_XLOGDATA or data[0] != _XLOGDATA:
            return
        letter = data[INSIDE_XLOGDATA]
        if letter in (_STREAM_START, _STREAM_STOP):
            self.in_stream = letter == _STREAM_START
        elif letter == _RELATION:
            body = data[INSIDE_XLOGDATA + 1 + (XID_BYTES if self.in_stream else 0) :]
            log = self._relations.setdefault(int.from_bytes(body[:4], "big"), _Log())
            if body != (log.values[-1] if log.values else None) and self._may_log(bool(log.places)):
                log.add(place, body)

    def contents_at(self, place: int) -> tuple[Contents | None, list[Contents]]:
        """What applied when the row at that place began, and the copy responses in it."""
        return self._contents.before(place), [one for one in self._contents.within(place) if one is not None]

    def in_stream_at(self, place: int) -> bool:
        """Whether a streamed transaction was open when the row at that place began."""
        return bool(self._streams.before(place + 1))

    def relation_at(self, oid: int, place: int) -> pgoutput.Relation | None:
        """The Relation of that OID that came last before the row at that place."""
        from pgtrace.protocol.message import MalformedMessage
        from pgtrace.protocol.replication import pgoutput

        log = self._relations.get(oid)
        body = log.before(place) if log is not None else None
        try:
            return pgoutput.Relation.parse(body) if body is not None else None
        except MalformedMessage:
            return None
