"""When a round trip opens and closes, how long the driver waited, and the reports to the observer.

The rules are those of the glossary. A run opens with the first frontend message sent while none is
open. Each of its flush points must be answered. When none is pending any more, and there was one,
the run is a round trip and closes. `withdraw` takes back a Sync or Flush that copy mode swallowed.
The clock of `wait_ns` runs while a flush point is pending, from the end of set-up on. departure.py
has the rules for a side that ends its direction meanwhile.

A run counts for itself, and is reported with its Counts when it has closed. Sums over the session
are sums over those, and over the messages outside any run.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Final

from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.departure import TERMINATE, Departure
from pgtrace.session.effects import FIRST_LETTER, Counts, Effect, Effects, Key, Odd, Tally, unfinished
from pgtrace.session.events import CUT, FLIGHT_MESSAGES_KEPT, SKIPPED, Exchange, Observer, Part, Passage
from pgtrace.session.failures import Failure
from pgtrace.session.statements import Portal, Statement

LONGEST_HASHED: Final = 256 * 1024
"""The most bytes of a round trip that are hashed for Passage.values."""
_HASHED: Final = 4096
"""Bytes are hashed in blocks of this many, so the hash does not depend on how reads were cut."""
PORTALS_TOLD: Final = 64
"""The most portals reported of one round trip."""
_TAGS_KEPT: Final = 8
_COPY_DATA: Final = ord("d")
_passage: Final[Callable[..., Passage]] = tuple.__new__
_USES: Final = 1_000
"""Different Counts of a session before they are added up."""


class Run:
    """A run of frontend messages during which something was always unanswered: a round trip, if
    anything waits for it."""

    __slots__ = (
        "block_began", "block_end", "bound", "closed_ns", "copies_received", "copies_sent",
        "copy_in_rows", "copy_out_rows", "copying", "departure", "depth", "error", "errors",
        "executions", "failures", "first", "first_answer_ns", "first_flush_ns", "flush_points",
        "formats", "is_frozen", "note", "offsets", "opened_ns", "owed_before", "params_binary",
        "params_text", "parses_named", "parses_unnamed", "parts", "passed_binary", "passed_text",
        "portals", "prepares", "ran", "received", "received_bytes", "received_odd", "reused",
        "reuses", "rows", "sent", "sent_bytes", "sent_odd", "setup", "status", "status_before",
        "tags", "told", "transactions", "uncertain", "unhashed", "values", "values_binary",
        "values_text", "waited_ns", "warnings",
    )  # fmt: skip

    def __init__(self, opened_ns: int, *, setup: bool, offsets: tuple[int, int], status: str, note: Any = None) -> None:
        self.opened_ns = opened_ns
        self.setup = setup
        self.offsets = offsets
        self.status_before = self.status = status
        self.note = note
        self.first_flush_ns = self.flush_points = self.depth = self.executions = self.sent_bytes = self.received_bytes = 0
        self.rows = self.errors = self.formats = self.bound = self.waited_ns = self.values = 0
        self.values_text = self.values_binary = self.passed_text = self.passed_binary = self.params_text = self.params_binary = 0
        self.copies_sent = self.copies_received = self.ran = self.parses_named = self.parses_unnamed = self.reused = self.transactions = (
            self.copy_in_rows
        ) = self.copy_out_rows = 0
        self.tags: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.failures: tuple[Failure, ...] = ()
        self.first_answer_ns: int | None = None
        self.closed_ns: int | None = None
        self.departure: Departure | None = None
        self.first: Statement | None = None
        self.copying: Statement | None = None
        self.told: tuple[Exchange, Passage] | None = None
        self.block_began = self.prepares = self.reuses = self.uncertain = self.is_frozen = False
        self.block_end = ""
        self.owed_before = self.error = self.unhashed = b""
        self.sent = bytearray()
        self.received = bytearray()
        self.sent_odd: dict[int, int] | None = None
        self.received_odd: dict[int, int] | None = None
        self.parts: dict[Statement, Part] = {}
        self.portals: dict[str, Portal] = {}

    # Most of it is described in events.py and effects.py. ran: executions that ended, including
    # those that a message outside the run ended. passed_text, passed_binary: values of the rows
    # that came. copies_sent, copies_received: CopyData that are not in the flight. bound: Binds of
    # named statements. values_text, values_binary: of the executions that ended in it. is_frozen:
    # it has been reported, so late changes go to a copy. values: the hash of what it asked, without
    # the end that fills no block, `unhashed`.

    def part(self, statement: Statement) -> Part:
        """The Part of a statement."""
        found = self.parts.get(statement)
        if found is None:
            found = self.parts[statement] = Part(statement)
        return found

    def carries(self, statement: Statement) -> None:
        """It has a message of that statement."""
        found = self.parts.get(statement)
        if found is None:
            found = self.parts[statement] = Part(statement)
        found.is_carried = True

    def skips(self, times: int) -> None:
        """The backend discarded `times` executions."""
        room = max(0, FLIGHT_MESSAGES_KEPT - len(self.received))
        self.received += bytes([SKIPPED]) * min(times, room)
        if times > room and self.received[-1:] != bytes([CUT]):
            self.received.append(CUT)

    def asks(self, wire: bytes) -> None:
        """These whole messages of the driver are part of it: add them to the hash."""
        if not self.unhashed and len(wire) <= _HASHED:
            self.unhashed = wire
        elif self.sent_bytes <= LONGEST_HASHED:
            self.values, self.unhashed = _hashed(self.values, self.unhashed + wire)

    def sends(self, letter: int, message: int) -> None:
        """A message was sent that its letter in the flight does not identify."""
        self.sent_odd = _add(self.sent, self.sent_odd, letter, message)

    def sends_pairs(self, first: int, second: int, times: int) -> None:
        """Two messages were sent alternately, `times` each."""
        self.sent_odd = _add_pairs(self.sent, self.sent_odd, first, second, times)

    def receives_pairs(self, first: int, second: int, times: int) -> None:
        """The same for received messages."""
        self.received_odd = _add_pairs(self.received, self.received_odd, first, second, times)

    def tagged(self, tag: str) -> None:
        """A command is complete."""
        short = tag.rstrip("0123456789 ")
        if short not in self.tags[-1:] and len(self.tags) < _TAGS_KEPT:
            self.tags += (short,)

    def receives(self, letter: int, message: int) -> None:
        """The same for a received message."""
        self.received_odd = _add(self.received, self.received_odd, letter, message)

    def key(self) -> Key:
        """The key of its effect so far."""
        formats = self.formats or (1 if self.values_text else 0) | (2 if self.values_binary else 0)
        look = (
            bytes(self.sent), bytes(self.received), self.setup, self.flush_points > 0, self.depth, self.executions, self.errors, self.prepares,
            self.reuses, formats, self.status_before, self.status, self.block_began, self.block_end, self.uncertain, self.owed_before,
            self.tags, self.warnings, bool(self.portals) and any(self.portals),
        )  # fmt: skip
        depth, is_round_trip, setup = self.depth, self.flush_points > 0, self.setup
        numbers = (
            1 if is_round_trip and setup else 0, 1 if is_round_trip and not setup else 0, self.ran, depth - 1 if is_round_trip and depth else 0,
            depth if is_round_trip else 0, self.parses_named, self.parses_unnamed, self.reused, self.transactions, self.params_text,
            self.params_binary, self.copy_in_rows, self.copy_out_rows,
        )  # fmt: skip
        rows, text, binary, exact = self.rows, self.passed_text, self.passed_binary, False
        if text or binary:
            if rows and not text % rows and not binary % rows:
                text, binary = text // rows, binary // rows
            else:
                exact = True
        return look, numbers, (text, binary), exact, _odd(self.sent_odd, self.copies_sent), _odd(self.received_odd, self.copies_received)

    def exchange(self, effect: Effect) -> Exchange:
        """What has happened in it so far."""
        portals = tuple(self.portals.values()) if self.portals else ()
        exchange = Exchange(effect, tuple(self.parts.values()), portals, first=self.first)
        exchange.copying, exchange.error, exchange.failures = self.copying, self.error, self.failures
        return exchange

    def passage(self) -> Passage:
        """Its times and sizes so far."""
        return _passage(Passage, (
            self.note, self.opened_ns, self.first_flush_ns, self.first_answer_ns, self.closed_ns, self.waited_ns, self.offsets, self.rows,
            self.sent_bytes, self.received_bytes, self._values(), self.departure, self.told,
        ))  # fmt: skip

    def _values(self) -> int:
        is_known = not self.setup and not self.uncertain and self.sent_bytes <= LONGEST_HASHED
        return _value(self.values, self.unhashed) if is_known else 0


def values_of(wire: bytes) -> int:
    """Passage.values of a round trip that asked with these bytes."""
    return _value(*_hashed(0, wire)) if len(wire) <= LONGEST_HASHED else 0


def _value(values: int, rest: bytes) -> int:
    return hash((values, rest)) if values else hash(rest)


def _hashed(values: int, wire: bytes) -> tuple[int, bytes]:
    """The hash with these bytes added, as far as they fill blocks, and the rest."""
    at = 0
    while len(wire) - at > _HASHED:
        values = hash((values, wire[at : at + _HASHED]))
        at += _HASHED
    return values, wire[at:] if at else wire


def _add(flight: bytearray, odd: dict[int, int] | None, letter: int, message: int) -> dict[int, int]:
    odd = {} if odd is None else odd
    if len(flight) >= FLIGHT_MESSAGES_KEPT:
        if len(flight) == FLIGHT_MESSAGES_KEPT:
            flight.append(CUT)
    else:
        flight.append(letter)
        if letter >= FIRST_LETTER:
            odd[letter] = odd.get(letter, 0) - 1
    odd[message] = odd.get(message, 0) + 1
    return odd


def _add_pairs(flight: bytearray, odd: dict[int, int] | None, first: int, second: int, times: int) -> dict[int, int] | None:
    room = FLIGHT_MESSAGES_KEPT - len(flight)
    if 2 * times <= room:
        flight += bytes((first, second)) * times
        return odd
    for _ in range(times):
        for code in (first, second):
            if len(flight) < FLIGHT_MESSAGES_KEPT:
                flight.append(code)
            else:
                odd = _add(flight, odd, code, code)
    return odd


def _odd(odd: dict[int, int] | None, copies: int) -> Odd:
    if odd is None and not copies:
        return ()
    counted = dict(odd or ())
    if copies:
        counted[_COPY_DATA] = counted.get(_COPY_DATA, 0) + copies
    return tuple(sorted(counted.items()))


class RoundTrips:
    """The open round trip of one session, if any, and the sums over all."""

    __slots__ = (
        "_aside", "_departed", "_effect", "_is_unheard", "_key", "_told_ns", "_total", "_uses",
        "_waiting_since", "current", "departure", "effects", "last", "late", "observer", "over_ns",
        "pending", "reading", "settled_ns", "setup", "started_ns", "undecided",
    )  # fmt: skip

    def __init__(self, observer: Observer, effects: Effects) -> None:
        self.observer = observer
        self.effects = effects
        self._aside: Run | None = None
        """Counts that belong to no round trip."""
        self._key: Key | None = None
        self._effect = effects.idle
        """The latest effect and its key; the next one is usually the same."""
        self._total = Tally()
        self._uses: dict[Counts, list[int]] = {}
        """Reported Counts that are not in the total yet: how often, and with how many DataRows."""
        self.current: Run | None = None
        self.last: Run | None = None
        """The latest closed one, while nothing has been sent since: a late reply still belongs to
        it."""
        self.late: Run | None = None
        """The last one, if it has a late reply that is not reported yet."""
        self.reading: Run | None = None
        """The last one, while a late message of it is read."""
        self.departure: Departure | None = None
        """The end that came while the latest round trip was open."""
        self._departed: Run | None = None
        """That round trip."""
        self.undecided: Run | None = None
        """The answered round trip of which it is not known yet whether its driver was still
        there."""
        self.over_ns: int | None = None
        """When the driver's part of the session was over, as far as known."""
        self._is_unheard = False
        """Whether the open round trip was sent after the session was over."""
        self.pending = 0
        self.setup = True
        self.started_ns: int | None = None
        """When set-up was over."""
        self.settled_ns = 0
        """Time with a flush point open, up to the last moment at which the clock stopped."""
        self._told_ns = 0
        """The reported part of it."""
        self._waiting_since = 0

    def open(self, time_ns: int, offsets: tuple[int, int], status: str, note: Any) -> Run:
        self.last = self.departure = None
        self._is_unheard = self.over_ns is not None
        self.current = opened = Run(time_ns, setup=self.setup, offsets=offsets, status=status, note=note)
        return opened

    def flush_point(self, time_ns: int) -> None:
        """The open run has one more flush point, sent at that time."""
        current = self.current
        if current is None:
            return
        current.flush_points += 1
        if current.flush_points == 1:
            current.first_flush_ns = time_ns
        if not self.pending:
            self._waiting_since = time_ns
        self.pending += 1

    def answered(self, flush_points: int = 1) -> None:
        self.pending -= min(flush_points, self.pending)

    def withdraw(self) -> None:
        """A pending flush point did not count; another one, counted before, keeps the run a round
        trip."""
        self.answered()
        if self.current is not None and self.current.flush_points > 1:
            self.current.flush_points -= 1

    def settle(self, time_ns: int) -> None:
        """Close the round trip if everything is answered."""
        current = self.current
        if not self.pending and current is not None and current.flush_points:
            self._stop_clock(time_ns)
            self._answered(current, time_ns)

    @property
    def inside(self) -> Run | None:
        """The round trip of the message that is read: the open one, or the last one for a late
        message."""
        return self.current or self.reading

    @property
    def counting(self) -> Run:
        """Where to count what the message that is read does."""
        found = self.current or self.reading or self._aside
        if found is None:
            found = self._aside = Run(0, setup=self.setup, offsets=(0, 0), status="")
        return found

    def about(self) -> Run | None:
        """The round trip that a reply is about: the open one, or the last one, which is then
        reported again."""
        if self.current is not None or self.last is None:
            return self.current
        if self.last.is_frozen:
            self.last.is_frozen = False
            self.last.parts = {statement: copy(part) for statement, part in self.last.parts.items()}
        self.late = self.last
        return self.last

    def tell_late(self) -> None:
        """Report a late reply."""
        late, self.late, self.reading = self.late, None, None
        if late is not None:
            self._tell(late)

    def repeat(
        self,
        exchange: Exchange,
        note: Any,
        sent_ns: int,
        answered_ns: int,
        offsets: tuple[int, int],
        wire: bytes,
        received_bytes: int,
        rows: int,
    ) -> None:
        """A known exchange happened again: all sent at one moment, all answered at another."""
        self.last = None
        self._waiting_since = answered_ns
        waited_ns = answered_ns - sent_ns
        self.settled_ns += waited_ns
        self._told_ns += waited_ns
        counts = exchange.effect.counts
        use = self._uses.get(counts) or self._use(counts)
        use[0] += 1
        use[1] += rows
        sent_bytes = len(wire)
        values = hash(wire) if sent_bytes <= _HASHED else values_of(wire)
        self.observer.happened(
            exchange,
            _passage(Passage, (
                note, sent_ns, sent_ns, answered_ns, answered_ns, waited_ns, offsets, rows, sent_bytes, received_bytes, values, None, None
            )),
        )  # fmt: skip

    def count_answered_run(self, time_ns: int) -> None:
        """The open run had copy data, and an ErrorResponse answered it: it counts although it has
        no flush point."""
        if self.current is not None and not self.current.flush_points:
            self.flush_point(time_ns)
            self.answered()
            self.settle(time_ns)

    def end(self, time_ns: int) -> None:
        """Everything is answered: the connection ended, or a FATAL said so. A run without a flush
        point ends without becoming a round trip."""
        self.pending = 0
        self.settle(time_ns)

    def over(self, time_ns: int) -> None:
        """The connection has ended, which answers everything. An open run without a flush point
        ends without becoming a round trip."""
        if self.undecided is not None:
            self._decide(reached=True)
        elif self.departure is not None and self.current is self._departed:
            self._decide(reached=False)
            self.pending = 0
            self.current, self.last = None, self.current
            self._settle_departure(self.departure)
        self.end(time_ns)
        if self.current is not None:
            self._close(self.current, time_ns)

    def ends(self, time_ns: int, side: int, how: str, waits_for: str, *, for_good: bool) -> None:
        """A direction ends, or the driver says that it leaves; `for_good` if nothing later reaches
        the driver."""
        if how != TERMINATE and (side == FRONTEND or for_good) and self.over_ns is None:
            self.over_ns = time_ns
        if self.departure is None and self.current is not None:
            self._stop_clock(time_ns)
            self.departure = self.current.departure = Departure(time_ns, side, how, waits_for, unheard=self._is_unheard)
            self._departed = self.current
        # an answer that has come reached a driver that was there
        if for_good and (self.undecided is None or side == FRONTEND):
            self._decide(reached=False)

    def stays(self) -> None:
        """The driver sends more, so it was there."""
        departure, departed = self.departure, self._departed
        if departure is None or departed is None or departure.reached is not None:
            return
        self._decide(reached=True)
        self.over_ns = self.departure = departed.departure = self._departed = None

    def lose(self, time_ns: int) -> None:
        """Bytes are missing from here on: what was open ends, marked. Nothing more is reported of
        what was answered."""
        if self.undecided is not None:
            self._decide(reached=True)
        if self.current is not None:
            self.current.uncertain = True
            self._stop_clock(time_ns)
            self.pending = 0
            self._decide(reached=True)
            self._close(self.current, time_ns if self.departure is None else self.departure.stopped_ns or time_ns)
            self.departure = None
        self.last = None

    def setup_over(self, time_ns: int) -> None:
        self.setup = False
        self.started_ns = time_ns
        self._waiting_since = time_ns

    def waited_ns(self, time_ns: int) -> int:
        """Time with a flush point open between the end of set-up and that moment."""
        runs = self.pending and self.started_ns is not None and self.departure is None
        return self.settled_ns + (max(0, time_ns - self._waiting_since) if runs else 0)

    def untold_ns(self, time_ns: int) -> int:
        """The part of it that is not reported yet."""
        return self.waited_ns(time_ns) - self._told_ns

    def waited(self, statement: Statement, started_ns: int, ended_ns: int) -> bool:
        """An execution was waited for; returns True if the wait was 0, because its answer came
        with another one."""
        departure = self.departure
        wait_ns = max(0, ended_ns - started_ns) if departure is None else departure.wait_ns(started_ns, ended_ns)
        if wait_ns:
            self.observer.waited(statement, wait_ns)
        elif wait_ns is None and departure is not None:
            departure.held.append((statement, started_ns, ended_ns))
        return wait_ns == 0

    # Sums.

    def alone(self, side: int, message: int) -> Counts:
        """The counts of a message outside any round trip."""
        counts = self.effects.alone(side, message)
        if self._aside is not None:
            aside, self._aside = self._aside, None
            if side == FRONTEND:
                aside.sent_odd = {message: 1}
            else:
                aside.received_odd = {message: 1}
            counts = self.effects.of(aside.key()).counts
        self._count(counts, 1, 0)
        return counts

    def sum(self) -> Tally:
        """All counts."""
        sums = Tally()
        for counts, (times, rows) in self._uses.items():
            counts.add_to(sums, times, rows)
        sums.add(self._total, 1)
        for untold in (self.current, self._aside):
            if untold is not None:
                unfinished(untold.key()).counts.add_to(sums, 1, untold.rows)
        return sums

    def open_as_it_stands(self) -> tuple[Exchange, Passage] | None:
        """The open round trip so far, if there is one."""
        if self.current is None:
            return None
        return self.current.exchange(unfinished(self.current.key())), self.current.passage()

    def _count(self, counts: Counts, times: int, rows: int) -> None:
        use = self._uses.get(counts) or self._use(counts)
        use[0] += times
        use[1] += rows

    def _use(self, counts: Counts) -> list[int]:
        if len(self._uses) >= _USES:
            for one, (times, rows) in self._uses.items():
                one.add_to(self._total, times, rows)
            self._uses.clear()
        use = self._uses[counts] = [0, 0]
        return use

    # Reports.

    def _tell(self, run: Run) -> None:
        if run.told is not None:
            exchange, passage = run.told
            self._count(exchange.effect.counts, -1, -passage.rows)
            run.told = exchange, passage._replace(replaces=None)
        run.waited_ns += self.settled_ns - self._told_ns
        self._told_ns = self.settled_ns
        key = run.key()
        if key != self._key:
            self._key, self._effect = key, self.effects.of(key)
        exchange = run.exchange(self._effect)
        self._count(exchange.effect.counts, 1, run.rows)
        passage = run.passage()
        run.told = exchange, passage
        run.is_frozen = True
        self.observer.happened(exchange, passage)

    def _stop_clock(self, time_ns: int) -> None:
        if self.started_ns is not None and self.departure is None:
            self.settled_ns += max(0, time_ns - self._waiting_since)
            self._waiting_since = time_ns

    def _answered(self, current: Run, time_ns: int) -> None:
        departure = self.departure
        if departure is None:
            self._close(current, time_ns)
            return
        departure.answered_ns = time_ns
        self.current = None
        self.last = self.undecided = current
        if departure.reached is None:
            self._tell(current)
        else:
            self._settle_departure(departure)

    def _decide(self, *, reached: bool) -> None:
        """It is now known whether the driver was still there when the round trip was answered."""
        departure = self.departure
        if departure is None or departure.reached is not None:
            return
        departure.reached = reached
        for statement, started_ns, ended_ns in departure.held:
            self.observer.waited(statement, departure.wait_ns(started_ns, ended_ns) or 0)
        departure.held.clear()
        if self.undecided is not None:
            self._settle_departure(departure)

    def _settle_departure(self, departure: Departure) -> None:
        """Close the round trip at the moment at which its waiting stopped."""
        current, self.undecided = self._departed, None
        stopped_ns = departure.stopped_ns
        assert current is not None
        assert stopped_ns is not None
        if departure.reached:
            if not current.setup and self.started_ns is not None:
                self.settled_ns += max(0, stopped_ns - max(departure.at_ns, current.first_flush_ns))
            if self.over_ns is not None:
                self.over_ns = max(self.over_ns, stopped_ns)
        else:
            current.first_flush_ns = min(current.first_flush_ns, stopped_ns)
            if current.first_answer_ns is not None and current.first_answer_ns > stopped_ns:
                current.first_answer_ns = None
        current.closed_ns = stopped_ns
        self._tell(current)

    def _close(self, current: Run, time_ns: int) -> None:
        current.closed_ns = time_ns
        self.current = None
        self.last = current
        self._tell(current)
