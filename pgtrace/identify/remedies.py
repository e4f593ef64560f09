"""Remedies for findings: sentences in terms of the settings of a driver or of a layer above it.

Remedies are in the module of their driver or layer, by kind of finding; judge/findings/ has the
general ones. `tried` names a program that tests/live/test_remedies.py runs on the real driver with
the finding, and again with the remedy. General remedies were tried with some `clients`. A remedy
that was not tried comes from the documentation, and is printed with that note.

A remedy has conditions. A finding collects facts, each a few words: about its subject, and about
the settings in use, as the wire shows them. A remedy is printed if all facts that it `needs` were
seen, and if no fact that rules it out (`unless`) was seen on every connection of the finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FROM_DOCUMENTATION: Final = "from its documentation, not tried"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A remedy for a finding, with its conditions."""

    text: str
    tried: str = ""
    """The program that proves it, in tests/live/remedied.py, in remedied_alike.py there if it is a
    general remedy; before a driver is known, a scenario of tests/live/test_tls_wanted.py."""
    clients: tuple[str, ...] = ()
    """The drivers and layers with which a general remedy was tried there; empty for that of a
    driver or layer."""
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


DEMO: Final = ("asyncpg", "psycopg", "psycopg2", "pg8000", "sqlalchemy")
"""The demo's drivers and layer, with which remedies are tried."""
DEMO_OR_UNKNOWN: Final = (*DEMO, "unknown")
"""For events before most drivers can be identified, whose findings may name no driver."""

Remedies = Mapping[str, tuple[Remedy, ...]]
"""Kind of finding -> its remedies."""
