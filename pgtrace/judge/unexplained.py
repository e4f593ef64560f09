"""Errors and ends that no finding explains: every failure has a finding or is listed here.

Errors are ErrorResponses, counted by SQLSTATE. Ends are ends of sessions without the driver's
Terminate, counted by their description. A failure is explained once, by the first finding about it.
If that finding is not reported after all, the failure is unexplained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgtrace.judge.findings.kind import Note, Step

KEPT: Final = 500
"""The most SQLSTATEs, and the most kinds of ends, that are counted separately."""
OTHERS: Final = "others"
UNKNOWN: Final = "without SQLSTATE"


class Unexplained:
    """The numbers of unexplained errors and ends."""

    def __init__(self, errors: Mapping[str, int] | None = None, ends: Mapping[str, int] | None = None) -> None:
        self._errors: Counter[str] = Counter(errors)
        self._ends: Counter[str] = Counter(ends)

    def __bool__(self) -> bool:
        return bool(self._errors or self._ends)

    @property
    def errors(self) -> dict[str, int]:
        """SQLSTATE -> number of ErrorResponses, most frequent first."""
        return _sorted(self._errors)

    @property
    def ends(self) -> dict[str, int]:
        """Description of an end -> number of such ends, most frequent first."""
        return _sorted(self._ends)

    def failed(self, step: Step) -> None:
        """Count the errors of a row."""
        for sqlstate in step.errors:
            _count(self._errors, sqlstate)

    def ended(self, how: str, note: Note | None) -> None:
        """Count an end as unexplained, unless `note` explains it."""
        _count(self._ends, how)
        if note is not None:
            note.ends[how] += 1

    def without(self, notes: Iterable[Note]) -> Unexplained:
        """The failures that these notes do not explain."""
        errors, ends = self._errors.copy(), self._ends.copy()
        for note in notes:
            errors.subtract(note.errors)
            ends.subtract(note.ends)
        return Unexplained(+errors, +ends)


NOTHING: Final = Unexplained()


def _count(counter: Counter[str], what: str) -> None:
    counter[what if what in counter or len(counter) < KEPT else OTHERS] += 1


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(((what or UNKNOWN, number) for what, number in counter.items()), key=lambda one: (-one[1], one[0])))
