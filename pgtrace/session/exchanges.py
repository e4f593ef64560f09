"""Exchanges seen before: one look-up in place of the state machine for the commonest traffic.

Drivers repeat themselves: one read of frontend messages, one read that answers them all, nothing owed before or after. Such an exchange, with the same names,
formats and tags in the same state, always has the same effect. The second time one is seen the plain machine runs it under observation; from then on the
effect is applied as a whole. So there is one definition of the rules, the plain machine's, and it takes over whenever anything differs: the exchange
that was held back is simply run.

What an exchange is known by: the version of the session's names, transaction status, open block and suspended portals, and what the two reads mean without
the values in them (reads.py). A known read is not even cut into frames. Anything reads.py does not know (COPY, errors, notices, authentication) is never
learned.

As long as nothing but known exchanges happens, `_standing` is what is known from where the session stands: then nothing of its state is looked at. Counts
are folded into the tally when somebody asks: settle(). What it saves is in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pgtrace.framing import Frame
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.effects import Effect
from pgtrace.session.events import LONGEST_HASHED, Exchange, Execution, Observer, Portal, Repeat, RoundTrip, Statement, Tally
from pgtrace.session.reads import Answered, Asked, Reads, answered_key
from pgtrace.session.replies import Replies
from pgtrace.session.sending import Sending

KNOWN: Final = 1_000
"""Exchanges and frontend reads remembered for one session before all is forgotten."""

_ROW: Final = ord("D")
_new: Final[Callable[..., Repeat]] = tuple.__new__

SUSPENDED_KNOWN: Final = 64
"""Suspended portals of a place from which exchanges are remembered: with more of them, each would cost as many steps."""

Place = tuple[int, str, bool, frozenset[str] | None]
"""Where an exchange begins: version of the session's names, transaction status, open block, suspended portals."""
_NOWHERE: Final[Place] = (-1, "", False, None)
"""A place of which nothing is remembered."""
Standing = dict[Asked, dict[Answered | None, "Known"]]
"""What is known to happen from one place."""


class Known(Exchange):
    """What one known exchange does to the session as well."""

    __slots__ = ("in_block", "rows", "status", "suspended", "uses")

    def __init__(self, heard: _Heard, round_trip: RoundTrip, tally: Tally) -> None:
        super().__init__(round_trip, tally)
        self.executions, self.bound, self.parsed, self.reused = heard.executions, heard.portals, heard.statements, heard.reuses
        self.status = ""
        self.in_block = False
        self.suspended: frozenset[str] = frozenset()
        self.uses = 0
        self.rows = 0
        """Uses and rows not folded into the tally yet."""


