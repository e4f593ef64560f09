"""One connection of a trace: who it is, what it counted, and its rows in the timeline.

A Connection listens to its session and writes what it hears into the row index and the tables. While the connection is open it holds the session; when
it has closed only names and numbers remain, so a capture of a hundred thousand short connections stays small.

What the names on it meant is in name_log.py, what it showed of its driver in habits.py, how its rows look in labels.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Self

from pgtrace import shelf
from pgtrace.capture import peer
from pgtrace.capture.record import DECRYPTED
from pgtrace.identify import drivers, layers
from pgtrace.identify.habits import Habits
from pgtrace.identify.layers import Layer
from pgtrace.protocol import codes, heads
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Rest, Session
from pgtrace.session.effects import Counts, Effect, Tally
from pgtrace.session.events import Exchange, Observer, Passage
from pgtrace.session.statements import Portal, Statement
from pgtrace.sqltext.replication import created_slot
from pgtrace.trace import labels, refused_tls, security
from pgtrace.trace.copy_log import Copies
from pgtrace.trace.counters import Counters
from pgtrace.trace.ends import UNDECIDED, End, departed, told
from pgtrace.trace.marks import Interval
from pgtrace.trace.name_log import Dropped, Meanings
from pgtrace.trace.rows import RUN_KEPT, Entry, Kind, Label, Shape
from pgtrace.trace.statements import StatementTable

if TYPE_CHECKING:
    from pgtrace.describe.copy_messages import Inside
    from pgtrace.trace.trace import Trace

FACTS_KEPT: Final = 64
LONGEST_FACT: Final = 4096
LEFT_KEPT: Final = 100
"""Statements that a closed connection is known to have left, those with the most Binds."""
_MERGED = frozenset({codes.OPAQUE, codes.UNDECODED, ord("d")})
_COPY_DATA: Final = ord("d")
_MAJOR: Final = re.compile(r"\d{1,4}")
_NEVER_NS: Final = -(1 << 62)
"""Before all times: what came first in a capture may be another connection's, and later than what this one begins with."""
_FACT_BYTES: Final = 200
_SHORT_SQL: Final = 512
_QUIET = frozenset({codes.SSL_REPLY, codes.GSSENC_REPLY})


class Note(NamedTuple):
    """What a Connection remembers of an open round trip."""

    place: int
    position: int
    marks: tuple[Interval, ...]


_note: Final[Callable[..., Note]] = tuple.__new__
_SEEN: Final = (0, 0, False)
"""What stands in an exchange that was seen, where there is no timeline."""
_SHAPES_KEPT: Final = 256
"""Shapes that are remembered with one effect: they differ in the name of the statement."""


