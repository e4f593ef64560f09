"""One row of the timeline: its kind, what it shares with rows like it, its texts, its numbers.

A row is a round trip, or one of the few other events on a wire: a notification, a Terminate, a
cancel, a mark, a gap. Many rows share a Shape (flight, depth, flags) and a Label (SQL, error). A
RowEntry is what the index keeps for each row (rows.py). A Row is what views get: it is built from
an entry on request and not kept.
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
"""The most characters of SQL kept with a row. The details have all of it."""
GROUPS_KEPT: Final = 1024
"""The most different statements of one round trip in its label."""
RUN_KEPT: Final = 200
"""How many messages of a run of DataRow or CopyData are listed one by one."""
FLIGHT_KEPT: Final = 4096
"""The most messages of each side in a shape."""
NO_FLIGHT: Final = "…"
"""The flight of a shape whose flight is not kept."""


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
    owed."""
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


class Shape(NamedTuple):
    """What a row shows besides times, sizes and texts. All rows that look the same share it."""

    kind: RowKind
    flight: str
    """Flight notation: `BDES → 2TDCZ`."""
    sent: bytes = b""
    """One byte for each frontend message, the source of the flight. A run of CopyData is one
    byte."""
    received: bytes = b""
    depth: int = 0
    errors: int = 0
    prepares: bool = False
    """Whether it contains the Parse of a named statement."""
    reuses: bool = False
    """Whether it contains a Bind of a named statement beyond its first."""
    formats: str = ""
    """The formats of the results: "t", "b", "m"ixed, or "" without results."""
    status_before: str = ""
    status: str = ""
    """The transaction status after it, from the latest ReadyForQuery: "I", "T", "E" or ""."""
    statement: str = ""
    """The name of the prepared statement it is about, as on the wire."""
    statements: int = 0
    """The number of its statements: 0, 1, or 2 for several. With several, `statement` and the label
    name only some of them."""
    uncertain: bool = False
    """Whether bytes are missing inside it: counts are lower bounds."""
    executions: int = 0
    block_began: bool = False
    """Whether a transaction block began in it."""
    block_end: str = ""
    """The command tag that ended a transaction block in it, or empty."""
    owed_before: bytes = b""
    """What was still owed when it began: Effect.owed_before."""
    tags: tuple[str, ...] = ()
    """Its command tags without numbers; consecutive equal tags count once: Effect.tags."""
    warnings: tuple[str, ...] = ()
    """The SQLSTATEs of its warnings."""
    portal: bool = False
    """Whether it binds a named portal."""
    sent_flight: str = ""
    """What was sent, in flight notation, for a round trip; if the flight begins with a reply, that
    reply."""

    @property
    def is_problem(self) -> bool:
        """Whether every row with this shape is a problem."""
        return bool(self.errors) or self.kind is RowKind.GAP


class Share(NamedTuple):
    """What one group of statements (groups.py) did in a row. Many groups have equal shares."""

    parses: int = 0
    reused: int = 0
    executions: int = 0
    errors: int = 0
    rows: int = 0
    values_text: int = 0
    values_binary: int = 0
    each: bool = False
    """Whether `rows` and the values are those of each DataRow."""


class Label(NamedTuple):
    """The texts of a row."""

    sql: str
    """SQL for a round trip; what happened, in words, for the other kinds."""
    sqlstate: str = ""
    """The SQLSTATE of its first error, or empty."""
    message: str = ""
    """The message of its first error, or empty."""
    groups: tuple[int, ...] = ()
    """The numbers of the groups of its statements (groups.py), the first GROUPS_KEPT."""
    end: str = ""
    """For a round trip that was open when a side ended its direction: what happened to it
    (ends.py)."""
    failures: tuple[Failure, ...] = ()
    """Its first few ErrorResponses."""
    others: tuple[int, ...] = ()
    """The numbers of groups that it did something with but contains no message of."""
    shares: tuple[Share, ...] = ()
    """The shares of `groups`, then of `others`, at most GROUPS_KEPT in total. Labels with equal
    shares have one object."""

    @property
    def shares_by_group(self) -> Iterator[tuple[int, Share]]:
        """The number of each group, with its share."""
        return zip(self.groups + self.others, self.shares, strict=True)

    @property
    def error(self) -> str:
        """The error for people: `23505 duplicate key value ...`, or empty."""
        return f"{self.sqlstate} {self.message}".strip()


class Row(NamedTuple):
    """One row of the timeline. Times are ns; `opened_ns` counts from the start of the capture."""

    number: int
    """1-based place in the timeline."""
    connection: int
    """Index into Trace.connections."""
    opened_ns: int
    duration_ns: int | None
    """None while it is open."""
    first_ns: int | None
    """The time from the opening to the first byte of the answer."""
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
    """One entry of the index, unpacked."""

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
