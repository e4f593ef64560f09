"""The parts of a finding: its kind, the rows that a watch receives, and the notes that it keeps.

A module of this package defines one kind: `KIND`, and a Watch. Each connection has one Watch per
kind. It receives the connection's round trips in order (row), its other rows (other), its end, and
a call to settle. It records what it sees in a Note per subject: the normalised SQL, a flight, or
anything else that separates two causes. Notes with the same kind, driver, layer and subject are
added up over all connections; Kind.is_reported says whether the sum is reported.

A watch relies only on what passed: the messages, their round trip, the transaction status, the
command tags, and what the session knows about names. Only successful commands have tags. Anything
that only the text shows is read from all of its tokens (judge/texts.py), not just from the first
words. Rows are those of the timeline: a round trip with several statements shows only the first, so
a watch must check `shape.statements` before it uses the SQL.

With a note, a watch explains the ErrorResponses of a row or the end of its connection. Failures
that no finding explains are listed (judge/unexplained.py), so a watch must claim only those that
its finding is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.inspect.executed import executed
from pgtrace.inspect.walk import NotKept
from pgtrace.judge import texts
from pgtrace.session.failures import Failure
from pgtrace.sqltext.memory import remembered
from pgtrace.trace.row import Label, Shape

if TYPE_CHECKING:
    from pgtrace.judge.signs import Signs
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

EVIDENCE_KEPT: Final = 4
"""The number of rows that a finding shows as evidence."""
CONNECTIONS_KEPT: Final = 8
_TEXTS_KEPT: Final = 5_000
EXPLAINS_KEPT: Final = 1_000
_SPANS_KEPT: Final = 64
FAILED: Final = "failed"
ROUND_TRIPS: Final = "round trips"
ALSO: Final = "also: "
"""A prefix of a fact of a loop: a statement follows that is only in some of its rounds."""
SUBJECT_CHARACTERS: Final = 160
BETWEEN: Final = " · "
"""The separator between the parts of a subject."""
PAUSE_NS: Final = 50_000_000
"""Outside a block, round trips belong together if the application pauses no longer than this."""
PAUSED_NS: Final = 1_000_000_000
"""The shortest pause between two round trips that is passed to Watch.paused()."""
UNKNOWN_SQLSTATE: Final = ""
"""Stands for the SQLSTATE of an ErrorResponse whose fields are not kept."""


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
        """A hash of its SQL, to distinguish texts."""
        self.opened_ns = opened_ns
        self.duration_ms = duration_ms
        self.rows = rows
        """The number of its DataRow messages."""
        self.values = values
        """A hash of what the driver sent, from the index."""
        self.label = label
        self.key = key
        """Its normalised SQL; empty if it has several statements or none."""
        self.pause_ns = pause_ns
        """The time from the end of the connection's previous round trip to the beginning of this
        one; None for the first, and after a gap.
        """
        self.counts = counts
        """Whether the filter selects it. Watches add up only such rows."""
        self._unclaimed: list[str] | None = None

    def sends(self, letter: str) -> int:
        """The number of frontend messages with that letter."""
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
        """The SQLSTATEs of its errors; UNKNOWN_SQLSTATE for errors whose fields are not kept."""
        known = [failure.sqlstate for failure in self.label.failures]
        return known + [UNKNOWN_SQLSTATE] * (self.shape.errors - len(known))

    def failure(self, *sqlstates: str) -> Failure | None:
        """The first of its errors with one of these SQLSTATEs; None if there is none."""
        return next((failure for failure in self.label.failures if failure.sqlstate in sqlstates), None)

    def explain(self, note: Note, *sqlstates: str) -> None:
        """Let the note explain the row's errors (with one of these SQLSTATEs, or all of them) that
        no other note explains yet.
        """
        if self._unclaimed is None:
            self._unclaimed = self.errors
        if not self.counts:
            return
        for sqlstate in [one for one in self._unclaimed if not sqlstates or one in sqlstates]:
            note.errors[sqlstate] += 1
            self._unclaimed.remove(sqlstate)

    @property
    def is_empty(self) -> bool:
        """Whether it runs a single statement that is empty."""
        return self.shape.depth == 1 and b"I" in self.shape.received

    @property
    def only_prepares(self) -> bool:
        """Whether it parses or describes a statement and runs nothing."""
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
    """A bounded cache of the answers to a question about SQL texts, shared by all connections."""

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


class ByWords(ByText):
    """Like ByText, for a question about the words of a text (judge/texts.py). Texts that differ
    only in values share an answer, because programs that put values into their SQL send a new text
    each time.
    """

    __slots__ = ()

    def __init__(self, ask: Callable[[str], bool]) -> None:
        asked = remembered(ask)
        super().__init__(lambda sql: asked(texts.without_values(sql)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row that shows the finding, with a note on what it shows."""

    place: int
    words: str = ""


