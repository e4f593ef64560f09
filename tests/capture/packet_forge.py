"""Packet captures made up byte by byte: every link type, both IP versions, any order, loss and cut.

A Talk is one TCP conversation that is written down as it goes: open(), send(), confirm(), close().
Its segments become packets by `ipv4` or `ipv6`, frames by one of LINKS, a file by pcap() or
pcapng(). talk_of() makes one of a playbook's script, so that the same session can be read as
packets and as a capture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton

from pgtrace.capture.record import Close, Data
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.playbook import WALL_NS, records

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TICK_NS = 10_000
"""Between two packets that say nothing of when they passed."""

Packet = tuple[int, bytes]
"""Time and bytes."""


@dataclass(frozen=True)
class Sent:
    """One TCP segment on its way."""

    time_ns: int
    source: tuple[str, int]
    destination: tuple[str, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    options: bytes = b""

    @property
    def tcp(self) -> bytes:
        words = 5 + len(self.options) // 4
        ports = self.source[1], self.destination[1]
        head = struct.pack(">HHIIBBHHH", *ports, self.seq % 2**32, self.ack % 2**32, words << 4, self.flags, 65535, 0, 0)
        return head + self.options + self.payload


@dataclass
class Talk:
    """A TCP conversation. `numbers` are the sides' initial sequence numbers; `mss` cuts what is sent."""

    client: tuple[str, int] = ("10.0.0.1", 40001)
    server: tuple[str, int] = ("10.0.0.2", 5432)
    numbers: tuple[int, int] = (1000, 900_000)
    mss: int = 65_000
    time_ns: int = WALL_NS
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.next = list(self.numbers)

    def put(self, side: int, flags: int, payload: bytes = b"", *, at_ns: int | None = None) -> None:
        """One segment with the numbers that are due."""
        self.time_ns = at_ns if at_ns is not None else self.time_ns + TICK_NS
        ends = (self.client, self.server)
        options = bytes.fromhex("0101080a0000000100000002") if flags & ACK else b""
        acked = self.next[1 - side] if flags & ACK else 0
        self.sent.append(Sent(self.time_ns, ends[side], ends[1 - side], self.next[side], acked, flags, payload, options))
        self.next[side] += len(payload) + bool(flags & (SYN | FIN))

    def open(self) -> Talk:
        """The three-way handshake."""
        self.put(FRONTEND, SYN)
        self.put(BACKEND, SYN | ACK)
        self.put(FRONTEND, ACK)
        return self

    def send(self, side: int, data: bytes, *, at_ns: int | None = None) -> Talk:
        """Data, in as many segments as it takes."""
        for start in range(0, len(data), self.mss):
            self.put(side, PSH | ACK, data[start : start + self.mss], at_ns=at_ns)
        return self

    def confirm(self, side: int) -> Talk:
        """A bare acknowledgement."""
        self.put(side, ACK)
        return self

    def close(self) -> Talk:
        """Both FINs, the client's first."""
        self.put(FRONTEND, FIN | ACK)
        self.put(BACKEND, FIN | ACK)
        self.put(FRONTEND, ACK)
        return self


def talk_of(script: str, talk: Talk | None = None, *, confirm: bool = False) -> Talk:
    """Connection 1 of a playbook's script as a TCP conversation, seen from its beginning; with
    `confirm` every packet is acknowledged at once."""
    talk = (talk or Talk()).open()
    for one in records(script):
        if isinstance(one, Data):
            talk.send(one.side, one.data, at_ns=max(WALL_NS + one.time_ns, talk.time_ns + TICK_NS))
            if confirm:
                talk.confirm(1 - one.side)
        elif isinstance(one, Close):
            talk.close()
    return talk


