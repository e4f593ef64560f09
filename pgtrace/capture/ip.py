"""TCP segments out of packets: link layer, IPv4 and IPv6, fragments put together again.

A segment is the tuple `(time_ns, key, seq, ack, flags, payload, missing)`: a plain one, for there are as many as packets. `key` is source address,
destination address and both ports as they stand in the packet, 12 bytes for IPv4, 36 for IPv6. `missing` counts the bytes of the payload that were on the
wire and are not in the file, because `tcpdump -s` cut the packet.

- Links: Ethernet, Linux cooked (both versions), raw IP, BSD loopback (both byte orders); VLAN tags on any of them, as many as there are.
- A payload's length is what the IP header says, so Ethernet's padding is none of it. Where it says 0 (large packets that the network card was to cut),
  it goes to the packet's end.
- Of an IPv6 packet the extension headers are stepped over. Fragments wait for each other, bounded in bytes and number, the oldest forgotten first; one that
  was cut is none.
- Checksums are not looked at: in a capture made on the sending host they are not filled in yet.

What is no TCP is counted and left out. It never raises on any bytes. Sources: RFC 791, 8200, 9293; www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final

from pgtrace.address import display_address
from pgtrace.capture.packets import Packet

Segment = tuple[int, bytes, int, int, int, bytes, int]
"""(time_ns, key, seq, ack, flags, payload, missing): see the module's first lines."""

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
ACK: Final = 16

FRAGMENTS_BYTES: Final = 4 * 1024 * 1024
"""Bytes of fragments that wait for others, together; and what one of them counts at least."""
_FRAGMENT_COST: Final = 256

_NULL, _ETHERNET, _LOOP, _COOKED, _IPV4_ONLY, _IPV6_ONLY, _COOKED_2 = 0, 1, 108, 113, 228, 229, 276
_RAW: Final = (12, 14, 101)
_FAMILIES: Final = {2: 0x0800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}
"""AF_INET and what the systems have for AF_INET6."""
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP: Final = 6
_EXTENSIONS: Final = frozenset({0, 43, 51, 60, 135, 139, 140})
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51

_PLAIN: Final = struct.Struct(">12xIH2xI2x12sIIBB").unpack_from
"""Ethernet, IPv4 without options, TCP: EtherType to type of service, length, fragment to protocol, key, seq, ack, data offset, flags."""
_PLAIN_BYTES: Final = 54
_TCP_HEADER: Final = struct.Struct(">4sIIBB").unpack_from
_TCP_BYTES: Final = 20


class SegmentReader:
    """Packets to segments."""

    def __init__(self) -> None:
        self.others = 0
        """Packets that were no TCP."""
        self.cut = 0
        """Packets of which not every byte of the payload, or not even the headers, are in the file."""
        self.unknown_links: Counter[int] = Counter()
        """Packets of link types that cannot be read, by number."""
        self._fragments = _Fragments()

    def feed(self, packets: Iterable[Packet]) -> list[Segment]:
        """The segments of those packets, in order."""
        segments: list[Segment] = []
        append = segments.append
        for packet in packets:
            time_ns, link_type, data, _ = packet
            if link_type == _ETHERNET and len(data) >= _PLAIN_BYTES:
                kind, length, fragment, key, seq, ack, words, flags = _PLAIN(data)
                if kind >> 8 == 0x080045 and fragment & 0x3FFF00FF == _TCP:
                    start = 34 + (words >> 2 & 60)
                    stop = 14 + length
                    if 54 <= start <= stop <= len(data):
                        append((time_ns, key, seq, ack, flags, data[start:stop], 0))
                        continue
            segment = self._segment(packet)
            if segment is not None:
                append(segment)
        return segments

    def _segment(self, packet: Packet) -> Segment | None:
        """The segment of any packet, or None where there is none (yet)."""
        time_ns, link_type, data, size = packet
        try:
            kind, start = _network(link_type, data)
            if kind == _IPV4:
                segment = self._ipv4(time_ns, data, start, size)
            elif kind == _IPV6:
                segment = self._ipv6(time_ns, data, start, size)
            else:
                if kind < 0:
                    self.unknown_links[link_type] += 1
                segment = None
                self.others += 1
        except (struct.error, IndexError):  # shorter than its headers
            self.others += 1
            self.cut += len(data) < size
            return None
        return segment

    def _ipv4(self, time_ns: int, data: bytes, start: int, size: int) -> Segment | None:
        first, _, length, number, fragment, _, protocol, _, addresses = struct.unpack_from(">BBHHHBBH8s", data, start)
        header = (first & 15) * 4
        stop = start + length if length else size
        if first >> 4 != 4 or header < 20 or protocol != _TCP:
            self.others += 1
            return None
        start += header
        if fragment & 0x3FFF:
            name = addresses + number.to_bytes(4, "big")
            return self._fragment(time_ns, name, addresses, data[start:stop], stop, len(data), (fragment & 0x1FFF) * 8, fragment & 0x2000)
        return self._tcp(time_ns, addresses, data, start, stop)

    def _ipv6(self, time_ns: int, data: bytes, start: int, size: int) -> Segment | None:
        first, length, following, _, addresses = struct.unpack_from(">IHBB32s", data, start)
        if first >> 28 != 6:
            self.others += 1
            return None
        start += 40
        stop = start + length if length else size
        while following in _EXTENSIONS:
            here, following = following, data[start]
            start += data[start + 1] * 4 + 8 if here == _AUTHENTICATION else data[start + 1] * 8 + 8
        if following == _FRAGMENT and data[start] == _TCP:
            _, _, fragment, number = struct.unpack_from(">BBH4s", data, start)
            start += 8
            if fragment & 0xFFF9:  # 0: a packet in one piece that has the header all the same
                name = addresses + number
                return self._fragment(time_ns, name, addresses, data[start:stop], stop, len(data), fragment & 0xFFF8, fragment & 1)
            following = _TCP
        if following != _TCP:
            self.others += 1
            return None
        return self._tcp(time_ns, addresses, data, start, stop)

    def _fragment(
        self, time_ns: int, name: bytes, addresses: bytes, piece: bytes, stop: int, have: int, offset: int, more: int
    ) -> Segment | None:
        """One more piece of a packet; the segment once all of it are there. A piece that is not there to its end (`stop`) is of no use."""
        whole = self._fragments.add(name, offset, piece, last=not more) if stop <= have else None
        return self._tcp(time_ns, addresses, whole, 0, len(whole)) if whole is not None else None

    def _tcp(self, time_ns: int, addresses: bytes, data: bytes, start: int, stop: int) -> Segment | None:
        ports, seq, ack, words, flags = _TCP_HEADER(data, start)
        start += words >> 2 & 60
        if words >> 4 < 5 or start > stop:
            self.others += 1
            return None
        payload = data[start:stop]
        self.cut += stop - start > len(payload)
        return time_ns, addresses + ports, seq, ack, flags, payload, stop - start - len(payload)


