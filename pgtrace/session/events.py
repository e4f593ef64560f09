"""What a session reports: round trips, statements, and messages outside any round trip.

A session calls an Observer while it reads; everything that counts, lists or draws is one. Each
round trip is reported once, when it has closed, as two objects:

- the Exchange: everything that can repeat. It has the Effect, which all sessions of a reading
  share, and the session's statements with what happened to each. If the same happens again, it is
  the same object.
- the Passage: what differs each time, i.e. times, places in the streams, sizes, rows.

Do not change them; `note` is for the observer. Words are those of the glossary: flush point, round
trip, execution, reuse. Times are monotonic ns as recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Final, NamedTuple

from pgtrace.session.departure import Departure
from pgtrace.session.effects import Counts, Effect
from pgtrace.session.failures import Failure
from pgtrace.session.statements import Portal, Statement

FLIGHT_MESSAGES_KEPT = 1 << 16
"""The most messages of one round trip in its flight, each side; a run of DataRow or CopyData is
one. CUT marks the rest."""

# Bytes in a flight for messages without a type byte. describe/notation.py spells them.
SKIPPED = 0x01
STARTUP = 0x02
SSL = 0x03
GSS = 0x04
CANCEL = 0x05
CUT = 0x06


class Part:
    """What a round trip did with one statement."""

    __slots__ = (
        "at_once", "dropped", "ended", "errors", "executions", "forgotten", "is_carried", "parameters", "parses", "results", "reused",
        "rows",
        "statement", "values_binary", "values_text",
    )  # fmt: skip

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.is_carried = self.forgotten = False
        self.dropped = ""
        self.parses = self.executions = self.ended = self.at_once = self.rows = self.values_text = self.values_binary = self.reused = (
            self.errors
        ) = self.parameters = self.results = 0

    # parameters, results: formats that its Binds have and ask for: 1 for text, 2 for binary, 3 for
    # both, 0 for none. is_carried: the round trip has a message of it. executions: those that
    # ended, without those that continue a suspended portal. ended: how often one ended or
    # continued. at_once: how often nobody waited for it, because it came with the one before.
    # reused: BindCompletes of a named statement after its first. errors: its ErrorResponses.
    # dropped: the named statement was dropped, by Close or by the command with that tag. forgotten:
    # it exists but is no longer tracked, because there are too many.


class Exchange:
    """What happened in a round trip, without what differs each time."""

    __slots__ = ("copying", "effect", "error", "failures", "first", "note", "parts", "portals", "rows_differ", "statements")

    def __init__(
        self,
        effect: Effect,
        parts: tuple[Part, ...],
        portals: tuple[Portal, ...] = (),
        *,
        first: Statement | None = None,
        rows_differ: bool = False,
    ) -> None:
        self.effect = effect
        self.parts = parts
        """By statement; first those that it has a message of, in order."""
        self.statements = (
            (parts[0].statement,)
            if len(parts) == 1 and parts[0].is_carried
            else tuple([part.statement for part in parts if part.is_carried])
        )
        """Those that it carries a message of."""
        self.portals = portals
        """The portals that it bound."""
        self.first = first
        """The statement whose execution ended first."""
        self.copying: Statement | None = None
        """The COPY whose data it begins with; its Query or Execute was part of an earlier round
        trip."""
        self.error = b""
        """Body of the first ErrorResponse in it."""
        self.failures: tuple[Failure, ...] = ()
        """Its ErrorResponses, the first few."""
        self.rows_differ = rows_differ
        """Whether it is a known exchange that happened again. The number of its rows varies;
        returned() computes it. Its first execution was waited for as long as the round trip
        (Passage.waited_ns), and waited() does not say so."""
        self.note: Any = None

    def returned(self, part: Part, rows: int, times: int = 1) -> tuple[int, int, int]:
        """The rows of a part, and their values in text and in binary, for `times` repetitions with
        `rows` rows in all."""
        if not self.rows_differ:
            return times * part.rows, times * part.values_text, times * part.values_binary
        if not part.rows:
            return 0, 0, 0
        return rows, rows * part.values_text, rows * part.values_binary

    def again(self) -> Exchange:
        """The same exchange for any number of rows: all asked in one read, all answered in one."""
        parts = []
        for part in map(copy, self.parts):
            part.at_once = part.ended - (part.statement is self.first)
            if part.rows:
                part.values_text //= part.rows
                part.values_binary //= part.rows
            parts.append(part)
        return Exchange(self.effect, tuple(parts), self.portals, first=self.first, rows_differ=True)


class Passage(NamedTuple):
    """What differs each time."""

    note: Any
    """The result of Observer.begins()."""
    opened_ns: int
    first_flush_ns: int
    first_answer_ns: int | None
    closed_ns: int | None
    """None while it is open, or while it is not known whether its driver was still there
    (departure.py)."""
    waited_ns: int
    """How long one of its flush points was open, as waiting time."""
    offsets: tuple[int, int]
    """Where its messages begin in the stream of each side."""
    rows: int
    sent_bytes: int
    received_bytes: int
    values: int
    """A hash of what the driver sent: equal for two round trips that asked the same with the same
    values. 0 if unknown, during set-up, and for a very long one."""
    departure: Departure | None = None
    """The end that came while it was open."""
    replaces: tuple[Exchange, Passage] | None = None
    """What was reported of it before, if a late reply or a later known time changed it."""


new_passage: Final[Callable[[type[Passage], tuple[Any, ...]], Passage]] = tuple.__new__
"""A Passage from all its fields in a tuple: what reading does for each round trip, without the
calls of the constructor."""


class Observer:
    """Override the events you need. Every method is called in the order of the bytes."""

    __slots__ = ()

    def begins(self) -> Any:
        """A run of frontend messages begins, which may become a round trip. The result becomes the
        note of its passage."""
        return None

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        """Everything is answered, or the run ended without becoming a round trip. Called again when
        a late reply is added, or when a time becomes known."""

    def waited(self, statement: Statement, wait_ns: int) -> None:
        """How long an execution was waited for: from the later of its flush point and the end of
        the previous execution, to the read with its last reply. Not called for a known exchange
        (Exchange.rows_differ)."""

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        """A message outside any round trip: asynchronous ones, Terminate, CancelRequest, stray copy
        data, opaque or undecoded bytes. `counts` is None if it is not counted."""

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        """From here on the name of that kind, `S` or `P`, means `what`."""

    def copy_began(self, note: Any, code: int, response: bytes, statement: Statement | None) -> None:
        """CopyInResponse, CopyOutResponse or CopyBothResponse, in the round trip with that note:
        the following CopyData belongs to that statement."""

    def copy_ended(self) -> None:
        """The COPY of copy_began() is over: later CopyData would belong to no statement."""
