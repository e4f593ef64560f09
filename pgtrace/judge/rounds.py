"""Recognises rounds of a loop that are as long as an answer has rows: a query, then another for
each of its rows, outside a transaction block.

Such rounds are uneven, and units of work that come one after the other look similar. The number of
rows tells them apart: if one statement follows another exactly as often as that one had rows,
PROVEN times with several rows and never otherwise, it runs for each row.
"""

from __future__ import annotations

from typing import Final

PROVEN: Final = 3
_PAIRS_KEPT: Final = 64
_NEVER: Final = -1


class Rounds:
    """The latest run of one statement, the statement before it, and the facts about such pairs."""

    __slots__ = ("_before", "_key", "_number", "_pairs", "_place", "_place_before", "_rows", "_rows_before", "_since", "found")

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], int] = {}
        """(statement, next statement) -> how often the second ran once for each of several rows of
        the first, or _NEVER.
        """
        self._since: dict[tuple[str, str], int] = {}
        """(statement, next statement) -> where the first of these rounds began."""
        self.clear()

    def clear(self) -> None:
        """Forget everything, because the next rows do not directly follow the earlier ones."""
        self._pairs.clear()
        self._since.clear()
        self._before = self._key = ""
        self._rows_before = self._rows = self._number = self._place = self._place_before = 0
        self.found: tuple[str, str] | None = None
        """The latest pair that is proven and still fits."""

    @property
    def since(self) -> int:
        """The place at which the rounds of that pair began; 0 without one."""
        return self._since.get(self.found, 0) if self.found is not None else 0

    def take(self, key: str, rows: int, place: int, number: int = 1) -> bool:
        """Add the next executions; the last is at that place and had that many rows. Returns
        whether they end a run that, like earlier ones, ran once for each row of the statement
        before it.
        """
        if key == self._key:
            self._number += number
            self._rows, self._place = rows, place
            return False
        is_proven = False
        if self._rows_before:
            pair = (self._before, self._key)
            is_proven = self._pairs.get(pair) != _NEVER and self._close(pair)
        self._before, self._rows_before, self._place_before = self._key, self._rows, self._place
        self._key, self._rows, self._place, self._number = key, rows, place, number
        return is_proven

    def _close(self, pair: tuple[str, str]) -> bool:
        """Note the end of a run. Returns whether the pair is proven."""
        fits = self._pairs.get(pair, 0)
        if not fits and len(self._pairs) >= _PAIRS_KEPT:
            return False
        if self._number != self._rows_before:
            fits = _NEVER
        elif fits != _NEVER:
            self._since.setdefault(pair, self._place_before)
            fits += self._number > 1
        self._pairs[pair] = fits
        if fits >= PROVEN:
            self.found = pair
        elif pair == self.found:
            self.found = None
        return fits >= PROVEN
