"""One connection of a trace: its life from the first byte to its end, and its counts.

While it is open it has a session, and an observer that writes the session's reports to the ledger.
When it has closed only names and numbers remain, so a capture of a hundred thousand short
connections needs little memory; the connection can then be moved to the shelf.

identity.py has its driver, server and start-up; ends.py describes its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, Self

from pgtrace import shelf
from pgtrace.capture.record import DECRYPTED
from pgtrace.identify.collector import EvidenceCollector
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Rest, Session
from pgtrace.session.effects import Effect, Tally
from pgtrace.session.statements import Portal, Statement
from pgtrace.trace import ends, refused_tls
from pgtrace.trace.copy_log import CopyLog
from pgtrace.trace.counters import Counters
from pgtrace.trace.ends import UNDECIDED, DirectionEnd
from pgtrace.trace.gathered import Gathered
from pgtrace.trace.identity import NOTHING_COLLECTED, Identity
from pgtrace.trace.ledger import LONGEST_FACT, Ledger
from pgtrace.trace.name_log import Dropped, NameLog
from pgtrace.trace.observer import ConnectionObserver, ObserverType
from pgtrace.trace.row import Label, RowKind
from pgtrace.trace.statements import StatementTable
from pgtrace.trace.timeline import RowNote

LEFT_KEPT: Final = 100
"""The most statements kept of a closed connection: those with the most Binds."""
_NEVER_NS: Final = -(1 << 62)
"""Earlier than all times. The first record of a capture may belong to another connection and be
later than this one's first."""
_SAY_GOODBYE: Final = frozenset({"session", "replication"})
"""Kinds of connections that a driver ends with Terminate."""


class ConnectionKeeper(Protocol):
    """The owner of all connections, which each connection informs."""

    def woken(self, connection: Connection) -> None:
        """A connection that was put aside continues."""

    def retired(self, connection: Connection, counters: Counters, before: Counters | None, statements: StatementTable | None) -> None:
        """A connection has closed or is put aside, with these counters and statements. `before` is
        what it had counted when it was last put aside."""

    def changed(self, connection: Connection) -> None:
        """More is known about a closed connection."""


