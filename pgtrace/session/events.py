"""What a session reports: round trips, statements, and messages outside any round trip.

A session calls an Observer while it reads. Everything that counts, lists or draws is an Observer.
Each round trip is reported once, when it has closed, as two objects:

- the Exchange: everything that can repeat. It has the Effect, which all sessions of a reading
  share, and the session's statements with what happened to each. If the same happens again, it is
  the same object.
- the Passage: what differs each time: times, places in the streams, sizes, rows.

Do not change them, except for `note`, which is for the observer. Words are those of the glossary:
flush point, round trip, execution, reuse. Times are monotonic ns as recorded.
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
"""The most messages of one round trip in its flight, on each side. A run of DataRow or CopyData is
one message. CUT replaces the rest."""

# Bytes in a flight for messages without a type byte. describe/notation.py has their names.
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

    # parameters, results: the formats of its parameters and the result formats that it asks for,
    # over all its Binds: 1 for text, 2 for binary, 3 for both, 0 for none. is_carried: the round
    # trip contains a message of the statement. executions: the executions that ended, without those
    # that continue a suspended portal. ended: how often an execution ended or continued. at_once:
    # how often the driver did not wait for it, because its answer came with the previous one.
    # reused: BindCompletes of a named statement beyond its first. errors: its ErrorResponses.
    # dropped: how the named statement was dropped: by Close or by the command with that tag.
    # forgotten: the statement exists but is not tracked any more, because there are too many.


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
        """One part for each statement; first those that the round trip contains a message of, in
        order."""
        self.statements = (
            (parts[0].statement,)
            if len(parts) == 1 and parts[0].is_carried
            else tuple([part.statement for part in parts if part.is_carried])
        )
        """The statements that it contains a message of."""
        self.portals = portals
        """The portals that it bound."""
        self.first = first
        """The statement whose execution ended first."""
        self.copying: Statement | None = None
        """The COPY whose data it begins with. The Query or Execute of that COPY belongs to an
        earlier round trip."""
        self.error = b""
        """The body of the first ErrorResponse in it."""
        self.failures: tuple[Failure, ...] = ()
        """Its first few ErrorResponses."""
        self.rows_differ = rows_differ
        """Whether this is a known exchange that may happen again with other numbers of rows;
        returned() computes them. The driver waited for its first execution as long as for the round
        trip (Passage.waited_ns), and Observer.waited() is not called for it."""
        self.note: Any = None

    def returned(self, part: Part, rows: int, times: int = 1) -> tuple[int, int, int]:
        """The rows of a part, and their values in text and in binary, for `times` repetitions with
        `rows` rows in total."""
        if not self.rows_differ:
            return times * part.rows, times * part.values_text, times * part.values_binary
        if not part.rows:
            return 0, 0, 0
        return rows, rows * part.values_text, rows * part.values_binary

    def about(self, statement: Statement, rows: int, *, at_once: bool) -> Exchange:
        """This known exchange of one statement, with another statement and `rows` rows, for one
        occurrence. `at_once`: the driver did not wait for it."""
        known = self.parts[0]
        part = Part(statement)
        part.is_carried = True
        part.executions = part.ended = 1
        part.at_once = int(at_once)
        if known.rows:
            part.rows, part.values_text, part.values_binary = self.returned(known, rows)
        return Exchange(self.effect, (part,), first=statement)

    def for_repeats(self) -> Exchange:
        """This exchange for any number of rows, if all of it was sent in one read and answered in
        one."""
        parts = []
        for part in map(copy, self.parts):
            part.at_once = part.ended - (part.statement is self.first)
            if part.rows:
                part.values_text //= part.rows
                part.values_binary //= part.rows
            parts.append(part)
        return Exchange(self.effect, tuple(parts), self.portals, first=self.first, rows_differ=True)


class Passage(NamedTuple):
    """What differs each time the same exchange happens."""

    note: Any
    """The result of Observer.begins()."""
    opened_ns: int
    first_flush_ns: int
    first_answer_ns: int | None
    closed_ns: int | None
    """None while it is open, or while it is not known whether its driver was still there
    (departure.py)."""
    waited_ns: int
    """How long a flush point of it was open: the driver's waiting time."""
    offsets: tuple[int, int]
    """Where its messages begin in the stream of each side."""
    rows: int
    sent_bytes: int
    received_bytes: int
    values: int
    """A hash of what the driver sent: equal for two round trips that sent the same messages with
    the same values. 0 if unknown, during set-up, and for a very long round trip."""
    departure: Departure | None = None
    """The end that came while the round trip was open."""
    replaces: tuple[Exchange, Passage] | None = None
    """The previous report of this round trip, if a late reply or a time that became known changed
    it."""


new_passage: Final[Callable[[type[Passage], tuple[Any, ...]], Passage]] = tuple.__new__
"""Make a Passage from a tuple of all its fields. Reading does this for each round trip, and so
avoids the calls of the constructor."""


class Observer:
    """Receives the events of a session. Override the methods you need. They are called in the order
    of the bytes."""

    __slots__ = ()

    def begins(self) -> Any:
        """A run of frontend messages begins, which may become a round trip. The result becomes the
        note of its passage."""
        return None

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        """A round trip closed, or a run ended without becoming one. Called again when a late reply
        is added, or when a time becomes known."""

    def waited(self, statement: Statement, wait_ns: int) -> None:
        """How long the driver waited for an execution: from the later of its flush point and the
        end of the previous execution, to the read with its last reply. Not called for a known
        exchange (Exchange.rows_differ)."""

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        """A message outside any round trip: asynchronous messages, Terminate, CancelRequest, stray
        copy data, opaque or undecoded bytes. `counts` is None if it is not counted."""

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        """From now on, the name of kind `S` or `P` refers to `what`."""

    def copy_began(self, note: Any, code: int, response: bytes, statement: Statement | None) -> None:
        """CopyInResponse, CopyOutResponse or CopyBothResponse arrived, in the round trip with that
        note. The CopyData that follows belongs to that statement."""

    def copy_ended(self) -> None:
        """The COPY of copy_began() is over. Later CopyData would belong to no statement."""
