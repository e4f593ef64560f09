"""What a driver, or a layer above it, can do about a finding: a sentence in the words of its own
settings.

Remedies stand with their driver or layer, by the name of the kind of finding; judge/findings/ has
the general ones. `tried` names the test that runs a program with the finding and the remedied one
on the real driver (tests/live/test_remedies.py). Without one a remedy is what the documentation
says, and is printed so.

A remedy has conditions. A finding collects facts while it is noted, a few words each: what it is
about, and which settings the wire shows to be in force. A remedy is printed where all facts that it
`needs` were seen, and none that it does not hold for (`unless`) was seen on every connection of the
finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FROM_DOCUMENTATION: Final = "from its documentation, not tried"


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way out."""

    text: str
    tried: str = ""
    """The scenario of tests/live/test_remedies.py that proves it."""
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


Remedies = Mapping[str, tuple[Remedy, ...]]
"""By the kind of finding."""
