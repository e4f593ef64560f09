"""Turns a session's reports into rows, counts and evidence of its connection.

Each report goes to the timeline (timeline.py), to the statement tables of the connection and of the
marks whose statements are counted (statements.py, marks.py), to the evidence of the driver, and to
the log of names.

Another reading of a capture, which counts something else, gives its trace another observer (Trace's
`observer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pgtrace.protocol import codes
from pgtrace.session.effects import Counts, Effect
from pgtrace.session.events import Exchange, Observer, Passage
from pgtrace.session.statements import Portal, Statement
from pgtrace.sqltext.replication import created_slot
from pgtrace.trace.copy_log import CopyLog
from pgtrace.trace.counters import Counters
from pgtrace.trace.ends import departure_in_words
from pgtrace.trace.gathered import Gathered
from pgtrace.trace.identity import Identity
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.marks import Marks
from pgtrace.trace.name_log import Dropped, NameLog
from pgtrace.trace.statements import StatementTable
from pgtrace.trace.timeline import RowNote, TimelineWriter

_SHORT_SQL: Final = 512
_SEEN: Final = (0, 0, False)
"""What a known exchange has instead of its row, without a timeline."""


class ConnectionObserver(Observer):
    """Observes one session."""

    __slots__ = ("_draws", "_last_place", "_ledger", "_marks", "left_open", "names", "statements", "timeline", "who")

    def __init__(self, ledger: Ledger, who: Identity, began: list[int], names: NameLog, copies: CopyLog) -> None:
        self.who = who
        self.names = names
        self.statements: StatementTable | None = StatementTable(ledger.statements_room) if ledger.statements else None
        self.timeline = TimelineWriter(ledger, who, began, copies)
        self.left_open = ""
        """If a side ended its direction while the latest round trip was open: what happened to that
        round trip, in words. Otherwise empty."""
        self._draws = ledger.draws
        self._ledger = ledger
        self._marks: Marks = ledger.marks_of(who.file, who.index)
        self._last_place: int | None = None
        """The place of the row completed last."""

    # Results.

    @property
    def statements_live(self) -> int:
        """The number of named statements that are alive."""
        return self.who.session.statements.live_named if self.who.session is not None else 0

    @property
    def latest_place(self) -> int | None:
        """The place of the latest row, if known."""
        alone = self.timeline.latest_alone
        return alone if alone is not None else self._last_place

    @property
    def open_effect(self) -> Effect | None:
        """The effect of the open round trip so far."""
        so_far = self.who.session.open_so_far() if self.who.session is not None else None
        return so_far[0].effect if so_far is not None else None

    def counters(self, now_ns: int) -> Counters:
        """The session's counters, up to that moment."""
        session = self.who.session
        if session is None:
            return Counters()
        tally, waited = session.tally, session.waited_ns(now_ns)
        return Counters.of_session(tally, session.bytes, session.statements.live_named, waited)

    def add_statements(self, gathered: Gathered) -> Iterator[None]:
        """Add the current statements of the session. Yields after each slice of the work."""
        session = self.who.session
        if self.statements is None or session is None:
            return
        self.statements.live(session.statements.live.values())
        yield from gathered.add(self.statements)
        so_far = session.open_so_far() if self.who.session is session else None
        if so_far is not None:
            gathered.add_open(*so_far)

    def given_away(self) -> StatementTable | None:
        """The table of its statements. The connection has ended, and the caller keeps the table."""
        if self.statements is not None and self.who.session is not None:
            self.statements.live(self.who.session.statements.live.values())
        return self.statements

    def draw_open(self) -> None:
        """Write the open round trip, as it is now, to the timeline."""
        so_far = self.who.session.open_so_far() if self.who.session is not None else None
        if so_far is not None and self._draws:
            self.timeline.draw(*so_far)

    # Reports of the session.

    def begins(self) -> RowNote:
        return self.timeline.begins()

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        note: RowNote = passage.note
        who = self.who
        self.left_open = departure_in_words(exchange.effect, passage) if passage.departure is not None else ""
        self._last_place = note.place
        if exchange.note is None:
            self._notice(exchange, passage)
        if self._draws:
            self.timeline.draw(exchange, passage)
        elif exchange.note is None:
            exchange.note = _SEEN
        if passage.closed_ns is not None and (exchange.effect.setup or not who.evidence.enough):
            self._learn(exchange)
        if self.statements is not None:
            self.statements.happened(exchange, passage)
            for mark in self._marks.counting:
                mark.count(exchange, passage, who)
        sites = self._ledger.call_sites
        if sites.notes and passage.closed_ns is not None and who.backend_pid is not None:
            sites.closed(who.file, who.backend_pid, who.client, note.place, exchange, passage.first_flush_ns, passage.closed_ns)
        if passage.replaces is None:
            for mark in note.marks:
                mark.happened(exchange, who)

    def waited(self, statement: Statement, wait_ns: int) -> None:
        if self.statements is not None:
            self.statements.waited(statement, wait_ns)
            for mark in self._marks.counting:
                mark.table(self.who).waited(statement, wait_ns)

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        if not self._draws:
            return
        statement = what.statement if isinstance(what, Portal) else what
        note: RowNote | None = self.who.session.open_note if self.who.session is not None else None
        place = note.place if note is not None else len(self._ledger.rows)
        self._log(kind, name, what, 1 + len(statement.sql or "") // _SHORT_SQL, place)

    def copy_began(self, note: RowNote | None, code: int, response: bytes, statement: Statement | None) -> None:
        self.timeline.copy_began(note, code, response, statement)

    def copy_ended(self) -> None:
        self.timeline.copy_ended()

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        if code == codes.CANCEL_REQUEST:
            target = self._ledger.keys.get(body[4:])
            self.who.cancels = target[0] if target is not None else None
        self.timeline.alone(side, code, body, size, time_ns, counts)

    def _learn(self, exchange: Exchange) -> None:
        """Add evidence of the driver."""
        evidence = self.who.evidence
        if not exchange.effect.setup:
            evidence.closed(exchange)
        elif evidence.set_up(exchange.effect):
            self.who.learn_key()

    def _notice(self, exchange: Exchange, passage: Passage) -> None:
        """Note dropped statements and created replication slots."""
        evidence = self.who.evidence
        for part in exchange.parts:
            statement = part.statement
            if part.parses:
                evidence.parsed(statement)
            if part.dropped and not _was_dropped(statement, passage):
                self._log("S", statement.name, Dropped(part.dropped), 1, passage.note.place)
            sql = statement.sql
            if sql is not None and sql[6:7] == "_" and part.ended and not part.errors and (created := created_slot(sql)) is not None:
                self._ledger.slots[self.who.upstream, created.slot] = created.plugin
        for portal in exchange.portals:
            evidence.bound(portal)

    def _log(self, kind: str, name: str, what: Statement | Portal | Dropped, weight: int, place: int) -> None:
        """Log that from the row at this place on, a name has another meaning."""
        if self._ledger.may_log((kind, name) in self.names, weight):
            self.names.weight += weight
            self.names.note(kind, name, place, what)


def _was_dropped(statement: Statement, passage: Passage) -> bool:
    """Whether the drop was already reported with the previous state of the round trip."""
    before = passage.replaces[0].parts if passage.replaces is not None else ()
    return any(part.statement is statement and part.dropped for part in before)


ObserverType = Callable[[Ledger, Identity, list[int], NameLog, CopyLog], ConnectionObserver]
"""Creates the observer of a connection."""
