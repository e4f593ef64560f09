"""re-parse: the server parses and plans one text again for every execution, although the connection
could keep it.

A Parse that travels with Bind costs no round trip, but the server's time and the bytes of the text.
Reported when one SQL text was parsed REPARSES times on a connection in round trips that ran it, and
never run without a Parse: psycopg parses five times before it prepares, pgjdbc four. Several Parses
in one round trip are one decision of the driver, and are not reported.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import Kind, Note, Seen, Step, Watch, shown

REPARSES: Final = 8
_TEXTS_KEPT: Final = 1_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._runs: dict[int, list[int] | None] = {}
        """By SQL text: the rows of its first runs with a Parse, None once it was run without."""

    def row(self, step: Step) -> None:
        if not step.key or step.shape.depth != 1 or not step.sends("B"):
            return
        text = step.text
        if not step.sends("P"):
            self._runs[text] = None
            return
        if len(self._runs) >= _TEXTS_KEPT:
            self._runs.clear()
        runs = self._runs.setdefault(text, [])
        if runs is None or not step.counts:
            return
        if len(runs) < REPARSES:
            runs.append(step.place)
            if len(runs) < REPARSES:
                return
            for place in runs[:-1]:
                self._tell(step.key, place)
        self._tell(step.key, step.place)

    def _tell(self, key: str, place: int) -> None:
        note = self.seen.note(KIND, key)
        self.seen.row_of(place, KIND)
        note.times += 1
        note.show(place, "parses and runs it")


def _what(note: Note) -> str:
    return f"{shown(note)}: parsed {note.times} times, once for each execution"


KIND: Final = Kind(
    name="re-parse",
    unit="parses",
    why="The server parses and plans the same text for every execution. That costs no round trip, but the server's time; a prepared statement is parsed once.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=(Remedy("prepare the statement once and keep it, if the pooler allows it"),),
)
