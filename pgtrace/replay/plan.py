"""A recorded connection as units: the bytes that a driver sent up to a flush point, and what it
waited for.

A unit is a stretch of the frontend's stream, and is sent as recorded. It is sent when as many units
have been answered as when it was recorded, so a pipeline stays a pipeline. The number of its
answers follows from its messages and from whether its ReadyForQuery was recorded.

Units are packed in a file: to play one means to read 40 bytes and the stretch.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from pgtrace.serve.requests import FLUSH_POINTS
from pgtrace.serve.script import COPY_BOTH, COPY_IN, LAST, UNPROMPTED, Script
from pgtrace.serve.store import Store

_PACKED: Final = struct.Struct(">QQIQHIBQ")
_READ_UNITS: Final = 1000
_READ_BYTES: Final = 256 * 1024
_EXTENDED: Final = b"PBCDE"
_READIES: Final = b"QFS"
REPLICATION: Final = "replication"
TAKES_TURN: Final = 1
"""CopyInResponse answers the unit."""
COPIES: Final = 2
"""The unit is the data of a COPY, or its end."""
FLUSHES: Final = 4
"""The unit ends with a Flush."""


class Unit(NamedTuple):
    """A unit to send."""

    offset: int
    size: int
    """The length of the stretch, in bytes."""
    after: int
    """How many units must have been answered before it is sent."""
    sent_ns: int
    """The recorded time at which it was sent."""
    readies: int
    """The number of ReadyForQuery messages that answer it."""
    ends: int
    """The number of replies that answer it, if it ends with a Flush."""
    flags: int
    """A combination of TAKES_TURN, COPIES and FLUSHES."""
    cancel_ns: int
    """How long after it was sent it was cancelled, in ns; 0 if it was not."""


Fields = tuple[int, int, int, int, int, int, int, int]
"""The fields of a Unit as a plain tuple."""


class Plan:
    """The units of one recorded connection."""

    def __init__(self, store: Store, script: Script) -> None:
        self.script = script
        self._store = store
        packed = [_PACKED.pack(*unit) for unit in _units(script)]
        self.units = len(packed)
        self._place = store.append(b"".join(packed))

    def __iter__(self) -> Iterator[tuple[Fields, bytes]]:
        """The units with their bytes, read ahead in pieces. They are plain tuples, because a Unit
        costs more to make than to play.
        """
        begun, held = 0, b""
        for first in range(0, self.units, _READ_UNITS):
            count = min(_READ_UNITS, self.units - first)
            data = self._store.read(self._place + first * _PACKED.size, count * _PACKED.size)
            for fields in _PACKED.iter_unpack(data):
                offset, size = fields[:2]
                if offset < begun or offset + size > begun + len(held):
                    begun = offset
                    held = self.script.requested.read(begun, max(size, _READ_BYTES))
                at = offset - begun
                yield fields, held[at : at + size]


def is_playable(script: Script) -> bool:
    """Whether the connection can be replayed. Replication cannot, because its positions belong to
    another server.
    """
    replicates = dict(script.parameters).get(REPLICATION, "false").lower() not in ("false", "off", "no", "0", "")
    return not script.fails and not replicates


def _units(script: Script) -> Iterator[Unit]:
    steps = script.steps
    # steps that may be the latest answered step, with their units
    recent: deque[tuple[int, int]] = deque()
    number, begun, after, sent_ns = 0, -1, 0, 0
    readies = ends = flags = cancel_ns = waited_ns = 0
    count = len(steps)
    step = None
    for index in range(count):
        step = steps[index]
        if step.code == UNPROMPTED:
            continue
        if begun < 0:
            begun, sent_ns = step.request, step.sent_ns
            while len(recent) > 1 and recent[1][0] <= step.after:
                recent.popleft()
            after = recent[0][1] + 1 if recent and recent[0][0] <= step.after else 0
            after = min(after, number)
        recent.append((index, number))
        waited_ns += step.latency_ns
        readies += bool(step.status) or (bool(step.flags & LAST) and step.code in _READIES)
        ends += step.code in _EXTENDED
        if step.flags & (COPY_IN | COPY_BOTH):
            flags |= TAKES_TURN
        if step.code in b"dcf":
            flags |= COPIES
        if index in script.waits:
            cancel_ns = max(1, waited_ns)
        if step.code in FLUSH_POINTS:
            end = _end(script, index)
            flushes = step.code == ord("H")
            if readies:
                flags &= ~TAKES_TURN
            ends = max(0, ends - bool(flags & TAKES_TURN)) if flushes and not readies else 0
            flags |= FLUSHES if flushes else 0
            yield Unit(begun, end - begun, after, sent_ns, readies, ends, flags, cancel_ns)
            number += 1
            begun, readies, ends, flags, cancel_ns, waited_ns = -1, 0, 0, 0, 0, 0
    if begun >= 0 and step is not None:
        yield Unit(begun, _end(script, count - 1) - begun, after, sent_ns, readies, 0, flags & COPIES, cancel_ns)


def _end(script: Script, index: int) -> int:
    """The offset at which the message of a step ends."""
    step = script.steps[index]
    if step.code not in (ord("d"), UNPROMPTED):
        return step.request + step.size
    while index >= 0 and script.steps[index].code == UNPROMPTED:
        index -= 1
    step = script.steps[index]
    return step.request + step.size if step.code != ord("d") else script.requested.length
