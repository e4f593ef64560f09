"""Call sites on their way into the capture: what the program has noted, as records that go before a
batch.

A note is made before its statement is sent. Everything in a batch had been read from the driver
before the notes are read here, so a reader of the capture sees the line of code before the
statement.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

from pgtrace.callsites.notes import SEPARATOR, MarkLines, Notes
from pgtrace.capture.record import CallSite, Mark

FIRST_MARK: Final = 1 << 32
"""Marks that a program appends to a file are numbered from here, those of requests from 1."""


class CallSites:
    """Reads the notes of one directory as records. Only the writer's thread may use it."""

    def __init__(self, directory: str) -> None:
        self._notes = Notes(directory)
        self._lines = MarkLines(directory)
        self._open: dict[str, list[int]] = {}
        self._marks = FIRST_MARK
        self._sequence = 0
        self._earliest_ns = 0

    def read(self) -> list[CallSite]:
        """The records of new notes. A note that was found late gets the time of the previous
        reading, so times never decrease in the capture. Notes made during this reading keep their
        own time: notes with equal times could be mistaken for each other."""
        began_ns = monotonic_ns()
        notes = self._notes.read()
        now_ns = monotonic_ns()
        found = []
        for note in notes:
            self._sequence += 1
            file, line, function = note.site or ("", 0, "")
            found.append(
                CallSite(
                    min(max(note.time_ns, self._earliest_ns), now_ns),
                    note.backend_pid,
                    note.port,
                    self._sequence,
                    note.crc,
                    note.length,
                    note.flags,
                    file,
                    line,
                    function,
                    SEPARATOR.join(note.marks),
                )
            )
        self._earliest_ns = max(began_ns, found[-1].time_ns if found else 0)
        return found

    def marks(self) -> list[Mark]:
        """The beginnings and ends of marks that a program has appended since the last call, by
        time. An end without a beginning is left out."""
        lines = self._lines.read()
        now_ns = monotonic_ns()
        found = []
        for time_ns, begins, name in lines:
            if begins:
                self._marks += 1
                self._open.setdefault(name, []).append(self._marks)
                number = self._marks
            elif self._open.get(name):
                number = self._open[name].pop()
            else:
                continue
            found.append(Mark(min(time_ns, now_ns), begins, name, number))
        return sorted(found, key=lambda mark: mark.time_ns)