def reversed_key(key: bytes) -> bytes:
    """The key of the other direction."""
    half = (len(key) - 4) // 2
    return key[half : 2 * half] + key[:half] + key[-2:] + key[-4:-2]


def ports(key: bytes) -> tuple[int, int]:
    """Source and destination port."""
    source, destination = struct.unpack(">HH", key[-4:])
    return source, destination


def source(key: bytes) -> str:
    """Source address and port, as `1.2.3.4:5` or `[::1]:5`."""
    half = (len(key) - 4) // 2
    return display_address(str(ipaddress.ip_address(key[:half])), ports(key)[0])


def _network(link_type: int, data: bytes) -> tuple[int, int]:
    """EtherType of what the link layer carries, and where that begins; -1 for a link that cannot be read. Raises IndexError for a packet that is too short."""
    if link_type == _ETHERNET:
        kind, start = _word(data, 12), 14
    elif link_type == _COOKED:
        kind, start = _word(data, 14), 16
    elif link_type == _COOKED_2:
        kind, start = _word(data, 0), 20
    elif link_type in _RAW:
        kind, start = {4: _IPV4, 6: _IPV6}.get(data[0] >> 4, 0), 0
    elif link_type in (_NULL, _LOOP):
        # Network byte order in LOOP, that of the capturing host in NULL: no family has a number that is right in both.
        family = int.from_bytes(data[:4], "big")
        kind, start = _FAMILIES.get(family, _FAMILIES.get(int.from_bytes(data[:4], "little"), 0)), 4
    elif link_type == _IPV4_ONLY:
        kind, start = _IPV4, 0
    elif link_type == _IPV6_ONLY:
        kind, start = _IPV6, 0
    else:
        return -1, 0
    while kind in _VLAN:
        kind, start = _word(data, start + 2), start + 4
    return kind, start


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


class _Pieces:
    """The fragments of one packet that have come."""

    __slots__ = ("by_offset", "bytes", "end")

    def __init__(self) -> None:
        self.by_offset: dict[int, bytes] = {}
        self.bytes = 0
        self.end: int | None = None  # the length of the whole, once the last one is there

    def whole(self) -> bytes | None:
        if self.end is None or self.bytes < self.end:
            return None
        whole = bytearray()
        for offset, piece in sorted(self.by_offset.items()):
            if offset > len(whole):
                return None
            whole += piece[len(whole) - offset :]
        return bytes(whole[: self.end]) if len(whole) >= self.end else None


class _Fragments:
    """Packets of which not all fragments have come."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Pieces] = {}
        self._cost = 0

    def add(self, name: bytes, offset: int, piece: bytes, *, last: bool) -> bytes | None:
        """One more fragment of that packet; the packet's payload once it is whole."""
        pieces = self._waiting.setdefault(name, _Pieces())
        if offset not in pieces.by_offset:
            pieces.by_offset[offset] = piece
            pieces.bytes += len(piece)
            self._cost += len(piece) + _FRAGMENT_COST
        if last:
            pieces.end = offset + len(piece)
        whole = pieces.whole()
        if whole is not None:
            self._forget(name)
        while self._cost > FRAGMENTS_BYTES:
            self._forget(next(iter(self._waiting)))
        return whole

    def _forget(self, name: bytes) -> None:
        pieces = self._waiting.pop(name)
        self._cost -= pieces.bytes + _FRAGMENT_COST * len(pieces.by_offset)
