"""The registration of a driver, or of a layer above one: its name, its evidence, and its remedies
for findings.

Each module of drivers/ or layers/ ends with a Client, which `__init__` lists.
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
    """Returns the sentences of evidence for it; empty if there is none."""
    remedies: Remedies = field(default_factory=dict)
    introspection: re.Pattern[str] | None = None
    """Matches the SQL with which it looks up types for itself."""
    opening: re.Pattern[str] | None = None
    """Matches the SQL that it sends on a new connection to learn about the server."""
    drawn_names: DrawnNames | None = None
    """The form of its names of statements and portals, if they differ from run to run."""
