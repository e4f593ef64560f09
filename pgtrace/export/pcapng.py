"""Captures as packets: the traffic on the driver's leg, as Wireshark and tshark decode it without
any settings.

Each connection becomes a TCP conversation of IP packets: SYN when it opened, FIN or RST when it
ended, and one packet for each read at the time of its record, cut if it is longer than
SEGMENT_BYTES. Sequence numbers are the capture's stream offsets, and each packet acknowledges
everything before it, so only bytes that were really lost look lost. `pgtrace import` of the file
gives the same counters as the capture.

Invented or missing parts:

- The server's port is 5432, by which Wireshark recognises PostgreSQL, unless you keep the port. The
  ends of a Unix socket are 127.0.0.1 and a port of ours. A client's port is replaced too if another
  live connection has the same ends, as files of several recorders can have.
- A connection joined in the middle has no SYN. One that did not end, or whose end was not seen, has
  no FIN. If the times of its ends are not known, both FINs have that of its close. An end by
  pgtrace looks like one by the server.
- Bytes that a gap lost, or that were left out on request, are sequence numbers without packets.
  Opaque bytes, which passed and were not kept, are packets cut off after their headers, as `tcpdump
  -s` cuts them: they have their size, and no bytes are invented.
- If pgtrace terminated TLS, its `S` to the SSLRequest is shown as `N`, because the rest is
  decrypted, and after an `S` no program would read it as plain text.
- A comment on a round trip's first packet names its driver, connection and number, as `show
  --filter 'rt = 7'` counts them. Comments also say who left during a round trip, how the connection
  ended, and which bytes came from pgtrace itself.

tests/live/test_tshark_oracle.py compares what tshark reads. packets.py has the sources of the
format.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Final

import pgtrace
from pgtrace import sanitise
from pgtrace.capture import record as records
from pgtrace.capture.record import LOST, NEITHER, Close, Data, Elided, Ended, Gap, Made, Opaque, Open, Rewrite
from pgtrace.export import Piece, packets
from pgtrace.export.packets import End
from pgtrace.parameters import DEFAULT_PORT
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.report import filenames
from pgtrace.trace.connection import Connection
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

SEGMENT_BYTES: Final = 65_000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_LOOPBACK: Final = {4: ipaddress.ip_address("127.0.0.1").packed, 16: ipaddress.ip_address("::1").packed}
_MADE_UP_PORT: Final = 40_000
_LAST_PORT: Final = 65_535
_SPREAD: Final = 2_654_435_761
"""2^32 divided by the golden ratio: spreads initial sequence numbers, so that reused addresses form
a new conversation.
"""
_WRAP: Final = 0xFFFFFFFF
_LATEST_REPLY_OFFSET: Final = 1
"""The latest offset of the answer to an SSLRequest: it is first, or follows the answer to a
GSSENCRequest.
"""
OPAQUE_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of one `opaque` record that become packets."""
_BEGUN_BY_DRIVER: Final = (RowKind.ROUND_TRIP, RowKind.SETUP, RowKind.RUN, RowKind.CANCEL)