class Connection(Identity):
    """One connection: identity, lifetime, counters."""

    __slots__ = (
        "_began",
        "_counters",
        "_end_row",
        "_fatal",
        "_keeper",
        "_left",
        "_left_open",
        "_make_observer",
        "_names",
        "_observer",
        "_resting",
        "closed_by",
        "closed_ns",
        "copies",
        "ends",
        "joined",
        "last_ns",
        "opened_ns",
        "position",
        "sent_on",
        "terminated",
        "tls_refused",
    )  # fmt: skip

    @classmethod
    def restored(cls, ledger: Ledger, keeper: ConnectionKeeper, observer: ObserverType, state: bytes) -> Self:
        """A connection from the shelf."""
        self = cls.__new__(cls)
        for name, value in (_ABSENT | shelf.loaded(state)).items():
            setattr(self, name, value)
        self._ledger, self._keeper, self._make_observer = ledger, keeper, observer
        return self

    def stored(self) -> bytes:
        """What remains of a closed connection, for the shelf."""
        values = {name: getattr(self, name) for name in (*Identity.__slots__, *Connection.__slots__) if name not in _LIVES_ON}
        return shelf.stored({name: value for name, value in values.items() if name not in _ABSENT or value is not _ABSENT[name]})

    def __init__(self, ledger: Ledger, keeper: ConnectionKeeper, observer: ObserverType, index: int, file: int, number: int) -> None:
        super().__init__(ledger, index, file, number)
        self._keeper = keeper
        self._make_observer = observer
        self.opened_ns = 0
        self.closed_ns: int | None = None
        self.closed_by = ""
        """The side that ended it first: `driver`, `server` or `pgtrace`."""
        self.ends: tuple[DirectionEnd, ...] = ()
        """The ends of its directions, in order; empty if none was seen."""
        self.sent_on = False
        """Whether the driver still sent something after the first of them."""
        self.terminated = False
        """Whether the driver sent Terminate."""
        self.tls_refused = ""
        """If the driver asked for TLS, got none and left: what it began with (refused_tls.py)."""
        self.last_ns = _NEVER_NS
        self.joined = False
        """Whether its beginning is missing from the capture."""
        self.position = 0
        """The position of its first record."""
        self.copies = CopyLog(ledger.may_log)
        """The meaning of its CopyData at every row."""
        self._names = NameLog()
        self._began = [0, 0]
        """For each side: the position of the record in which its incomplete message began, or
        otherwise its latest read."""
        self._left: tuple[Statement, ...] = ()
        self._left_open = self._fatal = ""
        self._counters: Counters | None = None
        """Its counters, without those of its present session."""
        self._resting: Rest | None = None
        self._end_row: tuple[int, int] | None = None
        """The place of the row for its end, and how many bytes the driver had sent."""
        self._observer: ConnectionObserver | None
        self._open(EvidenceCollector())

    # Input.

    def receive(self, side: int, time_ns: int, data: bytes, offset: int, position: int) -> None:
        """Take the bytes of one read, and the position of their record in the capture."""
        session = self.session or self._woken(time_ns, offset)
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
        """Continue in the middle: learn from the start-up, without counting it."""
        self.joined = True
        earlier = Session()
        earlier.receive(FRONTEND, time_ns, sent)
        earlier.receive(BACKEND, time_ns, replies)
        if self.session is not None:
            self.session.resume(time_ns, earlier, offsets)
        self.learn_key()

    def close(self, time_ns: int) -> None:
        """The connection has ended."""
        session = self.session
        if session is None:
            if self.closed_ns is None:
                self.closed_ns = self.last_ns = time_ns
                self._relabel_end()
                self._keeper.changed(self)
            return
        session.close(time_ns)
        self.closed_ns = self.last_ns = time_ns
        self.terminated = session.terminated
        self._notice_refused_tls(session)
        if self._end_row is not None:
            self.sent_on = session.bytes[FRONTEND] != self._end_row[1]
            self._relabel_end()
        elif not session.terminated and session.startup:
            self._add_end_row(time_ns)
        self._retire(time_ns)

    def ended(self, side: int, how: str, time_ns: int) -> None:
        """One of its directions has ended."""
        session = self.session
        if self.closed_ns is not None:
            return
        self.ends = (*self.ends, DirectionEnd(side, how, time_ns))
        if session is not None:
            session.ended(side, how, time_ns)
            self._notice_refused_tls(session)
        self.last_ns = time_ns
        says_goodbye = session.startup and not session.terminated if session is not None else self.kind in _SAY_GOODBYE
        if self._end_row is None and says_goodbye:
            self._end_row = (self._add_end_row(time_ns), session.bytes[FRONTEND] if session is not None else 0)
        if session is None:
            self._keeper.changed(self)

    def put_aside(self, time_ns: int) -> None:
        """Too many connections are open: keep its counts and state, and free the rest. Its next
        read wakes it."""
        if self.session is not None:
            self.was_put_aside = True
            self._resting = self.session.rest()
            if self._resting is None:
                self.gap(time_ns)
            self._retire(time_ns)

    def learn(self, key: str, value: str) -> None:
        """Take a fact about the connection."""
        if key in self.facts or (self.session is not None and self._ledger.may_keep_fact(self.facts, key, value)):
            self.facts[key] = value[:LONGEST_FACT]
        if key == "server":
            self.upstream = value
        elif key == DECRYPTED and self.session is not None:
            self.session.decrypted()

    def gap(self, time_ns: int) -> None:
        """Bytes of the connection are missing."""
        if self.session is not None:
            self.session.gap(time_ns)

    def draw_open(self) -> None:
        """Write the open round trip, as it is now, to the timeline."""
        if self._observer is not None:
            self._observer.draw_open()

    # Results.

    @property
    def fatal(self) -> str:
        """The SQLSTATE of the FATAL error that the server sent; empty if there was none."""
        return self._fatal if self.session is None else self.session.fatal

    @property
    def ended_ns(self) -> int | None:
        """When a side first ended it, if known; otherwise when it closed."""
        return self.ends[0].time_ns if self.ends else self.closed_ns

    @property
    def asked_to_end(self) -> bool:
        """Whether the driver sent Terminate before any side ended."""
        return (self.terminated if self.session is None else self.session.terminated) and self._end_row is None

    @property
    def end(self) -> str:
        """How it ended and which side ended it, in words; empty while it is open. A driver that
        ended its direction may still read until the connection has closed."""
        if self.closed_ns is None and (not self.ends or self.ends[0].may_read):
            return UNDECIDED if self.ends else ""
        terminated = self.terminated if self.session is None else self.session.terminated
        silent = not terminated and self.kind in _SAY_GOODBYE
        return ends.in_words(self.ends, self.closed_by, self.fatal, silent=silent, asked=self.asked_to_end)

    @property
    def left_open(self) -> str:
        """If a side ended its direction while the latest round trip was open: what happened to that
        round trip, in words. Otherwise empty."""
        return self._observer.left_open if self._observer is not None else self._left_open

    @property
    def log_weight(self) -> int:
        """The share of its log of names in the ledger's budget."""
        return self._names.weight

    @property
    def has_open_row(self) -> bool:
        """Whether one of its rows is not complete yet."""
        return self.session is not None and self.session.has_open_run

    @property
    def open_effect(self) -> Effect | None:
        """The effect of the open round trip so far."""
        return self._observer.open_effect if self._observer is not None else None

    @property
    def statements_live(self) -> int:
        """The number of named statements that are alive."""
        before = self._counters.statements_live if self._counters is not None else 0
        return before + (self._observer.statements_live if self._observer is not None else 0)

    @property
    def last_statements(self) -> Iterable[Statement]:
        """The named statements that are alive. For a closed connection: those alive at its end, as
        far as its log of names has them."""
        return self.named_statements() if self.session is not None else self._left

    @property
    def portals(self) -> Iterable[Portal]:
        """The open portals. They live until their transaction ends, so there are none outside a
        block."""
        session = self.session
        return session.statements.live_portals.values() if session is not None and session.status in ("T", "E") else ()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is owed and no message is incomplete."""
        return self.session is None or self.session.is_quiet

    @property
    def under_way(self) -> int | None:
        """The place of the row that is not complete yet; None if nothing is owed and no message is
        incomplete."""
        session = self.session
        if session is None or session.is_quiet:
            return None
        note: RowNote | None = session.open_note
        return note.place if note is not None else len(self._ledger.rows)

    def counters(self, now_ns: int) -> Counters:
        """Its counters; for an open connection up to that moment."""
        if self._observer is None:
            return self._counters or Counters()
        counters = self.present(now_ns)
        if self._counters is not None:
            counters.add(self._counters)
        return counters

    def present(self, now_ns: int) -> Counters:
        """The counters of its present session alone, up to that moment; all 0 if it has none."""
        return self._observer.counters(now_ns) if self._observer is not None else Counters()

    @property
    def settled(self) -> Counters | None:
        """Its counters without those of its present session; None if that is its first session."""
        return self._counters

    def counted_at(self, place: int) -> tuple[Tally, int] | None:
        """The counts and the waiting time of the open round trip at this place; None if the open
        round trip is not at this place."""
        session = self.session
        note: RowNote | None = session.open_note if session is not None else None
        return session.unreported(self._ledger.duration_ns) if session is not None and note is not None and note.place == place else None

    def add_statements(self, gathered: Gathered) -> Iterator[None]:
        """Add the current statements of an open connection. Yields after each slice of the work."""
        if self._observer is not None:
            yield from self._observer.add_statements(gathered)

    def meaning(self, kind: str, name: str, place: int) -> Statement | Portal | None:
        """What the name of a statement (`S`) or portal (`P`) meant when the row at this place
        began."""
        return self._names.at(kind, name, place)

    def named_at(self, name: str, place: int) -> list[int]:
        """The places up to `place` at which the name got a statement, latest first: those of its
        Parses, and of rows that restored it."""
        return self._names.places(name, place)

    def fate(self, name: str, place: int) -> tuple[int, Statement | Dropped] | None:
        """What happened to a statement's name before the row at this place: the row of its latest
        Parse, or of what dropped it. None if neither was seen."""
        return self._names.fate(name, place)

    # Its life.

    def _open(self, evidence: EvidenceCollector) -> Session:
        """Begin a session."""
        self.evidence = evidence
        self._observer = self._make_observer(self._ledger, self, self._began, self._names, self.copies)
        self.session = session = Session(self._observer, self._ledger.reads)
        return session

    def _woken(self, time_ns: int, offset: int) -> Session | None:
        """The session of a connection that was put aside: its saved state if nothing was owed,
        otherwise a session that continues as after a gap. Names count as prepared earlier."""
        if self.closed_ns is not None:
            return None
        if self._names is _NO_NAMES:
            self._names = NameLog()
        self.copies = CopyLog(self._ledger.may_log)
        session = self._open(EvidenceCollector(enough=True))
        session.parameters.update(server_version=self.server_version, application_name=self._application_name)
        if self._resting is not None:
            session.continue_from(time_ns, self._resting)
        else:
            session.resume(time_ns, Session(), (offset, offset))
        self._keeper.woken(self)
        return session

    def _retire(self, now_ns: int) -> None:
        """Keep names and numbers, free the rest."""
        session, observer = self.session, self._observer
        if session is None or observer is None:
            return
        counters, before = self.counters(now_ns), self._counters
        logged = (one for one in self.named_statements() if ("S", one.name) in self._names)
        self._left = tuple(sorted(logged, key=lambda one: -one.binds)[:LEFT_KEPT])
        self._settle()
        statements = observer.given_away()
        self._counters, self._fatal, self._left_open = counters, session.fatal, observer.left_open
        session.statements.release()
        self._ledger.forget_facts(self.facts)
        self.session = self._observer = None
        self._share()
        self._names.forget_notes()
        if not self._names:
            self._names = _NO_NAMES
        if not self.copies.is_logged:
            self.copies = _NO_COPIES
        for name in ("frontend_messages", "backend_messages"):
            messages: dict[str, int] = getattr(counters, name)
            setattr(counters, name, self._ledger.share((name, *messages.items()), messages))
        self._keeper.retired(self, counters, before, statements)

    # Its end.

    def _add_end_row(self, time_ns: int) -> int:
        """Add the row for its end. Returns the row's place."""
        session = self.session
        status, offsets = (session.status, session.offsets) if session is not None else ("", (0, 0))
        return self._ledger.event(RowKind.CLOSED, self.end, time_ns, self._began[FRONTEND], self.index, status=status, offsets=offsets)

    def _relabel_end(self) -> None:
        """Update the row for its end, now that more is known."""
        if self._end_row is not None and self._ledger.timeline:
            self._ledger.rows.relabel(self._end_row[0], Label(self.end))

    def _notice_refused_tls(self, session: Session) -> None:
        """The connection has ended. If its driver was refused TLS, say so in its first row."""
        if self.tls_refused or self.joined or self.was_put_aside:
            return
        self.tls_refused = refused_tls.began_with(session, self.ends[0].by if self.ends else self.closed_by, self.facts)
        place = self._observer.latest_place if self._observer is not None else None
        if self.tls_refused and self._ledger.timeline and place is not None:
            self._ledger.rows.relabel(place, Label(refused_tls.in_words(self.tls_refused)))


_NO_COPIES: Final = CopyLog(lambda _: False)
_NO_NAMES: Final = NameLog()
_ABSENT: Final[dict[str, Any]] = {
    "copies": _NO_COPIES,
    "evidence": NOTHING_COLLECTED,
    "_names": _NO_NAMES,
    "_observer": None,
    "session": None,
}
"""What closed connections share instead of having objects of their own."""
_LIVES_ON: Final = frozenset({"_keeper", "_ledger", "_make_observer"})
