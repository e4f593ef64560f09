"""Lines of code by row: a program's notes, assigned to the round trips of their statements.

    sites = trace.call_sites
    sites.at(place)      # the distinct lines of a row's statements, in the order of the statements
    sites.driver_of(file, backend_pid, client)   # the driver that noted statements there
    sites.handed_on(place)   # whether another task or thread began the row's transaction

A note precedes its statement in the capture, and belongs to the connection with its backend pid and
port. When a round trip closes, the notes so far are about its statements, about statements that
were never run, or about the next messages of the same call (psycopg2 sends BEGIN first, pg8000
three round trips for one call). A driver makes the next note only when it has its answer. Each
execution takes the latest notes with its own text, and earlier ones are dropped. A statement that
is prepared or described takes a note of its own kind, or uses that of its execution. A statement
without a matching note gets no line.

The lines of a row are kept in a temporary file, so memory does not grow with the rows; the number
of different lines is bounded.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections import deque
from itertools import islice
from typing import IO, Final, NamedTuple

from pgtrace.callsites.notes import BATCH, HANDED_ON, PREPARE, SEPARATOR, WHOLE, Site, driver
from pgtrace.capture.record import CallSite
from pgtrace.parameters import LAST_PORT
from pgtrace.session.events import Exchange, Part
from pgtrace.trace.histogram import Histogram
from pgtrace.whole import whole_number

LOOKED_AT: Final = 1_000
"""The latest notes of one connection that are searched for a statement's note."""
DECLARED_KEPT: Final = 10_000
"""The most connections whose latest DECLARE is remembered."""
NOTES_KEPT: Final = 100_000
"""The most notes that wait for their round trips."""
SITES_KEPT: Final = 50_000
"""The most different lines, or lists of lines."""
HANDED_ON_KEPT: Final = 10_000
"""The most rows in a transaction that another task or thread began."""
DRIVERS_KEPT: Final = 10_000
"""The most connections whose driver was noted."""
TEXTS_KEPT: Final = 10_000
"""The most cached checksums of statements."""
_NUMBER: Final = struct.Struct("=I")

UNITS_KEPT: Final = 20_000
"""The most different names of the program's marks."""


class Noted(NamedTuple):
    """What the program noted for a row."""

    sites: tuple[Site, ...] = ()
    marks: tuple[str, ...] = ()


_NOTHING: Final = Noted()


class Span(NamedTuple):
    """When one of the program's marks began and ended."""

    began_ns: int
    ended_ns: int
    is_alone: bool
    """Whether no other mark of the same name overlapped it. Then everything noted in it belongs to
    it."""


class _Spans:
    """The marks of one name, in the order of their ends."""

    def __init__(self) -> None:
        self.first: Span | None = None
        self.alone: Span | None = None
        """The first mark that no other has overlapped so far."""
        self._ended_ns = 0

    def add(self, began_ns: int, ended_ns: int) -> None:
        """Add a mark that has ended."""
        self.first = self.first or Span(began_ns, ended_ns, is_alone=False)
        if self.alone is not None and began_ns < self.alone.ended_ns:
            self.alone = None
        if self.alone is None and began_ns >= self._ended_ns:
            self.alone = Span(began_ns, ended_ns, is_alone=True)
        self._ended_ns = max(self._ended_ns, ended_ns)


Key = tuple[int, int]
"""The file and backend pid."""


