"""Packets from pcap and pcapng files, as tcpdump, dumpcap and Wireshark write them.

Bytes go in, cut anywhere. Packets come out as tuples `(time_ns, link_type, data, size)`: wall-clock
time, LINKTYPE_ number, the bytes that were kept, and how many there were on the wire. They are
plain tuples because a large file has a million of them.

- pcap: both byte orders, microseconds and nanoseconds.
- pcapng: sections of either byte order; any number of interfaces, each with its own link type, time
  resolution and time offset; enhanced, simple and old packet blocks; how many packets the system
  dropped (interface statistics); decryption secrets. Every other block is skipped.
- A length is trusted only as far as the format allows. After a length that cannot be right, nothing
  can be found: `damaged` is set, and the rest is counted in `lost_bytes`. So is a packet cut off by
  the end of the file.

This module knows nothing about the contents of a packet. Sources: draft-ietf-opsawg-pcap,
draft-ietf-opsawg-pcapng, www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

Packet = tuple[int, int, bytes, int]
"""(time_ns, link_type, data, size): see the module's docstring."""

LONGEST_PACKET: Final = 16 * 1024 * 1024
"""The longest packet that is accepted. libpcap itself stops at 256 KiB."""
LONGEST_BLOCK: Final = 64 * 1024 * 1024
_LATEST_NS: Final = (1 << 63) - 1

