"""What a finding is made of: its kind, the rows that a watch receives, the notes that it keeps.

A module of this package is one kind: `KIND`, and a Watch. For each connection there is one Watch of
each kind. It receives the connection's round trips in order (row), its other rows (other), its end,
and a call to settle. It adds what it sees to a Note of its connection, by subject: the normalised
SQL, a flight, or anything else that separates two causes. Notes of one kind, driver, layer and
subject are added up over connections; Kind.told says whether the sum is reported.

A watch uses only what passed: which messages, in which round trip, in which transaction status,
with which command tags, and what the session knows of its names. Only successful commands have
tags. What only the text shows is read from all its tokens (judge/texts.py), not only from the first
words. Rows are as in the timeline: a round trip with several statements shows only the first, so a
watch checks `shape.statements` before it uses the SQL.

A watch explains the ErrorResponses of a row, or the end of its connection, by a note. Failures that
no finding explains are listed as such (judge/unexplained.py), so a watch claims only what its
finding is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.session.failures import Failure
from pgtrace.trace.row import Label, Shape

if TYPE_CHECKING:
    from pgtrace.judge.signs import Signs
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

EVIDENCE_KEPT: Final = 4
"""How many rows a finding shows."""
CONNECTIONS_KEPT: Final = 8
_TEXTS_KEPT: Final = 5_000
EXPLAINS_KEPT: Final = 1_000
_SPANS_KEPT: Final = 64
FAILED: Final = "failed"
ROUND_TRIPS: Final = "round trips"
ALSO: Final = "also: "
"""A fact of a loop: before a statement that is in some of its rounds only."""
SUBJECT_CHARACTERS: Final = 160
BETWEEN: Final = " · "
"""Between the parts of a subject."""
PAUSE_NS: Final = 50_000_000
"""Outside a block, the longest pause of the application between two round trips that belong
together."""
PAUSED_NS: Final = 1_000_000_000
"""A pause between two round trips that watches receive."""
UNKNOWN_SQLSTATE: Final = ""
"""Of an ErrorResponse whose fields are not kept."""


class Step:
    """One complete row of a connection, as a watch receives it."""

    __slots__ = ("_unclaimed", "counts", "duration_ms", "key", "label", "opened_ns", "pause_ns", "place", "rows", "shape", "text", "values")

    def __init__(
        self,
        place: int,
        shape: Shape,
        text: int,
        opened_ns: int,
        duration_ms: float,
        rows: int,
        values: int,
        label: Label,
        key: str,
        pause_ns: int | None,
        *,
        counts: bool,
    ) -> None:
        self.place = place
        self.shape = shape
        self.text = text
        """A hash of its SQL, which tells texts apart."""
        self.opened_ns = opened_ns
        self.duration_ms = duration_ms
        self.rows = rows
        """Its DataRow messages."""
        self.values = values
        """A hash of what the driver sent, from the index."""
        self.label = label
        self.key = key
        """Its SQL, normalised; empty if it has several statements or none."""
        self.pause_ns = pause_ns
        """From the end of the connection's previous round trip to its beginning; None for the
        first, and after a gap."""
        self.counts = counts
        """Whether a filter selects it. Watches add up only such rows."""
        self._unclaimed: list[str] | None = None

    def sends(self, letter: str) -> int:
        """How many frontend messages of that letter it has."""
        return self.shape.sent.count(ord(letter))

    @property
    def sent(self) -> str:
        """The frontend's half of its flight."""
        return self.shape.sent_flight

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of its first error."""
        return self.label.sqlstate

    @property
    def errors(self) -> list[str]:
        """SQLSTATEs of its errors; UNKNOWN_SQLSTATE for those whose fields are not kept."""
        known = [failure.sqlstate for failure in self.label.failures]
        return known + [UNKNOWN_SQLSTATE] * (self.shape.errors - len(known))

    def failure(self, *sqlstates: str) -> Failure | None:
        """The first of its errors with one of these SQLSTATEs."""
        return next((failure for failure in self.label.failures if failure.sqlstate in sqlstates), None)

    def explain(self, note: Note, *sqlstates: str) -> None:
        """The note is about its errors (those with one of these SQLSTATEs, or all) that no other
        note has."""
        if self._unclaimed is None:
            self._unclaimed = self.errors
        if not self.counts:
            return
        for sqlstate in [one for one in self._unclaimed if not sqlstates or one in sqlstates]:
            note.errors[sqlstate] += 1
            self._unclaimed.remove(sqlstate)

    @property
    def is_empty(self) -> bool:
        """Whether it runs one statement, which is empty."""
        return self.shape.depth == 1 and b"I" in self.shape.received

    @property
    def only_prepares(self) -> bool:
        """Whether it parses or describes, and runs nothing."""
        return not self.shape.depth and bool(self.sends("P") or self.sends("D"))

    @property
    def only_closes(self) -> bool:
        """Whether it drops statements and does nothing else."""
        return not self.shape.depth and bool(self.sends("C")) and not self.sends("P") and not self.sends("B")

    @property
    def only_drops(self) -> bool:
        """Whether it only drops statements, by messages or by SQL."""
        return self.only_closes or self.shape.tags == ("DEALLOCATE",)

    @property
    def is_whole(self) -> bool:
        """Whether it ended in a ReadyForQuery."""
        return self.shape.received[-1:] == b"Z"

    @property
    def duration_ns(self) -> int:
        return round(self.duration_ms * 1e6)


class ByText:
    """The answer to a question about SQL, asked once for each text of all connections, as long as
    there are not too many."""

    __slots__ = ("_ask", "_known")

    def __init__(self, ask: Callable[[str], bool]) -> None:
        self._ask = ask
        self._known: dict[int, bool] = {}

    def __call__(self, step: Step) -> bool:
        known = self._known.get(step.text)
        if known is None:
            if len(self._known) >= _TEXTS_KEPT:
                self._known.clear()
            known = self._known[step.text] = self._ask(step.label.sql)
        return known


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row that shows the finding, and what it shows."""

    place: int
    words: str = ""


