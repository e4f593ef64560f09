"""One row of the timeline: its kind, what it shares with rows like it, its texts, its numbers.

A row is a round trip, or one of the few other events on a wire: a notification, a Terminate, a
cancel, a mark, a gap. The Shape (flight, depth, flags) and the Label (SQL, error) are those of many
rows. A RowEntry is what the index keeps for each (rows.py); a Row is what views get, built from an
entry when it is asked for and not kept.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgtrace.session.effects import UNKNOWN
from pgtrace.session.failures import Failure

LONGEST_SQL: Final = 16 * 1024
"""Characters of SQL kept with a row; the details have all of it."""
GROUPS_KEPT: Final = 1024
"""The most different statements of one round trip in its label."""
RUN_KEPT: Final = 200
"""How many of a run of DataRow or CopyData are listed one by one."""
FLIGHT_KEPT: Final = 4096
"""The most messages of each side in a shape."""
NO_FLIGHT: Final = "…"
"""The flight of a shape that is not kept."""


class RowKind(enum.IntEnum):
    """The kind of a row."""

    ROUND_TRIP = 0
    SETUP = 1
    """A round trip that opened before the first ReadyForQuery."""
    RUN = 2
    """Frontend messages that are not a round trip: Terminate, a Parse without a flush point, stray
    copy data."""
    ASYNCHRONOUS = 3
    """NotificationResponse, NoticeResponse, ParameterStatus or ErrorResponse while nothing was
    asked."""
    CANCEL = 4
    CLOSED = 5
    """The connection was ended without Terminate: by a side, or at the latest when both had
    left."""
    OPAQUE = 6
    """Encrypted, or not PostgreSQL."""
    UNDECODED = 7
    """Bytes between a gap and the next place where both sides can be read."""
    GAP = 8
    MARK = 9
    FAULT = 10
    """A fault rule was applied."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a row shows besides times, sizes and texts; shared by all rows that look the same."""

    kind: RowKind
    flight: str
    """Flight notation: `BDES → 2TDCZ`."""
    sent: bytes = b""
    """One byte for each frontend message, with a run of CopyData as one: the source of the
    flight."""
    received: bytes = b""
    depth: int = 0
    errors: int = 0
    prepares: bool = False
    """Whether it has the Parse of a named statement."""
    reuses: bool = False
    """Whether it has a Bind of a named statement after the first."""
    formats: str = ""
    """Formats of the results: "t", "b", "m"ixed, or "" without results."""
    status_before: str = ""
    status: str = ""
    """Transaction status after it, from the latest ReadyForQuery: "I", "T", "E" or ""."""
    statement: str = ""
    """Name of the prepared statement it was about, as on the wire."""
    statements: int = 0
    """The number of its statements: 0, 1, or 2 for several, of which `statement` and the label name
    only some."""
    uncertain: bool = False
    """Whether bytes are missing inside it: counts are lower bounds."""
    executions: int = 0
    block_began: bool = False
    """Whether a transaction block began in it."""
    block_end: str = ""
    """The command tag that ended a transaction block in it."""
    owed_before: bytes = b""
    """What was still owed when it began: Effect.owed_before."""
    tags: tuple[str, ...] = ()
    """Its command tags without numbers; equal ones in a row count once: Effect.tags."""
    warnings: tuple[str, ...] = ()
    """SQLSTATEs of its warnings."""
    portal: bool = False
    """Whether it binds a named portal."""
    sent_flight: str = ""
    """What was sent, in flight notation, for a round trip; if it begins with a reply, that."""

    @property
    def is_problem(self) -> bool:
        """Whether every row with this shape is a problem."""
        return bool(self.errors) or self.kind is RowKind.GAP


class Share(NamedTuple):
    """What one group of statements (groups.py) did in a row: equal for many groups."""

    parses: int = 0
    reused: int = 0
    executions: int = 0
    errors: int = 0
    rows: int = 0
    values_text: int = 0
    values_binary: int = 0
    each: bool = False
    """Whether `rows` and the values are those of each DataRow."""


@dataclass(frozen=True, slots=True)
class Label:
    """The texts of a row."""

    sql: str
    """SQL for a round trip; what happened, in words, for the other kinds."""
    sqlstate: str = ""
    """The SQLSTATE of its first error, or empty."""
    message: str = ""
    """Of its first error."""
    groups: tuple[int, ...] = ()
    """Numbers of the groups of its statements (groups.py), the first GROUPS_KEPT."""
    end: str = ""
    """For a round trip that was open when a side ended its direction: what happened to it
    (ends.py)."""
    failures: tuple[Failure, ...] = ()
    """Its first few ErrorResponses."""
    others: tuple[int, ...] = ()
    """Numbers of groups that it did something with, but has no message of."""
    shares: tuple[Share, ...] = ()
    """The shares of `groups`, then of `others`, GROUPS_KEPT in all. Labels with equal ones have
    one object."""

    @property
    def shares_by_group(self) -> Iterator[tuple[int, Share]]:
        """The number of each group, with its share."""
        return zip(self.groups + self.others, self.shares, strict=True)

    @property
    def error(self) -> str:
        """`23505 duplicate key value ...`, or empty: for people."""
        return f"{self.sqlstate} {self.message}".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the timeline. Times are ns; `opened_ns` counts from the start of the capture."""

    number: int
    """1-based place in the timeline."""
    connection: int
    """Index into Trace.connections."""
    opened_ns: int
    duration_ns: int | None
    """None while it is open."""
    first_ns: int | None
    """From the opening to the first byte of the answer."""
    rows: int
    sent_bytes: int
    received_bytes: int
    shape: Shape
    label: Label

    @property
    def is_open(self) -> bool:
        return self.duration_ns is None

    @property
    def is_round_trip(self) -> bool:
        return self.shape.kind <= RowKind.SETUP

    @property
    def is_problem(self) -> bool:
        """Whether `n` should stop here: an error, a gap, or an end while an answer was owed."""
        return self.shape.is_problem or bool(self.label.end)


@dataclass(slots=True)
class RowEntry:
    """One entry in its wide form."""

    position: int
    opened_ns: int
    offsets: tuple[int, int]
    connection: int
    label: int
    shape: int
    rows: int = 0
    duration_ms: float = math.nan
    first_ms: float = math.nan
    sent_bytes: int = 0
    received_bytes: int = 0
    wait_ns: int = 0
    """Its part of the counter `wait_ns`."""
    effect: int = UNKNOWN
    """The number of its effect."""
    times: int = 1
    """The number of messages in the row: its effect counts that many times."""
    values: int = 0
    """Passage.values, as an unsigned number."""

    @property
    def is_open(self) -> bool:
        return math.isnan(self.duration_ms)


def prepared_earlier(name: str) -> str:
    """The text shown instead of SQL that was not seen."""
    return f"{name or 'statement'}, prepared earlier"