_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Magic -> byte order, and nanoseconds per tick."""
_SECTION: Final = b"\x0a\x0d\x0d\x0a"
MAGICS: Final = (*_PCAP, _SECTION)
"""The bytes with which a file can begin."""
_FILE_HEADER_BYTES: Final = 24
_RECORD_BYTES: Final = 16

_SHORTEST_BLOCK: Final = 12
_PACKET_HEAD_BYTES: Final = 28
_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_SECRETS: Final = 10
_KEY_LOG: Final = 0x544C534B
_SECTION_TYPE: Final = 0x0A0D0D0A
_TIME_RESOLUTION: Final = 9
_TIME_OFFSET: Final = 14
_END_TIME: Final = 3
_DROPPED: Final = (5, 7)
"""Statistics options: packets dropped by the interface, packets dropped by the system."""


@dataclass(slots=True)
class _Interface:
    """How to read an interface's packets, from its description. A tick is `multiplier / divisor`
    ns."""

    link_type: int
    longest: int
    multiplier: int = 1000
    divisor: int = 1
    offset_ns: int = 0
    dropped: int = 0

    def time_ns(self, high: int, low: int) -> int:
        """The time of this number of ticks; 0 if it is out of range."""
        time_ns = (high << 32 | low) * self.multiplier // self.divisor + self.offset_ns
        return time_ns if 0 <= time_ns <= _LATEST_NS else 0


class PacketReader:
    """Reads a pcap or pcapng file from its first byte. Never raises."""

    def __init__(self) -> None:
        self.packets = 0
        """The number of packets so far."""
        self.damaged = False
        """Whether a length made no sense: nothing after it can be read."""
        self.lost_bytes = 0
        """The bytes of the file that could not be read: after damage, or of a packet cut off by the
        end of the file."""
        self.dropped = 0
        """The number of packets that the capturing system reports as dropped."""
        self.ended_ns = 0
        """When capturing ended, if the file says so. dumpcap writes this in microseconds whatever
        its interface's resolution, so it may appear to be long before the packets."""
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._wanted = _FILE_HEADER_BYTES
        self._order = ""  # byte order, "" before the first header
        self._section = False  # whether it is a pcapng
        self._record = struct.Struct("<IIII").unpack_from
        self._block_head = struct.Struct("<IIIIIII").unpack_from
        self._tick_ns = 1000
        self._link_type = 0
        self._interfaces: list[_Interface] = []
        self._secrets: list[bytes] = []
        self._earlier_drops = 0
        self.latest_ns = 0
        """The time of the latest packet."""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data`, the next bytes of the file, completes."""
        if self.damaged:
            self.lost_bytes += len(data)
            return []
        self._pieces.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._wanted:
            return []
        buffer = b"".join(self._pieces) if len(self._pieces) > 1 else data
        packets: list[Packet] = []
        position = 0 if self._order else self._begin(buffer)
        if not self.damaged:
            position = (self._blocks if self._section else self._records)(buffer, position, packets)
        self._pieces = [buffer[position:]] if position < len(buffer) else []
        self._held_bytes = len(buffer) - position
        if self.damaged:
            self.lost_bytes, self._pieces, self._held_bytes = self._held_bytes, [], 0
        self.packets += len(packets)
        self.latest_ns = packets[-1][0] if packets else self.latest_ns
        return packets

    def take_secrets(self) -> list[bytes]:
        """The key logs that arrived since the last call."""
        secrets, self._secrets = self._secrets, []
        return secrets

    def finish(self) -> None:
        """The file has ended."""
        self.lost_bytes += self._held_bytes
        self._pieces, self._held_bytes = [], 0

    def _begin(self, buffer: bytes) -> int:
        """Read the file's header. _blocks() checks the first section of a pcapng."""
        if buffer.startswith(_SECTION):
            self._section, self._order = True, "<"
            return 0
        order, self._tick_ns = _PCAP.get(buffer[:4], ("", 0))
        if not order:
            self.damaged = True
            return 0
        self._order = order
        self._link_type = (
            struct.unpack_from(order + "I", buffer, 20)[0] & 0xFFFF
        )  # the bits above it say whether a checksum follows each packet
        self._record = struct.Struct(order + "IIII").unpack_from
        return _FILE_HEADER_BYTES

    def _records(self, buffer: bytes, position: int, packets: list[Packet]) -> int:
        """Read the packets of a pcap from `position` on. Returns where the first incomplete one
        begins."""
        append = packets.append
        record = self._record
        tick_ns, link_type = self._tick_ns, self._link_type
        last = len(buffer) - _RECORD_BYTES
        end = len(buffer)
        self._wanted = _RECORD_BYTES
        while position <= last:
            seconds, ticks, kept, size = record(buffer, position)
            start = position + _RECORD_BYTES
            stop = start + kept
            if stop > end:
                self.damaged = kept > LONGEST_PACKET
                self._wanted = _RECORD_BYTES + kept
                break
            append((seconds * 1_000_000_000 + ticks * tick_ns, link_type, buffer[start:stop], size))
            position = stop
        return position

    def _blocks(self, buffer: bytes, position: int, packets: list[Packet]) -> int:
        """Read the packets of a pcapng, as _records() does."""
        end = len(buffer)
        self._wanted = _SHORTEST_BLOCK
        while end - position >= _SHORTEST_BLOCK:
            position = self._enhanced(buffer, position, packets)
            if end - position < _SHORTEST_BLOCK:
                break
            order = self._order
            if buffer.startswith(_SECTION, position):
                order = _ORDERS.get(buffer[position + 8 : position + 12], "")
            kind, length = struct.unpack_from((order or "<") + "II", buffer, position)
            if not order or not _SHORTEST_BLOCK <= length <= LONGEST_BLOCK or length % 4:
                self.damaged = True
                break
            if position + length > end:
                self._wanted = length
                break
            self._order = order
            try:
                self._block(kind, buffer, position, position + length, packets)
            except (struct.error, IndexError):
                self.damaged = True
                break
            position += length
        return position

    def _enhanced(self, buffer: bytes, position: int, packets: list[Packet]) -> int:
        """Read a run of enhanced packet blocks, which nearly every pcapng consists of. Returns
        where another block begins, or one that does not look right."""
        block = self._block_head
        append = packets.append
        interfaces = self._interfaces
        end = len(buffer)
        last = end - _PACKET_HEAD_BYTES
        while position <= last:
            kind, length, number, high, low, kept, size = block(buffer, position)
            start = position + _PACKET_HEAD_BYTES
            if kind != _ENHANCED_PACKET or number >= len(interfaces) or length % 4 or kept + 32 > length or position + length > end:
                break
            interface = interfaces[number]
            time_ns = (high << 32 | low) * interface.multiplier // interface.divisor + interface.offset_ns
            append((time_ns if 0 <= time_ns <= _LATEST_NS else 0, interface.link_type, buffer[start : start + kept], size))
            position += length
        return position

    def _block(self, kind: int, buffer: bytes, position: int, end: int, packets: list[Packet]) -> None:
        """Read one whole block of any other kind. Raises struct.error or IndexError if it is
        malformed."""
        order = self._order
        if kind == _ENHANCED_PACKET:
            raise IndexError  # it does not look right
        if kind == _OLD_PACKET:
            number, _, high, low, kept, size = struct.unpack_from(order + "HHIIII", buffer, position + 8)
            interface = self._interfaces[number]
            time_ns = interface.time_ns(high, low)
            start = position + _PACKET_HEAD_BYTES
        elif kind == _SIMPLE_PACKET:
            (size,) = struct.unpack_from(order + "I", buffer, position + 8)
            interface = self._interfaces[0]
            # a simple packet has no time of its own
            time_ns = packets[-1][0] if packets else self.latest_ns
            start = position + 12
            kept = min(size, end - 4 - start, interface.longest or size)
        else:
            if kind == _INTERFACE:
                self._interface(buffer, position, end)
            elif kind == _STATISTICS:
                self._statistics(buffer, position, end)
            elif kind == _SECRETS:
                secrets, size = struct.unpack_from(order + "II", buffer, position + 8)
                if secrets == _KEY_LOG:
                    self._secrets.append(buffer[position + 16 : min(position + 16 + size, end - 4)])
            elif kind == _SECTION_TYPE:
                self._interfaces = []
                self._earlier_drops = self.dropped
                self._block_head = struct.Struct(order + "IIIIIII").unpack_from
            return
        if start + kept > end - 4:
            raise IndexError
        packets.append((time_ns, interface.link_type, buffer[start : start + kept], size))

    def _interface(self, buffer: bytes, position: int, end: int) -> None:
        link_type, _, longest = struct.unpack_from(self._order + "HHI", buffer, position + 8)
        interface = _Interface(link_type, longest)
        for code, value in self._options(buffer, position + 16, end - 4):
            if code == _TIME_RESOLUTION and value:
                exponent = value[0] & 0x7F
                interface.multiplier, interface.divisor = 1_000_000_000, 1 << exponent if value[0] & 0x80 else 10**exponent
                if interface.multiplier % interface.divisor == 0:
                    interface.multiplier, interface.divisor = interface.multiplier // interface.divisor, 1
            elif code == _TIME_OFFSET and len(value) == 8:
                interface.offset_ns = struct.unpack(self._order + "q", value)[0] * 1_000_000_000
        self._interfaces.append(interface)

    def _statistics(self, buffer: bytes, position: int, end: int) -> None:
        (number,) = struct.unpack_from(self._order + "I", buffer, position + 8)
        if number >= len(self._interfaces):
            return
        interface = self._interfaces[number]
        dropped = 0
        for code, value in self._options(buffer, position + 20, end - 4):
            if code in _DROPPED and len(value) == 8:
                dropped += struct.unpack(self._order + "Q", value)[0]
            elif code == _END_TIME and len(value) == 8:
                self.ended_ns = max(self.ended_ns, interface.time_ns(*struct.unpack(self._order + "II", value)))
        interface.dropped = dropped  # counted since the capture began
        self.dropped = self._earlier_drops + sum(one.dropped for one in self._interfaces)

    def _options(self, buffer: bytes, position: int, end: int) -> list[tuple[int, bytes]]:
        options = []
        while position + 4 <= end:
            code, length = struct.unpack_from(self._order + "HH", buffer, position)
            value = buffer[position + 4 : position + 4 + length]
            if not code or position + 4 + length > end:
                break
            options.append((code, value))
            position += 4 + length + -length % 4
        return options
