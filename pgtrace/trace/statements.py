"""Statements that were run, grouped by SQL, with their cost.

Each connection keeps its own table, because its driver may become known only later; tables of
closed connections are merged per driver. The group is the SQL normalised by our own token scanner:
without literals, with white space folded. All tables of a trace share a Room. Beyond GROUPS_KEPT
groups or TEXT_BYTES_KEPT of text, those with the fewest round trips are summed into one group of
their table, and the table says so. A trimmed table drops what its statements remember of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from sys import getsizeof
from typing import Final
from weakref import WeakSet

from pgtrace import sqltext
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import FUNCTION_CALL, Statement
from pgtrace.trace.histogram import Histogram

GROUPS_KEPT: Final = 100_000
NAMES_KEPT: Final = 16
LONGEST_SQL: Final = 16 * 1024
TEXT_BYTES_KEPT: Final = 32 * 1024 * 1024
_TRIMMED_AT: Final = 1.1
"""A room this many times over its bound is trimmed down to the bound."""
_AGAIN: Final = 256
"""The most repeated exchanges before they are summed up."""
SLICE: Final = 64
"""Groups between two breaks when work is done in slices."""
_TEXTS_REMEMBERED: Final = 10_000
VARIANTS_KEPT: Final = 1_000
"""Texts with comments that a group tells apart."""
ALL_VARIANTS_KEPT: Final = 100_000
"""The same for all groups of a room."""
_NO_TEXTS: Final[frozenset[tuple[int, int]]] = frozenset()
OTHER: Final = "(other statements)"
"""The SQL of the group that sums up those beyond the bound."""
EARLIER: Final = "(prepared earlier)"
FUNCTION: Final = "(function call)"


_NO_NAMES: Final[dict[str, None]] = {}
_NO_ENDS: Final[dict[str, int]] = {}
"""The default of most groups: one object for all of them, never changed."""


@dataclass(slots=True)
class StatementGroup:
    """One statement text under one driver."""

    sql: str
    fingerprint: str
    number: int = 0
    """The number of the group in labels of rows: the same for the same normalised text, in this
    process."""
    names: dict[str, None] = field(default_factory=lambda: _NO_NAMES)
    parses: int = 0
    reused: int = 0
    live: int = 0
    executions: int = 0
    round_trips: int = 0
    round_trips_alone: int = 0
    rows: int = 0
    errors: int = 0
    values_text: int = 0
    values_binary: int = 0
    wait: Histogram = field(default_factory=Histogram)
    ended: dict[str, int] = field(default_factory=lambda: _NO_ENDS)
    """Named preparations that ended before their session, by what ended them: Close, or a command's
    tag."""
    commented: set[tuple[int, int]] | frozenset[tuple[int, int]] = _NO_TEXTS
    """Texts with comments: the hash of each without them, and with them."""
    plain: int | None = None
    """The hash of its first text without a comment."""

    def merge(self, other: StatementGroup) -> None:
        for name in other.names:
            self.named(name)
        for key in _SUMS:
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.wait.merge(other.wait)
        for how, times in other.ended.items():
            self.has_ended(how, times)
        for one in other.commented:
            self.has_text(one)
        self.plain = self.plain if self.plain is not None else other.plain

    @property
    def comment_variants(self) -> int:
        """How many of its texts differ from another one by comments alone."""
        alike = Counter(bare for bare, _ in self.commented)
        numbers = (number + (bare == self.plain) for bare, number in alike.items())
        return sum(number for number in numbers if number > 1)

    def has_text(self, text: tuple[int, int]) -> None:
        """A text of it with comments was sent: hashes of what it is without them, and with them."""
        if not isinstance(self.commented, set):
            self.commented = {text}
        elif len(self.commented) < VARIANTS_KEPT:
            self.commented.add(text)

    def named(self, name: str) -> None:
        """It was prepared under that name."""
        if self.names is _NO_NAMES:
            self.names = {name: None}
        elif len(self.names) < NAMES_KEPT:
            self.names.setdefault(name)

    def has_ended(self, how: str, times: int = 1) -> None:
        """Named preparations of it ended."""
        if self.ended is _NO_ENDS:
            self.ended = {}
        self.ended[how] = self.ended.get(how, 0) + times

    def as_dict(self, driver: str) -> dict[str, object]:
        """One element of `statements` in `stats --json`."""
        return {
            "driver": driver,
            "sql": self.sql,
            "fingerprint": self.fingerprint,
            "names": list(self.names),
            **{
                key: getattr(self, key)
                for key in ("parses", "reused", "live", "executions", "round_trips", "round_trips_alone", "rows", "errors")
            },
            "result_formats": {"text": self.values_text, "binary": self.values_binary},
            "wait_ns": self.wait.as_dict(),
            "comment_variants": self.comment_variants,
        }


_SUMS: Final = (
    "parses", "reused", "live", "executions", "round_trips", "round_trips_alone", "rows", "errors", "values_text", "values_binary",
)  # fmt: skip


def _text(statement: Statement) -> str:
    if statement.sql is not None:
        return statement.sql
    return FUNCTION if statement is FUNCTION_CALL else f"{EARLIER} {statement.name}".rstrip()


def _key(statement: Statement) -> str:
    """The key of a statement's group in a table."""
    text = _text(statement)
    return text if statement.sql is None else sqltext.normalise(text)


