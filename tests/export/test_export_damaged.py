"""Packets of real sessions, cut, mixed, repeated, lost and damaged: nothing raises, nothing is
counted that did not happen, and what is missing is told.

The sessions are recorded ones that have what a plain query has not: cancels, COPY, errors,
pipelines, notifications. tests/capture/test_capture_pcap.py does the same with what tcpdump itself
wrote.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgtrace.capture.ip import SegmentReader, reversed_key
from pgtrace.capture.packets import PacketReader
from pgtrace.export.pcapng import export
from pgtrace.trace.trace import Trace
from tests.capture.packet_reading import counted

CAPTURES = Path(__file__).parents[2] / "captures"
NAMES = (
    "asyncpg/cancel", "asyncpg/copy_in", "asyncpg/executemany", "asyncpg/failure", "asyncpg/notify", "psycopg/cancel", "psycopg/copy_out",
    "psycopg/executemany", "psycopg/failure", "psycopg/pipeline", "psycopg2/failure", "pg8000/copy_in", "pg8000/failure", "psql/cancel",
)  # fmt: skip
PLACES = 30
"""Places that are tried of each; all of them where there are no more."""


class Packets:
    """A capture as packets: what the file begins with, each packet, and what it ends with."""

    def __init__(self, name: str) -> None:
        trace = Trace.open([CAPTURES / f"{name}.pgtrace"])
        while trace.update():
            continue
        pieces = [piece.content for piece in export(trace)]
        trace.close()
        self.head, self.end = b"".join(pieces[:2]), pieces[-1]
        self.packets = list(blocks(b"".join(pieces[2:-1])))
        segments = [segment for packet in self.packets for segment in SegmentReader().feed(PacketReader().feed(self.head + packet))]
        self.sizes = [len(segment[5]) for segment in segments]
        ends = [frozenset((segment[1], reversed_key(segment[1]))) for segment in segments]
        self.lasts = {len(ends) - 1 - ends[::-1].index(pair) for pair in set(ends)}
        """Places of packets behind which none of their conversation follows: nothing would tell that they are missing."""
        self.truth = self.counted(self.packets)

    def counted(self, packets: list[bytes], *, end: bool = True) -> dict[str, Any]:
        return counted(self.head + b"".join(packets) + (self.end if end else b""))

    def places(self) -> list[int]:
        """All packets, or some of a long session: the start-up, and others evenly."""
        if len(self.packets) <= PLACES:
            return list(range(len(self.packets)))
        return [*range(15), *range(15, len(self.packets), -(-(len(self.packets) - 15) // (PLACES - 15)))]


def blocks(data: bytes) -> Iterator[bytes]:
    """The blocks of a pcapng."""
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + size]
        position += size


def flat(totals: dict[str, Any]) -> dict[str, int]:
    """Every counter; messages by their names."""
    found = {}
    for name, value in totals.items():
        found |= {f"{name} {message}": count for message, count in value.items()} if isinstance(value, dict) else {name: value}
    return found


def excess(seen: dict[str, Any], truth: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The counters that say more than what happened."""
    expected = flat(truth["totals"])
    return {name: (count, expected.get(name, 0)) for name, count in flat(seen["totals"]).items() if count > expected.get(name, 0)}


@pytest.fixture(scope="module", params=NAMES)
def session(request: pytest.FixtureRequest) -> Packets:
    return Packets(request.param)


@pytest.mark.sampled(2)
def test_any_one_packet_lost(session: Packets) -> None:
    """One that carried data is a gap of its size, where anything behind it tells so; any other changes nothing."""
    for place in session.places():
        seen = session.counted(session.packets[:place] + session.packets[place + 1 :])
        size = session.sizes[place]
        if size and place in session.lasts:
            assert excess(seen, session.truth) == {}, place
            assert seen["totals"]["frontend_bytes"] == session.truth["totals"]["frontend_bytes"] - size
        elif size:
            assert (seen["capture"]["gaps"], seen["capture"]["dropped_bytes"], seen["capture"]["complete"]) == (1, size, False), place
            assert excess(seen, session.truth) == {}, place
            for side in ("frontend_bytes", "backend_bytes"):
                assert seen["totals"][side] in (session.truth["totals"][side], session.truth["totals"][side] - size)
        else:
            assert seen == session.truth, place


@pytest.mark.sampled(2)
def test_cut_at_any_packet(session: Packets) -> None:
    before: dict[str, int] = {}
    for place in session.places():
        seen = session.counted(session.packets[:place], end=False)
        assert excess(seen, session.truth) == {}, place
        now = flat(seen["totals"])
        fewer = {name for name, count in before.items() if now.get(name, 0) < count}
        assert fewer <= {"statements_live"}, place
        before = now
    assert session.counted(session.packets, end=False) == session.truth


def test_in_another_order(session: Packets) -> None:
    for seed in range(8):
        chance = random.Random(seed)
        reach = chance.choice((2, 3, 5, 8, 12))
        mixed = list(session.packets)
        for start in range(0, len(mixed), reach):
            some = mixed[start : start + reach]
            chance.shuffle(some)
            mixed[start : start + reach] = some
        assert session.counted(mixed) == session.truth, f"seed {seed}"


def test_some_or_all_twice(session: Packets) -> None:
    assert session.counted([one for packet in session.packets for one in (packet, packet)]) == session.truth
    assert session.counted(session.packets * 2) == session.truth
    chance = random.Random(4)
    mixed: list[bytes] = []
    for packet in session.packets:
        mixed.append(packet)
        if chance.random() < 0.3:
            mixed.insert(max(0, len(mixed) - chance.randrange(8)), packet)
    assert session.counted(mixed) == session.truth


@pytest.mark.sampled(2)
def test_many_packets_lost(session: Packets) -> None:
    for seed in range(8):
        chance = random.Random(seed)
        kept = [place for place in range(len(session.packets)) if chance.random() > 0.2]
        seen = session.counted([session.packets[place] for place in kept])
        lost = sum(session.sizes[place] for place in set(range(len(session.packets))) - set(kept))
        assert excess(seen, session.truth) == {}, f"seed {seed}"
        assert seen["capture"]["dropped_bytes"] <= lost
        assert seen["capture"]["complete"] is not bool(seen["capture"]["gaps"])


@pytest.mark.sampled(2)
def test_damaged_bytes(session: Packets) -> None:
    """Anywhere, in headers as in what passed: it is read to some end. The times stay, for a file may say any."""
    data = bytearray(session.head + b"".join(session.packets) + session.end)
    for seed in range(25):
        chance = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 3, 30))):
            damaged[chance.randrange(len(session.head), len(damaged))] = chance.randrange(256)
        assert counted(bytes(damaged))["capture"]["connections"] >= 0
