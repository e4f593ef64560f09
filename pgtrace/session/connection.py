"""One connection's state: what each side may mean next, what is owed, and what just happened.

Bytes go in, in the order in which they passed, and an Observer hears of round trips, executions and statements. The machine never raises on any
bytes: what does not fit is counted and shown, and the next ReadyForQuery puts the queue right again.

How it works. Each frontend message that will be answered becomes an item of the queue of what is owed (owed.py); each backend message answers the
oldest item, or none. Around the queue stand:

- the round trips (roundtrips.py): items that are flush points keep the open one open;
- the names (statements.py): which SQL a Bind or Execute is about;
- skipping: after an ErrorResponse in an extended query the backend discards everything up to the next Sync; what was sent ahead leaves the queue
  with its flush points answered, what is sent later never enters it;
- copy mode, which is the backend's. `_copying` is the item whose CopyInResponse was seen and whose data has not ended. What was sent ahead waits in
  the queue as COPY_DATA or COPY_END until the reply to what precedes it decides; Sync and Flush read in copy mode are taken back.

It knows no files, sockets or drivers. Source of the rules: PostgreSQL manual, "Message Flow", "Pipelining", "COPY Operations"; measured edges are
worked examples in the tests.
"""

from __future__ import annotations

from typing import NamedTuple

from pgtrace.capture.record import CLOSE_NOTIFY, FIN
from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.events import Observer, Tally
from pgtrace.session.exchanges import Exchanges
from pgtrace.session.reads import Reads

_DATA_ROW = ord("D")
_MAY_READ_ON = (FIN, CLOSE_NOTIFY)
"""How a driver may end its direction and still read."""


class Rest(NamedTuple):
    """Where a session stands that owes nothing."""

    framer: Framer
    status: str
    in_block: bool
    offsets: tuple[int, int]


class Session(Exchanges):
    """The state machine of one connection."""

    def __init__(self, observer: Observer | None = None, reads: Reads | None = None) -> None:
        """`reads` is shared by the sessions of a capture."""
        super().__init__(observer, reads)

    def receive(self, side: int, time_ns: int, data: bytes, offset: int | None = None) -> None:
        """The next bytes of that side, as one read brought them. `offset`: their place in the stream, for after a gap."""
        self.bytes[side] += len(data)
        framer = self.framer
        if framer.seeking and offset is not None:
            self._offsets[side] = offset
        if side == BACKEND:
            self._take_backend(time_ns, data)
        else:
            self._take_frontend(time_ns, data)

    def opaque(self, side: int, time_ns: int, length: int) -> None:
        """Bytes that were counted, not kept."""
        self.settle()
        self.bytes[side] += length
        self._offsets[side] += length
        self.unreadable = True
        self.observer.alone(side, codes.OPAQUE, b"", length, time_ns)

    def elided(self, time_ns: int, messages: int, size: int, columns: int) -> None:
        """Rows that passed and were left out of the capture: `messages` DataRows with `columns` columns together. They count."""
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
        self._tally.backend[_DATA_ROW] += messages
        if self._owed:
            self._data_rows(self._owed[0], messages, columns // messages)

    def decrypted(self) -> None:
        """What follows the acceptance of TLS is the plain stream."""
        self.framer.decrypted()

    def gap(self, time_ns: int) -> None:
        """Bytes are missing from here, in either direction."""
        self.settle()
        self.round_trips.lose(time_ns)
        self._owed.clear()
        self._unflushed.clear()
        self._skipping = self._copy_both = False
        self._copy_ended()
        self._copying = None
        self.statements.lose()
        self.framer.gap()

    def resume(self, time_ns: int, earlier: Session, offsets: tuple[int, int]) -> None:
        """Read on in the middle of a connection, knowing what `earlier` learned from its start-up; nothing of that is counted."""
        self.startup, self.initial_response, self.key = earlier.startup, earlier.initial_response, earlier.key
        self.negotiated, self.unrecognized_options = earlier.negotiated, earlier.unrecognized_options
        self.parameters.update(earlier.parameters)
        self._offsets = list(offsets)
        self.round_trips.setup_over(time_ns)
        self.gap(time_ns)

    def rest(self) -> Rest | None:
        """Where it stands, to go on from there in another session; None while something is owed, or a message is cut."""
        self.settle()
        if not self._is_idle() or not self.is_quiet:
            return None
        return Rest(self.framer, self.status, self.statements.in_block, self.offsets)

    def go_on(self, time_ns: int, rest: Rest) -> None:
        """Go on where another session stood."""
        self.framer, self.status, self.statements.in_block = rest.framer, rest.status, rest.in_block
        self._offsets = list(rest.offsets)
        self.round_trips.setup_over(time_ns)

    def close(self, time_ns: int) -> None:
        """The connection has ended: that answers everything."""
        self.settle()
        self.is_closed = True
        self._owed.clear()
        self.round_trips.over(time_ns)

    def ended(self, side: int, how: str, time_ns: int) -> None:
        """One direction has ended; `side` and `how` as capture/record.py has them."""
        self.settle()
        self._leaves(time_ns, side, how, for_good=side != FRONTEND or how not in _MAY_READ_ON)

    @property
    def tally(self) -> Tally:
        """The counts up to here."""
        self.settle()
        return self.fold()

    @property
    def offsets(self) -> tuple[int, int]:
        """Where the next message of each side begins in its stream."""
        return self._offsets[0], self._offsets[1]

    @property
    def has_open_run(self) -> bool:
        """Whether a run of frontend messages has begun and not ended."""
        return self._held is not None or self.round_trips.current is not None or self.round_trips.undecided is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is owed and no message is cut. A replication stream, which may never end, owes nothing."""
        idle = (not self._owed or self._copy_both) and self._held is None and self.round_trips.current is None
        return self.is_closed or (idle and not self.framer.cut[FRONTEND] and not self.framer.cut[BACKEND])

    def untaken(self, time_ns: int) -> tuple[Tally, int]:
        """What has been counted since the last row that was taken, for reading only, and how long it was waited for up to that moment."""
        waited_ns = self.waited_ns(time_ns)[0]
        return self._tally, waited_ns - self.round_trips.repeated_ns - self._waited_ns

    def waited_ns(self, time_ns: int) -> tuple[int, int]:
        """After set-up, up to that moment or the driver's end: time with a flush point open, and the rest."""
        self.settle()
        if self.round_trips.over_ns is not None:
            time_ns = min(time_ns, self.round_trips.over_ns)
        started = self.round_trips.started_ns
        if started is None:
            return 0, 0
        waited = self.round_trips.waited_ns(time_ns)
        return waited, max(0, time_ns - started - waited)
