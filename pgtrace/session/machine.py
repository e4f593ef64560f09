"""The state machine of one connection: what each side may send next, what the backend owes, and
what just happened. No I/O.

Each frontend message that will be answered becomes an item in the queue of what is owed (owed.py).
Each backend message answers the oldest item, or none. The machine also tracks:

- the round trips (roundtrips.py): pending flush points keep a round trip open;
- the names (names.py): the SQL that belongs to a Bind or Execute;
- skipping: after an ErrorResponse in an extended query the backend discards everything up to the
  next Sync;
- copy mode.

The machine never raises, whatever the bytes are. A message that does not fit is counted and shown,
and the next ReadyForQuery corrects the queue. The machine knows no files, sockets or drivers.
Sources of the rules: PostgreSQL manual, "Message Flow", "Pipelining", "COPY Operations". Edge cases
that were measured are worked examples in the tests.

Errors. In a simple Query an error ends the Query; ReadyForQuery still follows. In an extended query
everything up to the next Sync is discarded: items sent ahead leave the queue with their flush
points answered, and what is sent later never enters it. An error while a Sync's ReadyForQuery is
the next thing owed belongs to that Sync; an error while nothing is owed belongs to no message.
FATAL and PANIC answer everything. A backend that must stop immediately (an immediate shutdown, or
the crash of another backend) says so in a NoticeResponse, 57P01 or 57P02, and answers nothing more.

Copy mode is the backend's, at the moment it reads a message. `_copying` is the item whose
CopyInResponse was seen and whose data has not ended. What the driver sent ahead waits in the queue
as COPY_DATA or COPY_END until the reply before it decides. CopyInResponse and CopyBothResponse pass
the turn to the frontend: the flush points before them are answered, and a Sync or Flush that the
backend reads before the next CopyDone or CopyFail is ignored.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from pgtrace.framing import Frame, Framer
from pgtrace.protocol import codes, fields
from pgtrace.protocol.answers import ASYNCHRONOUS
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session import events, owed
from pgtrace.session.cache import Reads
from pgtrace.session.departure import TERMINATE
from pgtrace.session.effects import SUBTYPED
from pgtrace.session.events import FLIGHT_MESSAGES_KEPT, Observer
from pgtrace.session.failures import FAILURES_KEPT, failure
from pgtrace.session.names import Names
from pgtrace.session.owed import Owed
from pgtrace.session.roundtrips import PORTALS_TOLD, RoundTrips
from pgtrace.session.run import Run
from pgtrace.session.statements import FUNCTION_CALL, UNKNOWN_STATEMENT, Statement
from pgtrace.sqltext.replication import is_answered_in_parts

Handler = Callable[[Any, int, bytes], None]
"""Handles one message. Its arguments are the session, the time and the body."""

STAND_INS: Final = {
    codes.STARTUP_MESSAGE: events.STARTUP,
    codes.SSL_REQUEST: events.SSL,
    codes.GSSENC_REQUEST: events.GSS,
    codes.CANCEL_REQUEST: events.CANCEL,
    codes.VERSION_2_ERROR: ord("E"),
}
"""The byte in a flight for a code without a type byte."""
MOST_OWED: Final = 100_000
"""The most items that may be owed at a time."""
NO_MESSAGES: Final = frozenset({codes.OPAQUE, codes.UNDECODED, codes.RESUMED})
_LOOKED_AT: Final = 100
"""The most items that are searched for the message that a driver waits for."""
_PORTALS_KEPT: Final = 64
_LONGEST_PARAMETER: Final = 4096
_LONGEST_COUNT: Final = 19
_COPY_DATA: Final = ord("d")
_BIND: Final = ord("B")
_EXECUTE: Final = ord("E")
_BIND_COMPLETE: Final = ord("2")
_COMMAND_COMPLETE: Final = ord("C")
_LONG: Final = 16
"""Reads with at least this many messages are searched for batches."""
_ANSWERS_THE_OLDEST: Final = frozenset(b"123CIsDTntVNASKv")
"""Messages that concern only the oldest item of the queue, or no item."""
CHANGES_NOTHING: Final = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT"))
"""Command tags that change neither names nor the transaction."""
_NEEDS_ANSWER: Final = frozenset({2, 3, 5, 6, 7, 8, 9, 10, 11})
"""Authentication requests that the frontend must answer."""
_TOLD_BY_LETTER: Final = frozenset(range(0x10, 256)) - frozenset(b"pR")
"""Messages that a flight identifies by their type byte. The others have subtypes, or no type
byte."""
_IN, _OUT, _BOTH = b"GHW"
_WARNING: Final = b"\0VWARNING\0"
_STOPS: Final = {b"\0VWARNING\0C%s\0" % sqlstate: sqlstate.decode() for sqlstate in (b"57P01", b"57P02")}


class Machine:
    """The state of one connection, and the effect of each message on it."""

    def __init__(self, observer: Observer | None, reads: Reads) -> None:
        self.observer = observer or Observer()
        self.framer = Framer()
        self.round_trips = RoundTrips(self.observer, reads.effects)
        self.statements = Names(self.observer, self.round_trips, reads.room)
        self.bytes = [0, 0]
        """The bytes of each side so far, as they passed."""
        self.tls_refused = False
        """Whether the latest SSLRequest was answered with `N`."""
        self.startup: bytes = b""
        """The body of the StartupMessage."""
        self.cancel: bytes = b""
        """The body of the CancelRequest."""
        self.key: bytes = b""
        """The body of BackendKeyData: process id and secret key (hashed in a capture)."""
        self.parameters: dict[str, str] = {}
        """The latest value of each parameter in ParameterStatus."""
        self.negotiated: int | None = None
        """The protocol version of NegotiateProtocolVersion."""
        self.unrecognized_options: tuple[str, ...] = ()
        """The protocol options that the server does not know, from NegotiateProtocolVersion."""
        self.status = ""
        """The transaction status of the latest ReadyForQuery."""
        self.authentication = -1
        """The subtype of the latest Authentication message."""
        self.asked = -1
        """The subtype of the first Authentication message that needed an answer."""
        self.initial_response = b""
        """The body of the SASLInitialResponse: the mechanism, and the GS2 header of its payload."""
        self.fatal = ""
        """The SQLSTATE of the FATAL or PANIC error, or of the notice from a backend that must stop
        immediately."""
        self.terminated = False
        self.is_closed = False
        self.unreadable = False
        """Whether some of its bytes are encrypted or not PostgreSQL."""
        self._bodies = reads.bodies
        self._offsets = [0, 0]
        self._owed: deque[Owed] = deque()
        self._pairs = 0
        """The number of items in the queue that are PAIRS."""
        self._folded = 0
        """The number of additional items that they represent."""
        self._unflushed: list[Owed] = []
        self._skipping = False
        self._copying: Owed | None = None
        self._copy_both = False
        self._copy_reported = False
        """Whether the observer has been notified of a COPY that is not over."""
        self._last_end_ns = 0

    def _pop(self) -> Owed:
        """Answer the oldest item, and the items after it that need no reply."""
        queue = self._owed
        item = queue.popleft()
        if item.flush_point:
            self.round_trips.answered()
        while queue and queue[0].kind in (owed.FLUSH, owed.COPY_DATA, owed.COPY_END):
            if queue.popleft().flush_point:
                self.round_trips.answered()
        return item

    def _pop_if(self, kind: int) -> Owed | None:
        """Answer the oldest item, if it is of this kind. The caller settles the round trip after it
        has counted everything that follows."""
        return self._pop() if self._owed and self._owed[0].kind == kind else None

    def _flush_point(self, item: Owed, time_ns: int) -> None:
        item.flush_point = True
        self.round_trips.flush_point(time_ns)
        for execute in self._unflushed:
            execute.flushed_ns = time_ns
        self._unflushed.clear()

    def _leaves(self, time_ns: int, side: int, how: str, *, for_good: bool = False) -> None:
        """A side ends its direction."""
        self._unfold()
        first = [*islice(self._owed, _LOOKED_AT)]
        oldest = next((item for item in first if item.kind in owed.RUNS_SOMETHING), first[0] if first else None)
        self.round_trips.ends(time_ns, side, how, owed.NAMES[oldest.kind] if oldest is not None else "", for_good=for_good)

    def _may_copy(self) -> bool:
        """Whether CopyInResponse could still answer something that is owed."""
        self._unfold()
        return not self._skipping and any(item.kind in (owed.QUERY, owed.EXECUTE) and not item.copying for item in self._owed)

    def _discarded(self, runs: bool = False) -> bool:
        """Whether the backend will discard this message because of an earlier error. `runs`: the
        message would run something."""
        if self._skipping and runs and self.round_trips.current is not None:
            self.round_trips.current.skips(1)
        return self._skipping

    def _executed(
        self, item: Owed, statement: Statement, time_ns: int, *, failed: bool = False, continues: bool = False, times: int = 1
    ) -> None:
        """One execution ended, or `times` executions in one read. `item` then continues with the
        rest of a simple Query."""
        started = max(item.flushed_ns if item.flushed_ns is not None else item.sent_ns, self._last_end_ns)
        self._last_end_ns = time_ns
        rows, columns = item.rows, item.columns
        item.rows = 0
        item.columns = None
        if not continues:
            self.round_trips.counting.executions += times
        inside = self.round_trips.inside
        run = self.round_trips.about()
        if run is None:
            return
        part = run.part(statement)
        part.ended += times
        part.at_once += times - 1
        if not continues:
            part.executions += times
            if run is inside:
                run.own_executions += times
        if failed:
            part.errors += 1
        if rows and columns is not None:
            text, binary = columns[0] * rows, columns[1] * rows
            part.rows += rows
            part.values_text += text
            part.values_binary += binary
            if run is inside:
                run.values_text += text
                run.values_binary += binary
        if run.first is None:
            run.first = statement
        if self.round_trips.waited(statement, started, time_ns):
            part.at_once += 1

    def _failed(self, statement: Statement | None) -> None:
        """An ErrorResponse belongs to this statement, which was not executed."""
        if statement is not None and (run := self.round_trips.about()) is not None:
            run.part(statement).errors += 1

    def _next_part(self, item: Owed) -> tuple[Statement, bool]:
        """The statement of a simple Query that is answered now, and whether an answer to it came
        before: some replication commands are answered in parts."""
        if item.parts:
            item.statement = item.parts.pop(0)
            return item.statement, False
        if item.statement is not None and item.statement.sql is not None and is_answered_in_parts(item.statement.sql):
            return item.statement, True
        return UNKNOWN_STATEMENT, False

    def _continues(self, item: Owed) -> bool:
        """Whether this Execute continues a suspended portal."""
        return item.kind == owed.EXECUTE and item.portal in self.statements.suspended

    def _portal_statement(self, name: str) -> Statement:
        portal = self.statements.live_portals.get(name)
        return portal.statement if portal is not None else self.statements.portal(name).statement

    def _alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self._offsets[side] += size
        message = code
        if side == BACKEND:
            if code == 0x52:
                message += SUBTYPED * (codes.authentication_subtype(body) + 1)
            handler = _ANSWERS.get(code)
            if handler is not None:
                handler(self, time_ns, body)
        elif code == 0x58:
            self.terminated = True
        elif code == codes.CANCEL_REQUEST:
            self.cancel = body
        elif code == 0x70:
            message += SUBTYPED * (self.authentication + 1)
        counts = self.round_trips.alone(side, message)
        if self.round_trips.late is not None:
            self.round_trips.report_late()
        self.observer.alone(side, code, body, size, time_ns, counts)

    def _no_message(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self._offsets[side] += size
        if code == codes.RESUMED:
            self.status = body.decode("ascii")
            self.statements.in_block = self.status in ("T", "E")
            if self.round_trips.started_ns is None:
                self.round_trips.setup_over(time_ns)
            return
        if code == codes.OPAQUE:
            self.unreadable = True
        self.observer.alone(side, code, body, size, time_ns, None)

    def _give_up(self, time_ns: int) -> None:
        """Too many items are owed. Everything open ends and is marked uncertain; the next
        ReadyForQuery corrects the state."""
        self.round_trips.lose(time_ns)
        self._owe_nothing()
        self._copying = None

    def _owe(self, kind: int, time_ns: int) -> Owed:
        if len(self._owed) + self._folded >= MOST_OWED:
            self._give_up(time_ns)
        item = Owed(kind, time_ns)
        self._owed.append(item)
        return item

    def _owe_nothing(self) -> None:
        self._owed.clear()
        self._unflushed.clear()
        self._pairs = self._folded = 0

    # Batches. If one read repeats the same Bind and Execute, the repetitions are one item of the
    # queue, which is answered one read at a time. Such an item means the same as its separate
    # messages. If anything else arrives, it is unfolded.

    def _ask_batches(self, time_ns: int, frames: list[Frame]) -> None:
        """Take a long read of the frontend."""
        start = at = 0
        while at + 3 < len(frames):
            times = self._repeats(frames, at) if frames[at][0] == _BIND and frames[at + 1][0] == _EXECUTE else 0
            if not times:
                at += 1
                continue
            stop = at + 2 + 2 * times
            self._ask_each(time_ns, frames[start : at + 2])
            if not self._fold(time_ns, frames[at + 2 : stop]):
                self._ask_each(time_ns, frames[at + 2 : stop])
            start = at = stop
        self._ask_each(time_ns, frames[start:])

    def _repeats(self, frames: list[Frame], at: int) -> int:
        """How often the Bind and Execute at `at` are repeated directly after it, with other
        values."""
        is_like = self._bodies.like(frames[at][1])
        execute = frames[at + 1]
        stop, end = at + 2, len(frames) - 1
        while stop < end and frames[stop][0] == _BIND and frames[stop + 1] == execute and is_like(frames[stop][1]):
            stop += 2
        return (stop - at) // 2 - 1

    def _fold(self, time_ns: int, frames: list[Frame]) -> bool:
        """Add the repeated messages to the queue as one item. Returns False if they must be read
        one by one."""
        run, queue, times = self.round_trips.current, self._owed, len(frames) // 2
        if run is None or self._skipping or len(queue) < 2 or len(queue) + self._folded + len(frames) > MOST_OWED:
            return False
        bind, execute = queue[-2], queue[-1]
        if bind.kind != owed.BIND or execute.kind != owed.EXECUTE or bind.portal != execute.portal or bind.statement is None:
            return False
        size = sum(frame[2] for frame in frames)
        self._offsets[FRONTEND] += size
        run.sent_bytes += size
        run.sends_pairs(_BIND, _EXECUTE, times)
        run.depth += times
        _, name, text, binary, _ = self._bodies.bind(frames[0][1])
        run.params_text += times * text
        run.params_binary += times * binary
        if name:
            run.bound += times
        item = Owed(owed.PAIRS, time_ns)
        item.name, item.portal, item.statement, item.result_formats = bind.name, bind.portal, bind.statement, bind.result_formats
        item.times = times
        queue.append(item)
        self._unflushed.append(item)
        self._pairs += 1
        self._folded += 2 * times - 1
        return True

    def _answer_batches(self, time_ns: int, frames: list[Frame]) -> None:
        """Take a read of the backend while there are batches in the queue."""
        at = 0
        while at < len(frames) and self._pairs:
            item = self._owed[0]
            is_batch = item.kind == owed.PAIRS
            if is_batch and (times := self._answered_alike(frames, at, item.times)):
                self._answer_batch(item, time_ns, frames[at : at + 2 * times])
                at += 2 * times
                continue
            if frames[at][0] not in _ANSWERS_THE_OLDEST:
                self._unfold()
            elif is_batch:
                self._unfold_one()
            self._answer_each(time_ns, frames[at : at + 1])
            at += 1
        self._answer_each(time_ns, frames[at:])

    def _answered_alike(self, frames: list[Frame], at: int, most: int) -> int:
        """How many of the following Binds and Executes are answered in the same way, with a tag
        that changes nothing."""
        round_trips = self.round_trips
        run = round_trips.current
        if frames[at][0] != _BIND_COMPLETE or at + 1 >= len(frames) or run is None or (run.flush_points and not round_trips.pending):
            return 0
        complete = frames[at + 1]
        if complete[0] != _COMMAND_COMPLETE or self._bodies.tag(complete[1]).split(" ", 1)[0] not in CHANGES_NOTHING:
            return 0
        stop, end = at, min(len(frames) - 1, at + 2 * most)
        while stop < end and frames[stop][0] == _BIND_COMPLETE and frames[stop + 1] == complete:
            stop += 2
        return (stop - at) // 2

    def _answer_batch(self, item: Owed, time_ns: int, frames: list[Frame]) -> None:
        run, times = self.round_trips.current, len(frames) // 2
        assert run is not None
        if run.first_answer_ns is None:
            run.first_answer_ns = time_ns
        size = sum(frame[2] for frame in frames)
        self._offsets[BACKEND] += size
        run.received_bytes += size
        run.receives_pairs(_BIND_COMPLETE, _COMMAND_COMPLETE, times)
        self.statements.bound(item, times)
        self._executed(item, self._portal_statement(item.portal), time_ns, times=times)
        run.tagged(self._bodies.tag(frames[1][1]))
        item.times -= times
        self._folded -= 2 * times
        if not item.times:
            self._folded += 1
            self._pairs -= 1
            self._pop()
        self.round_trips.settle(time_ns)

    def _unfold_one(self) -> None:
        """Take the oldest Bind and Execute out of the batch at the head of the queue."""
        batch = self._owed[0]
        batch.times -= 1
        self._folded -= 2
        if not batch.times:
            self._owed.popleft()
            self._folded += 1
            self._pairs -= 1
        self._owed.extendleft(reversed(self._unfolded(batch)))

    def _unfold(self) -> None:
        """Replace all batches in the queue by their separate messages."""
        if self._pairs:
            items = [*self._owed]
            self._owed.clear()
            for item in items:
                if item.kind != owed.PAIRS:
                    self._owed.append(item)
                else:
                    for _ in range(item.times):
                        self._owed.extend(self._unfolded(item))
            self._pairs = self._folded = 0

    def _unfolded(self, batch: Owed) -> tuple[Owed, Owed]:
        bind, execute = Owed(owed.BIND, batch.sent_ns), Owed(owed.EXECUTE, batch.sent_ns)
        bind.name, bind.portal, bind.statement, bind.result_formats = batch.name, batch.portal, batch.statement, batch.result_formats
        execute.portal, execute.flushed_ns = batch.portal, batch.flushed_ns
        if batch.flushed_ns is None:
            self._unflushed.append(execute)
        return bind, execute

    # Frontend messages: what each makes the backend owe.

    def _frontend(self, time_ns: int, frames: list[Frame]) -> None:
        if len(frames) < _LONG:
            self._ask_each(time_ns, frames)
        else:
            self._ask_batches(time_ns, frames)

    def _ask_each(self, time_ns: int, frames: list[Frame]) -> None:
        round_trips = self.round_trips
        for code, body, size in frames:
            if code in NO_MESSAGES:
                self._no_message(FRONTEND, code, body, size, time_ns)
                continue
            if round_trips.departure is not None:
                round_trips.driver_sends()
            current = round_trips.current
            if current is None:
                if self._opens_none(code):
                    self._alone(FRONTEND, code, body, size, time_ns)
                    continue
                current = round_trips.open(time_ns, (self._offsets[0], self._offsets[1]), self.status, self.observer.begins())
                if self._copying is not None:
                    current.copying = self._copied(self._copying)
                elif self._copy_both and self._owed:
                    current.copying = self._copied(self._owed[0])
                if self._owed or self._skipping:
                    self._unfold()
                    current.owed_before = owed.before(self._owed, self._copying, skipping=self._skipping, copy_both=self._copy_both)
            self._offsets[FRONTEND] += size
            current.sent_bytes += size
            sent = current.sent
            if code == _COPY_DATA and sent[-1:] == b"d":
                current.copies_sent += 1
            elif code in _TOLD_BY_LETTER and len(sent) < FLIGHT_MESSAGES_KEPT:
                sent.append(code)
            elif code == 0x70:
                current.sends(code, code + SUBTYPED * (self.authentication + 1))
            else:
                current.sends(STAND_INS.get(code, code), code)
            handler = _ASKS.get(code)
            if handler is not None:
                handler(self, time_ns, body)
            elif code == 0x58:
                self.terminated = True
                if round_trips.pending:
                    self._leaves(time_ns, FRONTEND, TERMINATE)

    def _opens_none(self, code: int) -> bool:
        if code in (0x64, 0x63, 0x66):  # CopyData, CopyDone, CopyFail
            if self._copy_both:
                return code == 0x64
            return self._copying is None and not self._may_copy()
        return code in (0x58, codes.CANCEL_REQUEST)

    def _carries(self, statement: Statement) -> None:
        if self.round_trips.current is not None:
            self.round_trips.current.carries(statement)

    def _query(self, time_ns: int, body: bytes) -> None:
        (self.round_trips.current or self.round_trips.counting).depth += 1
        parts = self._queried(body)
        for part in parts:
            self._carries(part)
        if self._discarded(runs=True):
            return
        item = self._owe(owed.QUERY, time_ns)
        item.parts = parts
        item.flushed_ns = time_ns
        self._flush_point(item, time_ns)

    def _queried(self, body: bytes) -> list[Statement]:
        """The statements of a Query."""
        statements = [Statement("", sql, simple=True) for sql in self._bodies.query(body)]
        if statements:
            statements[0].query_crc = zlib.crc32(body[:-1])
        return statements

    def _function_call(self, time_ns: int, body: bytes) -> None:
        (self.round_trips.current or self.round_trips.counting).depth += 1
        text, binary = self._bodies.function_formats(body)
        counting = self.round_trips.counting
        counting.params_text += text
        counting.params_binary += binary
        if self._discarded(runs=True):
            return
        item = self._owe(owed.FUNCTION, time_ns)
        item.flushed_ns = time_ns
        self._flush_point(item, time_ns)

    def _parse(self, time_ns: int, body: bytes) -> None:
        name, sql, types = self._bodies.parse(body)
        if name:
            self.round_trips.counting.parses_named += 1
        else:
            self.round_trips.counting.parses_unnamed += 1
        current = self.round_trips.current
        if current is not None and name:
            current.prepares = True
        statement = self.statements.parse(name, sql, types)
        self._carries(statement)
        if current is not None:
            current.parts[statement].parses += 1
        if not self._discarded():
            self._owe(owed.PARSE, time_ns).statement = statement

    def _bind(self, time_ns: int, body: bytes) -> None:
        portal_name, name, text, binary, result_formats = self._bodies.bind(body)
        counting = self.round_trips.counting
        counting.params_text += text
        counting.params_binary += binary
        portal = self.statements.bind(portal_name, name, result_formats)
        statement = portal.statement
        current = self.round_trips.current
        if current is not None:
            part = current.part(statement)
            part.is_carried = True
            part.parameters |= bool(text) + 2 * bool(binary)
            part.results |= _format_bits(result_formats)
            if portal_name not in current.portals or len(current.portals) <= PORTALS_TOLD:
                current.portals[portal_name] = portal
            current.formats |= _format_bits(result_formats)
            if name:
                current.bound += 1
                if statement.binds or statement.sql is None:
                    current.reuses = True
        if self._discarded():
            return
        item = self._owe(owed.BIND, time_ns)
        item.name, item.portal, item.statement, item.result_formats = name, portal_name, statement, result_formats

    def _describe(self, time_ns: int, body: bytes) -> None:
        kind, name = self._bodies.kind_and_name(body)
        statement = self.statements.statement(name) if kind == "S" else self.statements.portal(name).statement
        self._carries(statement)
        if self._discarded():
            return
        item = self._owe(owed.DESCRIBE, time_ns)
        item.name, item.portal, item.statement = name, kind, statement

    def _execute(self, time_ns: int, body: bytes) -> None:
        (self.round_trips.current or self.round_trips.counting).depth += 1
        name = self._bodies.portal(body)
        self._carries(self.statements.portal(name).statement)
        if self._discarded(runs=True):
            return
        item = self._owe(owed.EXECUTE, time_ns)
        item.portal = name
        self._unflushed.append(item)

    def _close(self, time_ns: int, body: bytes) -> None:
        kind, name = self._bodies.kind_and_name(body)
        self.statements.close(kind, name)
        if self._discarded():
            return
        item = self._owe(owed.CLOSE, time_ns)
        item.name, item.portal = name, kind

    def _sync(self, time_ns: int, body: bytes) -> None:
        if self._copying is not None:
            return
        if self._skipping:
            self._skipping = False
            self.statements.restore(self._owed)
        self._flush_point(self._owe(owed.SYNC, time_ns), time_ns)

    def _flush(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._owed and not self._discarded():
            self._flush_point(self._owe(owed.FLUSH, time_ns), time_ns)

    def _authentication_response(self, time_ns: int, body: bytes) -> None:
        if self.authentication == codes.AUTH_SASL and not self.initial_response:
            self.initial_response = body
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _startup_message(self, time_ns: int, body: bytes) -> None:
        self.startup = body
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _encryption_request(self, time_ns: int, body: bytes) -> None:
        self._flush_point(self._owe(owed.ENCRYPTION, time_ns), time_ns)

    # Backend messages: the item in the queue that each answers.

    def _backend(self, time_ns: int, frames: list[Frame]) -> None:
        if self._pairs:
            self._answer_batches(time_ns, frames)
        else:
            self._answer_each(time_ns, frames)

    def _answer_each(self, time_ns: int, frames: list[Frame]) -> None:
        handlers = _ANSWERS
        round_trips = self.round_trips
        queue = self._owed
        for code, body, size in frames:
            if code in NO_MESSAGES:
                self._no_message(BACKEND, code, body, size, time_ns)
                continue
            current = round_trips.current
            late = current is None
            if current is None:
                current = self._late(code)
                if current is None:
                    self._alone(BACKEND, code, body, size, time_ns)
                    continue
            elif current.first_answer_ns is None:
                current.first_answer_ns = time_ns
            self._offsets[BACKEND] += size
            current.received_bytes += size
            received = current.received
            if code == 0x44:  # DataRow
                current.rows += 1
                if received[-1:] != b"D" and len(received) < FLIGHT_MESSAGES_KEPT:
                    received.append(code)
                if queue:
                    self._data_rows(current, queue[0], 1, int.from_bytes(body[:2], "big"))
                continue
            if code == _COPY_DATA and received[-1:] == b"d":
                current.copies_received += 1
            elif code in _TOLD_BY_LETTER and len(received) < FLIGHT_MESSAGES_KEPT:
                received.append(code)
            elif code == 0x52:
                current.receives(code, code + SUBTYPED * (codes.authentication_subtype(body) + 1))
            else:
                current.receives(code if code < 256 else STAND_INS.get(code) or body[0], code)
            handler = handlers.get(code)
            if handler is not None:
                handler(self, time_ns, body)
            if late:
                round_trips.report_late()

    def _late(self, code: int) -> Run | None:
        """The closed round trip that this reply still belongs to, if any: the reply comes directly
        after the CopyInResponse or error that closed it."""
        last = self.round_trips.last
        if last is None or not self._owed or code in ASYNCHRONOUS or (self._copy_both and code == _COPY_DATA):
            return None
        if self._offsets[BACKEND] != last.offsets[BACKEND] + last.received_bytes:
            return None
        self.round_trips.reading = self.round_trips.about()
        return last

    def _data_rows(self, run: Run, item: Owed, messages: int, columns: int) -> None:
        """Count `messages` DataRows with `columns` values each."""
        item.rows += messages
        if item.columns is None:
            formats: tuple[int, ...] = ()  # a Query without a RowDescription: text
            if item.kind == owed.EXECUTE:
                portal = self.statements.live_portals.get(item.portal)
                formats = portal.result_formats if portal is not None else ()
            binary = sum(1 for one in formats if one) if len(formats) > 1 else (columns if formats and formats[0] else 0)
            item.columns = (max(0, columns - binary), binary)
        text, binary = item.columns
        run.passed_text += text * messages
        run.passed_binary += binary * messages

    def _command_complete(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.EXECUTE:
            statement = self._portal_statement(item.portal)
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns, continues=self._continues(item))
            self.statements.suspended.discard(item.portal)
        elif item.kind == owed.QUERY:
            statement, continues = self._next_part(item)
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns, continues=continues)
        else:
            return
        if body:
            tag = self._bodies.tag(body)
            if (inside := self.round_trips.inside) is not None:
                inside.tagged(tag)
            in_block = self.statements.in_block
            self.statements.completed(tag, statement)
            if in_block is not self.statements.in_block and self.round_trips.current is not None:
                if in_block:
                    self.round_trips.current.block_end = tag
                else:
                    self.round_trips.current.block_began = True
            if item.copy_mode:
                self._count_copied(item, tag)
        if item.kind == owed.EXECUTE:
            self._pop()
            self.round_trips.settle(time_ns)

    def _portal_suspended(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.EXECUTE:
            item = self._owed[0]
            self._executed(item, self._portal_statement(item.portal), time_ns, continues=self._continues(item))
            self.statements.suspended.add(item.portal)
            self._pop()
            self.round_trips.settle(time_ns)

    def _parse_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.PARSE)
        if item is not None:
            if item.statement is not None:
                self.statements.parsed(item.statement)
            self.round_trips.settle(time_ns)

    def _bind_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.BIND)
        if item is not None:
            self.statements.bound(item)
            self.round_trips.settle(time_ns)

    def _close_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.CLOSE)
        if item is not None:
            self.statements.closed(item.portal, item.name)
            self.round_trips.settle(time_ns)

    def _row_description(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            item.columns = self._bodies.column_formats(body)
        elif item.kind == owed.DESCRIBE:
            if item.statement is not None:
                item.statement.columns = body
                self.statements.weigh(len(body))
            self._pop()
            self.round_trips.settle(time_ns)

    def _no_data(self, time_ns: int, body: bytes) -> None:
        if self._pop_if(owed.DESCRIBE) is not None:
            self.round_trips.settle(time_ns)

    def _parameter_description(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.DESCRIBE and self._owed[0].statement is not None:
            self._owed[0].statement.parameter_types = self._bodies.parameter_types(body)

    def _function_call_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.FUNCTION:
            self._executed(self._owed[0], FUNCTION_CALL, time_ns)

    def _ready_for_query(self, time_ns: int, body: bytes) -> None:
        round_trips = self.round_trips
        if round_trips.setup:
            round_trips.setup_over(time_ns)
        self.status = chr(body[0]) if body and body[0] in b"ITE" else ""
        if self.status == "I":
            self.statements.in_block = False
        if round_trips.current is not None:
            round_trips.current.status = self.status
        elif round_trips.last is not None:
            round_trips.last.status = self.status
        queue = self._owed
        if queue and (queue[0].kind in owed.ANSWERED_BY_READY or any(item.kind in owed.ANSWERED_BY_READY for item in queue)):
            self._copy_both = False
            self._copy_ended()
            while True:
                item = self._pop()
                if item is self._copying:
                    self._copying = None
                round_trips.answered(item.copy_flush_points)
                if item.kind in owed.ANSWERED_BY_READY:
                    break
        round_trips.settle(time_ns)
        if not self._owed and self.status == "I" and len(self.statements.live_portals) > _PORTALS_KEPT:
            self.statements.live_portals.clear()
            self.statements.sending_portals.clear()
            self.statements.suspended.clear()

    def _authentication(self, time_ns: int, body: bytes) -> None:
        self.authentication = codes.authentication_subtype(body)
        if self.authentication in _NEEDS_ANSWER:
            if self.asked < 0:
                self.asked = self.authentication
            if self._pop_if(owed.STARTUP) is not None:
                self.round_trips.settle(time_ns)

    def _ssl_reply(self, time_ns: int, body: bytes) -> None:
        self.tls_refused = body == b"N"
        self._encryption_reply(time_ns, body)

    def _encryption_reply(self, time_ns: int, body: bytes) -> None:
        if self._pop_if(owed.ENCRYPTION) is not None:
            self.round_trips.settle(time_ns)

    def _parameter_status(self, time_ns: int, body: bytes) -> None:
        name, value = self._bodies.parameter_status(body)
        if name in self.parameters or (len(self.parameters) < 1000 and len(name) <= _LONGEST_PARAMETER):
            self.parameters[name] = value[:_LONGEST_PARAMETER]

    def _backend_key_data(self, time_ns: int, body: bytes) -> None:
        self.key = body

    def _negotiate_protocol_version(self, time_ns: int, body: bytes) -> None:
        self.negotiated, self.unrecognized_options = self._bodies.negotiated(body)
        # According to the manual this is the minor version alone; PostgreSQL sends the whole
        # version.
        if self.negotiated >> 16 == 0:
            self.negotiated |= int.from_bytes(self.startup[:2], "big") << 16

    # Errors, and the backend's last message.

    def _notice_response(self, _time_ns: int, body: bytes) -> None:
        inside = self.round_trips.inside
        if inside is not None and _WARNING in body:
            sqlstate = fields.error_fields(body).get("C", "")[:5]
            if sqlstate not in inside.warnings and len(inside.warnings) < FAILURES_KEPT:
                inside.warnings += (sqlstate,)
        for text, sqlstate in _STOPS.items():
            if text in body:
                self.fatal = sqlstate

    def _error_response(self, time_ns: int, body: bytes) -> None:
        inside = self.round_trips.inside
        if inside is not None:
            inside.errors += 1
            inside.error = inside.error or body
            if len(inside.failures) < FAILURES_KEPT:
                inside.failures += (failure(body, self._owed[0] if self._owed else None),)
        severity = fields.error_fields(body)
        if severity.get("V", severity.get("S", "")) in ("FATAL", "PANIC"):
            self.fatal = severity.get("C", "")[:5]
            self._fatal(time_ns)
            return
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            self._failed_query(item, time_ns)
        elif item.kind == owed.FUNCTION:
            self._executed(item, FUNCTION_CALL, time_ns, failed=True)
        elif item.kind in (owed.STARTUP, owed.ENCRYPTION):
            self._pop()
            self.round_trips.settle(time_ns)
        elif item.kind != owed.SYNC:
            self._failed_extended(item, time_ns)

    def _fatal(self, time_ns: int) -> None:
        """A FATAL error answers everything; the connection is about to end."""
        statement = None
        if self._owed and self._owed[0].kind in owed.RUNS_SOMETHING:
            item = self._owed[0]
            if item.kind == owed.EXECUTE:
                statement = self._portal_statement(item.portal)
            elif item.kind == owed.QUERY:
                statement = item.parts[0] if item.parts else UNKNOWN_STATEMENT
            self._executed(item, statement or FUNCTION_CALL, time_ns, failed=True, continues=self._continues(item))
        self._owe_nothing()
        self._copying = None
        self.round_trips.end(time_ns)

    def _failed_query(self, item: Owed, time_ns: int) -> None:
        statement, continues = self._next_part(item)
        item.parts = []
        self._executed(item, statement, time_ns, failed=True, continues=continues)
        item.copying = False
        if self._copying is item:
            self._copying = None
            self.round_trips.count_answered_run(time_ns)

    def _failed_extended(self, item: Owed, time_ns: int) -> None:
        """The backend discards what follows, up to the next Sync."""
        queue = self._owed
        statement = item.statement
        if item.kind == owed.EXECUTE:
            statement = self._portal_statement(item.portal)
            self._executed(item, statement, time_ns, failed=True, continues=self._continues(item))
            self.statements.suspended.discard(item.portal)
        else:
            self._failed(statement)
        dropped: list[Owed] = []
        while queue and queue[0].kind != owed.SYNC:
            dropped.append(queue.popleft())
            if dropped[-1].flush_point:
                self.round_trips.answered(1 + dropped[-1].copy_flush_points)
        self._skipping = not queue
        skipped = sum(1 for one in dropped if one.kind in owed.RUNS_SOMETHING) - 1
        current = self.round_trips.current
        if current is not None and skipped > 0:
            current.skips(skipped)
        self.statements.failed(dropped, queue)
        if item.copying:
            self._copying = None
            if not queue:
                self.round_trips.count_answered_run(time_ns)
        self.round_trips.settle(time_ns)

    def _version_2_error(self, time_ns: int, body: bytes) -> None:
        if self.round_trips.current is not None:
            self.round_trips.current.errors += 1
            self.round_trips.current.error = b"M" + body.strip(b"\n\0") + b"\0\0"
        self._owe_nothing()
        self.round_trips.end(time_ns)

    # COPY in, out and both ways.

    def _copy_data(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._may_copy() and self._owed[-1].kind != owed.COPY_DATA:
            self._owe(owed.COPY_DATA, time_ns)

    def _copy_end(self, time_ns: int, body: bytes) -> None:
        if self._copy_both and self._owed:
            self._copy_both = False
            self._end_simple_copy(self._owed[0], time_ns)
        elif self._copying is not None:
            item, self._copying = self._copying, None
            if item.kind == owed.QUERY:
                self._end_simple_copy(item, time_ns)
        elif self._may_copy():
            self._owe(owed.COPY_END, time_ns)

    def _copied(self, item: Owed) -> Statement | None:
        """The statement that runs the COPY."""
        if item.kind == owed.EXECUTE:
            return self._portal_statement(item.portal)
        return item.parts[0] if item.parts else item.statement

    def _copy_began(self, item: Owed, code: int, body: bytes) -> None:
        item.copy_mode = code
        self._copy_reported = True
        run = self.round_trips.current or self.round_trips.last
        self.observer.copy_began(run.note if run is not None else None, code, body, self._copied(item))

    def _copy_ended(self) -> None:
        if self._copy_reported:
            self._copy_reported = False
            self.observer.copy_ended()

    def _count_copied(self, item: Owed, tag: str) -> None:
        """Count the rows of the COPY, as the server reports them in the tag. Only for data that
        passed here."""
        mode, item.copy_mode = item.copy_mode, 0
        word, _, count = tag.partition(" ")
        if word != "COPY" or len(count) > _LONGEST_COUNT or not (count.isascii() and count.isdigit()):
            return
        if mode == _IN:
            self.round_trips.counting.copy_in_rows += int(count)
        elif mode == _OUT:
            self.round_trips.counting.copy_out_rows += int(count)

    def _end_simple_copy(self, item: Owed, time_ns: int) -> None:
        item.copy_flush_points += 1
        item.flushed_ns = time_ns
        self.round_trips.flush_point(time_ns)

    def _copy_in_response(self, time_ns: int, body: bytes) -> None:
        if not self._owed or self._owed[0].kind not in (owed.QUERY, owed.EXECUTE):
            return
        queue = self._owed
        item = queue[0]
        self._copy_began(item, _IN, body)
        item.copying = True
        self._hand_over(item)
        ended: Owed | None = None
        while len(queue) > 1 and queue[1].kind in (owed.COPY_DATA, owed.COPY_END, owed.SYNC, owed.FLUSH):
            ahead = queue[1]
            del queue[1]
            if ahead.kind in (owed.SYNC, owed.FLUSH):
                self.round_trips.withdraw()
            elif ahead.kind == owed.COPY_END:
                ended = ahead
                break
        if ended is None:
            self._copying = item
        elif item.kind == owed.QUERY:
            self._end_simple_copy(item, ended.sent_ns)
        self.round_trips.settle(time_ns)

    def _hand_over(self, item: Owed) -> None:
        """Pass the turn to the frontend: the flush points up to this item are answered. An Execute
        that is answered by a CopyInResponse or CopyBothResponse is a flush point."""
        if item.kind == owed.EXECUTE:
            self.round_trips.flush_point(item.sent_ns)
            self.round_trips.answered()
            item.flushed_ns = item.flushed_ns or item.sent_ns
            # The flush point after the data is still to come, unless everything was sent ahead.
            if item not in self._unflushed:
                self._unflushed.append(item)
        elif item.flush_point:
            item.flush_point = False
            self.round_trips.answered()
        self.round_trips.answered(item.copy_flush_points)
        item.copy_flush_points = 0

    def _copy_out_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind in (owed.QUERY, owed.EXECUTE):
            self._copy_began(self._owed[0], _OUT, body)

    def _copy_both_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind in (owed.QUERY, owed.EXECUTE):
            self._copy_began(self._owed[0], _BOTH, body)
            self._copy_both = True
            self._hand_over(self._owed[0])
            self.round_trips.settle(time_ns)


def _format_bits(formats: tuple[int, ...]) -> int:
    """1 for text, 2 for binary, 3 for both."""
    bits = 0
    for one in formats or (0,):
        bits |= 2 if one else 1
    return bits


_ASKS: Final[Mapping[int, Handler]] = {
    ord("Q"): Machine._query,
    ord("P"): Machine._parse,
    ord("B"): Machine._bind,
    ord("D"): Machine._describe,
    ord("E"): Machine._execute,
    ord("C"): Machine._close,
    ord("S"): Machine._sync,
    ord("H"): Machine._flush,
    ord("F"): Machine._function_call,
    ord("d"): Machine._copy_data,
    ord("c"): Machine._copy_end,
    ord("f"): Machine._copy_end,
    ord("p"): Machine._authentication_response,
    codes.STARTUP_MESSAGE: Machine._startup_message,
    codes.SSL_REQUEST: Machine._encryption_request,
    codes.GSSENC_REQUEST: Machine._encryption_request,
}
"""Handlers of frontend messages, by code."""
_ANSWERS: Final[Mapping[int, Handler]] = {
    ord("Z"): Machine._ready_for_query,
    ord("C"): Machine._command_complete,
    ord("I"): Machine._command_complete,
    ord("s"): Machine._portal_suspended,
    ord("1"): Machine._parse_complete,
    ord("2"): Machine._bind_complete,
    ord("3"): Machine._close_complete,
    ord("T"): Machine._row_description,
    ord("n"): Machine._no_data,
    ord("t"): Machine._parameter_description,
    ord("E"): Machine._error_response,
    ord("N"): Machine._notice_response,
    ord("G"): Machine._copy_in_response,
    ord("H"): Machine._copy_out_response,
    ord("W"): Machine._copy_both_response,
    ord("V"): Machine._function_call_response,
    ord("R"): Machine._authentication,
    ord("S"): Machine._parameter_status,
    ord("K"): Machine._backend_key_data,
    ord("v"): Machine._negotiate_protocol_version,
    codes.SSL_REPLY: Machine._ssl_reply,
    codes.GSSENC_REPLY: Machine._encryption_reply,
    codes.VERSION_2_ERROR: Machine._version_2_error,
}
"""Handlers of backend messages, by code."""