@dataclass(slots=True)
class Span:
    """A period of time, in ns of the trace."""

    since_ns: int
    until_ns: int = 0

    def overlaps(self, other: Span) -> bool:
        return self.since_ns < other.until_ns and other.since_ns < self.until_ns


@dataclass(slots=True)
class Note:
    """The sum of what watches have seen for one kind and subject."""

    subject: str = ""
    cost: int = 0
    """Round trips that could be avoided."""
    times: int = 0
    """How often it was seen; each kind defines the count."""
    amount: int = 0
    """A sum; each kind defines it."""
    most: int = 0
    """A maximum; each kind defines it."""
    words: str = ""
    """A text from when it was first seen; each kind defines it."""
    differs: bool = False
    """Whether other connections had different `words`."""
    evidence: list[Evidence] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    more_connections: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    """The facts that decide its remedies, each with the number of connections on which it was
    seen."""
    errors: Counter[str] = field(default_factory=Counter)
    """SQLSTATE -> the number of ErrorResponses that it explains."""
    ends: Counter[str] = field(default_factory=Counter)
    """Description of an end -> the number of such ends that it explains."""
    parts: dict[str, Note] = field(default_factory=dict)
    """Kind -> the note of that kind that was joined to this one."""
    explains: dict[tuple[str, str], None] = field(default_factory=dict)
    """Kinds and subjects of findings that only repeat this one, for the same driver."""
    spans: list[Span] = field(default_factory=list)
    """Some of the times at which it was seen, if the kind keeps them."""
    at_once: bool = False
    """Whether two connections had it at the same time."""

    def show(self, place: int, words: str = "") -> None:
        """Keep a row as evidence, up to EVIDENCE_KEPT."""
        if len(self.evidence) < EVIDENCE_KEPT:
            self.evidence.append(Evidence(place, words))

    def fact(self, *facts: str) -> None:
        """Record that these facts were seen on its connection."""
        for fact in facts:
            self.facts[fact] = 1

    def span(self, since_ns: int) -> Span:
        """Begin a period at that time and return it; the caller must keep its end up to date."""
        span = Span(since_ns)
        if len(self.spans) < _SPANS_KEPT:
            self.spans.append(span)
        return span

    def absorb(self, kind: str, subject: str) -> None:
        """Record that a finding of that kind and subject only repeats this one."""
        if len(self.explains) < EXPLAINS_KEPT:
            self.explains[kind, subject] = None

    def join(self, kind: str, other: Note) -> None:
        """Make a finding of another kind, which has the same cause, part of this one."""
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
        """Whether that normalised SQL is in the subject, or joined the loop later."""
        return sql in self.subject or f"{ALSO}{sql}" in self.facts

    @property
    def on(self) -> int:
        """The number of connections on which it was seen."""
        return len(self.connections) + self.more_connections


def bound_values(trace: Trace, place: int) -> int:
    """A hash of the values that a row binds, read from the capture again; 0 if they cannot be
    read.
    """
    try:
        ran = executed(trace, place)
    except NotKept:
        return 0
    return hash((ran[0].formats, ran[0].parameters)) if len(ran) == 1 and ran[0].parameters is not None else 0


def shown(note: Note) -> str:
    """The note's subject, SQL, as it appears in a sentence."""
    return sqltext.shorten(note.subject, SUBJECT_CHARACTERS)[:SUBJECT_CHARACTERS]


POOLER: Final = "pooler"
"""A fact that any note can have: there are signs of a pooler between driver and server."""
KEEPS_BEHIND_POOLER: Final = (
    "behind a pooler in transaction mode, use PgBouncer 1.21 or later with max_prepared_statements > 0, so the driver can keep statements"
)


def times(number: int) -> str:
    """`once`, `3 times`."""
    return "once" if number == 1 else f"{number} times"


def in_seconds(ns: int) -> float:
    """Seconds, rounded: `0.7`, `3.0`; below 0.1 s to milliseconds, `0.012`."""
    return round(ns / 1e9, 1 if ns >= 100_000_000 else 3)


def seconds(ns: int) -> str:
    """`12 ms`, `0.7 s`, `3.0 s`."""
    return f"{ns / 1e9:.1f} s" if ns >= 100_000_000 else f"{ns / 1e6:.0f} ms"


