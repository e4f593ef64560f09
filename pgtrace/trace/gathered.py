"""The groups of several tables together, for a view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pgtrace.session.events import Exchange, Passage
from pgtrace.trace.groups import OTHER, StatementGroup
from pgtrace.trace.statements import GroupBudget, StatementTable

SLICE: Final = 64
"""The number of groups between two breaks when work is done in slices."""


class Gathered(StatementTable):
    """The groups of several tables, for a view. If only one table has a group, its own object is
    used, which goes on counting. Views read groups and never change them."""

    def __init__(self, room: GroupBudget | None = None) -> None:
        super().__init__(room)
        self._copied: set[str] = set()
        """The keys of the groups that are copies."""

    def add(self, table: StatementTable) -> Iterator[None]:
        """Add a table. Yields after each slice."""
        groups = table.groups
        for number, key in enumerate(list(groups)):
            if (group := groups.get(key)) is not None:  # not summed up in the meantime
                self._take(key, group)
            if not number % SLICE:
                yield
        if self.room.is_full:
            self.room.trim()

    def add_open(self, exchange: Exchange, passage: Passage) -> None:
        """Add an open round trip as it is now."""
        table = StatementTable()
        table.happened(exchange, passage)
        for key, group in table.groups.items():
            self._take(key, group)

    def _take(self, key: str, group: StatementGroup) -> None:
        if key in self._groups:
            self._own(key)
        super()._take(key, group)

    def _own(self, key: str) -> None:
        """Copy a group before it is changed."""
        if key not in self._copied:
            self._copied.add(key)
            self._groups[key] = self._groups[key].copied()

    def trim(self, keys: Iterable[str]) -> None:
        if OTHER in self._groups:
            self._own(OTHER)
        self._copied.add(OTHER)
        super().trim(keys)
