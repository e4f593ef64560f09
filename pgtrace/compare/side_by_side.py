"""Variants with their differences: the turns of each (variants.py), and the wire behaviour of one
turn of each, compared with that of the first variant (diff.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.changes import Change
from pgtrace.compare.diff import compare
from pgtrace.compare.totals import Facts, Side
from pgtrace.compare.variants import Variant

STATEMENTS_KEPT: Final = 1_000


class Statement(NamedTuple):
    """One statement in each variant that has it."""

    sql: str
    facts: Mapping[str, Facts]
    """Label -> the figures of the statement."""

    @property
    def weight(self) -> int:
        """The largest number of round trips in any variant."""
        return max((one.round_trips for one in self.facts.values()), default=0)


@dataclass(slots=True)
class SideBySide:
    """The result of a comparison of variants."""

    variants: list[Variant]
    unit: str | int
    """The name of a mark, or the number of units in each capture."""
    changes: dict[str, list[Change]] = field(default_factory=dict)
    """Label -> the changes against the variant `first`, most costly first."""
    first: str = ""
    """The label of the first variant with a turn that did not fail."""
    marks: list[str] = field(default_factory=list)
    """The marks that all captures share; empty if one of them is the unit."""
    statements: list[Statement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Limits of this comparison, in sentences."""
    are_kept: bool = True
    """Whether the captures are still there, so that commands can name them."""
    concurrency: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether every turn is complete, and no program failed."""
        return not any(variant.failures or not all(turn.complete for turn in variant.turns) for variant in self.variants)


def differences(found: SideBySide, behaviours: Mapping[str, Behaviour]) -> None:
    """Add the differences between the variants. `behaviours` has one turn of each label."""
    labels = [variant.label for variant in found.variants if variant.label in behaviours]
    sides: dict[str, Side] = {}
    found.first = labels[0] if labels else ""
    for label in labels:
        compared = compare(behaviours[labels[0]], behaviours[label])
        sides.setdefault(labels[0], compared.first)
        sides[label] = compared.second
        if label != labels[0]:
            found.changes[label] = compared.changes
    found.statements = _statements(sides)


def _statements(sides: Mapping[str, Side]) -> list[Statement]:
    keys: Iterable[str] = dict.fromkeys(key for side in sides.values() for key in side.facts)
    found = [
        Statement(
            next(side.text(key) for side in sides.values() if key in side.facts),
            {label: side.facts[key] for label, side in sides.items() if key in side.facts},
        )
        for key in keys
    ]
    return sorted(found, key=lambda one: -one.weight)[:STATEMENTS_KEPT]
