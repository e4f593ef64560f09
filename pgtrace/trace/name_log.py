"""What the names of a connection meant, at every row: a log of changes.

The details of a row are decoded long after it passed. A Bind says `_pg3_0`; the types of its values are those of a Parse far before, and the name may have come
to mean something else since. How much is logged in all is the trace's decision.
"""

from __future__ import annotations

from bisect import bisect_right

from pgtrace.session.events import Portal, Statement


class Meanings:
    """The names of one connection: of statements (`S`) and of portals (`P`)."""

    __slots__ = ("_log", "weight")

    def __init__(self) -> None:
        self.weight = 0
        """What it takes of the trace's, in units of a short statement."""
        self._log: dict[tuple[str, str], tuple[list[int], list[Statement | Portal]]] = {}

    def __contains__(self, named: tuple[str, str]) -> bool:
        return named in self._log

    def __bool__(self) -> bool:
        return bool(self._log)

    def note(self, kind: str, name: str, place: int, what: Statement | Portal) -> None:
        """From the row at that place on the name means that."""
        places, meanings = self._log.setdefault((kind, name), ([], []))
        places.append(place)
        meanings.append(what)

    def at(self, kind: str, name: str, place: int) -> Statement | Portal | None:
        """What the name meant when the row at that place began."""
        places, meanings = self._log.get((kind, name), ([], []))
        found = bisect_right(places, place)
        return meanings[found - 1] if found else None

    def places(self, name: str, place: int) -> list[int]:
        """Places up to that one at which the name came to mean a statement, the latest first."""
        places, _ = self._log.get(("S", name), ([], []))
        return places[: bisect_right(places, place)][::-1]

    def let_go(self) -> None:
        """Nobody counts these statements any more."""
        for _, meanings in self._log.values():
            for meaning in meanings:
                (meaning.statement if isinstance(meaning, Portal) else meaning).note = None
