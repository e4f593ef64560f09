"""One connection: you feed it bytes in the order in which they passed, and an Observer receives the
events.

The Machine (machine.py) has the rules. This module puts a cache in front of it. Drivers repeat
themselves: one read asks, one read answers all of it, and nothing is owed before or after. The
effect of such a pair of reads depends only on the session's state (a Place) and on the meaning of
both reads without their values (cache.py). When a read is sent from one place for the second time,
the machine's result is kept: the Exchange it reported, and the place it led to. When the read is
answered in the same way again, the same Exchange is reported with a new Passage. A known read is
not even split into frames. A Query with a new text is compared with other texts that were sent from
the same place: if it is answered like one of them, with a tag that changes nothing, it had the same
effect with its own statement.

Only the machine defines the rules, and it takes over whenever anything differs: it then runs the
read that was held until its answer arrived. Reads without a key (COPY, errors, notices,
authentication) and long reads are never cached.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from pgtrace.capture.record import CLOSE_NOTIFY, FIN
from pgtrace.framing import Frame, Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.cache import Answered, AnsweredForm, Asked, AskedForm, Key, Reads, answered_key
from pgtrace.session.effects import Tally
from pgtrace.session.events import Exchange, Observer, Passage
from pgtrace.session.machine import CHANGES_NOTHING, Machine
from pgtrace.session.owed import Owed
from pgtrace.session.statements import Statement

KNOWN: Final = 1_000
"""The most exchanges, and the most frontend reads, kept for one session; then all are dropped."""
SUSPENDED_KNOWN: Final = 64
"""The most suspended portals at a place where exchanges are kept: each one costs a step per
exchange."""
PORTALS_KNOWN: Final = 64
"""The most portals that a kept exchange may bind."""
_DATA_ROW: Final = ord("D")
_MAY_READ_ON: Final = (FIN, CLOSE_NOTIFY)
"""The ends of a driver's direction after which the driver may still read."""

_HEADER: Final = struct.Struct(">BI")
_header: Final = _HEADER.pack
_LAST_TYPE: Final = 0xFF
"""A higher code belongs to a packet without a type byte."""

Place = tuple[int, str, bool, frozenset[str] | None]
"""The state in which an exchange begins: the version of the session's names, the transaction
status, whether a block is open, the suspended portals."""
_NOWHERE: Final[Place] = (-1, "", False, None)
"""A place where nothing is kept."""


class Known:
    """A kept exchange, and the place it led to."""

    __slots__ = ("asked_next", "exchange", "in_block", "leads_to", "reused", "status", "suspended")

    def __init__(self, exchange: Exchange, status: str, in_block: bool, suspended: frozenset[str], reused: tuple[Statement, ...]) -> None:
        self.exchange = exchange
        self.status = status
        self.in_block = in_block
        self.suspended = suspended
        self.reused = reused
        """The statements of its BindCompletes, one for each."""
        self.leads_to: PlaceCache | None = None
        """What is known at the place it led to, if anything."""
        self.asked_next: AskedForm | None = None
        """The read that followed it last time, which is the first guess for the next one."""


class Answers:
    """The known answers to one read at one place, with their results."""

    __slots__ = ("known", "latest")

    def __init__(self) -> None:
        self.known: dict[Answered, Known] = {}
        self.latest: AnsweredForm | None = None
        """The latest answer, which is the first guess for the next one."""


PlaceCache = dict[Asked, Answers]
"""What is known at one place."""


def _is_plain(exchange: Exchange) -> bool:
    """Whether another text that is answered in the same way has the same effect: it is one
    statement, answered once, with a tag that changes nothing."""
    tags = exchange.effect.tags
    return len(exchange.parts) == len(tags) == 1 and exchange.parts[0].ended == 1 and tags[0].split(" ", 1)[0] in CHANGES_NOTHING


class Rest(NamedTuple):
    """The state of a session that owes nothing."""

    framer: Framer
    status: str
    in_block: bool
    offsets: tuple[int, int]


