"""What a session knows at any moment, and the few things both sides do to it.

The parts of the state machine (sending.py, replies.py, failures.py, copying.py) are layers over this one class; connection.py puts them together.
Nothing here decides what a message means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, ClassVar

from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND
from pgtrace.session import events, owed
from pgtrace.session.events import Execution, Observer, Statement, Tally
from pgtrace.session.memory import Memory
from pgtrace.session.owed import Owed
from pgtrace.session.roundtrips import RoundTrips
from pgtrace.session.statements import Statements
from pgtrace.sqltext.replication import is_answered_in_parts

Handler = Callable[[Any, int, bytes], None]
"""What is done with a message: the session, its time and its body."""

UNKNOWN_STATEMENT = Statement("", None)
FUNCTION_CALL = Statement("", None)
"""What a FunctionCall runs: it has no SQL."""
SUBTYPED = 1000
"""Tally keys of Authentication and of `p`: SUBTYPED times (subtype + 1), plus the type byte."""
STAND_INS = {
    codes.STARTUP_MESSAGE: events.STARTUP,
    codes.SSL_REQUEST: events.SSL,
    codes.GSSENC_REQUEST: events.GSS,
    codes.CANCEL_REQUEST: events.CANCEL,
    codes.VERSION_2_ERROR: ord("E"),
}
"""What stands in a flight for a code without a type byte."""
MOST_OWED = 100_000
"""Items that are owed at once."""
_LOOKED_AT = 100
"""Items that are looked at for the message that a driver waits for."""
NO_MESSAGES = frozenset({codes.OPAQUE, codes.UNDECODED, codes.RESUMED})


class State:
    """The state of one connection."""

    _frontend_handlers: ClassVar[Mapping[int, Handler]] = {}
    _backend_handlers: ClassVar[Mapping[int, Handler]] = {}
    """By code, filled in by the layers. Of the class: a session that refers to itself would be freed only by the garbage collector."""

    def __init__(self, observer: Observer | None, memory: Memory) -> None:
        self.observer = observer or Observer()
        self._tally = Tally()
        self.framer = Framer()
        self.round_trips = RoundTrips(self.observer, self._tally)
        self.statements = Statements(self.observer, self._tally, memory.names)
        self.bytes = [0, 0]
        """Bytes of each side so far, as they passed."""
        self.tls_refused = False
        """The latest SSLRequest was answered `N`."""
        self.startup: bytes = b""
        """Body of the StartupMessage."""
        self.cancel: bytes = b""
        """Body of the CancelRequest."""
        self.key: bytes = b""
        """Body of BackendKeyData: process id and (in a capture hashed) secret key."""
        self.parameters: dict[str, str] = {}
        """The latest ParameterStatus of each name."""
        self.negotiated: int | None = None
        """The protocol version of NegotiateProtocolVersion."""
        self.unrecognized_options: tuple[str, ...] = ()
        """The protocol options that NegotiateProtocolVersion says the server does not know."""
        self.status = ""
        """Transaction status of the latest ReadyForQuery."""
        self.authentication = -1
        """Subtype of the latest Authentication message."""
        self.asked = -1
        """Subtype of the first Authentication message that needed an answer."""
        self.initial_response = b""
        """Body of the SASLInitialResponse: the mechanism, and of its payload the GS2 header."""
        self.fatal = ""
        """SQLSTATE of the FATAL or PANIC error, or of the notice of a backend that has to stop at once."""
        self.terminated = False
        self.is_closed = False
        self.unreadable = False
        """Some of its bytes are encrypted or not PostgreSQL."""
        self._memory = memory
        self._offsets = [0, 0]
        self._owed: deque[Owed] = deque()
        self._unflushed: list[Owed] = []
        self._carried: set[Statement] = set()
        """The statements of the open round trip, to look up."""
        self._skipping = False
        self._copying: Owed | None = None
        self._copy_both = False
        self._copy_told = False
        """The observer was told of a COPY that is not over."""
        self._last_end_ns = 0

    def _pop(self) -> Owed:
        """Answer the oldest item, and what needs no reply of its own behind it."""
        queue = self._owed
        item = queue.popleft()
        if item.flush_point:
            self.round_trips.answered()
        while queue and queue[0].kind in (owed.FLUSH, owed.COPY_DATA, owed.COPY_END):
            if queue.popleft().flush_point:
                self.round_trips.answered()
        return item

    def _pop_if(self, kind: int) -> Owed | None:
        """Answer the oldest item, if it is of that kind. Who calls settles the round trip, once everything that follows is counted."""
        return self._pop() if self._owed and self._owed[0].kind == kind else None

    def _flush_point(self, item: Owed, time_ns: int) -> None:
        item.flush_point = True
        self.round_trips.flush_point(time_ns)
        for execute in self._unflushed:
            execute.flushed_ns = time_ns
        self._unflushed.clear()

    def _leaves(self, time_ns: int, side: int, how: str, *, for_good: bool = False) -> None:
        """That side ends its direction."""
        first = [*islice(self._owed, _LOOKED_AT)]
        oldest = next((item for item in first if item.kind in owed.RUNS_SOMETHING), first[0] if first else None)
        self.round_trips.ends(time_ns, side, how, owed.NAMES[oldest.kind] if oldest is not None else "", for_good=for_good)

    def _may_copy(self) -> bool:
        """Whether something owed could still be answered by CopyInResponse."""
        return not self._skipping and any(item.kind in (owed.QUERY, owed.EXECUTE) and not item.copying for item in self._owed)

    def _discarded(self, runs: bool = False) -> bool:
        """Whether the backend will throw the message away, because an error came before it."""
        if self._skipping and runs and self.round_trips.current is not None:
            self.round_trips.current.skips(1)
        return self._skipping

    def _executed(self, item: Owed, statement: Statement, time_ns: int, *, failed: bool = False, continues: bool = False) -> None:
        """An execution ended; `item` goes on for the rest of a simple Query."""
        started = max(item.flushed_ns if item.flushed_ns is not None else item.sent_ns, self._last_end_ns)
        text, binary = item.columns or (0, 0)
        text, binary = text * item.rows, binary * item.rows
        current = self.round_trips.current
        if not continues:
            self._tally.executions += 1
        if current is not None:
            current.executions += not continues
            current.values_text += text
            current.values_binary += binary
        departure = self.round_trips.departure
        wait_ns = max(0, time_ns - started) if departure is None else departure.wait_ns(started, time_ns)
        execution = Execution(statement, wait_ns, item.rows, text, binary, failed=failed, continues=continues)
        self.observer.executed(execution)
        if departure is not None and wait_ns is None:
            departure.held.append((execution, started, time_ns))
        self._last_end_ns = time_ns
        item.rows = 0
        item.columns = None

    def _next_part(self, item: Owed) -> tuple[Statement, bool]:
        """The statement of a simple Query that is answered now, and whether it has been answered before: some replication commands are, in parts."""
        if item.parts:
            item.statement = item.parts.pop(0)
            return item.statement, False
        if item.statement is not None and item.statement.sql is not None and is_answered_in_parts(item.statement.sql):
            return item.statement, True
        return UNKNOWN_STATEMENT, False

    def _continues(self, item: Owed) -> bool:
        """Whether it goes on with a suspended portal."""
        return item.kind == owed.EXECUTE and item.portal in self.statements.suspended

    def _portal_statement(self, name: str) -> Statement:
        portal = self.statements.live_portals.get(name)
        return portal.statement if portal is not None else self.statements.portal(name).statement

    def _alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self._offsets[side] += size
        if side == BACKEND:
            self._tally.backend[code if code != 0x52 else 0x52 + SUBTYPED * (codes.authentication_subtype(body) + 1)] += 1
            handler = self._backend_handlers.get(code)
            if handler is not None:
                handler(self, time_ns, body)
        elif code == 0x58:
            self.terminated = True
        elif code == codes.CANCEL_REQUEST:
            self.cancel = body
        self.observer.alone(side, code, body, size, time_ns)

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
        self.observer.alone(side, code, body, size, time_ns)

    def _give_up(self, time_ns: int) -> None:
        """Too much is owed to believe that it will be answered: what was open ends, marked, and the next ReadyForQuery puts things right."""
        self.round_trips.lose(time_ns)
        self._owed.clear()
        self._unflushed.clear()
        self._copying = None

    def _owe(self, kind: int, time_ns: int) -> Owed:
        if len(self._owed) >= MOST_OWED:
            self._give_up(time_ns)
        item = Owed(kind, time_ns)
        self._owed.append(item)
        return item
