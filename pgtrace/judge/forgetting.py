"""Commands of a session that make its driver forget its prepared statements.

DISCARD ALL and DEALLOCATE ALL drop the statements in the server. psycopg also forgets its execution
counts and its statements at a ROLLBACK, and at any DROP or ALTER. A ROLLBACK after an error is
necessary, so there is no advice about it. A command that ran once does not explain what happens
again and again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace.trace.row import Shape

ROLLED_BACK: Final = "rolled back"
DROPPED: Final = "all are dropped"
DEFINED: Final = "after DROP or ALTER"
FAILED: Final = "rolled back after an error"
TIMES: Final = 2
_FORGETS: Final = frozenset({"psycopg"})
_DROPS: Final = frozenset({"DISCARD ALL", "DEALLOCATE ALL"})
_DEFINES: Final = ("DROP ", "ALTER ")
_USUAL: Final = frozenset({(), ("SELECT",), ("INSERT",), ("UPDATE",), ("DELETE",), ("BEGIN",), ("COMMIT",)})
"""Tags of commands that make no driver forget anything. They are looked up first, because most
round trips have them.
"""


def cause(shape: Shape) -> str:
    """Why a driver may forget statements after a round trip with that shape; empty if not."""
    if shape.tags in _USUAL:
        return ""
    if not _DROPS.isdisjoint(shape.tags):
        return DROPPED
    if shape.block_end == "ROLLBACK":
        return FAILED if shape.status_before == "E" else ROLLED_BACK
    for tag in shape.tags:
        if tag.startswith(_DEFINES):
            return DEFINED
    return ""


class Forgotten:
    """Counts the causes on one connection."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def take(self, shape: Shape) -> None:
        """Count the next round trip."""
        found = cause(shape)
        if found:
            self._seen[found] += 1

    def why(self, driver: str, *, prepares: bool) -> str:
        """The most frequent cause with that driver; empty if there is none. A driver that prepares
        nothing cannot lose statements.
        """
        forgets = driver in _FORGETS
        known = {found: times for found, times in self._seen.items() if forgets or (found == DROPPED and prepares)}
        most = max(known, key=lambda found: known[found], default="")
        return most if self._seen[most] >= TIMES else ""
