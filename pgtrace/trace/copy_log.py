"""What the CopyData of one connection contains, at every row: rows of a COPY, messages of
replication, or bytes.

This follows from the command that the backend answered with a copy mode, never from the bytes:

- CopyInResponse and CopyOutResponse identify a binary COPY; only the statement distinguishes text
  from CSV. BASE_BACKUP has its own messages from PostgreSQL 15 on. For an unknown statement, and
  for other copies of a walsender (UPLOAD_MANIFEST), the data is bytes.
- CopyBothResponse is streaming replication. XLogData contains WAL after START_REPLICATION ...
  PHYSICAL, and the output plugin's data after LOGICAL. The plugin is pgoutput if the slot's
  CREATE_REPLICATION_SLOT said so. If that was not seen, it is pgoutput if the server accepted the
  options that pgoutput needs and other plugins refuse.

A row is decoded long after it was read. So this log keeps what applied when the row began: the copy
modes, and for a pgoutput stream the state that later messages depend on, i.e. the Relations (as
bodies, decoded on request) and whether a streamed transaction was open. While reading, this costs
the inspection of one byte of each XLogData.
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
    """Values by the row from which they apply."""

    __slots__ = ("places", "values")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.values: list[T] = []

    def add(self, place: int, value: T) -> None:
        self.places.append(place)
        self.values.append(value)

    def before(self, place: int) -> T | None:
        """The value that applied when the row at this place began."""
        found = bisect_left(self.places, place)
        return self.values[found - 1] if found else None

    def within(self, place: int) -> list[T]:
        """The values that were added in the row at this place."""
        return self.values[bisect_left(self.places, place) : bisect_left(self.places, place + 1)]


class CopyLog:
    """The log of one connection. `may_log` says whether another entry may be kept; the end of a
    kept entry always is."""

    def __init__(self, may_log: Callable[[bool], bool]) -> None:
        self.now: Contents | None = None
        """What CopyData contains at this point of the reading."""
        self.in_stream = False
        """Whether a streamed transaction is open at this point."""
        self._detail = -1  # how well the messages of the latest row describe it
        self._may_log = may_log
        self._contents: _Log[Contents | None] = _Log()
        self._streams: _Log[bool] = _Log()
        self._relations: dict[int, _Log[bytes]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # `may_log` belongs to the trace; a stored log gets no more entries.
        return {name: value for name, value in vars(self).items() if name != "_may_log"}

    @property
    def is_logged(self) -> bool:
        """Whether anything was logged."""
        return bool(self._contents.places or self._streams.places or self._relations)

    def began(self, place: int, now: Contents) -> None:
        """A copy response arrived, in the row at this place."""
        self.now, self.in_stream = now, False
        if self._may_log(bool(self._contents.places)):
            self._contents.add(place, now)

    def ended(self, place: int) -> None:
        """The copying is over, in the row at this place."""
        self.now, self.in_stream = None, False
        if self._contents.values and self._contents.values[-1] is not None:
            self._contents.add(place, None)

    def row_began(self, place: int) -> None:
        """A row begins with CopyData. Call this before passed() for its first message."""
        self._detail = -1
        if self.in_stream != bool(self._streams.values and self._streams.values[-1]) and self._may_log(True):
            self._streams.add(place, self.in_stream)

    def describes_more(self, data: bytes) -> bool:
        """Whether this CopyData describes its row better than the earlier ones: a change of a table
        before other XLogData, XLogData before a status."""
        detail = int(data[:1] == b"w")
        if detail and self.now is not None and self.now.plugin is not None and data[INSIDE_XLOGDATA : INSIDE_XLOGDATA + 1] in _CHANGES:
            detail = 2
        more = detail > self._detail
        self._detail = max(detail, self._detail)
        return more

    def passed(self, side: int, data: bytes, place: int) -> None:
        """CopyData of copy-both passed in the row at this place: keep what later messages depend
        on."""
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
        """What applied when the row at this place began, and the copy responses in it."""
        return self._contents.before(place), [one for one in self._contents.within(place) if one is not None]

    def in_stream_at(self, place: int) -> bool:
        """Whether a streamed transaction was open when the row at this place began."""
        return bool(self._streams.before(place + 1))

    def relation_at(self, oid: int, place: int) -> pgoutput.Relation | None:
        """The last Relation with this OID before the row at this place."""
        from pgtrace.protocol.message import MalformedMessage
        from pgtrace.protocol.replication import pgoutput

        log = self._relations.get(oid)
        body = log.before(place) if log is not None else None
        try:
            return pgoutput.Relation.parse(body) if body is not None else None
        except MalformedMessage:
            return None
