"""One TCP conversation: the bytes of both sides, each once, in the order in which they passed.

- Within a side, sequence numbers decide, however packets were repeated, split again or mixed up. If
  bytes came twice, the first are used.
- Between the sides, acknowledgements decide: a segment says how much its sender had received from
  the other side, and is released after that. So a reply is never released before its request,
  whatever the order of the packets.
- A segment that must wait for others is held. The bytes it waits for are lost if the other side has
  acknowledged them and they do not arrive within LOST_SEGMENTS more of the conversation and
  APART_NS by the packets' clock. They are also lost after PATIENCE_NS, when more than HELD_BYTES
  are held, or at the end of the input. A loss is reported with its size, and reading continues
  after it. Bytes that were not acknowledged were lost on the network and will be sent again, so it
  waits longer for them.
- The two directions may have been recorded with clocks that differ. That shows when a segment would
  be earlier than what it acknowledges, or later than what acknowledges it; the first is known when
  it is released, the second because it is held. From there on the backend's times are shifted, by
  no more than needed: the frontend's clock is the conversation's.
- A FIN takes one place after the last byte. If one byte was acknowledged, never arrived, and
  nothing came after it, not even a FIN, then it was the FIN.
- The end of each direction is reported in order: a FIN after the last byte, a reset once no more
  bytes can arrive. After a reset a conversation is kept for PATIENCE_NS, since packets that passed
  before it may arrive later.

Positions are counted from the conversation's beginning (or from where it was joined) and do not
wrap as sequence numbers do. This module knows nothing about packets, ports or the meaning of the
bytes. Sources: RFC 9293; RFC 1982 for comparing numbers that wrap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

from pgtrace.capture.ip import ACK, FIN, RST, Segment
from pgtrace.capture.record import FIN as FINISHED
from pgtrace.capture.record import NEITHER
from pgtrace.capture.record import RST as RESET
from pgtrace.protocol.codes import BACKEND, FRONTEND

LOST_SEGMENTS: Final = 64
APART_NS: Final = 1_500_000_000
"""How far apart in time the directions may be: a second, plus some travel time."""
PATIENCE_NS: Final = 5_000_000_000
NOISE_NS: Final = 1_000_000
"""How far out of order packets from several processors may be although the clock is correct."""
SOON_NS: Final = 10_000_000
HELD_BYTES: Final = 32 * 1024 * 1024
"""The most bytes that a conversation may hold. HELD_COST is what a held segment takes in addition
to its bytes."""
HELD_COST: Final = 300
WINDOW: Final = 1 << 30
"""The largest TCP window. A number that is further away belongs to another conversation."""
WRAP: Final = 0xFFFFFFFF
HALF: Final = 1 << 31

Taker = Callable[[int, int, int, bytes], None]
Held = tuple[int, int, int, int, bytes, int, int]
"""Position, arrival number, time, how much of the peer's stream it acknowledges, payload, bytes
missing after it, whether it ends the stream."""


class Receiver(Protocol):
    """Receives the bytes of a conversation."""

    @property
    def latest_ns(self) -> int:
        """The time of the latest bytes it received."""

    def take(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take the next bytes of this side, from one packet."""

    def lose(self, side: int, time_ns: int, offset: int, size: int) -> None:
        """The next `size` bytes of this side are missing."""

    def finish(self) -> None:
        """Nothing more will come for now."""

    def ended(self, side: int, time_ns: int, how: str) -> None:
        """This direction has ended with `FIN` or `RST`. After a reset nothing of this side
        follows."""

    def close(self, side: int, time_ns: int, how: str) -> None:
        """The conversation is over. `side` ended it first, with `FIN` or `RST`; NEITHER and
        `unseen` if that is not known."""


def distance(number: int, other: int) -> int:
    """How far `number` is ahead of `other`, by the shorter way round."""
    return ((number - other + HALF) & WRAP) - HALF


class Stream:
    """One direction. Lookups always find one, also before and after a conversation: `owner` is the
    newcomer, conversation or past conversation that it belongs to."""

    __slots__ = ("acked", "ended", "expected", "held", "next", "offset", "owner", "passed_ns", "peer", "side", "start", "take")

    def __init__(self, owner: object, side: int) -> None:
        self.owner = owner
        self.side = side
        self.peer: Stream
        self.start = 0
        """The sequence number of its first byte."""
        self.next = 0
        """The sequence number of its next byte. `expected` is the same while nothing has to wait,
        and otherwise not a sequence number."""
        self.expected = -1
        self.offset = 0
        """The number of bytes released so far, lost ones included."""
        self.acked = 0
        """How far the peer has acknowledged it."""
        self.passed_ns = 0
        """When its latest bytes passed, by the conversation's clock; 0 before the first."""
        self.ended = False
        self.held: list[Held] = []
        """A heap."""
        self.take: Taker

    @property
    def reached(self) -> int:
        """The position of `next`: a FIN takes one place."""
        return self.offset + self.ended

    def advance(self, size: int) -> None:
        self.offset += size
        self.next = (self.next + size) & WRAP