class Connection(Observer):
    """One connection: identity, counters, rows."""

    is_counted = True
    """Whether the trace's counters are about it."""
    is_shelved: ClassVar[bool] = True
    """Whether it may be put on the shelf once it has closed."""

    __slots__ = (
        "_application_name",
        "_began",
        "_counters",
        "_end_row",
        "_fatal",
        "_habits",
        "_identity",
        "_kind",
        "_last_place",
        "_latest",
        "_left",
        "_marks",
        "_meanings",
        "_resting",
        "_streamed",
        "_trace",
        "authentication",
        "backend_pid",
        "cancels",
        "client",
        "closed_by",
        "closed_ns",
        "copies",
        "ends",
        "facts",
        "file",
        "index",
        "joined",
        "last_ns",
        "left_open",
        "listener",
        "number",
        "opened_ns",
        "parameters",
        "position",
        "protocol",
        "protocol_requested",
        "sent_on",
        "server_version",
        "session",
        "statements",
        "terminated",
        "tls_refused",
        "transaction_status",
        "unrecognized_options",
        "upstream",
        "was_put_aside",
    )  # fmt: skip

    @classmethod
    def restored(cls, trace: Trace, state: bytes) -> Self:
        """One that was put on the shelf."""
        self = cls.__new__(cls)
        for name, value in (_EMPTY | shelf.loaded(state)).items():
            setattr(self, name, value)
        self._trace, self._marks = trace, trace.marks.files[self.file]
        return self

    def stored(self) -> bytes:
        """What is left of it once it has closed, as it is put on the shelf."""
        state = vars(self).copy() if hasattr(self, "__dict__") else {}
        for name in Connection.__slots__:
            value = getattr(self, name)
            if name not in ("_trace", "_marks") and (name not in _EMPTY or value is not _EMPTY[name]):
                state[name] = value
        return shelf.stored(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and (self.index, self._trace) == (other.index, other._trace)

    def __hash__(self) -> int:
        return self.index

    def __init__(self, trace: Trace, index: int, file: int, number: int) -> None:
        self._trace = trace
        self._marks = trace.marks.files[file]
        self.index = index
        """Its place in Trace.connections."""
        self.file = file
        self.number = number
        """1-based within its file."""
        self.client = ""
        self.upstream = ""
        self.listener = ""
        self.opened_ns = 0
        self.closed_ns: int | None = None
        self.closed_by = ""
        """`driver`, `server` or `pgtrace`: which side was first to end it."""
        self.ends: tuple[End, ...] = ()
        """The ends of its directions, in their order; none where nobody saw them."""
        self.left_open = ""
        """Of the latest round trip, if a side ended its direction while it was open, what became of it, in words."""
        self.sent_on = False
        """Whether the driver still sent something after the first of them."""
        self.terminated = False
        """Whether the driver said that it leaves."""
        self.tls_refused = ""
        """Of a driver that asked for TLS, got none and left: what it began with (refused_tls.py)."""
        self.last_ns = _NEVER_NS
        self.joined = False
        """Whether its beginning is not in the capture."""
        self.facts: dict[str, str] = {}
        self.cancels: int | None = None
        """Index of the connection its CancelRequest aims at."""
        self.session: Session | None = Session(self, trace.reads)
        self.statements: StatementTable | None = StatementTable(trace.statements_room)
        self.position = 0
        """Where its first record is."""
        self.parameters: tuple[tuple[str, str], ...] = ()
        self.server_version = ""
        self.backend_pid: int | None = None
        self.protocol = ""
        self.protocol_requested = ""
        """The version its StartupMessage asked for; `protocol` is what the server made of it."""
        self.unrecognized_options: tuple[str, ...] = ()
        """Protocol options of its StartupMessage that the server did not know."""
        self.transaction_status = ""
        self.authentication: dict[str, str] = {}
        """How its driver authenticated (security.py)."""
        self._left: tuple[Statement, ...] = ()
        self._counters: Counters | None = None
        self._kind = self._fatal = ""
        self._application_name = ""
        self._began = [0, 0]
        """Of each side: where the record is in which its unfinished message, else its latest read, began."""
        self._last_place: int | None = None
        """The place of the row that was completed last."""
        self._latest: tuple[int, int, int] | None = None  # side, code and place of the last row that was no round trip
        self._habits = Habits()
        self._identity: tuple[drivers.Identification, Layer] = (drivers.Identification(), layers.NONE)
        self.copies = Copies(trace.may_log)
        """What its CopyData holds, at every row."""
        self._resting: Rest | None = None
        self.was_put_aside = False
        """Whether it was silent while too many were open: some of it is not known any more."""
        self._streamed = 0  # CopyData of a stream that have joined the latest row
        self._end_row: tuple[int, int] | None = None
        """The place of the row that says that it was ended, and how many bytes the driver had sent."""
        self._meanings = Meanings()

    # What comes in.

    def receive(self, side: int, time_ns: int, data: bytes, offset: int, position: int) -> None:
        """Bytes of one read, and where their record is in the capture."""
        session = self.session or self._woken(time_ns, offset, side)
        if session is None:
            return
        cut = session.framer.cut
        if not cut[side]:
            self._began[side] = position
        session.receive(side, time_ns, data, offset)
        if cut[side] and session.framer.unfinished_bytes(side) <= len(data):
            self._began[side] = position
        self.last_ns = time_ns

    def resume(self, time_ns: int, sent: bytes, replies: bytes, offsets: tuple[int, int]) -> None:
        """Read on in the middle: what start-up said is learned, nothing of it is counted."""
        self.joined = True
        earlier = Session()
        earlier.receive(FRONTEND, time_ns, sent)
        earlier.receive(BACKEND, time_ns, replies)
        if self.session is not None:
            self.session.resume(time_ns, earlier, offsets)
        self._learn_key()

    def close(self, time_ns: int) -> None:
        """The connection has ended."""
        session = self.session
        if session is None:
            if self.closed_ns is None:
                self.closed_ns = self.last_ns = time_ns
                self._relabel_end()
                self._trace.connections.changed(self)
            return
        session.close(time_ns)
        self.closed_ns = self.last_ns = time_ns
        self.terminated = session.terminated
        self._notice_refused_tls(session)
        if self._end_row is not None:
            self.sent_on = session.bytes[FRONTEND] != self._end_row[1]
            self._relabel_end()
        elif not session.terminated and session.startup and self._trace.timeline:
            self._row(Kind.CLOSED, "", Label(self.end), time_ns, FRONTEND, 0)
        self._retire(time_ns)

    def _notice_refused_tls(self, session: Session) -> None:
        """It has ended: say in the row of its beginning that its driver wanted TLS, if that is so."""
        if self.tls_refused:
            return
        self.tls_refused = refused_tls.began_with(self, session)
        if not self.tls_refused or not self._trace.timeline:
            return
        place = self._latest[2] if self._latest is not None else self._last_place
        if place is not None:
            self._trace.rows.relabel(place, Label(refused_tls.told(self)))

    def ended(self, side: int, how: str, time_ns: int) -> None:
        """One of its directions has ended."""
        session = self.session
        if self.closed_ns is not None:
            return
        self.ends = (*self.ends, End(side, how, time_ns))
        if session is not None:
            session.ended(side, how, time_ns)
            self._notice_refused_tls(session)
        self.last_ns = time_ns
        says_goodbye = session.startup and not session.terminated if session is not None else self.kind in _SAY_GOODBYE
        if self._end_row is None and says_goodbye:
            place = self._row(Kind.CLOSED, "", Label(self.end), time_ns, FRONTEND, 0) if self._trace.timeline else 0
            self._end_row = (place, session.bytes[FRONTEND] if session is not None else 0)
        if session is None:
            self._trace.connections.changed(self)

    def _relabel_end(self) -> None:
        """Now it is known what became of it."""
        if self._end_row is not None and self._trace.timeline:
            self._trace.rows.relabel(self._end_row[0], Label(self.end))

    @property
    def fatal(self) -> str:
        """SQLSTATE of the FATAL error that the server sent; empty without one."""
        return self._fatal if self.session is None else self.session.fatal

    @property
    def ended_ns(self) -> int | None:
        """When a side first ended it, where that is known; else when it had closed."""
        return self.ends[0].time_ns if self.ends else self.closed_ns

    @property
    def end(self) -> str:
        """By whom and how it was ended, in words; empty while it is open. A driver that ended its direction may still read until it has closed."""
        if self.closed_ns is None and (not self.ends or self.ends[0].may_read):
            return UNDECIDED if self.ends else ""
        terminated = self.terminated if self.session is None else self.session.terminated
        silent = not terminated and self.kind in _SAY_GOODBYE
        return told(self.ends, self.closed_by, self.fatal, silent=silent, asked=terminated and self._end_row is None)

    def put_aside(self, time_ns: int) -> None:
        """Too many are open: keep what it has counted and where it stands, and let go of the rest. Its next read wakes it."""
        if self.session is not None:
            self.was_put_aside = True
            self._resting = self.session.rest()
            if self._resting is None:
                self.gap(time_ns)
            self._retire(time_ns)

    def _woken(self, time_ns: int, offset: int, side: int) -> Session | None:
        """The session of one that was put aside: where it stood still when nothing was owed, else as after a gap. Names are prepared earlier."""
        if self.closed_ns is not None:
            return None
        self.session = session = Session(self, self._trace.reads)
        session.parameters.update(server_version=self.server_version, application_name=self._application_name)
        if self._resting is not None:
            session.go_on(time_ns, self._resting)
        else:
            session.resume(time_ns, Session(), (offset, offset))
        self.statements = StatementTable(self._trace.statements_room)
        self._habits = Habits()
        self._habits.enough = True
        if self._meanings is _NO_MEANINGS:
            self._meanings = Meanings()
        self.copies = Copies(self._trace.may_log)
        self._trace.wake(self)
        return session

    def learn(self, key: str, value: str) -> None:
        """A fact about it."""
        if self._trace.may_keep_fact(self, key, value):
            self.facts[key] = value[:LONGEST_FACT]
        if key == "server":
            self.upstream = value
        elif key == DECRYPTED and self.session is not None:
            self.session.decrypted()

    def gap(self, time_ns: int) -> None:
        """Bytes of it are missing."""
        if self.session is not None:
            self.session.gap(time_ns)

    @property
    def facts_bytes(self) -> int:
        """How much its facts take."""
        return sum(len(key) + len(value) + _FACT_BYTES for key, value in self.facts.items())

    @property
    def meanings_weight(self) -> int:
        """What its log of names takes of the trace's."""
        return self._meanings.weight

    @property
    def has_open_row(self) -> bool:
        """Whether a row of it is still to be completed."""
        return self.session is not None and self.session.has_open_run

    def draw_open(self) -> None:
        """Write the open round trip into the index as it stands."""
        standing = self.session.open_as_it_stands() if self.session is not None else None
        if standing is not None and self._trace.timeline:
            self._draw(*standing)

    @property
    def open_effect(self) -> Effect | None:
        """What the open round trip did so far."""
        standing = self.session.open_as_it_stands() if self.session is not None else None
        return standing[0].effect if standing is not None else None

    # Who it is.

    @property
    def kind(self) -> str:
        """`session`, `cancel`, `replication` or `opaque`."""
        session = self.session
        if session is None:
            return self._kind
        if session.cancel:
            return "cancel"
        if session.startup or session.round_trips.started_ns is not None:
            return "replication" if dict(self.startup_parameters).get("replication", "false") not in _NO else "session"
        return "opaque" if session.unreadable or session.is_closed else "session"

    @property
    def startup_parameters(self) -> tuple[tuple[str, str], ...]:
        """The StartupMessage's names and values, in its order."""
        if not self.parameters and self.session is not None and self.session.startup:
            found = heads.startup(self.session.startup) or _version_2(self.session.startup)
            if found is None:
                return ()
            version, self.parameters = found
            self.protocol = self.protocol_requested = f"{version >> 16}.{version & 0xFFFF}"
        return self.parameters

    @property
    def user(self) -> str:
        return dict(self.startup_parameters).get("user", "")

    @property
    def database(self) -> str:
        return dict(self.startup_parameters).get("database", self.user)

    @property
    def application_name(self) -> str:
        if self.session is None:
            return self._application_name
        return self.session.parameters.get("application_name") or dict(self.startup_parameters).get("application_name", "")

    @property
    def driver(self) -> str:
        """The client library, or `unknown`."""
        return self._identify()[0].driver

    @property
    def driver_evidence(self) -> tuple[str, ...]:
        return self._identify()[0].evidence

    @property
    def layer(self) -> Layer:
        """What stands above the driver, with the evidence; layers.NONE where nothing shows."""
        return self._identify()[1]

    @property
    def peer_process(self) -> peer.Process | None:
        """The process at the driver's end, where the recorder ran on its host and found it."""
        return peer.read(self.facts.get(peer.KEY))

    @property
    def statements_live(self) -> int:
        """Named statements alive."""
        before = self._counters.statements_live if self._counters is not None else 0
        return before + (self.session.statements.live_named if self.session is not None else 0)

    def named_statements(self) -> Iterable[Statement]:
        """The named statements alive; of a closed connection none."""
        return [one for one in self.session.statements.live.values() if one.name] if self.session is not None else ()

    @property
    def last_statements(self) -> Iterable[Statement]:
        """The named statements alive; of a closed connection those that were alive when it ended, as far as the log of names has them."""
        return self.named_statements() if self.session is not None else self._left

    @property
    def portals(self) -> Iterable[Portal]:
        """The portals open now: they live until their transaction ends, so outside a block there is none."""
        session = self.session
        return session.statements.live_portals.values() if session is not None and session.status in ("T", "E") else ()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is owed and no message is cut."""
        return self.session is None or self.session.is_quiet

    @property
    def under_way(self) -> int | None:
        """The place of the row that is still to be completed; None where nothing is owed and no message is cut."""
        session = self.session
        if session is None or session.is_quiet:
            return None
        note: Note | None = session.open_note
        return note.place if note is not None else len(self._trace.rows)

    def counters(self, now_ns: int) -> Counters:
        """Its counters; for an open one up to that moment."""
        session = self.session
        if session is None:
            return self._counters or Counters()
        tally, waited = session.tally, session.waited_ns(now_ns)
        counters = Counters.of_session(tally, session.bytes, session.statements.live_named, waited)
        if self._counters is not None:
            counters.add(self._counters)
        return counters

    def counted_at(self, place: int) -> tuple[Tally, int] | None:
        """What the open round trip at that place has counted so far, and how long it was waited for; None where it is not this one."""
        session = self.session
        note: Note | None = session.open_note if session is not None else None
        return session.untold(self._trace.duration_ns) if session is not None and note is not None and note.place == place else None

    def add_statements(self, table: StatementTable) -> Iterator[None]:
        """Add the statements of an open connection as they stand, with a break after each slice of the work."""
        if self.statements is None or self.session is None:
            return
        yield from table.merge_by_slices(self.statements)
        if self.session is None:
            return
        standing = self.session.open_as_it_stands()
        table.live(self.session.statements.live.values())
        if standing is not None:
            table.count(*standing)
            if standing[0].effect.is_round_trip:
                table.round_trip(standing[0])

    def meaning(self, kind: str, name: str, place: int) -> Statement | Portal | None:
        """What the name of a statement (`S`) or portal (`P`) meant when the row at that place began."""
        return self._meanings.at(kind, name, place)

    def named_at(self, name: str, place: int) -> list[int]:
        """Places up to that one at which the name came to mean a statement, the latest first: those of its Parses, and of rows that brought it back."""
        return self._meanings.places(name, place)

    def fate(self, name: str, place: int) -> tuple[int, Statement | Dropped] | None:
        """What became of a statement's name before the row at that place: the row of its latest Parse, or of what dropped it. None where neither was seen."""
        return self._meanings.fate(name, place)

    # What the session tells.

    def begins(self) -> Note:
        trace = self._trace
        place = trace.rows.reserve() if trace.timeline else 0
        position = self._began[FRONTEND]
        if self.session is not None and self.session.framer.cut[BACKEND]:
            position = min(position, self._began[BACKEND])
        self._latest = None
        if self.copies.now is not None:
            self.copies.row_began(place)
        for mark in self._marks.open:
            mark.opened(self.index)
        return _note(Note, (place, position, self._marks.open))

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        note: Note = passage.note
        replaces = passage.replaces
        self.left_open = departed(exchange.effect, passage) if passage.departure is not None else ""
        self._last_place = note.place
        if exchange.note is None:
            self._habits.named(exchange)
            self._notice(exchange, passage)
        if self._trace.timeline:
            self._draw(exchange, passage)
        elif exchange.note is None:
            exchange.note = _SEEN
        if passage.closed_ns is not None and (exchange.effect.setup or not self._habits.enough):
            self._learn(exchange)
        for mark in self._marks.counting:
            mark.table(self).count(exchange, passage)
            if replaces is not None:
                mark.table(self).count(*replaces, times=-1)
        statements = self.statements
        if statements is not None:
            statements.count(exchange, passage)
            if replaces is not None:
                statements.count(*replaces, times=-1)
        if replaces is not None:
            return
        for mark in note.marks:
            mark.happened(exchange, self)
        if statements is not None and exchange.effect.is_round_trip:
            statements.round_trip(exchange)

    def _learn(self, exchange: Exchange) -> None:
        """Who it is shows in what it does."""
        if not exchange.effect.setup:
            self._habits.closed(exchange)
        elif self._habits.set_up(exchange.effect):
            self._learn_key()

    def _notice(self, exchange: Exchange, passage: Passage) -> None:
        """Whether statements were dropped, or a replication slot was created."""
        before = passage.replaces[0].parts if passage.replaces is not None else ()
        dropped_before = {part.statement for part in before if part.dropped}
        for part in exchange.parts:
            statement = part.statement
            if part.dropped and statement not in dropped_before:
                self._log("S", statement.name, Dropped(part.dropped), 1, passage.note.place)
            sql = statement.sql
            if sql is not None and sql[6:7] == "_" and part.ended and not part.errors and (created := created_slot(sql)) is not None:
                self._trace.slots[self.upstream, created.slot] = created.plugin

    def waited(self, statement: Statement, wait_ns: int) -> None:
        if self.statements is not None:
            self.statements.waited(statement, wait_ns)
            for mark in self._marks.counting:
                mark.table(self).waited(statement, wait_ns)

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        statement = what.statement if isinstance(what, Portal) else what
        note: Note | None = self.session.open_note if self.session is not None else None
        place = note.place if note is not None else len(self._trace.rows)
        self._log(kind, name, what, 1 + len(statement.sql or "") // _SHORT_SQL, place)

    def _log(self, kind: str, name: str, what: Statement | Portal | Dropped, weight: int, place: int) -> None:
        if not self._trace.may_log((kind, name) in self._meanings, weight):
            return
        self._meanings.weight += weight
        self._meanings.note(kind, name, place, what)

    def copy_began(self, note: Note | None, code: int, response: bytes, statement: Statement | None) -> None:
        if not self._trace.timeline:
            return
        from pgtrace.describe.copy_contents import contents

        version = self.session.parameters.get("server_version", "") if self.session is not None else ""
        major = int(found[0]) if (found := _MAJOR.match(version)) else 0
        sql = statement.sql if statement is not None else None
        place = note.place if note is not None else len(self._trace.rows)
        self.copies.began(place, contents(code, response, sql, major, lambda slot: self._trace.slots.get((self.upstream, slot))))

    def copy_ended(self) -> None:
        self.copies.ended(len(self._trace.rows) - 1)

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        if code == codes.CANCEL_REQUEST:
            target = self._trace.cancelled_by(body)
            self.cancels = target.index if target is not None else None
        if code in _QUIET or not self._trace.timeline:
            return
        latest = self._latest
        streamed = code == _COPY_DATA and self.copies.now is not None
        self._streamed = self._streamed + 1 if streamed else 0
        if latest is not None and latest[:2] == (side, code) and code in _MERGED and self._streamed != RUN_KEPT:
            if streamed:
                self.copies.passed(side, body, latest[2])
                if self.copies.tells_more(body):
                    self._trace.rows.relabel(latest[2], self._describe(side, code, body)[2])
            self._trace.rows.grow(latest[2], side, size)
            return
        kind, letter, label = self._describe(side, code, body)
        place = self._row(kind, letter, label, time_ns, side, size, counts)
        self._latest = (side, code, place)
        if streamed:
            self._streamed = 0
            self.copies.row_began(place)
            self.copies.passed(side, body, place)
            self.copies.tells_more(body)

    def _describe(self, side: int, code: int, body: bytes) -> tuple[Kind, str, Label]:
        if code == codes.CANCEL_REQUEST:
            target = self._trace.connections[self.cancels] if self.cancels is not None else None
            return Kind.CANCEL, "Cancel →", Label(f"cancels {self._trace.name_of(target)}" if target else "cancels a session not seen here")
        return labels.alone(side, code, body, self._inside(side, body) if code == _COPY_DATA else None)

    def _inside(self, side: int, body: bytes) -> Inside | None:
        """What a CopyData that stands alone is, at this point of the reading."""
        now, here = self.copies.now, len(self._trace.rows)
        if now is None:
            return None
        from pgtrace.describe.copy_messages import message_inside

        return message_inside(now, side, body, lambda oid: self.copies.relation_at(oid, here), in_stream=self.copies.in_stream)

    # Rows.

    def _row(self, kind: Kind, flight: str, label: Label, time_ns: int, side: int, size: int, counts: Counts | None = None) -> int:
        """A row that is no round trip; one that is about no message counts nothing."""
        trace = self._trace
        session = self.session
        offsets = session.offsets if session is not None else (0, 0)
        offsets = (offsets[0] - (size if side == FRONTEND else 0), offsets[1] - (size if side == BACKEND else 0))
        status = session.status if session is not None else ""
        shape = Shape(kind, flight, errors=int(bool(label.error)), status_before=status, status=status)
        return trace.rows.append(
            Entry(
                position=self._began[side],
                opened_ns=time_ns,
                offsets=offsets,
                connection=self.index,
                label=trace.rows.label(label),
                shape=trace.rows.shape(shape),
                duration_ms=0.0,
                sent_bytes=size if side == FRONTEND else 0,
                received_bytes=size if side == BACKEND else 0,
                effect=(trace.reads.effects.nothing if counts is None else counts).number,
            )
        )

    def _draw(self, exchange: Exchange, passage: Passage) -> None:
        """Write its row as it stands."""
        if exchange.note is None:
            exchange.note = self._look(exchange, passage)
        label, shape, introspects = exchange.note
        note, opened_ns, _, first_ns, closed_ns, waited_ns, offsets, rows, sent_bytes, received_bytes, values, *_ = passage
        self._trace.rows.put(
            note.place,
            Entry(
                note.position,
                opened_ns,
                offsets,
                self.index,
                label,
                shape,
                rows,
                math.nan if closed_ns is None else (closed_ns - opened_ns) / 1e6,
                math.nan if first_ns is None else (first_ns - opened_ns) / 1e6,
                sent_bytes,
                received_bytes,
                waited_ns,
                exchange.effect.counts.number,
                1,
                values,
            ),
        )
        if introspects and rows and closed_ns is not None:
            self._trace.types_of(self).passed(note.place)

    def _look(self, exchange: Exchange, passage: Passage) -> tuple[int, int, bool]:
        """Numbers of the label and the shape of its row, and whether its rows may tell about types."""
        from pgtrace.describe import introspection

        rows, label = self._trace.rows, labels.label(exchange, passage, lambda: f"user={self.user} database={self.database}")
        return rows.label(label), self._shape(exchange, passage), introspection.TABLE in label.sql

    def _shape(self, exchange: Exchange, passage: Passage) -> int:
        """The number of its shape."""
        about = labels.about(exchange)
        key = about[0].name if about else "", min(len(about), 2), passage.closed_ns is None
        effect = exchange.effect
        shapes: dict[tuple[str, int, bool], int] = effect.note
        if shapes is None or len(shapes) >= _SHAPES_KEPT:
            shapes = effect.note = {}
        found = shapes.get(key)
        if found is None:
            found = shapes[key] = self._trace.rows.shape(labels.shape(exchange, passage))
        return found

    # Identity.

    def _identify(self) -> tuple[drivers.Identification, Layer]:
        session = self.session
        if session is not None and self._habits.weighed_anew():
            scram_bytes = security.scram_bytes(session.initial_response)
            seen = self._habits.evidence(self.startup_parameters, self.application_name, scram_bytes, is_encrypted=DECRYPTED in self.facts)
            identified = drivers.identify(seen)
            if identified.driver == drivers.UNKNOWN and self.facts.get("driver", drivers.UNKNOWN) != drivers.UNKNOWN:
                identified = drivers.Identification(self.facts["driver"], ("the golden it was read from names it",))
            self._identity = identified, layers.layer_of(seen)
        return self._identity

    def _learn_key(self) -> None:
        session = self.session
        if session is None or not session.key or self.backend_pid is not None:
            return
        self.backend_pid = int.from_bytes(session.key[:4], "big")
        self._trace.keys[session.key] = self.index

    def _retire(self, now_ns: int) -> None:
        """Keep names and numbers, let go of the rest."""
        session = self.session
        if session is None:
            return
        counters, before = self.counters(now_ns), self._counters
        logged = (one for one in self.named_statements() if ("S", one.name) in self._meanings)
        self._left = tuple(sorted(logged, key=lambda one: -one.binds)[:LEFT_KEPT])
        kind, application_name, (identified, _) = self.kind, self.application_name, self._identify()
        self.parameters = self.startup_parameters
        self.refresh()
        self._application_name = application_name
        if self.statements is not None:
            self.statements.live(session.statements.live.values())
            self._trace.keep_statements(identified.driver, self.statements)
        self._counters, self._kind, self._fatal = counters, kind, session.fatal
        session.statements.let_go()
        self._trace.facts_bytes -= self.facts_bytes
        self.session = self.statements = None
        self._forget()
        self._trace.retire(self, identified.driver, counters, before)

    def _forget(self) -> None:
        """Let go of what only an open connection needs, and share what is the same in many."""
        share = self._trace.share
        self._meanings.let_go()
        if not self._meanings:
            self._meanings = _NO_MEANINGS
        if not self.copies.is_logged:
            self.copies = _NO_COPIES
        self._latest = None
        self._habits = _NO_HABITS
        self._identity = share(self._identity)
        self.authentication = share(("authentication", *self.authentication.items()), self.authentication)
        self.parameters, self.listener, self.upstream = share(self.parameters), share(self.listener), share(self.upstream)
        self.server_version, self._application_name = share(self.server_version), share(self._application_name)
        if self._counters is not None:
            for name in ("frontend_messages", "backend_messages"):
                messages: dict[str, int] = getattr(self._counters, name)
                setattr(self._counters, name, share((name, *messages.items()), messages))

    def refresh(self) -> None:
        """Take over what the session has learned about itself."""
        session = self.session
        if session is None:
            return
        self.server_version = session.parameters.get("server_version", "")
        self.transaction_status = session.status
        if not self.was_put_aside:
            self.authentication = security.authentication(session.asked, session.initial_response)
        self._learn_key()
        _ = self.startup_parameters
        if session.negotiated is not None and self.protocol:
            self.protocol = f"{session.negotiated >> 16}.{session.negotiated & 0xFFFF}"
            self.unrecognized_options = session.unrecognized_options


_SAY_GOODBYE: Final = frozenset({"session", "replication"})
"""Kinds of connections that a driver ends with Terminate."""
_NO_COPIES: Final = Copies(lambda _: False)
_NO_HABITS: Final = Habits()
_NO_MEANINGS: Final = Meanings()
"""What closed connections have in place of their own."""
_EMPTY: Final = {"copies": _NO_COPIES, "_habits": _NO_HABITS, "_meanings": _NO_MEANINGS}


def _version_2(body: bytes) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """Version and parameters of a StartupMessage of protocol 2."""
    from pgtrace.protocol import startup
    from pgtrace.protocol.message import MalformedMessage

    try:
        message = startup.Version2StartupMessage.parse(body) if startup.is_version_2(body) else None
    except MalformedMessage:
        return None
    return (message.protocol, message.parameters) if message is not None else None


_NO = frozenset({"false", "off", "no", "0", "f", "n"})