class Session(Machine):
    """The state machine of one connection, with its cache."""

    def __init__(self, observer: Observer | None = None, reads: Reads | None = None) -> None:
        """`reads` is shared by all sessions of a capture."""
        self._reads = reads or Reads()
        super().__init__(observer, self._reads)
        self._known: dict[Place, PlaceCache] = {}
        self._kept = 0
        """The number of exchanges kept."""
        self._seen: set[tuple[Place, Asked]] = set()
        self._cache: PlaceCache | None = None
        """What is known at the current place. Set only while nothing but known exchanges happens;
        the session is then idle."""
        self._latest: Known | None = None
        """The exchange that led to that place."""
        self._held: tuple[int, bytes, Asked, PlaceCache, Any] | None = None
        """A known read that is held until its answer arrives: time, bytes, meaning, what is known
        at its place, and the note of its round trip."""
        self._learning: tuple[Place, Asked] | None = None
        """The read that was just sent and whose result will be kept."""

    # Bytes.

    def receive(self, side: int, time_ns: int, data: bytes, offset: int | None = None) -> None:
        """Take the next bytes of a side, as one read returned them. `offset` is their place in the
        stream, needed after a gap."""
        self.bytes[side] += len(data)
        if self.framer.seeking and offset is not None:
            self._offsets[side] = offset
        if side == BACKEND:
            self._take_backend(time_ns, data)
        else:
            self._take_frontend(time_ns, data)

    def opaque(self, side: int, time_ns: int, length: int) -> None:
        """Take bytes that were counted, not kept."""
        self.settle()
        self.bytes[side] += length
        self._offsets[side] += length
        self.unreadable = True
        self.observer.alone(side, codes.OPAQUE, b"", length, time_ns, None)

    def elided(self, time_ns: int, messages: int, size: int, columns: int) -> None:
        """Count rows that were left out of the capture: `messages` DataRows with `columns` columns
        in total."""
        self.settle()
        self.bytes[BACKEND] += size
        self._offsets[BACKEND] += size
        current = self.round_trips.current
        if current is None:
            return
        if current.first_answer_ns is None:
            current.first_answer_ns = time_ns
        current.received_bytes += size
        if not messages:
            return
        current.rows += messages
        if current.received[-1:] != b"D":
            current.received.append(_DATA_ROW)
        if self._owed:
            self._unfold()
            self._data_rows(current, self._owed[0], messages, columns // messages)

    def decrypted(self) -> None:
        """TLS was accepted: what follows is the decrypted stream."""
        self.framer.decrypted()

    def gap(self, time_ns: int) -> None:
        """Bytes are missing here, in either direction or both."""
        self.settle()
        self.round_trips.lose(time_ns)
        self._owe_nothing()
        self._skipping = self._copy_both = False
        self._copy_ended()
        self._copying = None
        self.statements.lose()
        self.framer.gap()

    def resume(self, time_ns: int, earlier: Session, offsets: tuple[int, int]) -> None:
        """Continue in the middle of a connection, with what `earlier` learned from its start-up.
        That part is not counted again."""
        self.startup, self.initial_response, self.key = earlier.startup, earlier.initial_response, earlier.key
        self.negotiated, self.unrecognized_options = earlier.negotiated, earlier.unrecognized_options
        self.parameters.update(earlier.parameters)
        self._offsets = list(offsets)
        self.round_trips.setup_over(time_ns)
        self.gap(time_ns)

    def rest(self) -> Rest | None:
        """The session's state, from which another session can continue. None while something is
        owed or a message is incomplete."""
        self.settle()
        if not self._is_idle() or not self.is_quiet:
            return None
        return Rest(self.framer, self.status, self.statements.in_block, self.offsets)

    def continue_from(self, time_ns: int, rest: Rest) -> None:
        """Continue from another session's state."""
        self.framer, self.status, self.statements.in_block = rest.framer, rest.status, rest.in_block
        self._offsets = list(rest.offsets)
        self.round_trips.setup_over(time_ns)

    def close(self, time_ns: int) -> None:
        """The connection has ended. That answers everything."""
        self.settle()
        self.is_closed = True
        self._owe_nothing()
        self.round_trips.over(time_ns)

    def ended(self, side: int, how: str, time_ns: int) -> None:
        """One direction has ended; `side` and `how` as in capture/record.py."""
        self.settle()
        self._leaves(time_ns, side, how, for_good=side != FRONTEND or how not in _MAY_READ_ON)

    # Results.

    @property
    def tally(self) -> Tally:
        """The counts so far."""
        self.settle()
        return self.round_trips.sum()

    @property
    def offsets(self) -> tuple[int, int]:
        """Where the next message of each side begins in its stream."""
        return self._offsets[0], self._offsets[1]

    @property
    def has_open_run(self) -> bool:
        """Whether a run of frontend messages has begun and has not ended."""
        return self._held is not None or self.round_trips.current is not None or self.round_trips.undecided is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is owed and no message is incomplete. A replication stream, which may
        never end, owes nothing."""
        idle = (not self._owed or self._copy_both) and self._held is None and self.round_trips.current is None
        return self.is_closed or (idle and not self.framer.cut[FRONTEND] and not self.framer.cut[BACKEND])

    @property
    def due(self) -> Owed | None:
        """The item that the backend answers next; None if nothing is owed."""
        self.settle()
        return self._owed[0] if self._owed else None

    @property
    def open_note(self) -> Any:
        """The note of the open round trip; None if no round trip is open."""
        if self._held is not None:
            return self._held[4]
        current = self.round_trips.current
        return current.note if current is not None else None

    def open_so_far(self) -> tuple[Exchange, Passage] | None:
        """The open round trip so far, if there is one."""
        self.settle()
        return self.round_trips.open_so_far()

    def unreported(self, time_ns: int) -> tuple[Tally, int]:
        """The counts and the waiting time that were not reported yet, up to that moment. Reading
        them does not clear them."""
        self.settle()
        if self.round_trips.over_ns is not None:
            time_ns = min(time_ns, self.round_trips.over_ns)
        tally = Tally()
        if (so_far := self.round_trips.open_so_far()) is not None:
            so_far[0].effect.counts.add_to(tally, 1, so_far[1].rows)
        return tally, self.round_trips.unreported_ns(time_ns) if self.round_trips.started_ns is not None else 0

    def waited_ns(self, time_ns: int) -> tuple[int, int]:
        """The time after set-up, up to that moment or the driver's end: how long a flush point was
        open, and the rest."""
        self.settle()
        if self.round_trips.over_ns is not None:
            time_ns = min(time_ns, self.round_trips.over_ns)
        started = self.round_trips.started_ns
        if started is None:
            return 0, 0
        waited = self.round_trips.waited_ns(time_ns)
        return waited, max(0, time_ns - started - waited)

    # The cache.

    def settle(self) -> None:
        """Run the read that is held, so that the state matches the bytes received."""
        if self._held is not None:
            self._run_held()
        self._learning = self._cache = self._latest = None

    def _take_frontend(self, time_ns: int, data: bytes) -> None:
        """Take one read of the frontend."""
        cache, latest = self._cache, self._latest
        if cache is not None and latest is not None:
            key, form = None, latest.asked_next
            if form is None or not form.is_of(data):
                key, form = self._reads.asked_form(data)
                latest.asked_next = form
            if form is not None and form.asked in cache:
                self._cache = None
                self._held = (time_ns, data, form.asked, cache, self.observer.begins())
                return
            self.settle()
        else:
            self.settle()
            if not data or not self._is_idle():
                self._run(time_ns, data)
                return
            key, form = self._reads.asked_form(data)
        self._take_from_idle(time_ns, data, key, form)

    def _take_from_idle(self, time_ns: int, data: bytes, key: Key | None, form: AskedForm | None) -> None:
        """Take a read of the frontend that may begin an exchange."""
        framer = self.framer
        frames = None
        if form is None:
            frames = framer.feed(FRONTEND, data)
            asked = self._reads.learn_asked(key, frames) if not framer.cut[FRONTEND] else None
            if asked is None:
                self._ask(time_ns, data, frames)
                return
        else:
            asked = form.asked
        place = self._place()
        cache = self._known.get(place, {})
        if asked not in cache:
            self._notice(place, asked)
        elif frames is None:
            self._held = (time_ns, data, asked, cache, self.observer.begins())
            return
        self._ask(time_ns, data, framer.feed(FRONTEND, data) if frames is None else frames)

    def _run(self, time_ns: int, data: bytes) -> None:
        """Run a read of the frontend in the machine."""
        begun = self.framer.unfinished_bytes(FRONTEND)
        self._ask(time_ns, data, self.framer.feed(FRONTEND, data), begun)

    def _ask(self, time_ns: int, data: bytes, frames: list[Frame], begun: int = 0) -> None:
        """Run the messages of a read in the machine. `begun` bytes of the first message came in
        earlier reads."""
        at = self._offsets[FRONTEND]
        self._frontend(time_ns, frames)
        current = self.round_trips.current
        if current is None or current.setup or not frames:
            return
        if begun:
            code, body, size = frames[0]
            head = _header(code, size - 1) if code <= _LAST_TYPE else size.to_bytes(4, "big")
            data = head + body + data[size - begun :]
        begin, end = current.offsets[FRONTEND] - at, self._offsets[FRONTEND] - at
        current.asks(data if begin <= 0 and end == len(data) else data[max(begin, 0) : end])

    def _take_backend(self, time_ns: int, data: bytes) -> None:
        """Take one read of the backend."""
        held = self._held
        if held is None and self._learning is None:
            self._cache = self._latest = None
            self._backend(time_ns, self.framer.feed(BACKEND, data))
            return
        answers = held[3][held[2]] if held is not None else None
        frames = None
        form = answers.latest if answers is not None else None
        rows = form.rows_of(data) if form is not None else -1
        if rows < 0:
            key, rows = answered_key(data)
            form = self._reads.answered.get(key)
            answered = form.answered if form is not None else None
            if form is None:
                frames = self.framer.feed(BACKEND, data)
                if not self.framer.cut[BACKEND]:
                    answered, rows = self._reads.learn_answered(key, frames)
        else:
            answered = form.answered if form is not None else None
        if held is not None and answers is not None:
            known = answers.known.get(answered) if answered is not None else None
            if known is not None and self._last_end_ns <= held[0] <= time_ns:
                answers.latest = form
                self._apply(known, held, time_ns, len(data), rows)
                return
            if answered is not None:
                self._learning = self._place(), held[2]
            self._run_held()
        self._backend(time_ns, self.framer.feed(BACKEND, data) if frames is None else frames)
        if self._learning is not None:
            self._learn(answered)

    def _place(self) -> Place:
        """The session's current place."""
        statements = self.statements
        suspended = statements.suspended
        if len(suspended) > SUSPENDED_KNOWN:
            return _NOWHERE
        return statements.version, self.status, statements.in_block, frozenset(suspended) if suspended else None

    def _notice(self, place: Place, asked: Asked) -> None:
        """Note a read that is not known at this place. Its result is kept the second time."""
        if place is _NOWHERE:
            return
        if (place, asked) in self._seen:
            if asked.is_self_contained:
                self._learning = place, asked
        else:
            if len(self._seen) >= KNOWN:
                self._seen.clear()
            self._seen.add((place, asked))

    def _is_idle(self) -> bool:
        """Whether nothing is owed or undecided, and both sides are at the beginning of a
        message."""
        if self._owed or self.round_trips.current is not None or self.round_trips.setup or self._skipping or self._copy_reported:
            return False
        if self.round_trips.undecided is not None:
            return False
        return self.framer.at_message

    def _run_held(self) -> None:
        """Run the held read in the machine, because its answer is not a known one."""
        if self._held is None:
            return
        time_ns, data, _, _, note = self._held
        self._held = None
        self.round_trips.open(time_ns, (self._offsets[0], self._offsets[1]), self.status, note)
        self._run(time_ns, data)

    def _apply(self, known: Known, held: tuple[int, bytes, Asked, PlaceCache, Any], time_ns: int, received_bytes: int, rows: int) -> None:
        """Repeat a known exchange: the held read was answered as before."""
        sent_ns, data, asked, cache, note = held
        if known is self._latest:  # the same exchange again changes nothing
            self._cache = cache
        else:
            self._change(known)
        self._held = None
        exchange = known.exchange
        if asked.is_any_text:
            exchange = self._with_text(exchange, data, rows, time_ns - sent_ns)
        for statement in known.reused:
            statement.binds += 1
        if exchange.first is not None:
            self._last_end_ns = time_ns
        offsets = self._offsets
        frontend, backend = offsets
        offsets[FRONTEND] = frontend + len(data)
        offsets[BACKEND] = backend + received_bytes
        self.round_trips.repeat(exchange, note, sent_ns, time_ns, (frontend, backend), data, received_bytes, rows)

    def _with_text(self, known: Exchange, data: bytes, rows: int, wait_ns: int) -> Exchange:
        """The known exchange, with the statement of this Query, as the machine would report it."""
        (statement,) = self._queried(data[_HEADER.size :])
        if wait_ns:
            self.observer.waited(statement, wait_ns)
        return known.about(statement, rows, at_once=not wait_ns)

    def _change(self, known: Known) -> None:
        """Go to the place that an exchange leads to."""
        statements = self.statements
        for portal in known.exchange.portals:
            name = portal.name
            if statements.sending_portals.get(name) is not portal:
                self.observer.named("P", name, portal)
                statements.sending_portals[name] = portal
            statements.live_portals[name] = portal
        if statements.suspended or known.suspended:
            statements.suspended = set(known.suspended)
        statements.in_block = known.in_block
        self.status = known.status
        if known.leads_to is None:
            known.leads_to = self._known.get(self._place())
        self._cache = known.leads_to
        self._latest = known

    def _learn(self, answered: Answered | None) -> None:
        """Keep the result that the machine just produced, if it would produce it again."""
        if self._learning is None:
            return
        place, asked = self._learning
        self._learning = None
        run = self.round_trips.last
        if answered is None or run is None or run.reported is None or self._owed or self.round_trips.current is not None:
            return
        exchange, passage = run.reported
        if asked.is_any_text and not _is_plain(exchange):
            return
        reused = tuple(part.statement for part in exchange.parts for _ in range(part.reused))
        if place[0] != self.statements.version or run.bound != len(reused) or run.errors or not run.flush_points:
            return
        if passage.departure is not None or len(exchange.portals) > PORTALS_KNOWN:
            return
        if self._kept >= KNOWN:
            self._known.clear()
            self._kept = 0
        self._kept += 1
        known = Known(exchange.for_repeats(), self.status, self.statements.in_block, frozenset(self.statements.suspended), reused)
        cache = self._known.setdefault(place, {})
        if asked not in cache:
            cache[asked] = Answers()
        cache[asked].known[answered] = known
