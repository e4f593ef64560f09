"""The meanings of a connection's names, at every row: a log of changes.

The details of a row are decoded long after it passed. A Bind uses `_pg3_0`; the types of its values
come from a much earlier Parse, and the name may have a new meaning since. The trace decides how
much is logged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from pgtrace.session.statements import Portal, Statement


class Dropped(NamedTuple):
    """The session dropped the statement: from here on the name is not valid."""

    how: str
    """`Close`, or the tag of the command."""


Meaning = Statement | Portal | Dropped


class NameLog:
    """The names of one connection: those of statements (`S`) and of portals (`P`)."""

    __slots__ = ("_portals", "_statements", "weight")

    def __init__(self) -> None:
        self.weight = 0
        """Its weight in the trace's budget, in units of a short statement."""
        self._statements: dict[str, list[Any]] = {}
        self._portals: dict[str, list[Any]] = {}
        """For each name a list in which places and meanings alternate: most names have one
        meaning."""

    def _of(self, kind: str) -> dict[str, list[Any]]:
        return self._statements if kind == "S" else self._portals

    def __contains__(self, named: tuple[str, str]) -> bool:
        return named[1] in self._of(named[0])

    def __bool__(self) -> bool:
        return bool(self._statements or self._portals)

    def note(self, kind: str, name: str, place: int, what: Meaning) -> None:
        """From the row at this place on, the name has this meaning."""
        known = self._of(kind).get(name)
        if known is None:
            self._of(kind)[name] = [place, what]
        else:
            known += (place, what)

    def _before(self, kind: str, name: str, end: int) -> Iterator[tuple[int, Meaning]]:
        """The place and meaning of the entries at places below `end`, latest first."""
        known = self._of(kind).get(name, [])
        for number in range(bisect_left(range(len(known) // 2), end, key=lambda entry: known[2 * entry]) - 1, -1, -1):
            yield known[2 * number], known[2 * number + 1]

    def at(self, kind: str, name: str, place: int) -> Statement | Portal | None:
        """What the name meant when the row at this place began; for a dropped name, its meaning
        before that."""
        return next((meaning for _, meaning in self._before(kind, name, place + 1) if not isinstance(meaning, Dropped)), None)

    def fate(self, name: str, place: int) -> tuple[int, Statement | Dropped] | None:
        """The last entry about a statement's name before the row at this place, and its row."""
        at, meaning = next(self._before("S", name, place), (0, None))
        return None if meaning is None or isinstance(meaning, Portal) else (at, meaning)

    def places(self, name: str, place: int) -> list[int]:
        """The places up to `place` at which the name got a statement, latest first."""
        return [at for at, meaning in self._before("S", name, place + 1) if not isinstance(meaning, Dropped)]

    def forget_notes(self) -> None:
        """Drop what the statements remember of their groups."""
        for known in (*self._statements.values(), *self._portals.values()):
            for meaning in known[1::2]:
                if not isinstance(meaning, Dropped):
                    (meaning.statement if isinstance(meaning, Portal) else meaning).note = None
