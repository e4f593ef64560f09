"""Network addresses: inet, cidr, macaddr, macaddr8.

inet and cidr have the same layout: family (2 or 3), bits of the netmask, whether it is a cidr,
length and bytes of the address. The netmask is printed if it is shorter than the address, and
always for a cidr. An IPv6 address leaves out its first longest run of two or more zero groups, and
ends in dotted decimals if it holds an IPv4 address. Sources: network.c, mac.c, mac8.c in
PostgreSQL's src/backend/utils/adt, src/port/inet_net_ntop.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values.cursor import Cursor

_SIZES: Final = {2: 4, 3: 16}
"""The bytes of an address, by family."""
_V6_BYTES: Final = 16


def _inet(data: bytes) -> str:
    cursor = Cursor(data)
    family, bits, is_cidr, size = cursor.integers("BBBB")
    address = cursor.take(size)
    cursor.end()
    if _SIZES.get(family) != size or bits > 8 * size:
        raise ValueError("not an address")
    written = _v6(address) if size == _V6_BYTES else ".".join(map(str, address))
    return f"{written}/{bits}" if is_cidr or bits < 8 * size else written


def _v6(address: bytes) -> str:
    groups = struct.unpack(">8H", address)
    start, length = _zeros(groups)
    if start == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
        return f"{'::' if length == 6 else '::ffff:'}{'.'.join(map(str, address[12:]))}"
    if not length:
        return _joined(groups)
    return f"{_joined(groups[:start])}::{_joined(groups[start + length :])}"


def _zeros(groups: tuple[int, ...]) -> tuple[int, int]:
    """Where the first longest run of zero groups begins, and its length, which is 0 if no run has
    two groups."""
    best = (0, 1)
    for start in range(8):
        end = start
        while end < 8 and groups[end] == 0:
            end += 1
        if end - start > best[1]:
            best = (start, end - start)
    return best if best[1] > 1 else (0, 0)


def _joined(groups: tuple[int, ...]) -> str:
    return ":".join(f"{group:x}" for group in groups)


def _macaddr(data: bytes) -> str:
    if len(data) != 6:
        raise ValueError("not an address")
    return data.hex(":")


def _macaddr8(data: bytes) -> str:
    """The server sends eight bytes, and accepts six for the same address in its shorter form."""
    if len(data) not in (6, 8):
        raise ValueError("not an address")
    return (data if len(data) == 8 else data[:3] + b"\xff\xfe" + data[3:]).hex(":")


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "inet": _inet,
    "cidr": _inet,
    "macaddr": _macaddr,
    "macaddr8": _macaddr8,
}