def group_number(statement: Statement) -> int:
    """The number of the group that a statement belongs to."""
    return hash(_key(statement))


class GroupBudget:
    """The memory that several tables share."""

    def __init__(self) -> None:
        self.tables: WeakSet[StatementTable] = WeakSet()
        self.groups = 0
        self.text_bytes = 0
        self.variants = 0
        """Texts with comments that its groups remember."""

    @property
    def is_full(self) -> bool:
        """Whether it is time to trim."""
        return self.groups >= _TRIMMED_AT * GROUPS_KEPT or self.text_bytes >= _TRIMMED_AT * TEXT_BYTES_KEPT

    def trim(self) -> None:
        """Keep the groups with the most round trips, as many as fit, and the sum of all others in
        each table."""
        tables = list(self.tables)
        if self.groups <= GROUPS_KEPT and self.text_bytes <= TEXT_BYTES_KEPT:
            return
        found = [
            (group.round_trips, place, key) for place, table in enumerate(tables) for key, group in table.groups.items() if key != OTHER
        ]
        found.sort(key=itemgetter(0), reverse=True)
        room, kept = TEXT_BYTES_KEPT, 0
        while kept < min(len(found), GROUPS_KEPT) and (room := room - getsizeof(found[kept][2])) >= 0:
            kept += 1
        dropped: dict[int, list[str]] = {}
        for _, place, key in found[kept:]:
            dropped.setdefault(place, []).append(key)
        for place, keys in dropped.items():
            tables[place].trim(keys)


class _Again:
    """How often a known exchange happened again, and with how many rows in all."""

    __slots__ = ("rows", "times", "wait")

    def __init__(self, wait: Histogram | None) -> None:
        self.times = self.rows = 0
        self.wait = wait
        """The waits of the group whose statement ends first in it."""