def export(trace: Trace, *, places: Iterable[int] | None = None, keep_port: bool = False) -> Iterator[Piece]:
    """The trace as a pcapng file; with `places`, only the connections of those rows, whole."""
    yield Piece(packets.section(f"pgtrace {pgtrace.__version__}"), 0.0)
    for name in filenames.told_apart(trace):
        yield Piece(packets.interface(sanitise.text(name)), 0.0)
    chosen = None if places is None else {trace.rows.entry(place).connection for place in places}
    beginnings = _Beginnings(trace)
    taken: set[tuple[End, End]] = set()
    talks: dict[int, _Conversation] = {}
    latest_ns = 0
    for time_ns, connection, record in trace.recorded():
        latest_ns = time_ns
        if connection is None or (chosen is not None and connection.index not in chosen):
            continue
        done = (time_ns - trace.start_ns) / max(1, trace.duration_ns)
        talk = talks.get(connection.index)
        if talk is None:
            talk = talks[connection.index] = _Conversation(connection, _free(_ends(connection, keep_port=keep_port), taken), trace)
        if type(record) is Open:
            content = talk.open(time_ns)
        elif type(record) is Data:
            side, offset, data = record.side, record.offset, record.data
            begun = beginnings.in_packet(time_ns, connection, offset + len(data)) if side == FRONTEND else ""
            content = talk.data(side, time_ns, offset, data, begun)
        elif type(record) is Made:
            content = talk.data(BACKEND, time_ns, record.offset, record.data, "from pgtrace itself")
        elif type(record) is Rewrite:
            content = talk.data(record.side, time_ns, record.offset, record.data, "pgtrace changed this")
        elif type(record) is Opaque:
            content = talk.opaque(record.side, time_ns, record.offset, record.length)
        elif type(record) is Ended:
            content = talk.ended(time_ns, record)
        elif type(record) is Close:
            content = talk.close(time_ns, record)
            taken.discard(talk.ends)
            del talks[connection.index]
        else:
            talk.skip(record)
            continue
        yield Piece(content, done)
    for file in range(len(trace.files)):
        yield Piece(packets.ended(file, latest_ns), 1.0)


class _Conversation:
    """Makes a TCP conversation from a connection."""

    def __init__(self, connection: Connection, ends: tuple[End, End], trace: Trace) -> None:
        self.ends = ends
        self._connection = connection
        self._about = f"{trace.name_of(connection)} {connection.driver}"
        start = connection.index * _SPREAD
        self._starts = (start, start ^ 1 << 31)
        self._reached = [0, 0]
        self._finished: list[int] = []  # sides, in the order of their FINs
        self._is_reset = False

    def open(self, time_ns: int) -> bytes:
        """The packets of the handshake, if the beginning was seen."""
        if self._connection.joined:
            return b""
        return (
            self._packet(FRONTEND, time_ns, SYN, -1, comment=self._about)
            + self._packet(BACKEND, time_ns, SYN | ACK, -1)
            + self._packet(FRONTEND, time_ns, ACK, 0)
        )

    def data(self, side: int, time_ns: int, offset: int, data: bytes, comment: str = "") -> bytes:
        """The packets with the bytes of one read."""
        if side == BACKEND and data == b"S" and offset <= _LATEST_REPLY_OFFSET and "tls.frontend" in self._connection.facts:
            data, comment = b"N", "pgtrace answered S and terminated TLS; what follows is decrypted"
        found = b""
        for start in range(0, len(data), SEGMENT_BYTES):
            piece = data[start : start + SEGMENT_BYTES]
            found += self._packet(side, time_ns, PSH | ACK, offset + start, piece, comment=f"{self._about}: {comment}" if comment else "")
            comment = ""
        self._reached[side] = offset + len(data)
        return found

    def opaque(self, side: int, time_ns: int, offset: int, length: int) -> bytes:
        """The packets for bytes that were not kept. Beyond OPAQUE_BYTES, the rest is missing as in
        a gap.
        """
        found = b"".join(
            self._packet(side, time_ns, PSH | ACK, offset + start, missing=min(SEGMENT_BYTES, length - start))
            for start in range(0, min(length, OPAQUE_BYTES), SEGMENT_BYTES)
        )
        self._reached[side] = offset + length
        return found

    def skip(self, record: object) -> None:
        """Skip bytes that were lost or left out."""
        if isinstance(record, Gap) and record.side != NEITHER:
            self._reached[record.side] += record.bytes
        elif isinstance(record, Elided):
            self._reached[record.side] = record.offset + record.bytes

    def ended(self, time_ns: int, record: Ended) -> bytes:
        """The packet with which one direction ends."""
        side = BACKEND if record.side == NEITHER else record.side
        comment = f"{self._about}: {sanitise.text(self._connection.end)}" if not self._finished and not self._is_reset else ""
        if record.how in (records.RST, LOST):
            return self._reset(side, time_ns, comment)
        return self._finish(side, time_ns, comment)

    def close(self, time_ns: int, record: Close) -> bytes:
        """The remaining packets of the end, if the end was seen."""
        if record.how == "unseen" or self._is_reset:
            return b""
        first = BACKEND if record.side == NEITHER else record.side
        if record.how == records.RST and not self._finished:
            return self._reset(first, time_ns)
        ends = self._finish(first, time_ns) + self._finish(1 - first, time_ns)
        return ends + self._packet(self._finished[0], time_ns, ACK, self._reached[self._finished[0]])

    def _finish(self, side: int, time_ns: int, comment: str = "") -> bytes:
        if side in self._finished or self._is_reset:
            return b""
        self._finished.append(side)
        packet = self._packet(side, time_ns, FIN | ACK, self._reached[side], comment=comment)
        self._reached[side] += 1  # a FIN takes one place
        return packet

    def _reset(self, side: int, time_ns: int, comment: str = "") -> bytes:
        if self._is_reset:
            return b""
        self._is_reset = True
        return self._packet(side, time_ns, RST | ACK, self._reached[side], comment=comment)

    def _packet(self, side: int, time_ns: int, flags: int, offset: int, payload: bytes = b"", missing: int = 0, comment: str = "") -> bytes:
        seq = self._starts[side] + 1 + offset
        ack = self._starts[1 - side] + 1 + self._reached[1 - side] if flags & ACK else 0
        made = packets.segment(self.ends[side], self.ends[1 - side], seq, ack, flags, payload, missing)
        return packets.packet(self._connection.file, time_ns, made, missing, comment)


