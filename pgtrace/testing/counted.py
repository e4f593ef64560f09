"""The base of everything with counters: every counter of docs/counting.md is an attribute.

    capture.round_trips, window.errors, window.backend_messages["DataRow"]

A Statement is one entry of `statements` in `stats --json`. You find it by its SQL, in any layout
and with any values, or by parts of its normalised text (values are $1, $2, ...) with `...` between
them.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pgtrace import sanitise, sqltext
from pgtrace.errors import UsageError
from pgtrace.trace.counters import INTEGER_KEYS, KEYS, Counters
from pgtrace.trace.totals import StatementView

ANYTHING: Final = "..."
"""Stands for any text in the SQL of a statement to find."""
_LISTED: Final = 20
_SQL_WIDTH: Final = 110


class NoSuchStatement(UsageError, LookupError):
    """No statement, or more than one, matches. The message lists the candidates."""


class Counted(ABC):
    """An object with all counters as attributes."""

    @property
    @abstractmethod
    def counters(self) -> Counters:
        """All counters as one value."""

    @property
    def frontend_messages(self) -> dict[str, int]:
        """Messages from the driver, by name."""
        return self.counters.frontend_messages

    @property
    def backend_messages(self) -> dict[str, int]:
        """Messages from the server, by name."""
        return self.counters.backend_messages

    def __getattr__(self, key: str) -> int:
        if key not in INTEGER_KEYS:
            raise AttributeError(f"{type(self).__name__} has no {key!r}{did_you_mean(key)}", name=key, obj=self)
        return cast(int, getattr(self.counters, key))

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *INTEGER_KEYS]


def did_you_mean(key: str) -> str:
    """`: did you mean round_trips?`, or an empty string."""
    close = difflib.get_close_matches(key, KEYS, 1)
    return f": did you mean {close[0]}?" if close and not key.startswith("_") else ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement under one driver, with what it cost."""

    driver: str
    sql: str
    """The SQL, with values as $1, $2, ..."""
    fingerprint: str
    names: list[str]
    """Its names as a prepared statement."""
    parses: int
    reused: int
    """Binds to it as a named statement beyond the first."""
    live: int
    executions: int
    round_trips: int
    round_trips_alone: int
    rows: int
    errors: int
    result_formats: dict[str, int]
    """Values it returned, as `text` and `binary`."""
    frontend_bytes: int
    """Bytes of the round trips in which it took part."""
    backend_bytes: int
    bytes_per_execution: dict[str, int] | None
    """Bytes per execution, `frontend` and `backend`, in round trips that it did not share; None if
    there are none.
    """
    wait_ns: dict[str, int]
    """`total`, `p50`, `p95` and `max` of its executions."""
    comment_variants: int
    """How many of its texts differ only in comments."""

    @classmethod
    def of(cls, view: StatementView) -> Statement:
        """The statement from the trace's view of it."""
        return cls(**cast(dict[str, Any], view.group.as_dict(view.driver)))


def find_statement(statements: Sequence[Statement], sql: str, driver: str | None) -> Statement:
    """The only statement that `sql` matches, with that driver if one is given. Raises
    NoSuchStatement.
    """
    there = [one for one in statements if driver is None or one.driver == driver]
    found = list(filter(_wanted(sql), there))
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchStatement(f"{len(found)} statements match {sql!r}: give more of the text, or the driver", *listed(found))
    if not there:
        raise NoSuchStatement(f"no statement matches {sql!r}: there are none{f' of {driver}' if driver else ''}")
    raise NoSuchStatement(f"no statement matches {sql!r}; there are", *listed(there))


def listed(statements: Sequence[Statement]) -> list[str]:
    """A line for each of the first candidates."""
    lines = [f"    {one.driver:<8} {shown_sql(one.sql)}" for one in statements[:_LISTED]]
    more = len(statements) - len(lines)
    return [*lines, f"    and {more} more"] if more else lines


def shown_sql(sql: str) -> str:
    """A statement on one line, safe to show."""
    return sanitise.text(sqltext.shorten(sql, _SQL_WIDTH))


def _wanted(sql: str) -> Callable[[Statement], bool]:
    """A test whether a statement matches: in any layout and with any values, or with any text for
    `...`.
    """
    if ANYTHING not in sql:
        fingerprint = sqltext.fingerprint(sql)
        return lambda one: one.fingerprint == fingerprint or one.sql == sql
    parts = [re.escape(" ".join(part.split())) for part in sql.strip().rstrip(";").split(ANYTHING)]
    pattern = re.compile(".*".join(parts), re.IGNORECASE | re.DOTALL)
    return lambda one: pattern.fullmatch(" ".join(one.sql.split())) is not None
