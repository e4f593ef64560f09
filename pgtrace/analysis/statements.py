"""Statements: what was run, grouped by SQL, with what it cost.

Each connection keeps its own table, because its driver may become known only later; tables of closed connections are merged per driver. The group is
the SQL normalised by our own token scanner: literals out, white space folded. Of more groups than GROUPS_KEPT those of the fewest round trips are summed up
as one, which says so; a table that is trimmed forgets what its statements remember of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.session.events import Exchange, Execution, RoundTrip, Statement
from pgtrace.session.state import FUNCTION_CALL

GROUPS_KEPT: Final = 100_000
NAMES_KEPT: Final = 16
LONGEST_SQL: Final = 16 * 1024
_TRIMMED_AT: Final = GROUPS_KEPT + GROUPS_KEPT // 10
SLICE: Final = 64
"""Groups between two breaks where work is done by slices."""
_TEXTS_REMEMBERED: Final = 10_000
OTHER: Final = "(other statements)"
"""The SQL of the group that sums up those beyond the bound."""
EARLIER: Final = "(prepared earlier)"
FUNCTION: Final = "(function call)"


class Histogram:
    """Durations in ns: exact total and maximum, percentiles within about 2 %, whatever their number."""

    __slots__ = ("buckets", "count", "max", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.max = 0

    def add(self, value: int, times: int = 1) -> None:
        # The bucket is the value's highest 6 bits: its length in bits, then the five bits behind the first.
        shift = value.bit_length() - 6
        shift = shift if shift > 0 else 0
        bucket = (shift << 6) | (value >> shift)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + times
        self.count += times
        self.total += times * value
        self.max = value if value > self.max else self.max

    def merge(self, other: Histogram) -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> int:
        """The value below which that part of all lies; 0 without values."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                shift, value = bucket >> 6, bucket & 63
                return min(self.max, (value << shift) + (1 << shift >> 1))
        return self.max

    def as_dict(self) -> dict[str, int]:
        return {"total": self.total, "p50": self.percentile(50), "p95": self.percentile(95), "max": self.max}


@dataclass(slots=True)
class Group:
    """One statement text under one driver."""

    sql: str
    fingerprint: str
    number: int = 0
    """What labels of rows know the group by: the same for the same normalised text, in this process."""
    names: dict[str, None] = field(default_factory=dict)
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
    ended: dict[str, int] = field(default_factory=dict)
    """Named preparations that ended before their session, by what ended them: Close, or a command's tag."""

    def merge(self, other: Group) -> None:
        for name in other.names:
            if len(self.names) < NAMES_KEPT:
                self.names.setdefault(name)
        for key in _SUMS:
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.wait.merge(other.wait)
        for how, times in other.ended.items():
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
        }


_SUMS: Final = (
    "parses", "reused", "live", "executions", "round_trips", "round_trips_alone", "rows", "errors", "values_text", "values_binary",
)  # fmt: skip


def _text(statement: Statement) -> str:
    if statement.sql is not None:
        return statement.sql
    return FUNCTION if statement is FUNCTION_CALL else f"{EARLIER} {statement.name}".rstrip()


def _key(statement: Statement) -> str:
    """What the groups of a table are told apart by."""
    text = _text(statement)
    return text if statement.sql is None else sqltext.normalise(text)


def query_text(statements: Iterable[Statement]) -> str:
    """The text of the simple Query they came in, as far as it matters."""
    return "; ".join(statement.sql or "" for statement in statements)


def group_number(statement: Statement) -> int:
    """The number of the group that a statement belongs to."""
    return hash(_key(statement))


