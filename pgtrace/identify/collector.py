"""Collects the evidence that a connection shows of its driver: names, queries and flights, a few of
each.

drivers/ and layers/ evaluate the evidence. A collector stops when it has enough: if the first two
hundred round trips did not identify a driver, later ones hardly will. From then on a reading may
take repeated round trips in one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pgtrace.describe import notation
from pgtrace.identify.drivers import Evidence
from pgtrace.identify.drivers.evidence import LOOKED_AT
from pgtrace.protocol import fields
from pgtrace.session.effects import Effect
from pgtrace.session.events import Exchange
from pgtrace.session.statements import Portal, Statement

KEPT: Final = 24
"""How many statement names, queries and the like are kept."""
ENOUGH: Final = 200
"""After this many round trips, more would show nothing new."""
_COPY_FAIL: Final = ord("f")


def query_text(statements: Iterable[Statement]) -> str:
    """The text of the simple Query that had these statements, cut to the length that matters."""
    return "; ".join(statement.sql or "" for statement in statements)


class EvidenceCollector:
    """The evidence of one connection."""

    __slots__ = (
        "_copy_failures",
        "_first_codes",
        "_parameter_types",
        "_portal_names",
        "_queries",
        "_round_trips",
        "_sent",
        "_statement_names",
        "_weighed",
        "enough",
    )

    def __init__(self, *, enough: bool = False) -> None:
        self._first_codes: list[int] = []
        self._statement_names: dict[str, None] = {}
        self._portal_names: dict[str, None] = {}
        self._queries: dict[str, None] = {}
        self._parameter_types: dict[tuple[int, ...], None] = {}
        self._sent: Counter[str] = Counter()
        self._round_trips = 0
        self._copy_failures: dict[str, None] = {}
        self._weighed: tuple[int, ...] = ()
        self.enough = enough
        """Whether more round trips would show nothing new."""

    def parsed(self, statement: Statement) -> None:
        """Take a Parse."""
        if statement.name and len(self._statement_names) < KEPT:
            self._statement_names.setdefault(statement.name)
        if statement.sql is not None and len(self._queries) < KEPT:
            self._queries.setdefault(statement.sql)
        if len(self._parameter_types) < KEPT:
            self._parameter_types.setdefault(statement.sent_types)

    def bound(self, portal: Portal) -> None:
        """Take a Bind."""
        if portal.name and len(self._portal_names) < KEPT:
            self._portal_names.setdefault(portal.name)

    def set_up(self, effect: Effect) -> bool:
        """Take a complete round trip of the set-up. Returns whether it was of interest."""
        if len(self._first_codes) >= KEPT:
            return False
        self._first_codes += effect.sent
        return True

    def closed(self, exchange: Exchange) -> None:
        """Take any other complete round trip."""
        effect = exchange.effect
        simple = [statement for statement in exchange.statements if statement.simple]
        if simple and len(self._queries) < KEPT:
            self._queries.setdefault(query_text(simple))
        if exchange.error and _COPY_FAIL in effect.sent and len(self._copy_failures) < KEPT:
            self._copy_failures.setdefault(fields.error_fields(exchange.error).get("M", "")[:LOOKED_AT])
        if effect.sent:
            self._sent[notation.flight(effect.sent, b"")] += 1
        self._round_trips += 1
        self.enough = self._round_trips >= ENOUGH

    def has_more(self) -> bool:
        """Whether there is more evidence than at the last call."""
        weighed = (
            self._round_trips,
            len(self._statement_names),
            len(self._queries),
            len(self._first_codes),
            len(self._parameter_types),
            len(self._copy_failures),
        )
        more, self._weighed = weighed != self._weighed, weighed
        return more

    def evidence(
        self, startup_parameters: tuple[tuple[str, str], ...], application_name: str, scram_bytes: int, *, is_encrypted: bool
    ) -> Evidence:
        """All the evidence: the collected part, and that of the start-up."""
        return Evidence(
            startup_parameters=startup_parameters,
            first_codes=tuple(self._first_codes),
            statement_names=tuple(self._statement_names),
            portal_names=tuple(self._portal_names),
            queries=tuple(self._queries),
            sent=self._sent,
            parameter_types=tuple(self._parameter_types),
            application_name=application_name,
            scram_bytes=scram_bytes,
            is_encrypted=is_encrypted,
            copy_failures=tuple(self._copy_failures),
        )
