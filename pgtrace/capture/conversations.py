"""Which conversation a TCP segment belongs to, and which of its sides is the server.

A conversation begins as a newcomer. It is identified once the first sequence numbers of both sides
are known (from SYN and SYN-ACK, or from the ACK that follows). On a port that you did not name as a
server's, its first bytes must also be those of a PostgreSQL driver. Packets may be in any order, so
segments are kept until then, up to NEWCOMER_SEGMENTS and PATIENCE_NS (NEWCOMER_MOST and APART_NS
while the client has not begun). Then the newcomer is judged by what was seen:

1. A SYN, a SYN-ACK or a start-up packet identifies the sides. The beginning was seen.
2. Otherwise a named port identifies them. The conversation was joined in the middle.
3. Otherwise the conversation is ignored. Its packets are counted by port, so the notes can say what
   the file contains.

The same addresses and ports may be used again. A new conversation begins with a SYN that has
another sequence number, a start-up packet where none is possible, or a number outside any window.

A conversation may also appear a second time under translated addresses, at the same time and with
the same sequence numbers: the initial ones of both sides (64 bits), or, if those were not seen, the
numbers and bytes of an early segment. The packets of such a twin are added to the first
conversation, so its bytes appear once. For TCP, packets that appear twice under the same addresses
are plain repeats. Both kinds are counted.

Everything is bounded: newcomers, live conversations, past ones (kept for late packets), and the
bytes that all of them hold.

feed() has a short path for the next segment of a stream, which nearly every segment is, and a long
one for all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Final, Protocol

from pgtrace.capture.ip import ACK, FIN, RST, SYN, Segment, addresses, ports, reversed_key, source
from pgtrace.capture.tcp import APART_NS, HALF, PATIENCE_NS, WINDOW, WRAP, Conversation, Receiver, Stream, distance
from pgtrace.protocol.codes import BACKEND, FRONTEND

NEWCOMER_SEGMENTS: Final = 16
"""After this many segments with payload, a newcomer is judged by what was seen."""
NEWCOMER_MOST: Final = 1024
"""The same limit while the client is known but none of its bytes have been seen."""
NEWCOMERS: Final = 4096
NEWCOMERS_BYTES: Final = 16 * 1024 * 1024
LIVE: Final = 32_768
PAST: Final = 16_384
HELD_BYTES: Final = 40 * 1024 * 1024
"""The most bytes that all conversations together may hold."""
SWEEP_NS: Final = 1_000_000_000
_LOOKED_AT: Final = 64
_TWINS_LISTED: Final = 3
_MOST_KEYS: Final = 16
"""The most keys of one conversation. A twin adds two."""
_Numbers = tuple[int, ...]
"""Sequence numbers that occur in only one conversation."""
_REQUESTS_BYTES: Final = 16
"""The longest requests that a driver may send before its StartupMessage, for SSL and GSS
encryption. A StartupMessage that follows them does not begin a new conversation."""
_CONTROL: Final = FIN | SYN | RST | ACK


class Opener(Protocol):
    """Receives the conversations."""

    def is_startup(self, payload: bytes) -> bool | None:
        """Whether these bytes can only be the first of a driver; None if there are too few to
        decide."""

    def open(self, time_ns: int, client: str, server: str, *, seen: bool) -> Receiver:
        """Begin a conversation. `seen`: whether its beginning was seen."""


class _Newcomer:
    """A conversation that is not identified yet. Its two directions are 0 and 1, in the order in
    which they were seen."""

    __slots__ = ("begun", "client", "early", "early_bytes", "keys", "met_ns", "packets", "starts", "streams")

    def __init__(self, time_ns: int, key: bytes) -> None:
        self.met_ns = time_ns
        self.keys = (key, reversed_key(key))
        self.streams = (Stream(self, 0), Stream(self, 1))
        self.streams[0].peer, self.streams[1].peer = self.streams[1], self.streams[0]
        self.starts: list[int | None] = [None, None]
        self.client: int | None = None
        """The direction that comes from the client."""
        self.begun = [False, False]
        """Whether any bytes of that direction have been seen."""
        self.early: list[tuple[int, Segment]] = []
        self.early_bytes = 0
        self.packets = 0

    @property
    def server_port(self) -> int:
        """The server's port; the smaller of the two while the server is not known."""
        source_port, destination_port = ports(self.keys[0])
        if self.client is None:
            return min(source_port, destination_port)
        return destination_port if self.client == 0 else source_port

    def payloads(self, direction: int) -> list[Segment]:
        return [segment for where, segment in self.early if where == direction]

    def first_bytes(self, direction: int) -> bytes:
        """The first bytes of that direction, up to the first hole."""
        start = self.starts[direction]
        found = b""
        if start is not None:
            for segment in sorted(self.payloads(direction), key=lambda segment: distance(segment[2], start)):
                known = len(found) - distance(segment[2], start)
                if 0 <= known < len(segment[5]):
                    found += segment[5][known:]
        return found