class _Beginnings:
    """Finds the rows of the timeline that begin in a packet. Rows must be in the order in which
    they began.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._next = 0
        self._waiting: defaultdict[int, deque[int]] = defaultdict(deque)
        """Connection -> places of rows whose first packet has not come yet."""

    def in_packet(self, time_ns: int, connection: Connection, end: int) -> str:
        """A text about the rows that begin in the connection's packet at that time, which reaches
        to `end` in its stream.
        """
        rows = self._trace.rows
        while self._next < len(rows) and (entry := rows.entry(self._next)).opened_ns <= time_ns - self._trace.start_ns:
            if rows.shape_at(entry.shape).kind in _BEGUN_BY_DRIVER:
                self._waiting[entry.connection].append(self._next)
            self._next += 1
        found = []
        waiting = self._waiting[connection.index]
        while waiting and rows.entry(waiting[0]).offsets[FRONTEND] < end:
            found.append(rows[waiting.popleft()])
        return ", ".join(f"rt {row.number} {row.shape.flight}" + (f" ({row.label.end})" if row.label.end else "") for row in found)


def _ends(connection: Connection, *, keep_port: bool) -> tuple[End, End]:
    """The driver's end and the server's, as far as they are known."""
    client = _end(connection.client) or End(_LOOPBACK[4], _MADE_UP_PORT)
    server = _end(connection.listener)
    if server is None or len(server.address) != len(client.address):
        server = End(_LOOPBACK[len(client.address)], server.port if server is not None else DEFAULT_PORT)
    return client, server if keep_port else server._replace(port=DEFAULT_PORT)


def _end(text: str) -> End | None:
    """The end with an address like `1.2.3.4:5` or `[::1]:5`; None for anything else."""
    host, _, port = text.rpartition(":")
    try:
        return End(ipaddress.ip_address(host.strip("[]").partition("%")[0]).packed, int(port) & _LAST_PORT)
    except ValueError:
        return None


def _free(ends: tuple[End, End], taken: set[tuple[End, End]]) -> tuple[End, End]:
    """The ends, with another client port if a live connection has them; added to `taken`."""
    client, server = ends
    while (client, server) in taken and len(taken) < _LAST_PORT - _MADE_UP_PORT:
        client = client._replace(port=client.port + 1 if _MADE_UP_PORT <= client.port < _LAST_PORT else _MADE_UP_PORT)
    taken.add((client, server))
    return client, server