@dataclass(slots=True)
class Span:
    """A time, in ns of the trace."""

    since_ns: int
    until_ns: int = 0

    def overlaps(self, other: Span) -> bool:
        return self.since_ns < other.until_ns and other.since_ns < self.until_ns


@dataclass(slots=True)
class Note:
    """What watches have seen of one kind and subject."""

    subject: str = ""
    cost: int = 0
    """Round trips that could be avoided."""
    times: int = 0
    """How often it was seen; each kind says what it counts."""
    amount: int = 0
    """A number of the kind's choice, a sum."""
    most: int = 0
    """A number of the kind's choice, the largest."""
    words: str = ""
    """Words of the kind's choice, from the first sight."""
    differs: bool = False
    """Whether other connections had other words."""
    evidence: list[Evidence] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    more_connections: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    """The facts that decide its remedies, each with the number of connections on which it was
    seen."""
    errors: Counter[str] = field(default_factory=Counter)
    """The ErrorResponses that it explains, by SQLSTATE."""
    ends: Counter[str] = field(default_factory=Counter)
    """The ends of connections that it explains, in words."""
    parts: dict[str, Note] = field(default_factory=dict)
    """What has joined it, by the kind of finding."""
    explains: dict[tuple[str, str], None] = field(default_factory=dict)
    """Kinds and subjects of findings that only repeat it, under the same driver."""
    spans: list[Span] = field(default_factory=list)
    """When it was seen, if the kind keeps that: some of the times."""
    at_once: bool = False
    """Whether one connection had it while another had it, too."""

    def show(self, place: int, words: str = "") -> None:
        """Keep a row as evidence, if there is room."""
        if len(self.evidence) < EVIDENCE_KEPT:
            self.evidence.append(Evidence(place, words))

    def fact(self, *facts: str) -> None:
        """These facts were seen on its connection."""
        for fact in facts:
            self.facts[fact] = 1

    def span(self, since_ns: int) -> Span:
        """A time from then on, whose end is to be kept up to date."""
        span = Span(since_ns)
        if len(self.spans) < _SPANS_KEPT:
            self.spans.append(span)
        return span

    def absorb(self, kind: str, subject: str) -> None:
        """A finding of that kind and subject only repeats this one."""
        if len(self.explains) < EXPLAINS_KEPT:
            self.explains[kind, subject] = None

    def join(self, kind: str, other: Note) -> None:
        """That finding of another kind has the same cause."""
        self.cost += other.cost
        self.facts[kind] += other.on
        self.parts.setdefault(kind, Note(other.subject)).add(other)
        self.errors.update(other.errors)
        self.ends.update(other.ends)
        shown = {one.place for one in self.evidence}
        self.evidence += [one for one in other.evidence if one.place not in shown][: EVIDENCE_KEPT - len(self.evidence)]

    def add(self, other: Note) -> None:
        """Add what was seen on another connection."""
        self.cost += other.cost
        self.times += other.times
        self.amount += other.amount
        self.most = max(self.most, other.most)
        self.differs |= other.differs or bool(self.words and other.words and self.words != other.words)
        self.words = self.words or other.words
        self.evidence += other.evidence[: EVIDENCE_KEPT - len(self.evidence)]
        self.facts.update(other.facts)
        self.errors.update(other.errors)
        self.ends.update(other.ends)
        self.at_once |= other.at_once or any(one.overlaps(more) for one in self.spans for more in other.spans)
        self.spans += other.spans[: _SPANS_KEPT - len(self.spans)]
        for explained in other.explains:
            self.absorb(*explained)
        for index in other.connections:
            if index in self.connections:
                continue
            if len(self.connections) < CONNECTIONS_KEPT:
                self.connections.append(index)
            else:
                self.more_connections += 1
        self.more_connections += other.more_connections

    def is_about(self, sql: str) -> bool:
        """Whether that normalised SQL is in its subject, or joined a loop later."""
        return sql in self.subject or f"{ALSO}{sql}" in self.facts

    @property
    def on(self) -> int:
        """How many connections it was seen on."""
        return len(self.connections) + self.more_connections


