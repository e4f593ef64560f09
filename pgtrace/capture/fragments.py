"""Reassemble IP fragments.

A fragment begins at a multiple of 8 bytes. So the parts of a packet that have arrived are a set of
8-byte units, kept as the bits of one number: 1 KiB at most. Adding a fragment costs the same
however many there are, and a packet is joined once, when no bit is missing. So time is linear in
the input, whatever overlaps.

- If bytes arrive twice, the first are kept. A fragment that adds nothing is dropped.
- The bytes that wait are bounded; the oldest packet is dropped first.

Sources: RFC 791, RFC 8200 section 4.5.
"""

from __future__ import annotations

from typing import Final

FRAGMENTS_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of incomplete packets, including the overhead of each fragment."""
_FRAGMENT_COST: Final = 256
_PACKET_COST: Final = 1536
_UNIT: Final = 8


class _Pieces:
    """The fragments of one packet so far."""

    __slots__ = ("cost", "end", "found", "units")

    def __init__(self) -> None:
        self.found: list[tuple[int, bytes]] = []  # offset and bytes
        self.units = 0  # a bit for each unit that has arrived
        # the length of the whole packet, once the last fragment has arrived
        self.end: int | None = None
        self.cost = _PACKET_COST

    def add(self, offset: int, piece: bytes, *, last: bool) -> None:
        count = -(-len(piece) // _UNIT) if last else len(piece) // _UNIT
        units = ((1 << count) - 1) << (offset // _UNIT)
        if last and self.end is None:
            self.end = offset + len(piece)
        if units & ~self.units:
            self.units |= units
            self.found.append((offset, piece))
            self.cost += len(piece) + _FRAGMENT_COST

    def whole(self) -> bytes | None:
        if self.end is None:
            return None
        needed = (1 << -(-self.end // _UNIT)) - 1
        if self.units & needed != needed:
            return None
        whole = bytearray()
        for offset, piece in sorted(self.found, key=lambda found: found[0]):
            whole += piece[max(0, len(whole) - offset) :]
        return bytes(whole[: self.end])


class Fragments:
    """Packets of which some fragments are missing."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Pieces] = {}
        self._cost = 0

    def add(self, name: bytes, offset: int, piece: bytes, *, last: bool) -> bytes | None:
        """Add a fragment of the packet with this name. Returns the packet's payload once it is
        whole."""
        pieces = self._waiting.get(name)
        if pieces is None:
            pieces = self._waiting[name] = _Pieces()
            self._cost += pieces.cost
        before = pieces.cost
        pieces.add(offset, piece, last=last)
        self._cost += pieces.cost - before
        whole = pieces.whole()
        if whole is not None:
            self._forget(name)
        while self._cost > FRAGMENTS_BYTES:
            self._forget(next(iter(self._waiting)))
        return whole

    def _forget(self, name: bytes) -> None:
        self._cost -= self._waiting.pop(name).cost
