"""A budget: for some counters the most they may be, or what they must be.

Any counter of docs/counting.md that is a number can have one. A budget that makes no sense is a UsageError when it is made, not when it is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgtrace.analysis.counters import INTEGER_KEYS, Counters
from pgtrace.errors import UsageError
from pgtrace.testing.counted import did_you_mean


@dataclass(frozen=True, slots=True)
class Excess:
    """A counter that is not within its budget."""

    key: str
    actual: int
    limit: int
    exact: bool

    def __str__(self) -> str:
        return f"{self.key} is {self.actual}, {'budgeted exactly' if self.exact else 'at most'} {self.limit}"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits by counter."""

    limits: Mapping[str, int]
    exact: bool = False

    @classmethod
    def of(cls, limits: Mapping[str, Any], exact: Any = False) -> Budget:
        """What was written in Python. Raises UsageError."""
        for key, limit in limits.items():
            if key not in INTEGER_KEYS:
                raise UsageError(f"{key!r} is no counter{did_you_mean(key)}")
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
                raise UsageError(f"{key}={limit!r}: a budget is a number")
        if not isinstance(exact, bool):
            raise UsageError(f"exact={exact!r}: True or False")
        return cls(dict(limits), exact)

    def check(self, counters: Counters) -> list[Excess]:
        """The counters that are not within it."""
        found = []
        for key, limit in self.limits.items():
            actual = getattr(counters, key)
            if actual > limit or (self.exact and actual != limit):
                found.append(Excess(key, actual, limit, self.exact))
        return found