class _Heard(Observer):
    """Passes everything on and remembers what an exchange has to repeat."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.executions: list[Execution] = []
        self.portals: list[Portal] = []
        self.statements: list[Statement] = []
        self.reuses: list[Statement] = []
        self.is_plain = True

    def begins(self) -> Any:
        return self.observer.begins()

    def counted(self, round_trip: RoundTrip) -> None:
        self.observer.counted(round_trip)

    def closed(self, round_trip: RoundTrip) -> None:
        self.observer.closed(round_trip)

    def executed(self, execution: Execution) -> None:
        self.executions.append(execution)
        self.observer.executed(execution)

    def failed(self, statement: Statement | None) -> None:
        self.is_plain = False
        self.observer.failed(statement)

    def parsed(self, statement: Statement) -> None:
        self.statements.append(statement)
        self.observer.parsed(statement)

    def bound(self, portal: Portal) -> None:
        self.portals.append(portal)
        self.observer.bound(portal)

    def reused(self, statement: Statement) -> None:
        self.reuses.append(statement)
        self.observer.reused(statement)

    def dropped(self, statement: Statement, how: str) -> None:
        self.observer.dropped(statement, how)

    def forgot(self, statement: Statement) -> None:
        self.observer.forgot(statement)

    def named(self, kind: str, name: str, what: Statement | Portal) -> None:
        self.observer.named(kind, name, what)

    def copy_began(self, round_trip: RoundTrip | None, code: int, response: bytes, statement: Statement | None) -> None:
        self.is_plain = False
        self.observer.copy_began(round_trip, code, response, statement)

    def copy_ended(self) -> None:
        self.observer.copy_ended()

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self.is_plain = False
        self.observer.alone(side, code, body, size, time_ns)


class Exchanges(Sending, Replies):
    """The plain machine, and what it need not be asked again."""

    def __init__(self, observer: Observer | None, reads: Reads | None) -> None:
        self._reads = reads or Reads()
        super().__init__(observer, self._reads.memory)
        self._known: dict[Place, Standing] = {}
        self._kept = 0
        """Exchanges in all of it."""
        self._seen: set[tuple[Place, Asked]] = set()
        self._used: list[Known] = []
        self._standing: Standing | None = None
        """Where the session stands, as long as nothing but known exchanges happens: idle, and this is known from here."""
        self._latest: Known | None = None
        """The exchange that led there."""
        self._held: tuple[int, bytes, Asked, Standing, Any] | None = None
        """A known read that waits for its answer: time, bytes, meaning, where it was sent, and the note of its round trip."""
        self._learning: tuple[Place, Asked, _Heard, Tally] | None = None
        self._total: Tally | None = None
        """The counts of rows that were taken and of exchanges; None where nobody takes rows, and `_tally` has everything."""
        self._uses: dict[Effect, list[int]] = {}
        """Rows that were taken and are not in the total yet: how many, and with how many DataRows."""
        self._waited_ns = 0
        """What the rows that were taken waited."""

    def settle(self) -> None:
        """Run what is held back and fold the counts: from here on the session stands as its bytes say."""
        if self._held is not None:
            self._run_held()
        if self._learning is not None:
            self._stop_learning()
        self._standing = self._latest = None
        self._fold_exchanges()

    def fold(self) -> Tally:
        """The counts of all that has been run. What is held back is not among it, and goes on being held back."""
        self._fold_exchanges()
        if self._total is None:
            return self._tally
        self._fold_rows(self._total)
        sums = self._total.copy()
        sums.add(self._tally, 1)
        return sums

    def take(self) -> tuple[Effect, int, int]:
        """A row has ended: what has been counted since the one before is its effect, its DataRows, and how long it waited, in ns."""
        if self._total is None:
            self._total = Tally()
        effect, rows = self._reads.effects.of(self._tally)
        self._tally.clear()
        use = self._uses.get(effect)
        if use is None:
            if len(self._uses) >= KNOWN:
                self._fold_rows(self._total)
            use = self._uses[effect] = [0, 0]
        use[0] += 1
        use[1] += rows
        waited_ns = self.round_trips.settled_ns - self._waited_ns
        self._waited_ns += waited_ns
        return effect, rows, waited_ns

    def take_more(self, effect: Effect, rows: int, waited_ns: int) -> tuple[Effect, int, int]:
        """The row that was taken last goes on: what it took, and what has been counted since."""
        effect.add_to(self._tally, 1, rows)
        use = self._uses.setdefault(effect, [0, 0])
        use[0] -= 1
        use[1] -= rows
        self._waited_ns -= waited_ns
        return self.take()

    def _take_frontend(self, time_ns: int, data: bytes) -> None:
        """One read of the frontend."""
        standing = self._standing
        if standing is not None:
            asked = self._reads.asked.get(self._reads.asked_key(data))
            if asked in standing:
                self._standing = None
                self._held = (time_ns, data, asked, standing, self.observer.begins())
                return
        if self._held is not None or self._learning is not None:
            self.settle()
        self._standing = self._latest = None
        if not data or not self._is_idle():
            self._ask(time_ns, data, self.framer.feed(FRONTEND, data))
        else:
            self._take_from_idle(time_ns, data)

    def _take_from_idle(self, time_ns: int, data: bytes) -> None:
        """A read of the frontend that may begin an exchange."""
        framer = self.framer
        key = self._reads.asked_key(data)
        asked = self._reads.asked.get(key)
        frames = None
        if asked is None:
            frames = framer.feed(FRONTEND, data)
            asked = self._reads.learn_asked(key, frames) if not framer.cut[FRONTEND] else None
            if asked is None:
                self._ask(time_ns, data, frames)
                return
        place = self._place()
        standing = self._known.get(place, {})
        if asked not in standing:
            self._notice(place, asked)
        elif frames is None:
            self._held = (time_ns, data, asked, standing, self.observer.begins())
            return
        self._ask(time_ns, data, framer.feed(FRONTEND, data) if frames is None else frames)

    def _ask(self, time_ns: int, data: bytes, frames: list[Frame]) -> None:
        """Run a read of the frontend."""
        self._frontend(time_ns, frames)
        if self.round_trips.current is not None:
            self.round_trips.current.asked(data)

    def _take_backend(self, time_ns: int, data: bytes) -> None:
        """One read of the backend."""
        held = self._held
        if held is None and self._learning is None:
            self._standing = self._latest = None
            self._backend(time_ns, self.framer.feed(BACKEND, data))
            return
        key, rows = answered_key(data)
        answered = self._reads.answered.get(key)
        frames = None
        if answered is None:
            frames = self.framer.feed(BACKEND, data)
            if not self.framer.cut[BACKEND]:
                answered, rows = self._reads.learn_answered(key, frames)
        if held is not None:
            exchange = held[3][held[2]].get(answered)
            if exchange is not None:
                self._apply(exchange, held, time_ns, len(data), rows)
                return
            if answered is not None:
                self._start_learning(self._place(), held[2])
            self._run_held()
        self._backend(time_ns, self.framer.feed(BACKEND, data) if frames is None else frames)
        if self._learning is not None:
            self._learn(answered)

    def _place(self) -> Place:
        """Where the session stands now."""
        statements = self.statements
        suspended = statements.suspended
        if len(suspended) > SUSPENDED_KNOWN:
            return _NOWHERE
        return statements.version, self.status, statements.in_block, frozenset(suspended) if suspended else None

    def _notice(self, place: Place, asked: Asked) -> None:
        """Something is asked that is not known from here: what is asked the second time is learned."""
        if place is _NOWHERE:
            return
        if (place, asked) in self._seen:
            if asked.is_self_contained:
                self._start_learning(place, asked)
        else:
            if len(self._seen) >= KNOWN:
                self._seen.clear()
            self._seen.add((place, asked))

    def _is_idle(self) -> bool:
        """Whether nothing is owed or undecided, and both sides stand at the beginning of a message."""
        if self._owed or self.round_trips.current is not None or self.round_trips.setup or self._skipping or self._copy_both:
            return False
        if self.round_trips.undecided is not None:
            return False
        return self.framer.at_message

    def _run_held(self) -> None:
        """The plain machine takes over: what is held back was sent, and not known after all."""
        if self._held is None:
            return
        time_ns, data, _, _, note = self._held
        self._held = None
        self.round_trips.open(time_ns, (self._offsets[0], self._offsets[1]), self.status, note)
        self._ask(time_ns, data, self.framer.feed(FRONTEND, data))

    def _apply(self, exchange: Known, held: tuple[int, bytes, Asked, Standing, Any], time_ns: int, received_bytes: int, rows: int) -> None:
        """What is held back was answered as before."""
        self._held = None
        sent_ns, data, _, standing, note = held
        if not exchange.uses:
            self._used.append(exchange)
        exchange.uses += 1
        exchange.rows += rows
        if exchange is self._latest:  # the same again: it leaves everything as it is
            self._standing = standing
        else:
            self._change(exchange)
        started_ns = sent_ns if sent_ns > self._last_end_ns else self._last_end_ns
        if exchange.executions:
            self._last_end_ns = time_ns
        self.round_trips.repeated(sent_ns, time_ns)
        offsets = self._offsets
        frontend, backend = offsets
        sent_bytes = len(data)
        offsets[FRONTEND] = frontend + sent_bytes
        offsets[BACKEND] = backend + received_bytes
        wait_ns = time_ns - started_ns if time_ns > started_ns else 0
        values = hash(data) if sent_bytes <= LONGEST_HASHED else 0
        self.observer.repeated(
            exchange, _new(Repeat, (note, sent_ns, time_ns, wait_ns, (frontend, backend), rows, sent_bytes, received_bytes, values))
        )

    def _change(self, exchange: Known) -> None:
        """Stand where an exchange leads."""
        statements = self.statements
        for portal in exchange.bound:
            name = portal.name
            if statements.sending_portals.get(name) is not portal:
                self.observer.named("P", name, portal)
                statements.sending_portals[name] = portal
            statements.live_portals[name] = portal
        if statements.suspended or exchange.suspended:
            statements.suspended = set(exchange.suspended)
        statements.in_block = exchange.in_block
        self.status = exchange.status
        self._standing = self._known.get(self._place())
        self._latest = exchange

    def _start_learning(self, place: Place, asked: Asked) -> None:
        heard = _Heard(self.observer)
        self._learning = (place, asked, heard, self.fold().copy())
        self._listen(heard)

    def _stop_learning(self) -> None:
        if self._learning is not None:
            self._listen(self._learning[2].observer)
            self._learning = None

    def _listen(self, observer: Observer) -> None:
        self.observer = self.round_trips.observer = self.statements.observer = observer

    def _learn(self, answered: Answered | None) -> None:
        """Keep what the plain machine just did, if doing it again would be the same."""
        if self._learning is None:
            return
        place, asked, heard, before = self._learning
        self._stop_learning()
        round_trip = self.round_trips.last
        if answered is None or round_trip is None or self._owed or self.round_trips.current is not None or not heard.is_plain:
            return
        named = sum(1 for portal in heard.portals if portal.statement.name)
        if place[0] != self.statements.version or named != len(heard.reuses) or round_trip.errors or not round_trip.flush_points:
            return
        exchange = Known(heard, round_trip, self.fold().since(before))
        for execution in heard.executions:
            if execution.rows:
                exchange.values_text = execution.values_text // execution.rows
                exchange.values_binary = execution.values_binary // execution.rows
        exchange.tally.backend.pop(_ROW, None)
        exchange.tally.values_text = exchange.tally.values_binary = 0
        exchange.tally.max_pipeline_depth = round_trip.depth if round_trip.flush_points else 0  # it is no sum
        exchange.status, exchange.in_block = self.status, self.statements.in_block
        exchange.suspended = frozenset(self.statements.suspended)
        if self._kept >= KNOWN:
            self._known.clear()
            self._kept = 0
        self._kept += 1
        self._known.setdefault(place, {}).setdefault(asked, {})[answered] = exchange

    def _fold_exchanges(self) -> None:
        """Add up what known exchanges have counted."""
        if not self._used:
            return
        tally = self._tally if self._total is None else self._total
        for exchange in self._used:
            tally.add(exchange.tally, exchange.uses)
            if exchange.rows:
                tally.backend[_ROW] += exchange.rows
            tally.values_text += exchange.rows * exchange.values_text
            tally.values_binary += exchange.rows * exchange.values_binary
            for statement in exchange.reused:
                statement.binds += exchange.uses
            exchange.uses = exchange.rows = 0
        self._used.clear()

    def _fold_rows(self, total: Tally) -> None:
        """Add up what the rows have counted that were taken."""
        for effect, (times, rows) in self._uses.items():
            effect.add_to(total, times, rows)
        self._uses.clear()
