"""A finding as views see it: its kind, driver and layer, its note, and its remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgtrace.callsites.notes import Site
from pgtrace.identify import drivers, layers
from pgtrace.identify.remedies import FROM_DOCUMENTATION, Remedy
from pgtrace.judge.findings.kind import FAILED, Evidence, Kind, Note


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that costs round trips, has failed or will fail, with one driver."""

    kind: Kind
    driver: str
    layer: str
    note: Note
    lines: tuple[tuple[Site, int], ...] = ()
    """Lines of code of its rows, each with their number (judge/lines.py)."""

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def cost(self) -> int:
        """Round trips that could be avoided."""
        return self.note.cost

    @property
    def failed(self) -> bool:
        """Whether something has failed already."""
        return self.kind.unit is FAILED

    @property
    def number(self) -> float:
        """The number of the finding, in kind.unit."""
        return self.kind.number(self.note)

    @property
    def what(self) -> str:
        return self.kind.what(self.note)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(self.note.evidence)

    @property
    def remedies(self) -> tuple[str, ...]:
        """The remedies that apply: the layer's, because it owns the settings; else the driver's;
        else the general ones.
        """
        clients = [client for client in (layers.BY_NAME.get(self.layer), drivers.BY_NAME.get(self.driver)) if client is not None]
        found = self._first(
            self.kind.first if self.kind.is_first(self.note) else (),
            *(client.remedies.get(self.name, ()) for client in clients),
            self.kind.remedies,
        )
        for name, otherwise in self.kind.also.items():
            if name in self.note.parts:
                also = self._first(*(client.remedies.get(name, ()) for client in clients), otherwise)
                found += [one for one in also if not any(other.text.startswith(one.text) for other in found)]
        return tuple(one.text if self._is_tried(one) else f"{one.text} ({FROM_DOCUMENTATION})" for one in found)

    def _first(self, *groups: Sequence[Remedy]) -> list[Remedy]:
        """The remedies that apply, from the first group that has any."""
        return next((found for remedies in groups if (found := [one for one in remedies if self._holds(one)])), [])

    def _is_tried(self, remedy: Remedy) -> bool:
        return (self.layer or self.driver) in remedy.clients if remedy.clients else bool(remedy.tried)

    def _holds(self, remedy: Remedy) -> bool:
        """Whether the remedy applies: every fact that it needs was seen, and no fact that rules it
        out was seen on all connections.
        """
        facts = self.note.facts
        return all(facts[fact] or fact == self.driver for fact in remedy.needs) and not any(
            facts[fact] >= self.note.on or fact == self.driver for fact in remedy.unless
        )
