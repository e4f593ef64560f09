"""What a session tells about itself: round trips, executions, statements, and counts that follow from the protocol state alone.

The state machine (connection.py) calls an Observer while it reads; whoever counts, lists or draws is one. Objects handed over are the session's
own: read them, do not change them, and keep what you need of a RoundTrip when it closes. They are unfrozen slots because a large capture makes
hundreds of thousands; `note` is a place for the observer's own reference.

Words are those of the glossary: flush point, round trip, execution, reuse. Times are monotonic ns as recorded.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pgtrace.session.departure import Departure

FLIGHT_MESSAGES_KEPT = 1 << 16
"""Messages of one round trip that its flight keeps, each side; runs of DataRow or CopyData are one. CUT stands for the rest."""

FAILURES_KEPT = 64
"""Of one round trip."""
TAGS_KEPT = 8
LONGEST_HASHED = 64 * 1024

# Bytes that stand in a flight for what has no type byte. describe/notation.py spells them.
SKIPPED = 0x01
STARTUP = 0x02
SSL = 0x03
GSS = 0x04
CANCEL = 0x05
CUT = 0x06


class Failure(NamedTuple):
    """An ErrorResponse, in what does not depend on the server's language."""

    sqlstate: str
    severity: str = "ERROR"
    routine: str = ""
    """The function of the server that raised it."""
    is_postgres: bool = True
    """Whether it has the fields that PostgreSQL always sends: a pooler's own errors lack some."""
    asked: str = ""
    """The message that it answers; empty where nothing was asked."""
    name: str = ""
    """The prepared statement or portal which that message is about."""


class Statement:
    """A prepared statement, or the SQL of a simple Query."""

    __slots__ = ("accepted", "binds", "columns", "name", "note", "parameter_types", "sent_types", "simple", "sql")

    def __init__(self, name: str, sql: str | None, parameter_types: tuple[int, ...] = (), *, simple: bool = False) -> None:
        self.name = name
        self.sql = sql
        """None: prepared earlier, its Parse was not seen."""
        self.sent_types = parameter_types
        """Type OIDs of Parse."""
        self.parameter_types = parameter_types
        """Type OIDs of ParameterDescription once it came, of Parse before."""
        self.columns = b""
        """Body of the RowDescription that answered a Describe of it, or empty."""
        self.binds = 0
        """BindCompletes so far."""
        self.accepted = False
        """Whether ParseComplete came."""
        self.simple = simple
        self.note: Any = None


class Portal:
    """What Bind makes."""

    __slots__ = ("name", "result_formats", "statement")

    def __init__(self, name: str, statement: Statement, result_formats: tuple[int, ...]) -> None:
        self.name = name
        self.statement = statement
        self.result_formats = result_formats


class Execution:
    """One statement run, handed over when it has ended."""

    __slots__ = ("continues", "failed", "rows", "statement", "values_binary", "values_text", "wait_ns")

    def __init__(
        self, statement: Statement, wait_ns: int | None, rows: int, values_text: int, values_binary: int, *, failed: bool, continues: bool
    ) -> None:
        self.statement = statement
        self.wait_ns = wait_ns
        """From the later of its flush point and the end of the execution before it, to the read that held its last reply.

        None until it is known whether the driver was still there for it (departure.py).
        """
        self.rows = rows
        self.values_text = values_text
        self.values_binary = values_binary
        self.failed = failed
        self.continues = continues
        """It went on with a suspended portal: its rows are new, the execution is not."""

    def again(self, wait_ns: int, exchange: Exchange, rows: int) -> Execution:
        """The same once more, with that many rows if it had rows."""
        if not self.rows:
            rows = 0
        text, binary = rows * exchange.values_text, rows * exchange.values_binary
        return Execution(self.statement, wait_ns, rows, text, binary, failed=self.failed, continues=self.continues)


