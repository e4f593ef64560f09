"""Captures from packets: a pcap or pcapng file turned into the records that a recorder would have
written.

    packets.py        file -> packets
    order.py          packets in order of time
    links.py          link layers and tunnels
    ip.py             packets -> TCP segments (fragments.py: reassembled)
    conversations.py  segments -> conversations
    tcp.py            segments -> bytes in order, and losses
    tls               encrypted bytes -> plain ones, if the secrets are known
    followed.py       bytes -> records, secrets covered

This module connects them and adds the one thing about PostgreSQL that they need: how a driver's
stream begins. Everything is pure: bytes in, records out. What comes after it never learns where a
capture came from.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Collection, Container
from typing import Final

import pgtrace
from pgtrace.capture.conversations import Conversations
from pgtrace.capture.followed import Followed
from pgtrace.capture.ip import SegmentReader
from pgtrace.capture.order import HELD_BYTES, TimeOrder
from pgtrace.capture.packets import Packet, PacketReader
from pgtrace.capture.record import End, Open, Record
from pgtrace.capture.tcp import Receiver
from pgtrace.capture.tls import hello
from pgtrace.capture.tls.decrypting import Decrypting, Tls, is_available
from pgtrace.capture.tls.keylog import KeyLog
from pgtrace.capture.versions import VERSION, Header
from pgtrace.errors import MissingExtra
from pgtrace.framing import LONGEST_STARTUP
from pgtrace.parameters import DEFAULT_PORT
from pgtrace.protocol import codes

_LISTED: Final = 5
_TWICE: Final = 8
"""One repeated segment in this many means that packets were recorded twice: about one segment in
three has data."""
_LIVE_NS: Final = 60_000_000_000
"""A stream whose packets are no older than this is live; none of its packets are held back."""
_STARTUP: Final = struct.Struct(">II").unpack_from
_FIXED_LENGTHS: Final = {codes.SSL_REQUEST_CODE: 8, codes.GSSENC_REQUEST_CODE: 8, 2 << 16: 296}
_CANCEL_LENGTHS: Final = range(16, 12 + 256 + 1)
_PARAMETER: Final = re.compile(rb"[A-Za-z_][\w.]*\0")
_LONGEST_NAME: Final = 64


def is_startup(payload: bytes) -> bool | None:
    """Whether a driver's stream begins like this, and hardly any other stream does; None if that is
    not known yet.

    A length and a version are not enough, since other protocols begin with small numbers too. A
    StartupMessage must begin with a parameter's name, and a ClientHello must ask for PostgreSQL.
    """
    if payload[:1] == b"\x16":
        return hello.is_postgresql(payload)
    if len(payload) < 8:
        return None if payload.startswith(b"\0") or not payload else False
    length, code = _STARTUP(payload)
    if code in _FIXED_LENGTHS:
        return bool(length == _FIXED_LENGTHS[code])
    if code == codes.CANCEL_REQUEST_CODE:
        return length in _CANCEL_LENGTHS
    if code >> 16 != 3 or not 8 < length <= LONGEST_STARTUP:
        return False
    name = payload[8 : min(length, 8 + _LONGEST_NAME)]
    return True if _PARAMETER.match(name) else None if len(payload) < min(length, 8 + _LONGEST_NAME) and b"\0" not in name else False


class Pcap:
    """A pcap or pcapng file that is becoming a capture."""

    def __init__(
        self, named: Container[int] = (DEFAULT_PORT,), pieces: int = 1, *, streamed: bool = False, keylog: KeyLog | None = None
    ) -> None:
        """`named` are ports that belong to PostgreSQL even if no start-up packet was seen.

        `pieces` is the number of files: those of a ring buffer, or one for each direction.
        `streamed` says that someone may watch while the file is written. `keylog` has secrets of
        TLS sessions; those in the file itself are used too. Raises MissingExtra if it is given and
        the package that decrypts is not installed.
        """
        self.connections = 0
        """The number of PostgreSQL connections found so far."""
        self.header: Header | None = None
        """The header of the capture. Its clock is that of the packets, which is wall-clock time."""
        self.pieces = [PacketReader() for _ in range(pieces)]
        self.order = TimeOrder()
        self.tls = Tls(keylog) if keylog is not None else None
        self.segments = SegmentReader()
        self.conversations = Conversations(self, named)
        self._key = os.urandom(32)
        self._ports: set[int] = set()  # of the servers found
        self._records: list[Record] = []
        self._latest_ns = 0
        # There are secrets, but the package that decrypts is not installed.
        self._lacks_decryption = False
        self._may_be_live = streamed
        self._streamed: bool | None = None  # whether it is live; None before the first packet

    def feed(self, data: bytes, piece: int = 0) -> list[Record]:
        """The records that `data`, the next bytes of this file, completes."""
        packets = self.pieces[piece].feed(data)
        if secrets := self.pieces[piece].take_secrets():
            self._add_secrets(secrets)
        # A viewer should not wait for the first packet.
        if self.header is None and self._may_be_live:
            self.header = _header(packets[0][0] if packets else time.time_ns())
        if packets and self._streamed is None:
            self._streamed = self._may_be_live and abs(time.time_ns() - packets[0][0]) < _LIVE_NS
        if self._streamed:
            return self._take(packets)
        self.order.add(packets)
        return self._take(self.order.ready())

    def behind(self, running: Collection[int]) -> int:
        """Which of the running files to read next: the packets of the others are later."""
        return min(running, key=lambda piece: self.pieces[piece].latest_ns)

    def drain(self) -> list[Record] | None:
        """The next part of the packets held back for late ones; None if nothing is left. Call it
        when no more bytes will come, or none for now."""
        packets = self.order.drain()
        return self._take(packets) if packets else None

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The remaining records when the files have ended. `cut`: they ended too early."""
        for piece in self.pieces:
            piece.finish()
        while packets := self.order.drain():
            self._follow(packets)
        self.header = self.header or _header(time.time_ns())
        self.conversations.finish()
        if not (cut or any(piece.lost_bytes for piece in self.pieces) or self._left_out):
            self._records.append(End(max(self._latest_ns, *(piece.ended_ns for piece in self.pieces))))
        return self._take([])

    def notes(self) -> list[str]:
        """What could not be read, and what to do about it."""
        segments = self.segments
        notes = []
        for piece in self.pieces:
            if piece.lost_bytes:
                how = "damaged: cannot read" if piece.damaged else "cut off within a packet: lost"
                notes.append(f"{how} its last {piece.lost_bytes} bytes")
        if dropped := sum(piece.dropped for piece in self.pieces):
            notes.append(f"{dropped} packets were dropped during the capture")
        if segments.cut:
            notes.append(f"{segments.cut} packets are truncated: capture whole packets with `tcpdump -s 0`")
        for link_type, count in segments.unknown_links.most_common(_LISTED):
            notes.append(f"{count} packets of link type {link_type} cannot be read")
        notes += [f"{name} tunnels cannot be read ({count} packets)" for name, count in segments.closed.most_common(_LISTED)]
        if self.order.late:
            notes.append(f"{self.order.late} packets are more than {HELD_BYTES >> 20} MiB out of order: sort the file with `reordercap`")
        return notes + self._notes_of_conversations()

    def _notes_of_conversations(self) -> list[str]:
        found = self.conversations
        notes = []
        if self._lacks_decryption:
            notes.append(str(MissingExtra("keylog", "decrypting TLS with the secrets that are in it")))
        if self.tls is not None:
            notes += [f"{count} connections stay encrypted: {reason}" for reason, count in self.tls.reasons.most_common()]
        if found.twin_count:
            listed = ", ".join(f"{first} and {other}" for first, other in dict.fromkeys(found.twins))
            notes.append(f"{found.twin_count} connections appear twice, under translated addresses ({listed}): counted once")
        elif found.repeated * _TWICE > found.segments:
            notes.append(f"{found.repeated} packets appear more than once, as `-i any` records them: counted once")
        if found.apart:
            notes.append(
                f"the two directions of {found.apart} connections are up to {found.apart_ns / 1e6:.0f} ms apart: aligned by what "
                f"they acknowledge"
            )
        if self._left_out:
            options = " ".join(f"--port {port}" for port in self._left_out)
            notes.append(f"connections that began before the capture were left out: include them with {options}")
        return notes

    @property
    def _left_out(self) -> list[int]:
        """The ports of servers with connections that were left out because their beginning was not
        seen."""
        return sorted(port for port in self._ports if self.conversations.others[port])

    def nothing_found(self) -> str:
        """Why there is no connection in the file, in one line."""
        others = self.conversations.others
        packets = sum(piece.packets for piece in self.pieces)
        if not packets:
            return "contains no packets"
        if not others and self.segments.closed:
            # The notes name the tunnels that it may be in.
            return "no connection in the part that can be read"
        if not others:
            return f"no PostgreSQL traffic: {packets} packets, none from a TCP connection with data"
        listed = ", ".join(f"{port} ({count} packets)" for port, count in others.most_common(_LISTED))
        more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        return (
            f"no PostgreSQL traffic, but TCP ports {listed}{more}; if a PostgreSQL server uses one of them, add --port "
            f"{others.most_common(1)[0][0]}"
        )

    def is_startup(self, payload: bytes) -> bool | None:
        """See is_startup()."""
        return is_startup(payload)

    def open(self, time_ns: int, client: str, server: str, *, seen: bool) -> Receiver:
        """Begin a PostgreSQL conversation."""
        self.connections += 1
        self._ports.add(int(server.rpartition(":")[2]))
        self._records.append(Open(time_ns, self.connections, server, server, client, server, time_ns))
        followed = Followed(self.connections, self._records.append, self._key, time_ns, seen=seen)
        return Decrypting(followed, self.tls, seen=seen) if self.tls is not None else followed

    def _add_secrets(self, secrets: list[bytes]) -> None:
        """Add the secrets that are in the file."""
        if self.tls is None:
            if not is_available():
                self._lacks_decryption = True
                return
            self.tls = Tls(KeyLog())
        for text in secrets:
            self.tls.keylog.add(text)

    def _follow(self, packets: list[Packet]) -> None:
        """Process packets in the order in which they were read."""
        self._latest_ns = max(self._latest_ns, packets[-1][0])
        self.conversations.feed(self.segments.feed(packets))

    def _take(self, packets: list[Packet]) -> list[Record]:
        """The records of these packets, which are the next ones. The first packet also sets the
        header."""
        if packets:
            if self.header is None:
                self.header = _header(packets[0][0])
            self._follow(packets)
        records = self._records[:]
        self._records.clear()
        return records


def _header(begun_ns: int) -> Header:
    return Header(VERSION, os.urandom(4), begun_ns, begun_ns, pgtrace.__version__, "")
