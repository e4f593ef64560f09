"""How a driver, or a layer above one, is registered: its name, what speaks for it, and what it can do about findings.

A module of drivers/ or layers/ ends with one of these, and `__init__` lists it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pgtrace.identify.drivers.evidence import Evidence
from pgtrace.identify.drivers.names import DrawnNames
from pgtrace.identify.remedies import Remedies


@dataclass(frozen=True, slots=True)
class Client:
    """A driver or a layer."""

    name: str
    evidence: Callable[[Evidence], tuple[str, ...]]
    """The sentences that speak for it; none where nothing does."""
    remedies: Remedies = field(default_factory=dict)
    introspection: re.Pattern[str] | None = None
    """What the texts have in them by which it looks types up for itself."""
    drawn_names: DrawnNames | None = None
    """What its names of statements and portals look like, if they differ from run to run."""
