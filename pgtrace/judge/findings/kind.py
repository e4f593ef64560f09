"""The parts of a finding: its kind, what a watch gets of each round trip, what it notes, and the
finding as a view gets it.

A module of this package is one kind: `KIND`, and a Watch. For each connection there is one Watch of
each kind. It gets the connection's round trips one after the other (row), and settles at the end.
What it sees it adds to a Note of its connection, by subject: the normalised SQL, a flight, or
whatever tells two causes apart. Notes with the same kind, driver, layer and subject are added up
over connections; Kind.told says whether the sum is worth a sentence.

A watch draws its conclusions from the traffic: which messages, in which round trip, in which
transaction status. The text of a statement shows whether two statements are the same, and little
else. Rows are as in the timeline: for a round trip with several statements they show only the
first, so a watch checks `shape.statements` before it uses the SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pgtrace import sqltext
from pgtrace.identify import drivers, layers
from pgtrace.identify.remedies import Remedy
from pgtrace.trace.rows import Label, Shape

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

EVIDENCE_KEPT: Final = 4
"""How many rows a finding shows."""
CONNECTIONS_KEPT: Final = 8
FAILED: Final = "failed"
ROUND_TRIPS: Final = "round trips"


SUBJECT_CHARACTERS: Final = 160


class Step:
    """One closed round trip after set-up, as a watch gets it."""

    __slots__ = ("counts", "key", "label", "pause_ns", "place", "rows", "shape", "text", "values")

    def __init__(
        self, place: int, shape: Shape, text: int, rows: int, values: int, label: Label, key: str, pause_ns: int | None, *, counts: bool
    ) -> None:
        self.place = place
        self.shape = shape
        self.text = text
        """The number of its label, which tells texts apart."""
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

    def sends(self, letter: str) -> int:
        """How many frontend messages of that letter it carries."""
        return self.shape.sent.count(ord(letter))

    @property
    def sent(self) -> str:
        """The frontend's half of its flight."""
        return self.shape.flight.partition(" → ")[0]

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of its first error."""
        return self.label.error[:5]

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


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row that shows the finding, and what it shows."""

    place: int
    words: str = ""


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
    words: str = ""
    """Words of the kind's choice, from the first sight."""
    evidence: list[Evidence] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    more_connections: int = 0

    def show(self, place: int, words: str = "") -> None:
        """Keep a row as evidence, if there is room."""
        if len(self.evidence) < EVIDENCE_KEPT:
            self.evidence.append(Evidence(place, words))

    def add(self, other: Note) -> None:
        """Add what was seen on another connection."""
        self.cost += other.cost
        self.times += other.times
        self.amount += other.amount
        self.words = self.words or other.words
        self.evidence += other.evidence[: EVIDENCE_KEPT - len(self.evidence)]
        for index in other.connections:
            if index in self.connections:
                continue
            if len(self.connections) < CONNECTIONS_KEPT:
                self.connections.append(index)
            else:
                self.more_connections += 1
        self.more_connections += other.more_connections


def shown(note: Note) -> str:
    """Its subject, SQL, as it appears in a sentence."""
    return sqltext.shorten(note.subject, SUBJECT_CHARACTERS)[:SUBJECT_CHARACTERS]


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

    def note(self, kind: Kind, subject: str = "") -> Note:
        """The connection's note of that kind and subject, made when first needed."""

    def row_of(self, place: int, kind: Kind) -> None:
        """The row belongs to a finding of that kind, and may be its first."""


class Watch:
    """Looks at one connection for one kind. State must be bounded."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def row(self, step: Step) -> None:
        """The next round trip."""

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        """The session is over at the row at that place, `pause_ns` after its latest round trip: a
        FATAL error, an end, Terminate. `words` are the FATAL's SQLSTATE, if it was one. Called
        once."""

    def lost(self) -> None:
        """Bytes are missing here: what comes next does not follow what came before."""

    def settle(self) -> None:
        """The connection is over, or someone asks for results: bring the notes up to date. Called
        again when there is more."""


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
    watch: Callable[[Seen], Watch]
    what: Callable[[Note], str]
    """What happened, in one line."""
    told: Callable[[Note], bool] = lambda note: note.cost > 0
    number: Callable[[Note], int] = lambda note: note.cost


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that costs round trips or will fail, with one driver."""

    kind: Kind
    driver: str
    layer: str
    note: Note

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def cost(self) -> int:
        """Round trips that could be avoided."""
        return self.note.cost

    @property
    def failed(self) -> bool:
        """Whether something has failed already."""
        return self.kind.unit is FAILED

    @property
    def number(self) -> int:
        """How many of kind.unit."""
        return self.kind.number(self.note)

    @property
    def what(self) -> str:
        return self.kind.what(self.note)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(self.note.evidence)

    @property
    def remedies(self) -> tuple[str, ...]:
        """In the words of the layer and of the driver; general ones if neither has its own."""
        clients = (layers.BY_NAME.get(self.layer), drivers.BY_NAME.get(self.driver))
        found = [remedy.text for client in clients if client is not None for remedy in client.remedies.get(self.name, ())]
        return tuple(found) or tuple(remedy.text for remedy in self.kind.remedies)