def shown(note: Note) -> str:
    """Its subject, SQL, as it appears in a sentence."""
    return sqltext.shorten(note.subject, SUBJECT_CHARACTERS)[:SUBJECT_CHARACTERS]


POOLER: Final = "pooler"
"""A fact of any note: there is a sign of a pooler between driver and server."""
KEEPS_BEHIND_POOLER: Final = (
    "behind a pooler in transaction mode, use PgBouncer 1.21 or later with max_prepared_statements > 0, so the driver can keep statements"
)


def times(number: int) -> str:
    """`once`, `3 times`."""
    return "once" if number == 1 else f"{number} times"


def in_seconds(ns: int) -> float:
    """`0.7`, `3.0`; what is short in ms, `0.012`."""
    return round(ns / 1e9, 1 if ns >= 100_000_000 else 3)


def seconds(ns: int) -> str:
    """`12 ms`, `0.7 s`, `3.0 s`."""
    return f"{ns / 1e9:.1f} s" if ns >= 100_000_000 else f"{ns / 1e6:.0f} ms"


def counted(number: int, what: str) -> str:
    """`1 statement`, `3 statements`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Seen(Protocol):
    """The connection that a watch looks at, and the place for its notes."""

    trace: Trace
    connection: Connection
    setup: int
    """Set-up round trips so far."""
    first: int
    """Place of its first row."""
    over: bool
    """Whether it has ended."""
    counts: bool
    """Whether a filter selects any of its rows."""
    round_trips: int
    """After set-up, before the current one."""
    before: Step | None
    """The latest of them; None if bytes are missing in between."""
    joins: Joins | None
    """What is known of the other side of a pooler."""

    @property
    def signs(self) -> Signs:
        """Evidence of a pooler between driver and server."""

    def note(self, kind: Kind, subject: str = "") -> Note:
        """The connection's note of that kind and subject, made when first needed."""

    def row_of(self, place: int, kind: Kind) -> None:
        """The row belongs to a finding of that kind, and may be its first."""

    def explain_end(self, note: Note) -> None:
        """The end of the connection is what the note is about, if no other note has it."""


