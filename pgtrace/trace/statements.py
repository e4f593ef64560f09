"""Tables of the statements that were run, with their cost.

Each connection keeps its own table, because its driver may become known only later; tables of
closed connections are merged per driver. All tables of a trace share a budget. Beyond GROUPS_KEPT
groups or TEXT_BYTES_KEPT of text, the groups with the fewest round trips are summed into one group
of their table.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from itertools import count
from sys import getsizeof
from typing import Final
from weakref import WeakSet

from pgtrace import sqltext
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import Statement
from pgtrace.trace.groups import LONGEST_SQL, NO_TEXTS, OTHER, StatementGroup, key_of, may_have_comments, text_of
from pgtrace.trace.histogram import Histogram

GROUPS_KEPT: Final = 100_000
TEXT_BYTES_KEPT: Final = 32 * 1024 * 1024
_TRIMMED_AT: Final = 1.1
"""A room that exceeds its bound by this factor is trimmed down to the bound."""
_AGAIN: Final = 256
"""The most repeated exchanges before they are summed."""
_TEXTS_REMEMBERED: Final = 10_000
ALL_VARIANTS_KEPT: Final = 100_000
"""The most texts with comments that all groups of a room distinguish."""


class GroupBudget:
    """The memory that several tables share."""

    def __init__(self) -> None:
        self.tables: WeakSet[StatementTable] = WeakSet()
        self.groups = 0
        self.text_bytes = 0
        self.variants = 0
        """The number of texts with comments that its groups remember."""

    @property
    def is_full(self) -> bool:
        """Whether it is time to trim."""
        return self.groups >= _TRIMMED_AT * GROUPS_KEPT or self.text_bytes >= _TRIMMED_AT * TEXT_BYTES_KEPT

    def trim(self) -> None:
        """Keep the groups with the most round trips, as many as fit, and in each table the sum of
        all others."""
        tables = list(self.tables)
        if self.groups <= GROUPS_KEPT and self.text_bytes <= TEXT_BYTES_KEPT:
            return
        number = count()
        found = (
            (-group.round_trips, next(number), place, key)
            for place, table in enumerate(tables)
            for key, group in table.groups.items()
            if key != OTHER
        )
        if self.text_bytes <= TEXT_BYTES_KEPT:
            least = nlargest(self.groups - GROUPS_KEPT, found)  # a list of all would take megabytes
        else:
            ordered = sorted(found)
            room, kept = TEXT_BYTES_KEPT, 0
            while kept < min(len(ordered), GROUPS_KEPT) and (room := room - getsizeof(ordered[kept][3])) >= 0:
                kept += 1
            least = ordered[kept:]
        dropped: dict[int, list[str]] = {}
        for _, _, place, key in least:
            dropped.setdefault(place, []).append(key)
        for place, keys in dropped.items():
            tables[place].trim(keys)


class _Again:
    """How often a known exchange happened again, and with how many rows and bytes in total."""

    __slots__ = ("received_bytes", "rows", "sent_bytes", "times", "wait")

    def __init__(self, wait: Histogram | None) -> None:
        self.times = self.rows = self.sent_bytes = self.received_bytes = 0
        self.wait = wait
        """The waits of the group whose statement ends first in it."""


class StatementTable:
    """The groups of one connection, or of all closed connections of a driver."""

    def __init__(self, room: GroupBudget | None = None) -> None:
        self.room = room or GroupBudget()
        self.room.tables.add(self)
        self._groups: dict[str, StatementGroup] = {}
        self._by_text: dict[str, StatementGroup] = {}
        self._again: dict[Exchange, _Again] = {}
        """Known exchanges that happened again and are not in the sums yet."""

    @property
    def groups(self) -> dict[str, StatementGroup]:
        """The groups, by key."""
        if self._again:
            self._sum_up()
        return self._groups

    def of(self, statement: Statement) -> StatementGroup:
        """The group to which a statement belongs."""
        group = self._groups.get(statement.note)
        if group is None or group.plain is None:
            group = self._of(statement)
        return group

    def knows(self, statement: Statement) -> bool:
        """Whether anything was counted for this statement."""
        return text_of(statement) in self._by_text or key_of(statement) in self._groups

    def _of(self, statement: Statement) -> StatementGroup:
        text = text_of(statement)
        group = self._by_text.get(text)
        if group is None:
            if len(self._by_text) >= _TEXTS_REMEMBERED:
                self._by_text.clear()
            key = key_of(statement)
            group = self._groups.get(key)
            if group is None:
                group = self._group(key, "" if statement.sql is None else sqltext.fingerprint(text))
            if statement.sql is not None:
                self._note_comments(group, text)
            if len(text) <= LONGEST_SQL:
                self._by_text[text] = group
        return group

    def _note_comments(self, group: StatementGroup, text: str) -> None:
        """Remember that a text of the group was sent, so that texts which differ only by comments
        can be counted."""
        if may_have_comments(text):
            bare = sqltext.without_comments(text)
            if bare != text:
                if self.room.variants < ALL_VARIANTS_KEPT:
                    known = len(group.commented)
                    group.has_text((hash(bare), hash(text)))
                    self.room.variants += len(group.commented) - known
                return
        if group.plain is None:
            group.plain = hash(" ".join(text.split()))

    def waited(self, statement: Statement, wait_ns: int) -> None:
        """The driver waited this long for an execution."""
        self.of(statement).own_wait().add(wait_ns)

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        """Count what a round trip did with each statement, and the round trip itself. Only this
        method may trim, because no caller holds a group here."""
        if exchange.rows_differ:
            again = self._again.get(exchange)
            if again is None:
                if len(self._again) >= _AGAIN:
                    self._sum_up()
                again = self._again[exchange] = _Again(self.of(exchange.first).own_wait() if exchange.first is not None else None)
            again.times += 1
            again.rows += passage.rows
            again.sent_bytes += passage.sent_bytes
            again.received_bytes += passage.received_bytes
            if again.wait is not None:
                again.wait.add(passage.waited_ns)
            return
        if self.room.is_full:
            self.room.trim()
        self.passed(exchange, passage)
        self.round_trip(exchange)
        if passage.replaces is not None:
            self.round_trip(passage.replaces[0], -1)

    def passed(self, exchange: Exchange, passage: Passage) -> None:
        """Count what a round trip did with each statement, but not the round trip itself."""
        self._count(exchange, passage.rows, passage.sent_bytes, passage.received_bytes)
        if passage.replaces is not None:
            exchange, passage = passage.replaces
            self._count(exchange, passage.rows, -passage.sent_bytes, -passage.received_bytes, -1)

    def _count(self, exchange: Exchange, rows: int, sent_bytes: int, received_bytes: int, times: int = 1) -> None:
        """Count what a round trip did with each statement, `times` times, with these rows and bytes
        in total. The bytes count for each group that it contains a message of, or of which an
        execution ended in it."""
        groups: dict[int, StatementGroup] = {}
        executions = 0
        for part in exchange.parts:
            group = self.of(part.statement)
            if part.is_carried or part.ended or part.errors:
                groups[id(group)] = group
            if part.ended:
                executions += part.executions
                group.executions += times * part.executions
                if part.rows:
                    returned, text, binary = exchange.returned(part, rows, times)
                    group.rows += returned
                    group.values_text += text
                    group.values_binary += binary
                if part.at_once:
                    group.own_wait().add(0, times * part.at_once)
            if part.parses:
                group.parses += times * part.parses
                if part.statement.name:
                    group.named(part.statement.name)
            if part.reused:
                group.reused += times * part.reused
            if part.errors:
                group.errors += times * part.errors
            if part.dropped:
                group.has_ended(part.dropped, times)
            if part.forgotten:
                group.live += times
        if exchange.copying is not None:
            group = self.of(exchange.copying)
            groups[id(group)] = group
        for group in groups.values():
            group.frontend_bytes += sent_bytes
            group.backend_bytes += received_bytes
            if len(groups) == 1:
                group.executions_alone += times * executions
                group.frontend_bytes_alone += sent_bytes
                group.backend_bytes_alone += received_bytes

    def round_trip(self, exchange: Exchange, times: int = 1) -> None:
        """Count a round trip for each group that it contains a message of."""
        if not exchange.effect.is_round_trip:
            return
        statements = exchange.statements
        if len(statements) == 1:
            group = self.of(statements[0])
            group.round_trips += times
            group.round_trips_alone += times
            return
        groups = {id(group): group for group in map(self.of, statements)}
        for group in groups.values():
            group.round_trips += times
            if len(groups) == 1:
                group.round_trips_alone += times

    def _sum_up(self) -> None:
        """Add the repeated exchanges to the sums."""
        again, self._again = self._again, {}
        for exchange, sums in again.items():
            self._count(exchange, sums.rows, sums.sent_bytes, sums.received_bytes, sums.times)
            self.round_trip(exchange, sums.times)

    def live(self, statements: Iterable[Statement]) -> None:
        """Set the named statements of its session that are alive now; they replace those of the
        previous call. A statement whose group was summed counts in the sum."""
        groups = self.groups
        for group in groups.values():
            group.live -= group.alive
            group.alive = 0
        for statement in statements:
            if statement.name:
                group = groups.get(key_of(statement)) or groups.get(OTHER) or self.of(statement)
                group.live += 1
                group.alive += 1

    def take(self, other: StatementTable) -> None:
        """Move everything from another table of the same room, which is then empty."""
        groups = other.groups
        other.release()
        for key, group in groups.items():
            self._take(key, group)
        if self.room.is_full:
            self.room.trim()

    def _take(self, key: str, group: StatementGroup) -> None:
        """Take over this group, or add it to the existing one."""
        mine = self._groups.get(key)
        if mine is None:
            self._groups[key] = group
            self._weigh(key)
            self.room.variants += len(group.commented)
        else:
            known = len(mine.commented)
            mine.merge(group)
            self.room.variants += len(mine.commented) - known

    def release(self) -> None:
        """Release its memory in the room: another table has its groups."""
        self.room.tables.discard(self)
        self.room.groups -= len(self._groups) - (OTHER in self._groups)
        self.room.text_bytes -= sum(getsizeof(key) for key in self._groups if key != OTHER)
        self.room.variants -= sum(len(group.commented) for group in self._groups.values())
        self._groups = {}
        self._by_text.clear()

    def _group(self, key: str, fingerprint: str) -> StatementGroup:
        """Make a new group."""
        group = self._groups[key] = StatementGroup(key[:LONGEST_SQL], fingerprint, hash(key))
        self._weigh(key)
        return group

    def _weigh(self, key: str) -> None:
        """Account for a new group."""
        if key != OTHER:
            self.room.groups += 1
            self.room.text_bytes += getsizeof(key)

    def trim(self, keys: Iterable[str]) -> None:
        """Replace these groups by their sum."""
        other = self._groups.pop(OTHER, None) or StatementGroup(OTHER, "", hash(OTHER))
        for key in keys:
            dropped = self._groups.pop(key)
            self.room.variants -= len(dropped.commented)
            other.merge(dropped)
            self.room.groups -= 1
            self.room.text_bytes -= getsizeof(key)
        other.commented = NO_TEXTS
        self._groups[OTHER] = other
        self._by_text.clear()