# IP.


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def ipv4(
    sent: Sent, *, options: bytes = b"", tcp: bytes | None = None, fragment: int = 0, number: int = 7, length: int | None = None
) -> bytes:
    """An IPv4 packet around the segment, or around the piece `tcp` of it; `length` is what its header says."""
    payload = sent.tcp if tcp is None else tcp
    header = 20 + len(options)
    ends = _packed(sent.source[0]), _packed(sent.destination[0])
    said = header + len(payload) if length is None else length
    return struct.pack(">BBHHHBBH4s4s", 0x40 | header // 4, 0, said, number, fragment, 64, 6, 0, *ends) + options + payload


def ipv4_fragments(sent: Sent, size: int = 24, number: int = 7) -> list[bytes]:
    """The same packet in pieces of `size` bytes, a multiple of 8."""
    whole = sent.tcp
    return [
        ipv4(sent, tcp=whole[start : start + size], fragment=start // 8 | (0x2000 if start + size < len(whole) else 0), number=number)
        for start in range(0, len(whole), size)
    ]


def ipv6(sent: Sent, *, extensions: Iterable[tuple[int, bytes]] = (), tcp: bytes | None = None) -> bytes:
    """An IPv6 packet; extensions are (number, header without its first byte), outermost first."""
    payload = sent.tcp if tcp is None else tcp
    following = 6
    for number, header in reversed(list(extensions)):
        payload = bytes((following,)) + header + payload
        following = number
    ends = _packed(sent.source[0]), _packed(sent.destination[0])
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), following, 64, *ends) + payload


def ipv6_fragments(sent: Sent, size: int = 24) -> list[bytes]:
    whole = sent.tcp
    return [
        ipv6(sent, tcp=whole[start : start + size], extensions=[(44, struct.pack(">xHI", start | (start + size < len(whole)), 99))])
        for start in range(0, len(whole), size)
    ]


def ip(sent: Sent) -> bytes:
    """The packet of the version its addresses have."""
    return ipv6(sent) if ":" in sent.source[0] else ipv4(sent)


# Links.


def _kind(packet: bytes) -> int:
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def ethernet(packet: bytes, *tags: int) -> bytes:
    """An Ethernet frame, padded to its least size; each VLAN tag is an EtherType."""
    kinds = [*tags, _kind(packet)]
    head = bytes(12) + kinds[0].to_bytes(2, "big") + b"".join(struct.pack(">HH", 5, kind) for kind in kinds[1:])
    return (head + packet).ljust(60, b"\xee")


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, ethernet),
    "vlan": (1, lambda packet: ethernet(packet, 0x8100)),
    "two vlans": (1, lambda packet: ethernet(packet, 0x88A8, 0x8100)),
    "cooked": (113, lambda packet: struct.pack(">HHH8sH", 0, 1, 6, bytes(8), _kind(packet)) + packet),
    "cooked, vlan": (113, lambda packet: struct.pack(">HHH8sHHH", 0, 1, 6, bytes(8), 0x8100, 5, _kind(packet)) + packet),
    "cooked 2": (276, lambda packet: struct.pack(">HHIHBB8s", _kind(packet), 0, 1, 1, 0, 6, bytes(8)) + packet),
    "raw": (101, lambda packet: packet),
    "raw 12": (12, lambda packet: packet),
    "raw 14": (14, lambda packet: packet),
    "null, little": (0, lambda packet: (2 if packet[0] >> 4 == 4 else 30).to_bytes(4, "little") + packet),
    "null, big": (0, lambda packet: (2 if packet[0] >> 4 == 4 else 24).to_bytes(4, "big") + packet),
    "ppp": (9, lambda packet: b"\xff\x03" + (b"\x00\x21" if packet[0] >> 4 == 4 else b"\x00\x57") + packet),
    "pppoe": (
        51,
        lambda packet: b"\x11\0\0\1" + struct.pack(">H", len(packet) + 1) + (b"\x21" if packet[0] >> 4 == 4 else b"\x57") + packet,
    ),
    "mpls": (219, lambda packet: b"\0\1\1\x40" + packet),
    "pktap": (258, lambda packet: pktap(packet)),
    "pktap of Apple's tcpdump": (149, lambda packet: pktap(packet)),
    "loop": (108, lambda packet: (2 if packet[0] >> 4 == 4 else 28).to_bytes(4, "big") + packet),
}
"""Name -> LINKTYPE_ number and what makes a frame."""