class RoundTrip:
    """A run of frontend messages during which no moment came at which everything was answered."""

    __slots__ = (
        "block_began", "block_end", "closed_ns", "copying", "departure", "depth", "error", "errors", "executions", "failures",
        "first_answer_ns", "first_flush_ns", "flush_points", "formats", "note", "offsets", "opened_ns", "owed_before", "prepares", "received", "received_bytes",
        "reuses", "rows", "sent",
        "sent_bytes", "setup", "statements", "status",
        "status_before", "tags", "uncertain", "values", "values_binary", "values_text", "warnings",
    )  # fmt: skip

    def __init__(self, opened_ns: int, *, setup: bool, offsets: tuple[int, int], status: str, note: Any = None) -> None:
        self.opened_ns = opened_ns
        self.setup = setup
        self.offsets = offsets
        """Where its messages begin in the stream of each side."""
        self.owed_before = b""
        """What was still owed when it opened (owed.before()): of what a Flush left, or of a COPY."""
        self.status_before = status
        self.status = status
        self.flush_points = 0
        """0 for a run that is no round trip (yet)."""
        self.first_flush_ns = 0
        self.first_answer_ns: int | None = None
        self.closed_ns: int | None = None
        self.depth = 0
        self.executions = 0
        self.block_began = False
        """A transaction block began in it."""
        self.block_end = ""
        """The command tag that ended a transaction block in it."""
        self.sent = bytearray()
        self.received = bytearray()
        self.sent_bytes = 0
        self.received_bytes = 0
        self.rows = 0
        self.values_text = 0
        self.values_binary = 0
        self.errors = 0
        self.error: bytes = b""
        """Body of the first ErrorResponse in it."""
        self.failures: tuple[Failure, ...] = ()
        """Its ErrorResponses, the first FAILURES_KEPT."""
        self.tags: tuple[str, ...] = ()
        """Command tags without their numbers, of equal ones in a row one, the first TAGS_KEPT."""
        self.warnings: tuple[str, ...] = ()
        """SQLSTATEs of the warnings in it, each once."""
        self.values = 0
        """A hash of what the driver sent: two round trips of a connection that have the same asked the same, with the same values. 0 where nobody knows."""
        self.statements: list[Statement] = []
        """Distinct statements it carries a message of, in order."""
        self.copying: Statement | None = None
        """The COPY whose data it begins with; its Query or Execute was part of an earlier round trip."""
        self.formats = 0
        """Result formats its Binds ask for: 1 for text, 2 for binary, 3 for both, 0 without Bind."""
        self.prepares = False
        self.reuses = False
        self.uncertain = False
        """Bytes are missing inside it."""
        self.departure: Departure | None = None
        """The end that came while it was open."""
        self.note = note
        """What Observer.begins() gave."""

    def skips(self, times: int) -> None:
        """The backend discarded so many executions."""
        room = max(0, FLIGHT_MESSAGES_KEPT - len(self.received))
        self.received += bytes([SKIPPED]) * min(times, room)
        if times > room and self.received[-1:] != bytes([CUT]):
            self.received.append(CUT)

    def asked(self, data: bytes) -> None:
        """The driver has sent that as well."""
        if len(data) <= LONGEST_HASHED:
            self.values = hash((self.values, data)) if self.values else hash(data)

    def become(self, template: RoundTrip, exchange: Exchange, repeat: Repeat) -> None:
        """Be what `template` was: all sent at one moment, all answered at another."""
        self.first_flush_ns = repeat.opened_ns
        self.first_answer_ns = self.closed_ns = repeat.closed_ns
        self.sent_bytes, self.received_bytes, self.rows = repeat.sent_bytes, repeat.received_bytes, repeat.rows
        self.values = repeat.values
        self.values_text = repeat.rows * exchange.values_text
        self.values_binary = repeat.rows * exchange.values_binary
        for name in _ALIKE:
            setattr(self, name, getattr(template, name))


_ALIKE = (
    "flush_points", "depth", "executions", "block_began", "block_end", "sent", "received", "statements", "formats", "prepares", "reuses", "status",
    "tags",
)  # fmt: skip
"""What is the same each time an exchange happens."""


class Exchange:
    """A round trip of one read that asked and one that answered, seen before: what is the same each time it happens."""

    __slots__ = (
        "bound", "executions", "note", "parsed", "repeated_rows", "repeats", "reused", "round_trip", "tally", "values_binary", "values_text",
    )  # fmt: skip

    def __init__(self, round_trip: RoundTrip, tally: Tally) -> None:
        self.round_trip = round_trip
        self.tally = tally
        """What it counts, without rows and their values."""
        self.executions: list[Execution] = []
        self.bound: list[Portal] = []
        self.parsed: list[Statement] = []
        self.reused: list[Statement] = []
        self.values_text = 0
        """Values of one row, by format."""
        self.values_binary = 0
        self.repeats = 0
        """For the observer: how often it happened, with how many rows in all, since it was last summed up."""
        self.repeated_rows = 0
        self.note: Any = None


class Repeat(NamedTuple):
    """What is different each time a known exchange happens."""

    note: Any
    opened_ns: int
    closed_ns: int
    wait_ns: int
    """Of the first execution; the others ended with it."""
    offsets: tuple[int, int]
    rows: int
    sent_bytes: int
    received_bytes: int
    values: int
    """RoundTrip.values."""