class Watch:
    """Looks at one connection for one kind. State must be bounded. It is made when there is
    something to look at: a row that its kind cares for, a pause, an end."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def row(self, step: Step) -> None:
        """The next round trip after set-up."""

    def rests(self, step: Step) -> bool:
        """Whether the watch can wait for those that follow it and are alike: with the same shape
        and label, each at most PAUSE_NS after the one before, and nothing else of the connection in
        between. Then again() comes instead of row(). Their values, rows and times may differ."""
        return False

    def again(self, steps: list[Step]) -> None:
        """Round trips that were alike have come while the watch rested."""
        self.row(steps[-1])

    def paused(self, before: Step, place: int, pause_ns: int, words: str, *, counts: bool) -> None:
        """After that round trip nothing was asked for PAUSED_NS or more, up to the row at that
        place; or for any time, up to the session's end. `words` are the SQLSTATE of a FATAL error
        that ended it."""

    def used_after(self, fatal: Step, step: Step) -> None:
        """A round trip that opened after the server's FATAL error was passed on."""

    def left_open(self, step: Step) -> None:
        """A round trip that is still open at the end of the capture; its duration is up to
        there."""

    def other(self, step: Step) -> None:
        """Any other row: a round trip of the set-up, an asynchronous message, an end, or a run of
        messages without a flush point."""

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        """The session is over at the row at that place, `pause_ns` after its latest round trip: a
        FATAL error, an end, Terminate. `words` are the FATAL's SQLSTATE, if it was one. Called
        once."""

    def lost(self) -> None:
        """Bytes are missing here: what comes next does not follow what came before."""

    def settle(self) -> None:
        """The connection is over, or someone asks for results: bring the notes up to date. Called
        again when there is more."""


def _all(_shape: Shape) -> bool:
    return True


def nothing(_shape: Shape) -> bool:
    """For Kind.cares: no round trip by itself."""
    return False


def failures(shape: Shape) -> bool:
    """For Kind.cares: round trips with errors."""
    return bool(shape.errors)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding."""

    name: str
    unit: str
    """What its number counts: ROUND_TRIPS, FAILED, or something without a cost."""
    why: str
    """Why it costs or fails, a sentence or two."""
    remedies: tuple[Remedy, ...]
    """For drivers and layers without remedies of their own (identify/)."""
    watch: type[Watch]
    what: Callable[[Note], str]
    """What happened, in one line."""
    told: Callable[[Note], bool] = lambda note: note.cost > 0
    number: Callable[[Note], float] = lambda note: note.cost
    cares: Callable[[Shape], bool] = _all
    """Whether a round trip with that shape is of interest; asked once for each shape."""
    cares_other: Callable[[Step], bool] = lambda _: True
    """Whether a row of another kind is of interest."""
    joins: tuple[str, ...] = ()
    """Kinds whose findings about the same subject have the same cause: they are part of this one,
    and their costs are added to it."""
    also: Mapping[str, tuple[Remedy, ...]] = field(default_factory=dict)
    """Those of them whose remedies are printed as well: the driver's or layer's, else these."""
    joined: Callable[[Note], tuple[str, ...]] = lambda note: (note.subject,)
    """The subjects of findings that this one joins."""
    of_setup: bool = False
    """Whether the round trips that it costs are those of set-up, which are counted apart."""
    of_joins: bool = False
    """Whether its watch looks only at traces in which both sides of a pooler are joined."""
    stays_if_larger: bool = False
    """Whether it is reported beside a finding that explains it if it costs more."""
    is_counted: Callable[[Shape], bool] = _all
    """Whether a row with that shape is one time for its line of code."""
    first: tuple[Remedy, ...] = ()
    """Remedies that go before those of drivers and layers,"""
    is_first: Callable[[Note], bool] = lambda _: False
    """if this holds."""
