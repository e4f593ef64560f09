"""The bytes of a pcapng file, and of the IP packets in it.

A file is a section, a description of each interface, enhanced packet blocks with times in ns, and
the end time of each interface. A packet is raw IP (LINKTYPE_RAW 101), version 4 or 6 according to
its addresses, and TCP with correct checksums. Everything is little-endian, which every reader
accepts.

Sources: draft-ietf-opsawg-pcapng, RFC 791, 8200, 9293, 7323 (window scale), 1071 (checksum).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

LINK_TYPE: Final = 101
_COMMENT, _APPLICATION, _NAME, _END_TIME, _RESOLUTION = 1, 4, 2, 3, 9
_NANOSECONDS: Final = b"\x09"
_LONGEST_OPTION: Final = 0xFFFF

_IPV4: Final = struct.Struct(">BBHHHBBH")
_IPV6: Final = struct.Struct(">IHBB")
_TCP: Final = struct.Struct(">HHIIBBHHH")
_CHECKSUM_AT: Final = 16
_SYN: Final = 2
_SYN_OPTIONS: Final = struct.pack(">BBHBBBB", 2, 4, 65_000, 1, 3, 3, 14)
"""Maximum segment size, padding, window scale 14, so that no window is ever full."""
_WINDOW: Final = 0xFFFF
_TTL: Final = 64
_PROTOCOL: Final = 6
_DONT_FRAGMENT: Final = 0x4000
_WRAP: Final = 0xFFFFFFFF


class End(NamedTuple):
    """One end of a TCP conversation: packed address and port."""

    address: bytes
    port: int


def section(application: str) -> bytes:
    """The beginning of a file."""
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options([(_APPLICATION, application.encode())]))


def interface(name: str) -> bytes:
    """The description of an interface. Packets refer to it by its index."""
    about = _options([(_NAME, name.encode("utf-8", "backslashreplace")), (_RESOLUTION, _NANOSECONDS)])
    return _block(1, struct.pack("<HHI", LINK_TYPE, 0, 0) + about)


def packet(number: int, time_ns: int, data: bytes, missing: int = 0, comment: str = "") -> bytes:
    """A packet of the interface with that index; `missing` more bytes of it were on the wire."""
    head = struct.pack("<I", number) + _ticks(time_ns) + struct.pack("<II", len(data), len(data) + missing)
    about = _options([(_COMMENT, comment.encode("utf-8", "backslashreplace"))]) if comment else b""
    return _block(6, head + data + bytes(-len(data) % 4) + about)


def ended(number: int, time_ns: int) -> bytes:
    """The statistics block with the end time of the interface with that index."""
    ticks = _ticks(time_ns)
    return _block(5, struct.pack("<I", number) + ticks + _options([(_END_TIME, ticks)]))


def _ticks(time_ns: int) -> bytes:
    """A time as two 32-bit words. Times before 1970 cannot be written."""
    return struct.pack("<II", *divmod(max(0, time_ns), 1 << 32))


def segment(source: End, target: End, seq: int, ack: int, flags: int, payload: bytes = b"", missing: int = 0) -> bytes:
    """An IP packet with a TCP segment. The last `missing` bytes of its payload are left out; the
    checksum assumes zeros for them.
    """
    options = _SYN_OPTIONS if flags & _SYN else b""
    header = _TCP.size + len(options)
    size = header + len(payload) + missing
    tcp = bytearray(_TCP.pack(source.port, target.port, seq & _WRAP, ack & _WRAP, header << 2, flags, _WINDOW, 0, 0) + options + payload)
    pseudo = source.address + target.address + struct.pack(">II", size, _PROTOCOL)
    struct.pack_into(">H", tcp, _CHECKSUM_AT, checksum(pseudo + tcp))
    if len(source.address) == 4:
        head = bytearray(_IPV4.pack(0x45, 0, 20 + size, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL, 0) + source.address + target.address)
        struct.pack_into(">H", head, 10, checksum(head))
        return bytes(head + tcp)
    return _IPV6.pack(6 << 28, size, _PROTOCOL, _TTL) + source.address + target.address + tcp


def checksum(data: bytes | bytearray) -> int:
    """The complement of the ones' complement sum of 16-bit words, which is a remainder of 65535."""
    padded = data + b"\0" if len(data) % 2 else data
    total = int.from_bytes(padded, "big")
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _options(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    """The options of a block, with their end mark."""
    cut = [(code, value[:_LONGEST_OPTION]) for code, value in pairs]
    return b"".join(struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in [*cut, (0, b"")])
