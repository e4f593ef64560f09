"""Which packet files belong to the same recording.

- Pieces of a ring buffer, by the names that tcpdump and dumpcap give them: `a.pcap0 a.pcap1` (-C,
  with -W), `a.pcap a.pcap1` (-C alone), `a_00001_20261129082112.pcapng`; compressed ones too.
  People do not put digits after an extension, so `run1.pcap run2.pcap` stay two recordings.
- Halves: files that each hold one direction of a connection, as a tap with two ports records them.
  Ports alone do not decide, since they are used again: one file must also acknowledge what the
  other sends. Only the first LOOKED_AT_BYTES are examined.

Standard input, and anything else that is not a regular file, is not examined and stays a recording
of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from pgtrace.capture.inputs import Input
from pgtrace.capture.ip import ACK, SegmentReader, reversed_key
from pgtrace.capture.packets import MAGICS, PacketReader
from pgtrace.capture.tcp import distance
from pgtrace.errors import PgTraceError

LOOKED_AT_BYTES: Final = 4 * 1024 * 1024
_NEAR: Final = 1 << 26
_COMPRESSED: Final = re.compile(r"\.(gz|bz2|xz|zst)$")
_TCPDUMP: Final = re.compile(r"(.*\.[A-Za-z]+)(\d*)")
_DUMPCAP: Final = re.compile(r"(.*)_(\d+)_\d{14}((?:\.\w+)?)")

Ends = dict[bytes, tuple[int, int]]
"""The key of each direction of a connection -> a sequence number and an acknowledgement."""


def recordings(names: Sequence[str]) -> list[list[str]]:
    """The files grouped by recording, each recording's pieces in order. A file that cannot be read
    is a recording of its own: its reader reports why."""
    packets = {name: ends for name in names if (ends := _ends(name)) is not None} if len(names) > 1 else {}
    groups: list[list[str]] = []
    for name in names:
        group = next((one for one in groups if name in packets and any(_are_one(name, other, packets) for other in one)), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return [sorted(group, key=_number) for group in groups]


def _are_one(name: str, other: str, packets: dict[str, Ends]) -> bool:
    return name != other and other in packets and (_stem(name) == _stem(other) or _are_halves(packets[name], packets[other]))


def _stem(name: str) -> str:
    """What the names of a ring buffer's pieces have in common; for any other file its name."""
    bare = _COMPRESSED.sub("", name)
    if found := _DUMPCAP.fullmatch(bare):
        return f"{found[1]}{found[3]}"
    return found[1] if (found := _TCPDUMP.fullmatch(bare)) else bare


def _number(name: str) -> int:
    bare = _COMPRESSED.sub("", name)
    found = _DUMPCAP.fullmatch(bare) or _TCPDUMP.fullmatch(bare)
    return int(found[2] or 0) if found else 0


def _are_halves(ends: Ends, others: Ends) -> bool:
    """Whether each of the two files has one direction of the same connection, and the numbers
    fit."""
    for key, (seq, ack) in ends.items():
        back = reversed_key(key)
        if back in others and back not in ends and key not in others:
            other_seq, other_ack = others[back]
            if abs(distance(ack, other_seq)) < _NEAR and abs(distance(other_ack, seq)) < _NEAR:
                return True
    return False


def _ends(name: str) -> Ends | None:
    """The connections at the beginning of a packet file; None for any other file."""
    if not os.path.isfile(name):
        return None
    ends: Ends = {}
    try:
        one = Input(name)
    except PgTraceError:
        return None
    try:
        packets, segments, left = PacketReader(), SegmentReader(), LOOKED_AT_BYTES
        if not one.first.startswith(MAGICS):
            return None
        while left > 0 and (data := one.read()):
            left -= len(data)
            for _, key, seq, ack, flags, _, _ in segments.feed(packets.feed(data)):
                if flags & ACK:
                    ends.setdefault(key, (seq, ack))
    finally:
        one.close()
    return ends
