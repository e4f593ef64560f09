"""The meanings of a connection's names, at every row: a log of changes.

The details of a row are decoded long after it passed. A Bind uses `_pg3_0`; the types of its values
come from a much earlier Parse, and the name may have a new meaning since. The trace decides how
much is logged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from pgtrace.session.statements import Portal, Statement


class Dropped(NamedTuple):
    """From here on the name is not valid: the session dropped the statement."""

    how: str
    """`Close`, or the tag of the command."""


class NameLog:
    """The names of one connection: of statements (`S`) and of portals (`P`)."""

    __slots__ = ("_log", "weight")

    def __init__(self) -> None:
        self.weight = 0
        """Its weight in the trace's budget, in units of a short statement."""
        self._log: dict[tuple[str, str], tuple[list[int], list[Statement | Portal | Dropped]]] = {}

    def __contains__(self, named: tuple[str, str]) -> bool:
        return named in self._log

    def __bool__(self) -> bool:
        return bool(self._log)

    def note(self, kind: str, name: str, place: int, what: Statement | Portal | Dropped) -> None:
        """From the row at that place on, the name has that meaning."""
        places, meanings = self._log.setdefault((kind, name), ([], []))
        places.append(place)
        meanings.append(what)

    def at(self, kind: str, name: str, place: int) -> Statement | Portal | None:
        """What the name meant when the row at that place began; for a dropped one, its meaning
        before that."""
        places, meanings = self._log.get((kind, name), ([], []))
        for number in range(bisect_right(places, place) - 1, -1, -1):
            if not isinstance(meaning := meanings[number], Dropped):
                return meaning
        return None

    def fate(self, name: str, place: int) -> tuple[int, Statement | Dropped] | None:
        """The last entry about a statement's name before the row at that place, and its row."""
        places, meanings = self._log.get(("S", name), ([], []))
        found = bisect_left(places, place) - 1
        if found < 0:
            return None
        meaning = meanings[found]
        return None if isinstance(meaning, Portal) else (places[found], meaning)

    def places(self, name: str, place: int) -> list[int]:
        """Places up to `place` at which the name got a statement, latest first."""
        places, meanings = self._log.get(("S", name), ([], []))
        return [at for at, one in zip(places[: bisect_right(places, place)], meanings, strict=False) if not isinstance(one, Dropped)][::-1]

    def let_go(self) -> None:
        """Drop the statements' references to their groups."""
        for _, meanings in self._log.values():
            for meaning in meanings:
                if not isinstance(meaning, Dropped):
                    (meaning.statement if isinstance(meaning, Portal) else meaning).note = None