class StatementTable:
    """The groups of one connection, or of all closed connections of a driver."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self._by_text: dict[str, Group] = {}
        self._age = object()
        """What a statement's note must be of: another one after each trim."""
        self._repeated: list[Exchange] = []
        """Those with repeats that are not in the sums yet: only their waiting times are."""

    def of(self, statement: Statement) -> Group:
        """The group a statement belongs to."""
        note: tuple[object, Group] | None = statement.note
        if note is None or note[0] is not self._age:
            group = self._of(statement)
            statement.note = note = (self._age, group)
        return note[1]

    def knows(self, statement: Statement) -> bool:
        """Whether something was counted for it."""
        return _text(statement) in self._by_text

    def _of(self, statement: Statement) -> Group:
        text = _text(statement)
        group = self._by_text.get(text)
        if group is None:
            if len(self._by_text) >= _TEXTS_REMEMBERED:
                self._by_text.clear()
            normalised = _key(statement)
            fingerprint = "" if statement.sql is None else sqltext.fingerprint(text)
            group = self._by_text[text] = self._group(normalised, normalised, fingerprint)
        return group

    def parsed(self, statement: Statement, times: int = 1) -> None:
        group = self.of(statement)
        group.parses += times
        if statement.name and len(group.names) < NAMES_KEPT:
            group.names.setdefault(statement.name)

    def executed(self, execution: Execution) -> None:
        group = self.of(execution.statement)
        group.rows += execution.rows
        group.values_text += execution.values_text
        group.values_binary += execution.values_binary
        if not execution.continues:
            group.executions += 1
        if execution.wait_ns is not None:
            group.wait.add(execution.wait_ns)

    def waited(self, execution: Execution) -> None:
        """The waiting time of an execution that is counted already is known."""
        self.of(execution.statement).wait.add(execution.wait_ns or 0)

    def failed(self, statement: Statement) -> None:
        self.of(statement).errors += 1

    def reused(self, statement: Statement) -> None:
        self.of(statement).reused += 1

    def dropped(self, statement: Statement, how: str) -> None:
        ended = self.of(statement).ended
        ended[how] = ended.get(how, 0) + 1

    def round_trip(self, round_trip: RoundTrip) -> None:
        """Count a round trip for each group it carried a message of. No group is in anybody's hands here: the moment to trim."""
        if len(self.groups) >= _TRIMMED_AT:
            self.trim()
        self._round_trips(round_trip, 1)

    def repeated(self, exchange: Exchange, wait_ns: int, rows: int) -> None:
        """Count a known exchange that happened once more, with that many rows. All but the waiting time is the same: it is summed up later."""
        if not exchange.repeats:
            self._repeated.append(exchange)
        exchange.repeats += 1
        exchange.repeated_rows += rows
        if exchange.executions:
            self.of(exchange.executions[0].statement).wait.add(wait_ns)

    def repeated_at_once(self, exchange: Exchange, wait_ns: int, rows: int) -> None:
        """The same in a table beside the connection's own, whose count the exchange keeps: summed up now."""
        if exchange.executions:
            self.of(exchange.executions[0].statement).wait.add(wait_ns)
        self._sum_up(exchange, 1, rows)

    def settle(self) -> None:
        """Sum up what was repeated."""
        for exchange in self._repeated:
            times, rows = exchange.repeats, exchange.repeated_rows
            exchange.repeats = exchange.repeated_rows = 0
            self._sum_up(exchange, times, rows)
        self._repeated.clear()

    def _sum_up(self, exchange: Exchange, times: int, rows: int) -> None:
        for statement in exchange.parsed:
            self.parsed(statement, times)
        for statement in exchange.reused:
            self.of(statement).reused += times
        for number, execution in enumerate(exchange.executions):
            group = self.of(execution.statement)
            if execution.rows:
                group.rows += rows
                group.values_text += rows * exchange.values_text
                group.values_binary += rows * exchange.values_binary
            if not execution.continues:
                group.executions += times
            if number:  # it ended with the one before
                group.wait.add(0, times)
        self._round_trips(exchange.round_trip, times)

    def _round_trips(self, round_trip: RoundTrip, times: int) -> None:
        statements = round_trip.statements
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

    def live(self, statements: Iterable[Statement]) -> None:
        """Named statements alive at the end."""
        for statement in statements:
            if statement.name:
                self.of(statement).live += 1

    def merge(self, other: StatementTable) -> None:
        for _ in self.merge_by_slices(other):
            pass

    def merge_by_slices(self, other: StatementTable) -> Iterator[None]:
        """The same, with a break after each slice."""
        other.settle()
        for number, (key, group) in enumerate(list(other.groups.items())):
            mine = self.groups.get(key)
            if mine is None:
                mine = self._group(key, group.sql, group.fingerprint)
            mine.merge(group)
            if not number % SLICE:
                yield
        if len(self.groups) >= _TRIMMED_AT:
            self.trim()

    def _group(self, key: str, sql: str, fingerprint: str) -> Group:
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(sql[:LONGEST_SQL], fingerprint, hash(key))
        return group

    def trim(self) -> None:
        """Keep the GROUPS_KEPT groups of most round trips, and the sum of all others."""
        self.settle()
        if len(self.groups) <= GROUPS_KEPT:
            return
        other = self.groups.pop(OTHER, None) or Group(OTHER, "", hash(OTHER))
        ordered = sorted(self.groups, key=lambda key: self.groups[key].round_trips, reverse=True)
        for key in ordered[GROUPS_KEPT:]:
            other.merge(self.groups.pop(key))
        self.groups[OTHER] = other
        self._by_text.clear()
        self._age = object()
