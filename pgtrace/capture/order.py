"""Packets in order of time, as far as bounded memory allows.

Packets are out of order in files that were concatenated (both directions, several interfaces, the
pieces of a ring buffer) or written by several processors. HELD_BYTES of packets are held back and
sorted; the oldest are passed on. Sorting packets that are already in order costs next to nothing. A
packet that is older than one already passed on is counted in `late` and passed on as it is: TCP's
sequence numbers may still place it.

When you watch a live stream, nothing may be held back. Its packets are in order, except for
disorder that conversations.py can repair.
"""

from __future__ import annotations

from operator import itemgetter, le
from typing import Final

from pgtrace.capture.packets import Packet

HELD_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of packets that are held, including an overhead for each packet."""
_COST: Final = 200
_PIECE_BYTES: Final = 256 * 1024
"""How many bytes are passed on together."""
_time = itemgetter(0)


class TimeOrder:
    """Sorts packets by time."""

    def __init__(self) -> None:
        self.late = 0
        """The number of packets that were older than one already passed on."""
        self._held: list[Packet] = []
        self._sorted = True
        self._cost = 0
        self._gone_ns = 0

    def add(self, packets: list[Packet]) -> None:
        """Add packets."""
        if not packets:
            return
        if self._sorted:
            times = [*map(_time, packets)]
            self._sorted = (not self._held or self._held[-1][0] <= times[0]) and all(map(le, times, times[1:]))
        self._held += packets
        self._cost += sum([len(packet[2]) for packet in packets]) + _COST * len(packets)

    def ready(self) -> list[Packet]:
        """The packets that must be passed on now, oldest first."""
        return self._take(HELD_BYTES) if self._cost > HELD_BYTES + _PIECE_BYTES else []

    def drain(self) -> list[Packet]:
        """The next piece of what is held, when nothing more will come; empty at the end."""
        return self._take(max(0, self._cost - _PIECE_BYTES))

    def _take(self, left: int) -> list[Packet]:
        """The packets to pass on so that no more than `left` bytes are held."""
        if not self._sorted:
            self._held.sort(key=_time)
            self._sorted = True
        held, count, cost = self._held, 0, self._cost
        while cost > left:
            cost -= len(held[count][2]) + _COST
            count += 1
        taken = held[:count]
        del held[:count]
        self._cost = cost
        for packet in taken:
            if packet[0] >= self._gone_ns:
                break
            self.late += 1
        if taken:
            self._gone_ns = max(self._gone_ns, taken[-1][0])
        return taken
