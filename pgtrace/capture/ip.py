"""TCP segments from packets: IPv4 and IPv6, with fragments reassembled and tunnels removed.

A segment is the plain tuple `(time_ns, key, seq, ack, flags, payload, missing)`, because there is
one for every packet. `key` is the source address, the destination address and both ports as they
are in the packet: 12 bytes for IPv4, 36 for IPv6. `missing` is the number of payload bytes that
were on the wire but not in the file, because `tcpdump -s` cut the packet.

- links.py knows what a link layer or a tunnel carries. A segment has the innermost addresses.
  Nested tunnels are followed up to DEEPEST levels.
- The IP header gives a payload's length, so Ethernet's padding is left out. If the header says 0 (a
  large packet that the network card was to split), the payload ends with the packet.
- IPv6 extension headers are skipped. Fragments wait for each other (fragments.py); a truncated one
  is dropped.
- Checksums are ignored: in a capture made on the sending host they are not filled in yet.

Packets without TCP are counted and left out. Tunnels that cannot be read are counted by name. This
module never raises, whatever the input. Sources: RFC 791, 8200, 9293.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from typing import Final

from pgtrace.address import display_address
from pgtrace.capture.fragments import Fragments
from pgtrace.capture.links import ETHERNET, IPV4, IPV6, NOTHING, TCP, TUNNELS, UNKNOWN_LINK, inside, network
from pgtrace.capture.packets import Packet

Segment = tuple[int, bytes, int, int, int, bytes, int]
"""(time_ns, key, seq, ack, flags, payload, missing): see the module's docstring."""
_Carried = tuple[int, bytes, bytes, int, int]
"""The IP protocol, the addresses, and the payload: its bytes, its start, and its end on the
wire."""

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
ACK: Final = 16

DEEPEST: Final = 8
"""The most IP packets that may be nested."""

_EXTENSIONS: Final = frozenset({0, 43, 51, 60, 135, 139, 140})
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_FOLLOWED: Final = TUNNELS | {TCP}

_PLAIN: Final = struct.Struct(">12xIH2xI2x12sIIBB").unpack_from
"""A packet of Ethernet, IPv4 without options, and TCP: EtherType to type of service, length,
fragment to protocol, key, seq, ack, data offset, flags."""
_PLAIN_BYTES: Final = 54
_TCP_HEADER: Final = struct.Struct(">4sIIBB").unpack_from


class SegmentReader:
    """Turns packets into segments."""

    def __init__(self) -> None:
        self.others = 0
        """The number of packets without TCP."""
        self.cut = 0
        """The number of packets whose payload or headers are not complete in the file."""
        self.unknown_links: Counter[int] = Counter()
        """The number of packets of link types that cannot be read, by link type."""
        self.closed: Counter[str] = Counter()
        """The number of packets of tunnels that cannot be read, by name."""
        self._fragments = Fragments()

    def feed(self, packets: Iterable[Packet]) -> list[Segment]:
        """The segments of these packets, in order."""
        segments: list[Segment] = []
        append = segments.append
        for packet in packets:
            time_ns, link_type, data, _ = packet
            if link_type == ETHERNET and len(data) >= _PLAIN_BYTES:
                kind, length, fragment, key, seq, ack, words, flags = _PLAIN(data)
                if kind >> 8 == 0x080045 and fragment & 0x3FFF00FF == TCP:
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
        """The segment of a packet, or None if there is none (yet)."""
        time_ns, link_type, data, size = packet
        try:
            kind, start = network(link_type, data)
            if kind == UNKNOWN_LINK:
                self.unknown_links[link_type] += 1
            stop = size
            for _ in range(DEEPEST):
                # `stop` is where the packet ended on the wire, which may be after the last byte in
                # the file.
                if kind == IPV4:
                    found = self._ipv4(data, start, stop)
                elif kind == IPV6:
                    found = self._ipv6(data, start, stop)
                else:
                    if isinstance(kind, str):
                        self.closed[kind] += 1
                    break
                if found is None:
                    return None
                protocol, addresses, data, start, stop = found
                if protocol == TCP:
                    return self._tcp(time_ns, addresses, data, start, stop)
                kind, start = inside(protocol, data, start) if protocol in TUNNELS else (NOTHING, 0)
            else:
                self.closed[f"more than {DEEPEST} tunnels"] += 1
        except (struct.error, IndexError):  # shorter than its headers
            self.cut += len(data) < size
        self.others += 1
        return None

    def _ipv4(self, data: bytes, start: int, end: int) -> _Carried | None:
        """What an IPv4 packet carries; None for a fragment that waits for others."""
        first, _, length, number, fragment, _, protocol, _, addresses = struct.unpack_from(">BBHHHBBH8s", data, start)
        header = (first & 15) * 4
        stop = start + length if length else end
        start += header
        if first >> 4 != 4 or header < 20:
            return NOTHING, addresses, data, start, stop
        if fragment & 0x3FFF and protocol in _FOLLOWED:
            name = addresses + number.to_bytes(4, "big") + bytes((protocol,))
            piece = data[start:stop] if stop <= len(data) else None
            return self._fragment(protocol, name, addresses, piece, (fragment & 0x1FFF) * 8, fragment & 0x2000)
        return protocol, addresses, data, start, stop

    def _ipv6(self, data: bytes, start: int, end: int) -> _Carried | None:
        """What an IPv6 packet carries, as in _ipv4()."""
        first, length, following, _, addresses = struct.unpack_from(">IHBB32s", data, start)
        start += 40
        stop = start + length if length else end
        if first >> 28 != 6:
            return NOTHING, addresses, data, start, stop
        while following in _EXTENSIONS:
            here, following = following, data[start]
            start += data[start + 1] * 4 + 8 if here == _AUTHENTICATION else data[start + 1] * 8 + 8
        if following == _FRAGMENT and data[start] in _FOLLOWED:
            following, _, fragment, number = struct.unpack_from(">BBH4s", data, start)
            start += 8
            if fragment & 0xFFF9:  # 0: a whole packet that has a fragment header anyway
                name = addresses + number + bytes((following,))
                piece = data[start:stop] if stop <= len(data) else None
                return self._fragment(following, name, addresses, piece, fragment & 0xFFF8, fragment & 1)
        return following, addresses, data, start, stop

    def _fragment(self, protocol: int, name: bytes, addresses: bytes, piece: bytes | None, offset: int, more: int) -> _Carried | None:
        """Add a fragment of a packet. Returns the packet's payload once all fragments have arrived.
        A truncated fragment is dropped."""
        whole = self._fragments.add(name, offset, piece, last=not more) if piece is not None else None
        return (protocol, addresses, whole, 0, len(whole)) if whole is not None else None

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


def addresses(key: bytes) -> bytes:
    """Both addresses, without the ports."""
    return key[:-4]


def ports(key: bytes) -> tuple[int, int]:
    """The source and destination port."""
    source, destination = struct.unpack(">HH", key[-4:])
    return source, destination


def source(key: bytes) -> str:
    """The source address and port, as `1.2.3.4:5` or `[::1]:5`."""
    half = (len(key) - 4) // 2
    return display_address(str(ipaddress.ip_address(key[:half])), ports(key)[0])