class CallSites:
    """The lines of code of a trace's rows."""

    def __init__(self) -> None:
        self.notes = 0
        """The number of notes in the capture."""
        self.joined = 0
        """The number of statements with a note."""
        self._waiting: dict[Key, deque[tuple[int, CallSite]]] = {}
        self._waits = 0
        self.units: dict[str, Histogram] = {}
        """Mark name -> how long the marks took that the program itself set and that have ended."""
        self._spans: dict[str, _Spans] = {}
        self.has_marks = False
        """Whether a note is in such a mark."""
        self._noted: list[Noted] = [_NOTHING]
        self._numbers: dict[Noted, int] = {_NOTHING: 0}
        self._checksums: dict[str, int] = {}
        self._handed_on: set[int] = set()
        self._drivers: dict[tuple[int, int, int], str] = {}
        """(file, backend pid, port) -> the driver that noted a statement there."""
        self._declared: dict[Key, tuple[str, Noted]] = {}
        """Connection -> the text of its latest DECLARE, and its lines."""
        self._rows: IO[bytes] | None = None  # created when a row has lines

    @property
    def is_empty(self) -> bool:
        """Whether the capture has no notes so far."""
        return not self.notes

    def note(self, file: int, time_ns: int, note: CallSite) -> None:
        """Take a note from the capture."""
        self.notes += 1
        if self._waits >= NOTES_KEPT:
            self._waiting.clear()
            self._waits = 0
        self._waiting.setdefault((file, note.backend_pid), deque()).append((time_ns, note))
        self._waits += 1
        self._drivers[file, note.backend_pid, note.port] = driver(note.flags)
        if len(self._drivers) > DRIVERS_KEPT:
            self._drivers.pop(next(iter(self._drivers)))

    def driver_of(self, file: int, backend_pid: int | None, client: str) -> str:
        """The driver that noted statements on that connection; empty if none did."""
        if backend_pid is None or not self._drivers:
            return ""
        port = whole_number(client.rpartition(":")[2], LAST_PORT)
        found = self._drivers.get((file, backend_pid, port)) if port is not None else None
        return found or self._drivers.get((file, backend_pid, 0), "")

    def unit(self, time_ns: int, note: CallSite) -> None:
        """Take the end of a mark."""
        name = note.marks.rpartition(SEPARATOR)[2]
        if name in self.units or len(self.units) < UNITS_KEPT:
            self._spans.setdefault(name, _Spans()).add(time_ns - note.length * 1000, time_ns)
            self.units.setdefault(name, Histogram()).add(note.length * 1000)

    def one_unit(self, name: str) -> Span | None:
        """When one of the program's marks of that name began and ended: the first that no other of
        that name overlapped, or otherwise the first of all."""
        spans = self._spans.get(name)
        return None if spans is None else spans.alone or spans.first

    def closed(self, file: int, backend_pid: int, client: str, place: int, exchange: Exchange, flushed_ns: int, closed_ns: int) -> None:
        """A round trip of that connection has closed; `flushed_ns` is its first flush point.

        A note made up to then is about this round trip or an earlier one, so the latest counts. A
        later note may be about the next round trip, since a reply gets its time after it was passed
        on; of these notes the earliest counts.
        """
        if not exchange.effect.depth and self._declared and self._describes(file, backend_pid, place, exchange):
            return
        waiting = self._waiting.get((file, backend_pid))
        if not waiting:
            return
        port = whole_number(client.rpartition(":")[2], LAST_PORT)
        made: list[CallSite] = []
        later: list[CallSite] = []
        for time_ns, note in islice(waiting, LOOKED_AT):
            if time_ns > closed_ns:
                break
            if not note.port or port is None or note.port == port:
                (made if time_ns <= flushed_ns else later).append(note)
        found, done, is_handed_on, marks = self._of(exchange, [*reversed(made), *later])
        if not done and made:
            marks = _names(made[-1])  # sent before the statement of that note
        if is_handed_on and len(self._handed_on) < HANDED_ON_KEPT:
            self._handed_on.add(place)
        while waiting and (waiting[0][1].sequence <= done or len(waiting) > LOOKED_AT):
            waiting.popleft()
            self._waits -= 1
        if not waiting:
            del self._waiting[file, backend_pid]
        if found or marks:
            self._put(place, Noted(found, marks))
            if "DECLARE CURSOR" in exchange.effect.tags and exchange.statements:
                if len(self._declared) >= DECLARED_KEPT:
                    self._declared.clear()
                self._declared[file, backend_pid] = exchange.statements[0].sql or "", Noted(found, marks)

    def _describes(self, file: int, backend_pid: int, place: int, exchange: Exchange) -> bool:
        """Whether a round trip that runs nothing describes the cursor just declared. It then gets
        the lines of its DECLARE, because no hook sees it."""
        sql, noted = self._declared.get((file, backend_pid), ("", _NOTHING))
        describes = bool(sql) and [statement.sql for statement in exchange.statements] == [sql]
        if describes:
            self._put(place, noted)
        return describes

    def _put(self, place: int, noted: Noted) -> None:
        self.has_marks = self.has_marks or bool(noted.marks)
        if self._rows is None:
            self._rows = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the trace)
        os.pwrite(self._rows.fileno(), _NUMBER.pack(self._number(noted)), place * _NUMBER.size)

    def at(self, place: int) -> tuple[Site, ...]:
        """The lines of the row at this place."""
        return self._at(place).sites

    def marks_at(self, place: int) -> tuple[str, ...]:
        """The program's marks that the row at this place is in."""
        return self._at(place).marks if self.has_marks else ()

    def _at(self, place: int) -> Noted:
        if self._rows is None:
            return _NOTHING
        data = os.pread(self._rows.fileno(), _NUMBER.size, place * _NUMBER.size)
        return self._noted[_NUMBER.unpack(data)[0]] if len(data) == _NUMBER.size else _NOTHING

    def handed_on(self, place: int) -> bool:
        """Whether a statement of this row was sent in a transaction that another task or thread had
        begun."""
        return place in self._handed_on

    def close(self) -> None:
        """Close the file."""
        if self._rows is not None:
            self._rows.close()

    def _of(self, exchange: Exchange, notes: list[CallSite]) -> tuple[tuple[Site, ...], int, bool, tuple[str, ...]]:
        """The lines of the exchange's statements, the sequence number of the last note used,
        whether one of the notes says HANDED_ON, and the marks of them all."""
        found: dict[Site, None] = {}
        marks: dict[str, None] = {}
        done = 0
        is_handed_on = False
        for part in exchange.parts:
            if not part.is_carried:
                continue
            for note in self._about(part, notes):
                is_handed_on = is_handed_on or bool(note.flags & HANDED_ON)
                marks.update(dict.fromkeys(_names(note)))
                if note.file:
                    found.setdefault(Site(note.file, note.line, note.function))
                if part.ended or note.flags & PREPARE:
                    self.joined += 1
                    # A batch may continue in the next round trip.
                    done = max(done, note.sequence - bool(note.flags & BATCH))
        return tuple(found), done, is_handed_on, tuple(marks)

    def _about(self, part: Part, notes: list[CallSite]) -> list[CallSite]:
        """The notes of one statement, the likeliest first."""
        wanted = part.ended or 1
        found: list[CallSite] = []
        for note in notes:
            if (part.ended and note.flags & PREPARE) or not self._is_about(note, part):
                continue
            found.append(note)
            wanted = 0 if note.flags & BATCH else wanted - 1
            if not wanted:
                break
        return found

    def _is_about(self, note: CallSite, part: Part) -> bool:
        statement = part.statement
        if note.length == WHOLE and statement.query_crc is not None:
            return note.crc == statement.query_crc
        if statement.sql is None:
            return False
        if note.length != WHOLE:
            return note.crc == zlib.crc32(statement.sql.encode("utf-8", "surrogateescape")[: note.length])
        return note.crc == self._checksum(statement.sql)

    def _checksum(self, sql: str) -> int:
        found = self._checksums.get(sql)
        if found is None:
            if len(self._checksums) >= TEXTS_KEPT:
                self._checksums.clear()
            found = self._checksums[sql] = zlib.crc32(sql.encode("utf-8", "surrogateescape"))
        return found

    def _number(self, noted: Noted) -> int:
        found = self._numbers.get(noted)
        if found is None:
            if len(self._noted) >= SITES_KEPT:
                return 0
            found = self._numbers[noted] = len(self._noted)
            self._noted.append(noted)
        return found


def _names(note: CallSite) -> tuple[str, ...]:
    return tuple(note.marks.split(SEPARATOR)) if note.marks else ()
