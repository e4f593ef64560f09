"""Captures from packets: a pcap or pcapng file turned into the records a recorder would have written.

    packets.py        file -> packets
    links.py          link layers and tunnels
    ip.py             packets -> TCP segments (fragments.py: of packets in pieces)
    conversations.py  segments -> whose they are
    tcp.py            segments -> bytes in order, and losses
    followed.py       bytes -> records, secrets covered

This module puts them together and says what of PostgreSQL's is needed for it: how a driver's stream begins. All of it is pure: bytes in, records out. Nothing
behind it learns where a capture came from.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Container
from typing import Final

import pgtrace
from pgtrace.address import DEFAULT_PORT
from pgtrace.capture.conversations import Conversations
from pgtrace.capture.followed import Followed
from pgtrace.capture.ip import SegmentReader
from pgtrace.capture.packets import PacketReader
from pgtrace.capture.record import End, Open, Record
from pgtrace.capture.versions import VERSION, Header
from pgtrace.framing import LONGEST_STARTUP
from pgtrace.protocol import codes

_LISTED: Final = 5
_STARTUP: Final = struct.Struct(">II").unpack_from
_FIXED_LENGTHS: Final = {codes.SSL_REQUEST_CODE: 8, codes.GSSENC_REQUEST_CODE: 8, 2 << 16: 296}
_CANCEL_LENGTHS: Final = range(16, 12 + 256 + 1)
_PARAMETER: Final = re.compile(rb"[A-Za-z_][\w.]*\0")
_LONGEST_NAME: Final = 64


def is_startup(payload: bytes) -> bool | None:
    """Whether a driver's stream begins like this, and hardly anything else does; None while that cannot be told.

    A length and a version are not enough: other protocols begin with small numbers too. A StartupMessage has to begin with a parameter's name.
    """
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
    """A pcap or pcapng file on its way to being a capture."""

    def __init__(self, named: Container[int] = (DEFAULT_PORT,)) -> None:
        """`named` are the ports that are PostgreSQL's even where no start-up packet was seen."""
        self.connections = 0
        """PostgreSQL connections found so far."""
        self.header: Header | None = None
        """The header of the capture: its clock is the packets', which is wall-clock time."""
        self.packets = PacketReader()
        self.segments = SegmentReader()
        self.conversations = Conversations(self, named)
        self._key = os.urandom(32)
        self._ports: set[int] = set()  # of the servers found
        self._records: list[Record] = []
        self._latest_ns = 0

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data`, the next bytes of the file, makes."""
        packets = self.packets.feed(data)
        if self.header is None:
            begun_ns = packets[0][0] if packets else time.time_ns()
            self.header = Header(VERSION, os.urandom(4), begun_ns, begun_ns, pgtrace.__version__, "")
        if packets:
            self._latest_ns = packets[-1][0]
            self.conversations.feed(self.segments.feed(packets))
        return self._taken()

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The records that are left when the file ends; `cut` before its time."""
        self.packets.finish()
        self.conversations.finish()
        if not (cut or self.packets.lost_bytes):
            self._records.append(End(max(self._latest_ns, self.packets.ended_ns)))
        return self._taken()

    def notes(self) -> list[str]:
        """What is to be said about it: what could not be read, and what to do about it."""
        packets, segments = self.packets, self.segments
        notes = []
        if packets.lost_bytes:
            how = "damaged: nothing can be read of" if packets.damaged else "cut off within a packet, of which there are"
            notes.append(f"{how} its last {packets.lost_bytes} bytes")
        if packets.dropped:
            notes.append(f"{packets.dropped} packets were dropped while it was made")
        if segments.cut:
            notes.append(f"{segments.cut} packets are not there to their end: capture whole packets with `tcpdump -s 0`")
        for link_type, count in segments.unknown_links.most_common(_LISTED):
            notes.append(f"{count} packets of link type {link_type} cannot be read")
        notes += [f"{name} inside: not looked into ({count} packets)" for name, count in segments.closed.most_common(_LISTED)]
        joined = sorted(port for port in self._ports if self.conversations.others[port])
        if joined and self.connections:
            options = " ".join(f"--port {port}" for port in joined)
            notes.append(f"connections whose beginning is not in it were left out: {options} takes them in")
        return notes

    def nothing_found(self) -> str:
        """Why there is no connection in it, in one line."""
        others = self.conversations.others
        if not self.packets.packets:
            return "no packets in it"
        if not others and self.segments.closed:
            return "no connection found in what can be read of it"  # the notes say which tunnels it may be in
        if not others:
            return f"no PostgreSQL in it: {self.packets.packets} packets, none of a TCP connection with data"
        listed = ", ".join(f"{port} ({count} packets)" for port, count in others.most_common(_LISTED))
        more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        return f"no PostgreSQL in it, but TCP ports {listed}{more}; if one of them is a server's: --port {others.most_common(1)[0][0]}"

    def is_startup(self, payload: bytes) -> bool | None:
        """See is_startup()."""
        return is_startup(payload)

    def open(self, time_ns: int, client: str, server: str, *, seen: bool) -> Followed:
        """A conversation is PostgreSQL's."""
        self.connections += 1
        self._ports.add(int(server.rpartition(":")[2]))
        self._records.append(Open(time_ns, self.connections, server, server, client, server, time_ns))
        return Followed(self.connections, self._records.append, self._key, time_ns, seen=seen)

    def _taken(self) -> list[Record]:
        records = self._records[:]
        self._records.clear()
        return records