class StatementTable:
    """The groups of one connection, or of all closed connections of a driver."""

    def __init__(self, room: GroupBudget | None = None) -> None:
        self.room = room or GroupBudget()
        self.room.tables.add(self)
        self._groups: dict[str, StatementGroup] = {}
        self._by_text: dict[str, StatementGroup] = {}
        self._age = object()
        """A statement's note must match it; replaced at each trim."""
        self._again: dict[Exchange, _Again] = {}
        """Known exchanges that happened again and are not in the sums yet."""

    @property
    def groups(self) -> dict[str, StatementGroup]:
        """The groups, by key."""
        if self._again:
            self._sum_up()
        return self._groups

    def of(self, statement: Statement) -> StatementGroup:
        """The group a statement belongs to."""
        note: tuple[object, StatementGroup] | None = statement.note
        if note is None or note[0] is not self._age:
            group = self._of(statement)
            statement.note = note = (self._age, group)
        return note[1]

    def knows(self, statement: Statement) -> bool:
        """Whether anything was counted for it."""
        return _text(statement) in self._by_text or _shortened(_key(statement)) in self._groups

    def _of(self, statement: Statement) -> StatementGroup:
        text = _text(statement)
        group = self._by_text.get(text)
        if group is None:
            if len(self._by_text) >= _TEXTS_REMEMBERED:
                self._by_text.clear()
            normalised = _key(statement)
            fingerprint = "" if statement.sql is None else sqltext.fingerprint(text)
            group = self._group(_shortened(normalised), normalised, fingerprint)
            if statement.sql is not None:
                self._note_comments(group, text)
            if len(text) <= LONGEST_SQL:
                self._by_text[text] = group
        return group

    def _note_comments(self, group: StatementGroup, text: str) -> None:
        """Remember that a text of the group was sent, so that those can be counted that differ by
        comments alone."""
        if "/*" in text or "--" in text:
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
        """An execution was waited for."""
        note: tuple[object, StatementGroup] | None = statement.note
        (note[1] if note is not None and note[0] is self._age else self.of(statement)).wait.add(wait_ns)

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        """Count what a round trip did with each statement, and the round trip itself. The only
        place that may trim, because no caller holds a group here."""
        if exchange.rows_differ:
            again = self._again.get(exchange)
            if again is None:
                if len(self._again) >= _AGAIN:
                    self._sum_up()
                again = self._again[exchange] = _Again(self.of(exchange.first).wait if exchange.first is not None else None)
            again.times += 1
            again.rows += passage.rows
            if again.wait is not None:
                again.wait.add(passage.waited_ns)
            return
        if self.room.is_full:
            self.room.trim()
        self.count(exchange, passage.rows)
        self.round_trip(exchange)
        if passage.replaces is not None:
            exchange, passage = passage.replaces
            self.count(exchange, passage.rows, -1)
            self.round_trip(exchange, -1)

    def count(self, exchange: Exchange, rows: int, times: int = 1) -> None:
        """Count what a round trip did with each statement, `times` times, with `rows` rows in
        all."""
        for part in exchange.parts:
            group = self.of(part.statement)
            if part.ended:
                group.executions += times * part.executions
                if part.rows:
                    returned, text, binary = exchange.returned(part, rows, times)
                    group.rows += returned
                    group.values_text += text
                    group.values_binary += binary
                if part.at_once:
                    group.wait.add(0, times * part.at_once)
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

    def round_trip(self, exchange: Exchange, times: int = 1) -> None:
        """Count a round trip for each group that it has a message of."""
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
            self.count(exchange, sums.rows, sums.times)
            self.round_trip(exchange, sums.times)

    def live(self, statements: Iterable[Statement]) -> None:
        """Named statements alive at the end."""
        for statement in statements:
            if statement.name:
                self.of(statement).live += 1

    def take(self, other: StatementTable) -> None:
        """Move everything from another table of the same room, which is then empty: what is in both
        is trimmed twice."""
        groups = list(other.groups.items())
        other.let_go()
        for key, group in groups:
            mine = self._groups.get(key)
            if mine is None:
                mine = self._group(key, group.sql, group.fingerprint)
            known = len(mine.commented)
            mine.merge(group)
            self.room.variants += len(mine.commented) - known
        if self.room.is_full:
            self.room.trim()

    def merge(self, other: StatementTable) -> None:
        for _ in self.merge_by_slices(other):
            pass

    def merge_by_slices(self, other: StatementTable) -> Iterator[None]:
        """The same, with a break after each slice."""
        for number, (key, group) in enumerate(list(other.groups.items())):
            mine = self._groups.get(key)
            if mine is None:
                mine = self._group(key, group.sql, group.fingerprint)
            mine.merge(group)
            if not number % SLICE:
                yield
        if self.room.is_full:
            self.room.trim()

    def let_go(self) -> None:
        """Release its memory in the room: another table has its groups."""
        self.room.tables.discard(self)
        self._groups.pop(OTHER, None)
        self.room.groups -= len(self._groups)
        self.room.text_bytes -= sum(map(getsizeof, self._groups))
        self.room.variants -= sum(len(group.commented) for group in self._groups.values())
        self._groups.clear()
        self._by_text.clear()

    def _group(self, key: str, sql: str, fingerprint: str) -> StatementGroup:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = StatementGroup(sql[:LONGEST_SQL], fingerprint, hash(key))
            if key != OTHER:
                self.room.groups += 1
                self.room.text_bytes += getsizeof(key)
        return group

    def trim(self, keys: Iterable[str]) -> None:
        """Keep only the sum of these groups."""
        other = self._groups.pop(OTHER, None) or StatementGroup(OTHER, "", hash(OTHER))
        for key in keys:
            dropped = self._groups.pop(key)
            self.room.variants -= len(dropped.commented)
            dropped.commented = _NO_TEXTS
            other.merge(dropped)
            self.room.groups -= 1
            self.room.text_bytes -= getsizeof(key)
        self._groups[OTHER] = other
        self._by_text.clear()
        self._age = object()


def _shortened(key: str) -> str:
    """The key of a group: of a long text its beginning and a hash."""
    return key if len(key) <= LONGEST_SQL else f"{key[:LONGEST_SQL]} {sqltext.fingerprint(key)}"