class Tally:
    """Counts of one session that need the protocol state. Message counts are by code; Authentication and `p` by code and subtype."""

    __slots__ = (
        "backend", "copy_in_rows", "copy_out_rows",
        "executions", "frontend", "max_pipeline_depth", "params_binary", "params_text", "parses_named", "parses_unnamed",
        "pipelined_executions", "round_trips", "setup_round_trips", "statements_reused", "transactions", "values_binary", "values_text",
    )  # fmt: skip

    def __init__(self) -> None:
        self.frontend: defaultdict[int, int] = defaultdict(int)
        self.backend: defaultdict[int, int] = defaultdict(int)
        self.clear()

    def clear(self) -> None:
        """Begin at nothing. In one statement: it is done for each row."""
        self.frontend.clear()
        self.backend.clear()
        self.setup_round_trips = self.round_trips = self.executions = self.pipelined_executions = self.max_pipeline_depth = (
            self.parses_named
        ) = self.parses_unnamed = self.statements_reused = self.transactions = self.params_text = self.params_binary = self.values_text = (
            self.values_binary
        ) = self.copy_in_rows = self.copy_out_rows = 0

    def copy(self) -> Tally:
        """The counts as they stand."""
        other = Tally()
        other.add(self, 1)
        return other

    def since(self, before: Tally) -> Tally:
        """What has been counted since `before` was copied. The depth is the larger one, it is no sum."""
        other = self.copy()
        other.add(before, -1)
        return other

    def add(self, other: Tally, times: int) -> None:
        """Add `other` that many times; the depth becomes the larger one."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for mine, its in ((self.frontend, other.frontend), (self.backend, other.backend)):
            for key, count in its.items():
                if count:
                    mine[key] += times * count
        self.max_pipeline_depth = max(self.max_pipeline_depth, other.max_pipeline_depth)


_SUMS = tuple(name for name in Tally.__slots__ if name not in ("frontend", "backend", "max_pipeline_depth"))


class Observer:
    """Override what you want to hear about. Every method is called in the order of the bytes."""

    __slots__ = ()

    def begins(self) -> Any:
        """A run of frontend messages begins; it is a round trip once counted() says so. What this returns becomes its note."""
        return None

    def counted(self, round_trip: RoundTrip) -> None:
        """The run has its first flush point (or an answer that makes it count): it is a round trip."""

    def closed(self, round_trip: RoundTrip) -> None:
        """Everything is answered, or the run ended as none (flush_points is 0). Called again when a late reply is added to it, and when a time of it becomes
        known: `closed_ns` is None while it is open whether its driver was still there (departure.py)."""

    def executed(self, execution: Execution) -> None:
        """An execution has ended."""

    def waited(self, execution: Execution) -> None:
        """The waiting time of an execution is known, which it was not when it ended."""

    def failed(self, statement: Statement | None) -> None:
        """An ErrorResponse that belongs to that statement, or to none."""

    def parsed(self, statement: Statement) -> None:
        """A Parse was sent."""

    def bound(self, portal: Portal) -> None:
        """A Bind was sent."""

    def reused(self, statement: Statement) -> None:
        """BindComplete for a named statement, beyond its first."""

    def dropped(self, statement: Statement, how: str) -> None:
        """A named statement lives no more: by Close, or by the command of that tag."""

    def forgot(self, statement: Statement) -> None:
        """A named statement that is alive is no longer known: there are too many."""

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        """From here on the name of that kind, `S` or `P`, means this."""

    def copy_began(self, round_trip: RoundTrip | None, code: int, response: bytes, statement: Statement | None) -> None:
        """CopyInResponse, CopyOutResponse or CopyBothResponse: the CopyData that follows is that statement's. The round trip holds the response."""

    def copy_ended(self) -> None:
        """What copy_began() said is over: CopyData from here on would be nobody's."""

    def repeated(self, exchange: Exchange, repeat: Repeat) -> None:
        """A known exchange happened once more. Here it is told like any other; who overrides this does in one step what those calls would."""
        template, wait_ns = exchange.round_trip, repeat.wait_ns
        again = RoundTrip(repeat.opened_ns, setup=False, offsets=repeat.offsets, status=template.status_before, note=repeat.note)
        again.become(template, exchange, repeat)
        self.counted(again)
        for parsed in exchange.parsed:
            self.parsed(parsed)
        for portal in exchange.bound:
            self.bound(portal)
        for statement in exchange.reused:
            self.reused(statement)
        for execution in exchange.executions:
            self.executed(execution.again(wait_ns, exchange, repeat.rows))
            wait_ns = 0
        self.closed(again)

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        """A message outside any round trip: asynchronous ones, Terminate, CancelRequest, stray copy data, opaque or undecoded bytes."""