class Conversation:
    """A TCP connection whose sides are known. Never raises."""

    __slots__ = ("_first_end", "_receiver", "_reset", "_seen", "apart_ns", "held_bytes", "over", "repeats", "streams")

    def __init__(self, receiver: Receiver, frontend: Stream, backend: Stream, starts: tuple[int, int]) -> None:
        """The streams begin at the sequence numbers `starts`."""
        self.streams = (frontend, backend)
        self.held_bytes = 0
        self.over = False
        self.apart_ns = 0
        """The nanoseconds that are added to the backend's times."""
        self.repeats = 0
        """The number of segments all of whose bytes had arrived just before: too soon for a
        retransmission."""
        self._receiver = receiver
        self._seen = 0
        self._first_end: int | None = None
        self._reset: tuple[int, int] | None = None
        for side, stream in ((FRONTEND, frontend), (BACKEND, backend)):
            stream.owner = self
            stream.side = side
            stream.start = stream.next = stream.expected = starts[side]
            stream.take = receiver.take

    @property
    def latest_ns(self) -> int:
        """When the latest bytes were released."""
        return self._receiver.latest_ns

    @property
    def waits(self) -> bool:
        """Whether something may change merely because time passes."""
        return not self.over and (self._reset is not None or self._is_blocked)

    @property
    def _is_blocked(self) -> bool:
        return bool(self.streams[FRONTEND].held or self.streams[BACKEND].held)

    def accept(self, stream: Stream, segment: Segment) -> None:
        """Take any segment except a SYN."""
        time_ns, _, seq, ack, flags, payload, missing = segment
        self._seen += 1
        peer = stream.peer
        acked = 0
        if flags & ACK and abs(ahead := distance(ack, peer.next)) < WINDOW:
            acked = peer.reached + ahead
            peer.acked = max(peer.acked, acked)
        if flags & RST:
            self._reset = self._reset or (stream.side, time_ns)
        elif not stream.ended:
            position = stream.offset + distance(seq, stream.next)
            size = len(payload) + missing
            if position + size > stream.offset or (flags & FIN and position + size == stream.offset):
                heapq.heappush(stream.held, (position, self._seen, time_ns, acked, payload, missing, flags & FIN))
                self.held_bytes += len(payload) + HELD_COST
            else:
                self.repeats += size > 0 and abs(self._time(stream, time_ns) - stream.passed_ns) < SOON_NS
        self._settle(time_ns)

    def sweep(self, now_ns: int) -> None:
        """Advance the packets' clock."""
        self._settle(now_ns)
        if self._reset is not None and now_ns - self._reset[1] >= PATIENCE_NS:
            self.finish()

    def finish(self) -> None:
        """Nothing more will come: release what is held. Bytes that were acknowledged but never
        arrived are lost."""
        self._settle(None)
        for stream in self.streams:
            if stream.acked > stream.reached and not self.over:
                self._give_up(stream, stream.acked, 0)
        if self._reset is not None and not self.over:
            side, time_ns = self._reset
            time_ns = self._time(self.streams[side], time_ns)
            self._receiver.ended(side, time_ns, RESET)
            first = self._first_end
            self._close(*((side, time_ns, RESET) if first is None else (first, time_ns, FINISHED)))
        self._receiver.finish()

    def abandon(self, time_ns: int) -> None:
        """The conversation has ended, although its end was not seen."""
        self.finish()
        self._close(NEITHER, time_ns, "unseen")

    def _settle(self, now_ns: int | None) -> None:
        """Release what can be released, and give up what is due. Without a time, everything is
        due."""
        while self._is_blocked:
            self._release_all()
            hole = self._find_hole(now_ns)
            if hole is None:
                break
            self._give_up(*hole)
        slow = self._is_blocked or self.apart_ns
        for stream in self.streams:
            stream.expected = -1 if slow or stream.ended else stream.next

    def _release_all(self) -> None:
        """Release every segment that waits for nothing."""
        released = True
        while released:
            released = False
            for stream in self.streams:
                peer = stream.peer
                while stream.held and stream.held[0][0] <= stream.offset and stream.held[0][3] <= peer.reached:
                    self._release(stream)
                    released = True

    def _release(self, stream: Stream) -> None:
        """Release the first held segment of a stream."""
        position, _, raw_ns, acked, payload, missing, ends = heapq.heappop(stream.held)
        self.held_bytes -= len(payload) + HELD_COST
        if stream.ended:
            return
        known = stream.offset - position
        time_ns = self._align(stream, raw_ns, acked) if known < len(payload) else self._time(stream, raw_ns)
        if known < len(payload):
            data = payload[known:]
            offset = stream.offset
            stream.advance(len(data))
            stream.passed_ns = time_ns
            stream.take(stream.side, time_ns, offset, data)
        end = position + len(payload) + missing
        if end > stream.offset:
            self._lose(stream, end, time_ns)
        if ends and end == stream.offset:
            self._end(stream, time_ns)

    def _time(self, stream: Stream, time_ns: int) -> int:
        """A packet's time by the conversation's clock."""
        return time_ns + self.apart_ns if stream.side == BACKEND else time_ns

    def _align(self, stream: Stream, raw_ns: int, acked: int) -> int:
        """The time of a segment that is released now. If it shows that the clocks differ, they are
        aligned."""
        time_ns = self._time(stream, raw_ns)
        peer = stream.peer
        earliest = peer.passed_ns if peer.passed_ns and acked >= peer.offset else None
        waiting = peer.held[0] if peer.held else None
        latest = self._time(peer, waiting[2]) if waiting is not None and waiting[3] > stream.offset else None
        early = earliest is not None and time_ns < earliest - NOISE_NS
        late = latest is not None and time_ns > latest + NOISE_NS
        if not (early or late):
            return time_ns
        moved = ((earliest if early else latest) or 0) - time_ns
        apart = self.apart_ns + (moved if stream.side == BACKEND else -moved)
        if abs(apart) > PATIENCE_NS:  # no clock is a second off: the order makes no sense
            return time_ns
        self.apart_ns = apart
        return self._time(stream, raw_ns)

    def _find_hole(self, now_ns: int | None) -> tuple[Stream, int, int] | None:
        """What to give up: the stream, up to where, and the time of the segment that waits for it.
        None while everything may still arrive."""
        for stream in self.streams:
            if not stream.held:
                continue
            position, number, time_ns, acked, *_ = stream.held[0]
            missing, end = (stream, position) if position > stream.offset else (stream.peer, acked)
            if missing is not stream and missing.held:
                end = min(end, missing.held[0][0])
            late = now_ns is None or now_ns - time_ns >= PATIENCE_NS or self.held_bytes > HELD_BYTES
            confirmed = self._seen - number >= LOST_SEGMENTS and missing.acked > missing.reached
            if late or (confirmed and now_ns is not None and now_ns - time_ns >= APART_NS):
                return missing, end, time_ns
        return None

    def _give_up(self, stream: Stream, end: int, time_ns: int) -> None:
        """Bytes missing up to `end` will not arrive."""
        if stream.ended or end <= stream.reached:
            # The segments acknowledge bytes that were never sent. That makes no sense, but must not
            # hold up the rest.
            for waiting in self.streams:
                if waiting.held:
                    position, number, sent_ns, _, payload, missing, ends = waiting.held[0]
                    heapq.heapreplace(waiting.held, (position, number, sent_ns, 0, payload, missing, ends))
        elif end == stream.offset + 1 and not any(held[4] or held[5] or held[6] for held in stream.held):
            self._end(stream, time_ns)
        else:
            self._lose(stream, end, time_ns)

    def _lose(self, stream: Stream, end: int, time_ns: int) -> None:
        offset = stream.offset
        stream.advance(end - offset)
        self._receiver.lose(stream.side, time_ns, offset, end - offset)

    def _end(self, stream: Stream, time_ns: int) -> None:
        """The FIN of a direction was released."""
        stream.ended = True
        stream.next = (stream.next + 1) & WRAP
        self.held_bytes -= sum(len(held[4]) + HELD_COST for held in stream.held)
        stream.held.clear()
        self._receiver.ended(stream.side, time_ns, FINISHED)
        self._first_end = self._first_end if self._first_end is not None else stream.side
        if stream.peer.ended:
            self._close(self._first_end, time_ns, FINISHED)

    def _close(self, side: int, time_ns: int, how: str) -> None:
        if not self.over:
            self.over = True
            self._receiver.close(side, time_ns, how)
