"""comment-cache: a comment in the SQL differs each time, so the driver's statement cache never
finds the text.

Such comments hold trace contexts (traceparent), request ids and the like. Recognised by TIMES
Parses on one connection of texts that differ only in their comments. The cost is every round trip
after the first that only prepares or drops. If Parse is sent with Bind, no round trip is lost, but
the statement is parsed and planned each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, shown
from pgtrace.trace.row import Shape

TIMES: Final = 5
_TEXTS_KEPT: Final = 1_000
_MARKS: Final = ("/*", "--")


@dataclass(slots=True)
class _Text:
    """One text without its comments."""

    label: int
    times: int = 0
    spent: list[Step] = field(default_factory=list)


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._texts: dict[str, _Text] = {}
        self._latest: _Text | None = None

    def row(self, step: Step) -> None:
        if step.only_closes:
            if self._latest is not None and self._latest.times >= TIMES and step.counts:
                note = self.seen.note(KIND, self._latest.spent[0].key if self._latest.spent else "")
                note.cost += bool(note.times)
                self.seen.row_of(step.place, KIND)
            return
        if not step.sends("P") or not step.key or step.shape.errors or not any(mark in step.label.sql for mark in _MARKS):
            return
        bare = sqltext.without_comments(step.label.sql)
        text = self._texts.get(bare)
        if text is None:
            if len(self._texts) >= _TEXTS_KEPT:
                self._texts.clear()
            self._texts[bare] = _Text(step.text, 1, [step])
            return
        if step.text == text.label:
            return
        text.label = step.text
        text.times += 1
        self._latest = text
        if text.times < TIMES:
            text.spent.append(step)
            return
        if text.times == TIMES:
            for one in text.spent:
                self._report(one, first=one is text.spent[0])
            del text.spent[1:]
        self._report(step)

    def lost(self) -> None:
        self._texts.clear()
        self._latest = None

    def _report(self, step: Step, *, first: bool = False) -> None:
        if not step.counts:
            return
        note = self.seen.note(KIND, step.key)
        note.times += 1
        note.cost += step.only_prepares and not first
        for kind in ("re-parse", "prepared-once", "prepared-leak"):
            note.absorb(kind, step.key)
        note.show(step.place, "parsed: the comment differs")
        self.seen.row_of(step.place, KIND)


def _cares(shape: Shape) -> bool:
    return b"P" in shape.sent or (not shape.depth and b"C" in shape.sent)


def _what(note: Note) -> str:
    return f"{shown(note)}: parsed {note.times} times, each with a different comment: the statement cache never finds it"


KIND: Final = Kind(
    name="comment-cache",
    unit=ROUND_TRIPS,
    why="Drivers cache a statement by its whole text. A different comment makes it a new one, "
    "which is parsed and planned each time and pushes others out of the cache.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.cost or note.times,
    cares=_cares,
    remedies=(
        Remedy(
            "keep values that differ each time (traceparent, request id) out of the comment; "
            "values that stay the same (route, controller, action) do no harm",
            tried="comment-kept-alike",
            clients=("asyncpg", "psycopg", "sqlalchemy"),
        ),
    ),
)
