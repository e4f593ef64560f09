"""pooler-26000 and pooler-42P05: a prepared statement is missing, or already there, because the
server connection is not the one that the driver expects.

A pooler in transaction mode may give each transaction another server connection. 26000: the
statement does not exist. That is the pooler's doing if this very session got its ParseComplete, and
has not dropped it since by Close, DEALLOCATE or DISCARD ALL. 42P05: it exists already. That is the
pooler's doing if the session never prepared it. If the session did it to itself, the sentence says
that instead. Names come from rows whose Parse was answered without an error. A row does not show
which statement a Close drops, so a session that closed any statement gets the benefit of the doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch

_NAMES_KEPT: Final = 5_000
_NAME: Final = re.compile(r'prepared statement "([^"]{0,200})" ')
_DROPS: Final = ("DEALLOCATE", "DISCARD")
_LOST, _TAKEN = "26000", "42P05"


class _Names:
    """What the session knows about its names."""

    def __init__(self) -> None:
        self.prepared: dict[str, Step] = {}
        self.used: dict[str, Step] = {}
        self.dropped: Step | None = None

    def learn(self, step: Step) -> None:
        name = step.shape.statement
        if step.sends("C") or (step.sends("Q") and step.label.sql.lstrip()[:10].upper().startswith(_DROPS)):
            self.dropped = step
        if not name or step.shape.errors:
            return
        if len(self.prepared) >= _NAMES_KEPT:
            self.prepared.clear()
            self.used.clear()
        if step.sends("P"):
            self.prepared[name] = step
        elif name in self.prepared:
            self.used[name] = step


class _Watch(Watch):
    def __init__(self, seen: Seen, kind: Callable[[], Kind]) -> None:
        super().__init__(seen)
        self._kind = kind
        self._names = _Names()

    def row(self, step: Step) -> None:
        if step.shape.errors and step.sqlstate == self._kind().name[-5:] and step.counts:
            self._failed(step)
        self._names.learn(step)

    def lost(self) -> None:
        self._names = _Names()

    def _failed(self, step: Step) -> None:
        kind, names = self._kind(), self._names
        found = _NAME.search(step.label.error)
        name = found[1] if found else step.shape.statement
        prepared = names.prepared.get(name)
        dropped = names.dropped is not None and (prepared is None or names.dropped.place > prepared.place)
        mine = (dropped or prepared is None) if step.sqlstate == _LOST else (prepared is not None and not dropped)
        mine = mine and bool(name)  # the unnamed statement exists after every Parse
        note = self.seen.note(kind, "" if not mine else "its own")
        note.times += 1
        note.words = note.words or step.label.error[6:]
        if note.times == 1:
            for shown, words in (
                (prepared, f"Parse of {name} accepted"),
                (names.used.get(name), "run, fine"),
                (names.dropped if dropped else None, "drops statements"),
            ):
                if shown is not None:
                    note.show(shown.place, words)
        between = "" if step.shape.status_before != "I" else " after ReadyForQuery(I): between transactions a pooler may switch"
        note.show(step.place, "fails" if mine else f"fails{between}")
        self.seen.row_of(step.place, kind)


def _lost(note: Note) -> str:
    why = "this session dropped it, or never prepared it" if note.subject else "its Parse was accepted: a pooler moved the session"
    return f"{note.words}: {why}"


def _taken(note: Note) -> str:
    why = "the session prepared it itself before" if note.subject else "not by this session: a pooler gave it another's server connection"
    return f"{note.words}: {why}"


_REMEDIES: Final = (Remedy("PgBouncer 1.21 or later with max_prepared_statements > 0; or prepare nothing"),)
LOST: Final[Kind] = Kind(
    name="pooler-26000",
    unit=FAILED,
    why="The statement exists in one server connection, and the pooler has given the session another one.",
    watch=lambda seen: _Watch(seen, lambda: LOST),
    what=_lost,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=_REMEDIES,
)
TAKEN: Final[Kind] = Kind(
    name="pooler-42P05",
    unit=FAILED,
    why="Another session has left a statement with this name in the server connection that the pooler gave to this one.",
    watch=lambda seen: _Watch(seen, lambda: TAKEN),
    what=_taken,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=_REMEDIES,
)
