"""Call sites on their way into the capture: what the program has noted, as records that go before a
batch.

A note is made before its statement is sent. Whatever a batch holds had been read from the driver
when the notes are read here, so a reader of the capture meets the line of code before the
statement.
"""

from __future__ import annotations

from time import monotonic_ns

from pgtrace.callsites.notes import Notes
from pgtrace.capture.record import CallSite


class CallSites:
    """Records of the notes of one directory. It belongs to the writer's thread."""

    def __init__(self, directory: str) -> None:
        self._notes = Notes(directory)
        self._sequence = 0
        self._earliest_ns = 0

    def read(self) -> list[CallSite]:
        """What is new. A note that was found late has the time of the reading before it, so that
        times go on in the capture."""
        now_ns = monotonic_ns()
        found = []
        for note in self._notes.read():
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
                )
            )
        self._earliest_ns = now_ns
        return found
