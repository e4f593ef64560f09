"""A statement as views count it: all texts that are the same after normalisation, under one driver.

The group is the SQL normalised by our own token scanner: without literals, with white space folded.
A statement remembers the key of its group, never the group itself. So when a table drops a group,
its memory is free, however long the statement lives.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.session.statements import FUNCTION_CALL, Statement
from pgtrace.trace.histogram import Histogram

NAMES_KEPT: Final = 16
LONGEST_SQL: Final = 16 * 1024
VARIANTS_KEPT: Final = 1_000
"""The most texts with comments that a group distinguishes."""
OTHER: Final = "(other statements)"
"""The SQL of the group that contains the sum of the groups beyond the bound."""
EARLIER: Final = "(prepared earlier)"
FUNCTION: Final = "(function call)"

NO_TEXTS: Final[frozenset[tuple[int, int]]] = frozenset()
_NO_ENDS: Final[dict[str, int]] = {}
_NO_WAITS: Final = Histogram()
"""The defaults of most groups: one object for all of them, never changed."""


@dataclass(slots=True)
class StatementGroup:
    """One statement text under one driver."""

    sql: str
    fingerprint: str
    number: int = 0
    """The number of the group in labels of rows: the same for the same normalised text, in this
    process."""
    names: tuple[str, ...] = ()
    """The names under which it was prepared, the first NAMES_KEPT."""
    parses: int = 0
    reused: int = 0
    live: int = 0
    alive: int = 0
    """The part of `live` that its table's session reported last."""
    executions: int = 0
    round_trips: int = 0
    round_trips_alone: int = 0
    rows: int = 0
    errors: int = 0
    values_text: int = 0
    values_binary: int = 0
    frontend_bytes: int = 0
    """The bytes of its round trips. A round trip that several groups share counts for each."""
    backend_bytes: int = 0
    executions_alone: int = 0
    """The executions in round trips that it did not share, with the bytes of these."""
    frontend_bytes_alone: int = 0
    backend_bytes_alone: int = 0
    wait: Histogram = field(default_factory=lambda: _NO_WAITS)
    """For reading; own_wait() returns the histogram to add to."""
    ended: dict[str, int] = field(default_factory=lambda: _NO_ENDS)
    """How many named preparations ended before their session, by what ended them: Close, or a
    command's tag."""
    commented: set[tuple[int, int]] | frozenset[tuple[int, int]] = NO_TEXTS
    """Its texts with comments: for each, the hash of the text without comments and of the whole
    text."""
    plain: int | None = None
    """The hash of its first text without a comment."""

    def merge(self, other: StatementGroup) -> None:
        for name in other.names:
            self.named(name)
        for key in _SUMS:
            setattr(self, key, getattr(self, key) + getattr(other, key))
        if other.wait.count:
            self.own_wait().merge(other.wait)
        for how, times in other.ended.items():
            self.has_ended(how, times)
        for one in other.commented:
            self.has_text(one)
        self.plain = self.plain if self.plain is not None else other.plain

    def copied(self) -> StatementGroup:
        """A group with the same counts, which may be changed."""
        copy = StatementGroup(self.sql, self.fingerprint, self.number)
        copy.merge(self)
        return copy

    def own_wait(self) -> Histogram:
        """Its waits, to add to."""
        if self.wait is _NO_WAITS:
            self.wait = Histogram()
        return self.wait

    @property
    def comment_variants(self) -> int:
        """How many of its texts differ from another one only by comments."""
        alike = Counter(bare for bare, _ in self.commented)
        numbers = (number + (bare == self.plain) for bare, number in alike.items())
        return sum(number for number in numbers if number > 1)

    @property
    def bytes_per_execution(self) -> tuple[float, float] | None:
        """The bytes sent and received per execution, in the round trips that it did not share; None
        if there are none."""
        alone = self.executions_alone
        return (self.frontend_bytes_alone / alone, self.backend_bytes_alone / alone) if alone else None

    def has_text(self, text: tuple[int, int]) -> None:
        """A text with comments was sent. `text` has the hashes of the text without comments and of
        the whole text."""
        if not isinstance(self.commented, set):
            self.commented = {text}
        elif len(self.commented) < VARIANTS_KEPT:
            self.commented.add(text)

    def named(self, name: str) -> None:
        """The statement was prepared under this name."""
        if len(self.names) < NAMES_KEPT and name not in self.names:
            self.names += (name,)

    def has_ended(self, how: str, times: int = 1) -> None:
        """Named preparations of the statement ended."""
        if self.ended is _NO_ENDS:
            self.ended = {}
        self.ended[how] = self.ended.get(how, 0) + times

    def as_dict(self, driver: str) -> dict[str, object]:
        """One element of `statements` in `stats --json`."""
        each = self.bytes_per_execution
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
            "frontend_bytes": self.frontend_bytes,
            "backend_bytes": self.backend_bytes,
            "bytes_per_execution": {"frontend": round(each[0]), "backend": round(each[1])} if each is not None else None,
            "wait_ns": self.wait.as_dict(),
            "comment_variants": self.comment_variants,
        }


_SUMS: Final = (
    "parses", "reused", "live", "executions", "round_trips", "round_trips_alone", "rows", "errors", "values_text", "values_binary",
    "frontend_bytes", "backend_bytes", "executions_alone", "frontend_bytes_alone", "backend_bytes_alone",
)  # fmt: skip


def text_of(statement: Statement) -> str:
    """The statement's SQL, or a text that replaces it."""
    if statement.sql is not None:
        return statement.sql
    return FUNCTION if statement is FUNCTION_CALL else f"{EARLIER} {statement.name}".rstrip()


def key_of(statement: Statement) -> str:
    """The key of a statement's group in a table. For a long text: its beginning and a hash.

    The statement remembers it, unless each table has to see its text because of the comments in it.
    """
    known: str | None = statement.note
    if known is not None:
        return known
    text = key = text_of(statement)
    if statement.sql is not None:
        key = sqltext.normalise(text)
        if len(key) > LONGEST_SQL:
            key = f"{key[:LONGEST_SQL]} {sqltext.fingerprint(key)}"
        elif key == text:
            key = text  # one string for both
    if not may_have_comments(text):
        statement.note = key
    return key


def may_have_comments(text: str) -> bool:
    """Whether the text may have comments, so that it is worth a scan."""
    return "/*" in text or "--" in text


def group_number(statement: Statement) -> int:
    """The number of the group that a statement belongs to."""
    return hash(key_of(statement))
