"""pool-check: round trips in which a pool checks whether a connection lives, or resets it, around
every use of it.

Recognised by their contents: a Sync alone; a Query that EmptyQueryResponse answers; a block that
holds only an empty statement (SQLAlchemy's pool_pre_ping with asyncpg); or, outside a block, one of
the few texts that drivers send to check or to reset (asyncpg's reset, DISCARD ALL, SELECT 1).
Reported from TIMES of them on one connection, if there is one for every MOST_WORK round trips that
do work: a check now and then does not matter.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch

TIMES: Final = 3
MOST_WORK: Final = 3
"""Round trips that do work, for each that checks."""
_CHECKS_KEPT: Final = 1_000
_IN_BLOCK: Final = "an empty statement in its own transaction"
_RESETS: Final = ("SELECT pg_advisory_unlock_all()", "DISCARD ALL", "RESET ALL", "UNLISTEN *")
_CHECKS: Final = frozenset({"SELECT $1", "SELECT $1;"})


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._work = 0
        self._checks: dict[str, list[tuple[int, bool]]] = {}
        self._uses: Counter[str] = Counter()
        self._told: dict[str, Note] = {}
        self._block: list[Step] = []
        """The transaction so far, if it may be a check."""

    def row(self, step: Step) -> None:
        words = self._words(step)
        if words:
            self._check(words, step)
        elif not self._is_in_check(step):
            self._work += 1 + len(self._block)
            self._block = []
        elif step.shape.status == "I":
            self._check(_IN_BLOCK, *self._block, step)
            self._block = []
        else:
            self._block.append(step)

    def lost(self) -> None:
        self._block = []

    def _is_in_check(self, step: Step) -> bool:
        """Whether it may be a part of BEGIN, an empty statement, and the end of the block."""
        shape, block = step.shape, self._block
        if shape.errors or shape.depth > 1 or (shape.depth == 0 and not step.only_prepares):
            return False
        if not block:
            return shape.status_before == "I" and shape.status == "T" and not step.rows and shape.depth == 1
        if step.is_empty or step.only_prepares:
            return shape.status == "T" and not any(one.is_empty for one in block)
        return shape.status == "I" and block[-1].is_empty

    def _check(self, words: str, *steps: Step) -> None:
        self._uses[words] += 1
        checks = self._checks.setdefault(words, [])
        checks += [(step.place, step.counts) for step in steps]
        if words not in self._told and (self._uses[words] < TIMES or self._work > MOST_WORK * len(checks)):
            del checks[:-_CHECKS_KEPT]
            return
        note = self._told.setdefault(words, self.seen.note(KIND, words))
        for place, counts in checks:
            if counts:
                self.seen.row_of(place, KIND)
                note.cost += 1
                note.times += 1
                note.show(place, words)
        checks.clear()

    def _words(self, step: Step) -> str:
        if step.shape.status != "I" or step.shape.status_before != "I" or step.shape.errors:
            return ""
        if step.shape.sent == b"S":
            return "a Sync alone"
        if step.shape.sent != b"Q":
            return ""
        if step.shape.received == b"IZ":
            return "an empty Query"
        if step.label.sql.lstrip().startswith(_RESETS):
            return "the session is reset"
        return "SELECT 1" if step.key in _CHECKS and step.rows == 1 else ""


def _what(note: Note) -> str:
    return f"{note.subject}: {note.times} round trips between those that do work"


KIND: Final = Kind(
    name="pool-check",
    unit=ROUND_TRIPS,
    why="The pool checks or resets the connection each time it is taken or returned: hold a connection for a unit of work, not for a statement.",
    watch=_Watch,
    what=_what,
    remedies=(Remedy("hold one connection for a unit of work; let the pool check only connections that were idle"),),
)
