"""How a driver, or a layer above one, is registered: its name, its evidence, and its remedies for
findings.

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
    """The sentences of evidence for it; empty if there is none."""
    remedies: Remedies = field(default_factory=dict)
    introspection: re.Pattern[str] | None = None
    """What the texts have in them by which it looks types up for itself."""
    opening: re.Pattern[str] | None = None
    """What the texts have in them by which it asks a new connection what it is."""
    drawn_names: DrawnNames | None = None
    """The form of its names of statements and portals, if they differ from run to run."""