class _Names:
    """How one of our conversations is recognised."""

    __slots__ = ("keys", "numbers")

    def __init__(self, keys: tuple[bytes, bytes], numbers: Sequence[_Numbers]) -> None:
        self.keys = [*keys]  # of the frontend and the backend; then those of twins
        self.numbers = [*numbers]


class _Past:
    """A conversation that has ended, or that is ignored."""

    __slots__ = ("_spans", "keys", "port")

    def __init__(self, keys: Sequence[bytes], port: int | None, streams: tuple[Stream, Stream] | None) -> None:
        self.keys = keys
        self.port = port  # None for a PostgreSQL conversation
        self._spans = [(stream.start, stream.next) for stream in streams or ()]

    def held(self, number: int) -> bool:
        """Whether this sequence number was part of the conversation."""
        return any(distance(number, start) >= 0 >= distance(number, end) for start, end in self._spans)


class Conversations:
    """All conversations in one capture."""

    def __init__(self, opener: Opener, named: Container[int]) -> None:
        """`named` are ports that belong to servers even if no start-up packet was seen."""
        self.others: Counter[int] = Counter()
        """The number of packets of ignored conversations, by port."""
        self.twins: list[tuple[str, str]] = []
        """The servers of conversations seen under two pairs of addresses: the one seen first, and
        the other. Only a few are kept."""
        self.twin_count = 0
        self.repeated = 0
        """The number of packets that appear more than once, under the same addresses or others."""
        self.segments = 0
        """The number of segments so far."""
        self.apart = 0
        """The number of conversations whose two directions were apart in time, and the largest
        distance."""
        self.apart_ns = 0
        self._by_numbers: dict[_Numbers, Conversation] = {}
        self._opener = opener
        self._named = named
        self._streams: dict[bytes, Stream] = {}
        self._newcomers: dict[_Newcomer, None] = {}
        self._newcomers_bytes = 0
        self._live: dict[Conversation, _Names] = {}
        self._past: dict[_Past, None] = {}
        self._waiting: dict[Conversation, None] = {}
        self._held_bytes = 0
        self._now_ns = 0
        """The time of the latest sweep."""

    def feed(self, segments: Sequence[Segment]) -> None:
        """Take the next segments of the capture."""
        self.segments += len(segments)
        find = self._streams.get
        time_ns = self._now_ns
        for segment in segments:
            time_ns, key, seq, ack, flags, payload, missing = segment
            stream = find(key)
            if (
                stream is not None
                and seq == stream.expected
                and flags & _CONTROL == ACK
                and not missing
                and (stream.peer.next - ack) & WRAP < HALF
            ):
                if payload:
                    offset = stream.offset
                    size = len(payload)
                    stream.offset = offset + size
                    stream.next = stream.expected = (seq + size) & WRAP
                    stream.passed_ns = time_ns
                    stream.take(stream.side, time_ns, offset, payload)
            else:
                self._take_other(stream, segment)
        if abs(time_ns - self._now_ns) >= SWEEP_NS:
            self._sweep(time_ns)

    def finish(self) -> None:
        """The capture has ended."""
        while self._newcomers:
            self._judge(next(iter(self._newcomers)))
        for conversation in list(self._live):
            self._change(conversation, conversation.finish)
        for conversation in self._live:  # those that continue after the end of the capture
            self._count(conversation)

    def _take_other(self, stream: Stream | None, segment: Segment) -> None:
        """Take a segment that is not the next one of a stream."""
        time_ns, key, seq, _, flags, payload, missing = segment
        if stream is None:
            if not (payload or missing or flags & SYN):
                return  # carries no information
            if key == reversed_key(key):  # a port that talks to itself has no two sides
                self.others[ports(key)[0]] += 1
                return
            stream = self._meet(time_ns, key)
        owner = stream.owner
        if isinstance(owner, Conversation):
            if self._starts_over(stream, segment):
                self._give_up(owner, time_ns)
                self._identify(self._meet(time_ns, key), segment)
            elif not flags & SYN:
                self._accept(owner, stream, segment)
        elif isinstance(owner, _Past):
            fresh = not owner.held((seq + 1) & WRAP if flags & SYN else seq)
            if fresh and (flags & SYN or (payload and self._opener.is_startup(payload))):
                self._forget(owner)
                self._identify(self._meet(time_ns, key), segment)
            elif owner.port is not None:
                self.others[owner.port] += 1
        else:
            self._identify(stream, segment)

    # Newcomers.

    def _meet(self, time_ns: int, key: bytes) -> Stream:
        """Begin a newcomer and return the stream of its first segment."""
        newcomer = _Newcomer(time_ns, key)
        for name, stream in zip(newcomer.keys, newcomer.streams, strict=True):
            self._streams[name] = stream
        self._newcomers[newcomer] = None
        if len(self._newcomers) > NEWCOMERS:
            self._judge(next(iter(self._newcomers)))
        return newcomer.streams[0]

    def _identify(self, stream: Stream, segment: Segment) -> None:
        """Take one more segment of a newcomer."""
        time_ns, key, seq, ack, flags, payload, missing = segment
        newcomer = stream.owner
        assert isinstance(newcomer, _Newcomer)
        newcomer.packets += 1
        this, other = stream.side, 1 - stream.side
        if flags & SYN:
            start = (seq + 1) & WRAP
            if newcomer.starts[this] not in (None, start):
                self._judge(newcomer)
                self._take_other(self._streams.get(key), segment)
                return
            newcomer.starts[this] = start
            newcomer.client = other if flags & ACK else this
            if flags & ACK:
                newcomer.starts[other] = ack
            segment = (time_ns, key, start, ack, flags & ~SYN, payload, missing)
        elif flags & ACK and this == newcomer.client and newcomer.starts[other] is None and seq == newcomer.starts[this]:
            # The SYN-ACK is missing: the sender is still at its first byte.
            newcomer.starts[other] = ack
        if flags & RST and not newcomer.early:
            self._drop(newcomer)
            return
        if payload or missing or flags & (FIN | RST):
            newcomer.early.append((this, segment))
            newcomer.begun[this] = True
            newcomer.early_bytes += len(payload)
            self._newcomers_bytes += len(payload)
        if None not in newcomer.starts and (this == newcomer.client or not payload):
            ours = newcomer.server_port in self._named or self._is_ours(newcomer)
            if ours:
                self._admit(newcomer, seen=True)
            elif ours is False:
                self._judge(newcomer)
        if self._is_due(newcomer, time_ns):
            self._judge(newcomer)
        while self._newcomers_bytes > NEWCOMERS_BYTES:
            self._judge(next(iter(self._newcomers)))

    def _is_due(self, newcomer: _Newcomer, now_ns: int) -> bool:
        """Whether enough of it was seen to judge it. While the client has not begun, its clock may
        be behind."""
        count = len(newcomer.early)
        if count < NEWCOMER_SEGMENTS or count >= NEWCOMER_MOST:
            return count >= NEWCOMER_MOST
        missing = newcomer.client is not None and not newcomer.begun[newcomer.client]
        return not missing or abs(now_ns - newcomer.met_ns) >= APART_NS

    def _is_ours(self, newcomer: _Newcomer) -> bool | None:
        return self._opener.is_startup(newcomer.first_bytes(newcomer.client)) if newcomer.client is not None else None

    def _judge(self, newcomer: _Newcomer) -> None:
        """Nothing more will be learned about the newcomer: decide what it is."""
        if not newcomer.early:
            self._drop(newcomer)
            return
        seen = newcomer.client is not None
        if newcomer.client is None:
            self._look_for_startup(newcomer)
            seen = newcomer.client is not None
        if newcomer.client is None:
            source_port, destination_port = ports(newcomer.keys[0])
            if destination_port in self._named:
                newcomer.client = 0
            elif source_port in self._named:
                newcomer.client = 1
        if newcomer.client is not None:
            for direction in (0, 1):
                if newcomer.starts[direction] is None:
                    newcomer.starts[direction] = self._first_number(newcomer, direction, seen=seen)
            if newcomer.server_port in self._named or self._startups(newcomer, newcomer.client):
                self._admit(newcomer, seen=seen)
                return
        self.others[newcomer.server_port] += newcomer.packets
        self._retire(newcomer.keys, newcomer.server_port, None)
        self._drop(newcomer)

    def _look_for_startup(self, newcomer: _Newcomer) -> None:
        """No SYN was seen: let the first start-up packet identify the sides and numbers."""
        for direction in (0, 1):
            if found := self._startups(newcomer, direction):
                first = min(found, key=lambda segment: distance(segment[2], found[0][2]))
                newcomer.client = direction
                newcomer.starts[direction], newcomer.starts[1 - direction] = first[2], first[3]
                return

    def _startups(self, newcomer: _Newcomer, direction: int) -> list[Segment]:
        """The start-up packets of that direction. Bytes may be missing before the first of them."""
        return [segment for segment in newcomer.payloads(direction) if self._opener.is_startup(segment[5])]

    def _first_number(self, newcomer: _Newcomer, direction: int, *, seen: bool) -> int:
        """The initial sequence number of that direction. If the beginning was seen, the first
        number that the other side expected also counts."""
        sent = [segment[2] for segment in newcomer.payloads(direction)]
        confirmed = [segment[3] for segment in newcomer.payloads(1 - direction) if segment[4] & ACK]
        numbers = sent + confirmed if seen else sent or confirmed
        return min(numbers, key=lambda number: distance(number, numbers[0])) if numbers else 0

    def _admit(self, newcomer: _Newcomer, *, seen: bool) -> None:
        """Accept the newcomer as a PostgreSQL conversation."""
        client = newcomer.client or 0
        keys = newcomer.keys if client == 0 else newcomer.keys[::-1]
        starts = (newcomer.starts[client] or 0, newcomer.starts[1 - client] or 0)
        numbers = self._numbers(newcomer, client, starts, seen=seen)
        twin = next((self._by_numbers[one] for one in numbers if one in self._by_numbers), None)
        early = newcomer.early
        if twin is not None and self._is_twin(twin, keys):
            self._drop(newcomer, forget=False)
            self._join(twin, keys, numbers)
        else:
            receiver = self._opener.open(newcomer.met_ns, source(keys[FRONTEND]), source(keys[BACKEND]), seen=seen)
            conversation = Conversation(receiver, newcomer.streams[client], newcomer.streams[1 - client], starts)
            self._live[conversation] = _Names(keys, numbers)
            self._by_numbers |= dict.fromkeys(numbers, conversation)
            self._drop(newcomer, forget=False)
        for place, (_, segment) in enumerate(early):
            # Segments of another conversation may begin that one, all except the first. So each
            # conversation has fewer segments to begin with than the previous one.
            stream = self._streams.get(segment[1])
            if place or stream is None or not self._starts_over(stream, segment):
                self._take_other(stream, segment)
        self._bound_live()

    def _is_twin(self, conversation: Conversation, keys: tuple[bytes, bytes]) -> bool:
        """Whether a conversation with the same numbers can be the same one. Translation changes at
        least one address, and a repeat under known addresses is not a twin."""
        names = self._live[conversation]
        return len(names.keys) < _MOST_KEYS and all(addresses(known) != addresses(keys[FRONTEND]) for known in names.keys[::2])

    def _join(self, twin: Conversation, keys: tuple[bytes, bytes], numbers: list[_Numbers]) -> None:
        """From here on, packets between these addresses belong to the twin."""
        names = self._live[twin]
        self._streams[keys[FRONTEND]], self._streams[keys[BACKEND]] = twin.streams
        names.keys += keys
        names.numbers += numbers
        self._by_numbers |= dict.fromkeys(numbers, twin)
        self.twin_count += 1
        if len(self.twins) < _TWINS_LISTED:
            self.twins.append((source(names.keys[BACKEND]), source(keys[BACKEND])))

    def _numbers(self, newcomer: _Newcomer, client: int, starts: tuple[int, int], *, seen: bool) -> list[_Numbers]:
        """Numbers that no other conversation has, except the same conversation under other
        addresses."""
        segments: list[_Numbers] = [
            ((side - client) % 2, seq, ack, hash(payload)) for side, (_, _, seq, ack, _, payload, _) in newcomer.early if payload
        ]
        return [starts] if seen else segments

    def _drop(self, newcomer: _Newcomer, *, forget: bool = True) -> None:
        """Remove a newcomer."""
        self._newcomers.pop(newcomer, None)
        self._newcomers_bytes -= newcomer.early_bytes
        newcomer.early_bytes = 0
        newcomer.early = []
        if forget:
            for key, stream in zip(newcomer.keys, newcomer.streams, strict=True):
                if self._streams.get(key) is stream:
                    del self._streams[key]

    # PostgreSQL conversations.

    def _starts_over(self, stream: Stream, segment: Segment) -> bool:
        """Whether the segment belongs to a new conversation between the same ports."""
        _, _, seq, _, flags, payload, _ = segment
        if flags & SYN:
            return (seq + 1) & WRAP != stream.start
        ahead = distance(seq, stream.next)
        if abs(ahead) >= WINDOW:
            return bool(payload)
        if ahead <= 0 or stream.side != FRONTEND or stream.offset <= _REQUESTS_BYTES:
            return False
        return self._opener.is_startup(payload) is True

    def _accept(self, conversation: Conversation, stream: Stream, segment: Segment) -> None:
        before = conversation.held_bytes
        conversation.accept(stream, segment)
        self._held_bytes += conversation.held_bytes - before
        if conversation.over:
            self._end(conversation)
        elif conversation.waits:
            self._waiting[conversation] = None
        else:
            self._waiting.pop(conversation, None)
        if self._held_bytes > HELD_BYTES:
            for waiting in list(self._waiting):
                self._change(waiting, waiting.finish)

    def _change(self, conversation: Conversation, act: Callable[[], None]) -> None:
        before = conversation.held_bytes
        act()
        self._held_bytes += conversation.held_bytes - before
        if conversation.over:
            self._end(conversation)
        elif not conversation.waits:
            self._waiting.pop(conversation, None)

    def _give_up(self, conversation: Conversation, time_ns: int) -> None:
        """The conversation has ended, although its end was not seen."""
        self._change(conversation, partial(conversation.abandon, time_ns))

    def _end(self, conversation: Conversation) -> None:
        self._waiting.pop(conversation, None)
        names = self._live.pop(conversation)
        self._held_bytes -= conversation.held_bytes
        conversation.held_bytes = 0
        self._count(conversation)
        for number in names.numbers:
            if self._by_numbers.get(number) is conversation:
                del self._by_numbers[number]
        self._retire(names.keys, None, conversation.streams)
        # break the reference cycle, so that the conversation is freed now
        for stream in conversation.streams:
            stream.owner = None
            del stream.peer, stream.take

    def _count(self, conversation: Conversation) -> None:
        """Add the conversation to the totals."""
        self.repeated += conversation.repeats
        if conversation.apart_ns:
            self.apart += 1
            self.apart_ns = max(self.apart_ns, abs(conversation.apart_ns))

    def _bound_live(self) -> None:
        """If there are too many live conversations, examine a few and give up the one that was
        silent longest. The next call examines others."""
        if len(self._live) <= LIVE:
            return
        some = list(islice(self._live, _LOOKED_AT))
        for conversation in some:
            self._live[conversation] = self._live.pop(conversation)
        self._give_up(min(some, key=attrgetter("latest_ns")), self._now_ns)

    # Past conversations.

    def _retire(self, keys: Sequence[bytes], port: int | None, ended: tuple[Stream, Stream] | None) -> None:
        past = _Past(keys, port, ended)
        streams = _past_streams(past)
        for place, key in enumerate(keys):
            self._streams[key] = streams[place % 2]
        self._past[past] = None
        if len(self._past) > PAST:
            self._forget(next(iter(self._past)))

    def _forget(self, past: _Past) -> None:
        del self._past[past]
        for key in past.keys:
            stream = self._streams.get(key)
            if stream is not None and stream.owner is past:
                del self._streams[key]

    def _sweep(self, now_ns: int) -> None:
        """Advance the clock for conversations that wait."""
        self._now_ns = now_ns
        for conversation in list(self._waiting):
            self._change(conversation, partial(conversation.sweep, now_ns))
        for newcomer in list(self._newcomers):
            if now_ns - newcomer.met_ns < PATIENCE_NS:
                break
            self._judge(newcomer)


def _past_streams(past: _Past) -> tuple[Stream, Stream]:
    """The two directions of a past conversation, as streams to look up."""
    streams = (Stream(past, FRONTEND), Stream(past, BACKEND))
    streams[0].peer, streams[1].peer = streams[1], streams[0]
    return streams