def counted(number: int, what: str) -> str:
    """`1 statement`, `3 statements`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Seen(Protocol):
    """The connection that a watch observes, and the place for its notes."""

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
    """The number of round trips after set-up, before the current one."""
    before: Step | None
    """The latest of those round trips; None if bytes are missing in between."""
    joins: Joins | None
    """What is known about the other side of a pooler, if both sides were recorded."""

    @property
    def signs(self) -> Signs:
        """Evidence of a pooler between driver and server."""

    def note(self, kind: Kind, subject: str = "") -> Note:
        """The connection's note of that kind and subject, created when first needed."""

    def row_of(self, place: int, kind: Kind) -> None:
        """Record that the row belongs to a finding of that kind, and may be its first."""

    def explain_end(self, note: Note) -> None:
        """Let the note explain the end of the connection, unless another note does."""


class Watch:
    """Watches one connection for one kind of finding. Its state must be bounded. It is created when
    there is something to look at: a row that its kind cares about, a pause, an end.
    """

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def row(self, step: Step) -> None:
        """Called with each round trip after set-up, in order."""

    def rests(self, step: Step) -> bool:
        """Whether the watch can rest while similar round trips follow: with the same shape and
        label, each at most PAUSE_NS after the one before, and nothing else on the connection in
        between. Then again() is called instead of row(). Their values, rows and times may differ.
        """
        return False

    def again(self, steps: list[Step]) -> None:
        """Called with the similar round trips that came while the watch rested."""
        self.row(steps[-1])

    def paused(self, before: Step, place: int, pause_ns: int, words: str, *, counts: bool) -> None:
        """Called if the driver sent nothing after that round trip for PAUSED_NS or more, up to the
        row at `place`; at the end of the session, after any pause. `words` is the SQLSTATE of the
        FATAL error that ended the session, or empty.
        """

    def used_after(self, fatal: Step, step: Step) -> None:
        """Called with a round trip that opened after the server's FATAL error was passed on."""

    def left_open(self, step: Step) -> None:
        """Called with a round trip that is still open at the end of the capture; its duration ends
        there.
        """

    def other(self, step: Step) -> None:
        """Called with any other row: a round trip of the set-up, an asynchronous message, an end,
        or a run of messages without a flush point.
        """

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        """Called once, when the session ends at the row at `place`, `pause_ns` after its latest
        round trip: by a FATAL error, an end, or Terminate. `words` is the SQLSTATE of the FATAL
        error, if it was one.
        """

    def lost(self) -> None:
        """Called where bytes are missing: the next rows do not directly follow the earlier ones."""

    def settle(self) -> None:
        """Bring the notes up to date. Called when the connection is over or results are requested,
        and again if more rows come.
        """


def _all(_shape: Shape) -> bool:
    return True


def nothing(_shape: Shape) -> bool:
    """For Kind.cares: no round trip by itself."""
    return False


def failures(shape: Shape) -> bool:
    """For Kind.cares: only round trips with errors."""
    return bool(shape.errors)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding."""

    name: str
    unit: str
    """The unit of its number: ROUND_TRIPS, FAILED, or something without a cost."""
    why: str
    """Why it costs or fails, in one or two sentences."""
    remedies: tuple[Remedy, ...]
    """The general remedies, for drivers and layers without their own (identify/)."""
    watch: type[Watch]
    what: Callable[[Note], str]
    """Makes the line that says what happened."""
    is_reported: Callable[[Note], bool] = lambda note: note.cost > 0
    number: Callable[[Note], float] = lambda note: note.cost
    cares: Callable[[Shape], bool] = _all
    """Whether a round trip with that shape is of interest; asked once for each shape."""
    cares_other: Callable[[Step], bool] = lambda _: True
    """Whether a row that is not a round trip after set-up is of interest."""
    joins: tuple[str, ...] = ()
    """Kinds whose findings about the same subject have the same cause. They become part of this
    one, and their costs are added to it.
    """
    also: Mapping[str, tuple[Remedy, ...]] = field(default_factory=dict)
    """The joined kinds whose remedies are printed, too: the driver's or layer's, else these."""
    joined: Callable[[Note], tuple[str, ...]] = lambda note: (note.subject,)
    """The subjects of the findings that join this one."""
    of_setup: bool = False
    """Whether its cost is in set-up round trips, which are counted separately."""
    of_joins: bool = False
    """Whether it needs a trace in which both sides of a pooler are joined."""
    is_kept_if_larger: bool = False
    """Whether it is reported next to a finding that explains it, if it costs more."""
    is_counted: Callable[[Shape], bool] = _all
    """Whether a row with that shape counts once for its line of code."""
    first: tuple[Remedy, ...] = ()
    """Remedies that replace those of drivers and layers,"""
    is_first: Callable[[Note], bool] = lambda _: False
    """if this is true of the note."""