def frames(sent: Iterable[Sent], link: str = "ethernet") -> list[Packet]:
    """Segments as frames."""
    make = LINKS[link][1]
    return [(one.time_ns, make(ip(one))) for one in sent]


# Tunnels: each makes a whole frame around an IP packet.

_OUTER = (_packed("192.0.2.1"), _packed("192.0.2.2"))


def carrier(protocol: int, payload: bytes, *, number: int = 7, fragment: int = 0) -> bytes:
    """An IPv4 packet of any protocol."""
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number, fragment, 64, protocol, 0, *_OUTER) + payload


def carrier_fragments(protocol: int, payload: bytes, size: int = 48) -> list[bytes]:
    """The same in pieces of `size` bytes, a multiple of 8."""
    last = len(payload) - size
    return [
        carrier(protocol, payload[start : start + size], fragment=start // 8 | (0x2000 if start < last else 0))
        for start in range(0, len(payload), size)
    ]


def udp(port: int, payload: bytes) -> bytes:
    """A datagram without a checksum."""
    return struct.pack(">HHHH", 5555, port, 8 + len(payload), 0) + payload


def bare_ethernet(packet: bytes) -> bytes:
    """A frame without padding."""
    return bytes(12) + _kind(packet).to_bytes(2, "big") + packet


def _mpls(packet: bytes, labels: int = 2) -> bytes:
    return b"".join(struct.pack(">I", 16 + place << 12 | (place == labels - 1) << 8 | 64) for place in range(labels)) + packet


def _between(kind: int, payload: bytes) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + payload


def _ppp_kind(packet: bytes) -> bytes:
    return b"\x00\x57" if packet[0] >> 4 == 6 else b"\x00\x21"


def _over(protocol: int, payload: bytes) -> bytes:
    return bare_ethernet(carrier(protocol, payload))


def _gre(kind: int, payload: bytes, flags: int = 0, extra: bytes = b"") -> bytes:
    return _over(47, struct.pack(">HH", flags, kind) + extra + payload)


VXLAN_HEAD = bytes.fromhex("0800000000002a00")
TUNNELS: dict[str, Callable[[bytes], bytes]] = {
    "LLC/SNAP": lambda packet: (
        bytes(12) + (len(packet) + 8).to_bytes(2, "big") + b"\xaa\xaa\3\0\0\0" + _kind(packet).to_bytes(2, "big") + packet
    ),
    "MPLS": lambda packet: _between(0x8847, _mpls(packet)),
    "MPLS pseudowire": lambda packet: _between(0x8847, _mpls(bytes(4) + bare_ethernet(packet))),
    "MPLS pseudowire without a control word": lambda packet: _between(0x8847, _mpls(b"\x12" + bare_ethernet(packet)[1:])),
    "PPPoE": lambda packet: _between(0x8864, struct.pack(">BBHH", 0x11, 0, 9, len(packet) + 2) + _ppp_kind(packet) + packet),
    "VLAN, PPPoE": lambda packet: _between(
        0x8100, b"\0\5\x88\x64" + struct.pack(">BBHH", 0x11, 0, 9, len(packet) + 2) + _ppp_kind(packet) + packet
    ),
    "IP in IP": lambda packet: _over(41 if packet[0] >> 4 == 6 else 4, packet),
    "GRE": lambda packet: _gre(_kind(packet), packet),
    "GRE with checksum, key and sequence": lambda packet: _gre(_kind(packet), packet, 0xB000, bytes(12)),
    "GRE, MPLS": lambda packet: _gre(0x8847, _mpls(packet)),
    "NVGRE": lambda packet: _gre(0x6558, bare_ethernet(packet), 0x2000, bytes(4)),
    "PPTP": lambda packet: _gre(0x880B, b"\xff\x03" + _ppp_kind(packet) + packet, 0x3081, struct.pack(">HHII", len(packet) + 4, 1, 1, 1)),
    "ERSPAN I": lambda packet: _gre(0x88BE, bare_ethernet(packet)),
    "ERSPAN II": lambda packet: _gre(0x88BE, b"\x10" + bytes(7) + bare_ethernet(packet), 0x1000, bytes(4)),
    "ERSPAN III": lambda packet: _gre(0x22EB, b"\x20" + bytes(11) + bare_ethernet(packet), 0x1000, bytes(4)),
    "VXLAN": lambda packet: _over(17, udp(4789, VXLAN_HEAD + bare_ethernet(packet))),
    "VXLAN of Linux": lambda packet: _over(17, udp(8472, VXLAN_HEAD + bare_ethernet(packet))),
    "VXLAN on a port of its own": lambda packet: _over(17, udp(14789, VXLAN_HEAD + bare_ethernet(packet))),
    "VXLAN-GPE": lambda packet: _over(17, udp(4790, b"\x0c\0\0" + (b"\2" if packet[0] >> 4 == 6 else b"\1") + bytes(4) + packet)),
    "GENEVE": lambda packet: _over(17, udp(6081, b"\2\0\x65\x58" + bytes(4) + b"\0\1\1\1" + bytes(4) + bare_ethernet(packet))),
    "GRE in UDP": lambda packet: _over(17, udp(4754, struct.pack(">HH", 0, _kind(packet)) + packet)),
    "MPLS in UDP": lambda packet: _over(17, udp(6635, _mpls(packet))),
    "VXLAN in GRE": lambda packet: _gre(0x0800, carrier(17, udp(4789, VXLAN_HEAD + bare_ethernet(packet)))),
}
"""Name -> what makes an Ethernet frame around an IP packet."""


def pktap(packet: bytes) -> bytes:
    """Apple's header before an Ethernet frame; made up after its layout in libpcap's pktap.h, for there is no Mac here."""
    head = struct.pack("<III24sIIIIIi20s", 108, 1, 1, b"en0", 1, 2, 14, 0, 4711, 0, b"python") + bytes(8)
    return head.ljust(108, b"\0") + ethernet(packet)


# Files.


def pcap(packets: Iterable[Packet], link_type: int = 1, *, order: str = "<", nanoseconds: bool = False, longest: int = 262_144) -> bytes:
    """A pcap file; packets are cut at `longest`, as `tcpdump -s` cuts them."""
    tick = 1 if nanoseconds else 1000
    found = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, longest, link_type)
    for time_ns, data in packets:
        kept = data[:longest]
        found += struct.pack(order + "IIII", time_ns // 10**9, time_ns % 10**9 // tick, len(kept), len(data)) + kept
    return found


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def options(pairs: Iterable[tuple[int, bytes]], order: str = "<") -> bytes:
    """Options of a pcapng block, with their end."""
    return b"".join(struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in [*pairs, (0, b"")])


def section(order: str = "<") -> bytes:
    """A pcapng's section header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, *, order: str = "<", longest: int = 0, resolution: int | None = None, offset_s: int = 0) -> bytes:
    """An interface's description; `resolution` as if_tsresol has it."""
    pairs = [(9, bytes((resolution,)))] if resolution is not None else []
    pairs += [(14, struct.pack(order + "q", offset_s))] if offset_s else []
    return block(1, struct.pack(order + "HHI", link_type, 0, longest) + options(pairs, order), order)


def enhanced(ticks: int, data: bytes, number: int = 0, *, order: str = "<", size: int | None = None) -> bytes:
    """An enhanced packet block."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size or len(data))
    return block(6, head + data + bytes(-len(data) % 4) + options([(1, b"a comment")], order), order)


def pcapng(packets: Iterable[Packet], link_type: int = 1, *, order: str = "<") -> bytes:
    """A pcapng file of one section and one interface that counts nanoseconds."""
    head = section(order) + interface(link_type, order=order, resolution=9)
    return head + b"".join(enhanced(time_ns, data, order=order) for time_ns, data in packets)


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """A little-endian pcap file: its header, and each packet with its own."""
    packets = []
    position = 24
    while position < len(data):
        size = 16 + struct.unpack_from("<I", data, position + 8)[0]
        packets.append(data[position : position + size])
        position += size
    return data[:24], packets
