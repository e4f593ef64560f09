"""Packets come out of every kind of file that tcpdump and Wireshark write, however its bytes arrive and wherever it ends."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.packets import LONGEST_PACKET, PacketReader
from tests.capture import packet_forge as forge

TIME_NS = 1_700_000_000_123_456_789
PACKETS = [(TIME_NS, b"first packet"), (TIME_NS + 1_000_000, b"2nd"), (TIME_NS + 2_000_000, bytes(70_000)), (TIME_NS + 2_000_001, b"")]


def read(data: bytes, piece: int | None = None) -> tuple[list[tuple[int, int, bytes, int]], PacketReader]:
    reader = PacketReader()
    found = []
    for start in range(0, len(data), piece or max(len(data), 1)):
        found += reader.feed(data[start : start + (piece or len(data))])
    reader.finish()
    return found, reader


FILES = {
    "pcap": forge.pcap(PACKETS, nanoseconds=True),
    "pcap, big-endian": forge.pcap(PACKETS, nanoseconds=True, order=">"),
    "pcapng": forge.pcapng(PACKETS),
    "pcapng, big-endian": forge.pcapng(PACKETS, order=">"),
}


@pytest.mark.parametrize("piece", [None, 1, 7, 4096])
@pytest.mark.parametrize("name", FILES)
def test_all_packets_with_their_times(name: str, piece: int | None) -> None:
    found, reader = read(FILES[name][:400] if piece == 1 else FILES[name], piece)
    expected = [(time_ns, 1, data, len(data)) for time_ns, data in PACKETS]
    assert found == (expected[:2] if piece == 1 else expected)
    assert not reader.damaged
    assert reader.packets == len(found)


def test_a_pcap_in_microseconds() -> None:
    found, _ = read(forge.pcap(PACKETS))
    assert [time_ns for time_ns, *_ in found[:2]] == [TIME_NS // 1000 * 1000, (TIME_NS + 1_000_000) // 1000 * 1000]


def test_a_packet_that_was_cut_says_how_long_it_was() -> None:
    found, _ = read(forge.pcap(PACKETS, longest=10))
    assert [(data, size) for _, _, data, size in found] == [(b"first pack", 12), (b"2nd", 3), (bytes(10), 70_000), (b"", 0)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_gives_every_packet_before(name: str) -> None:
    whole, _ = read(FILES[name])
    for size in [*range(200), len(FILES[name]) - 1]:
        found, reader = read(FILES[name][:size])
        assert found == whole[: len(found)]
        assert not reader.damaged
        assert bool(reader.lost_bytes) == (size not in _ends(name))


def _ends(name: str) -> set[int]:
    """Where a file may end without losing anything."""
    parts = [FILES[name][:24], *(forge.pcap([one])[24:] for one in PACKETS)]
    if name.startswith("pcapng"):
        order = ">" if "big" in name else "<"
        parts = [forge.section(order), forge.interface(order=order, resolution=9), *(forge.enhanced(*one, order=order) for one in PACKETS)]
    ends = {0}
    total = 0
    for part in parts:
        total += len(part)
        ends.add(total)
    return ends


@pytest.mark.parametrize(
    ("resolution", "ticks", "offset_s", "time_ns"),
    [
        (None, 1_700_000_000_000_001, 0, 1_700_000_000_000_001_000),
        (3, 1_700_000_000_001, 0, 1_700_000_000_001_000_000),
        (9, 1_700_000_000_000_000_001, 0, 1_700_000_000_000_000_001),
        (12, 1_700_000_000_000_000_001, 0, 1_700_000_000_000_000),
        (0x80 | 20, (5 << 20) + (1 << 19), 0, 5_500_000_000),
        (9, 7, 1_700_000_000, 1_700_000_000_000_000_007),
        (0, 1 << 63, 0, 0),
    ],
)
def test_every_interface_has_its_own_clock(resolution: int | None, ticks: int, offset_s: int, time_ns: int) -> None:
    data = forge.section() + forge.interface(101, resolution=resolution, offset_s=offset_s) + forge.enhanced(ticks, b"x")
    assert read(data)[0] == [(time_ns, 101, b"x", 1)]


def test_several_interfaces_sections_and_byte_orders() -> None:
    first = (
        forge.section() + forge.interface(1, resolution=9) + forge.interface(276) + forge.enhanced(5, b"a", 1) + forge.enhanced(6, b"b", 0)
    )
    second = forge.section(">") + forge.interface(101, order=">") + forge.enhanced(7, b"c", order=">")
    assert read(first + second)[0] == [(5000, 276, b"a", 1), (6, 1, b"b", 1), (7000, 101, b"c", 1)]


@pytest.mark.parametrize("piece", [None, 1])
def test_blocks_of_other_kinds(piece: int | None) -> None:
    """Simple and old packet blocks are read, decryption secrets and whatever is unknown are skipped, dropped packets are counted."""
    data = forge.section() + forge.interface(1, longest=4)
    data += forge.block(10, b"secrets of TLS") + forge.block(0x0BAD, b"custom")
    data += forge.enhanced(3, b"one") + forge.block(3, struct.pack("<I", 9) + b"fouronly"[:4])
    data += forge.block(2, struct.pack("<HHIIII", 0, 0, 0, 4, 3, 3) + b"old")
    for dropped in (2, 5):
        data += forge.block(5, struct.pack("<III", 0, 0, 9) + forge.options([(5, struct.pack("<Q", dropped)), (4, bytes(8))]))
    found, reader = read(data, piece)
    assert found == [(3000, 1, b"one", 3), (3000, 1, b"four", 9), (4000, 1, b"old", 3)]
    assert reader.dropped == 5


DAMAGED = {
    "no such packet": forge.pcap(PACKETS[:1]) + struct.pack("<IIII", 0, 0, LONGEST_PACKET + 1, 5) + b"rest",
    "no such block": forge.pcapng(PACKETS[:1]) + struct.pack("<II", 6, 5) + b"rest of the file",
    "no such interface": forge.pcapng(PACKETS[:1]) + forge.enhanced(1, b"x", 3),
    "packet longer than its block": forge.pcapng(PACKETS[:1]) + forge.block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + b"short"),
    "no byte order": forge.pcapng(PACKETS[:1]) + forge.block(0x0A0D0D0A, bytes(16)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_where_a_length_makes_no_sense_reading_ends(name: str) -> None:
    found, reader = read(DAMAGED[name] + b"more")
    assert [data for _, _, data, _ in found] == [b"first packet"]
    assert reader.damaged
    assert reader.lost_bytes == len(DAMAGED[name]) + 4 - len((forge.pcap if name == "no such packet" else forge.pcapng)(PACKETS[:1]))


@given(st.sampled_from([*FILES.values()]), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=8), st.integers(1, 90))
def test_no_bytes_raise(data: bytes, changes: list[tuple[int, int]], piece: int) -> None:
    changed = bytearray(data[:400])
    for place, value in changes:
        changed[place] = value
    whole, _ = read(bytes(changed))
    assert read(bytes(changed), piece)[0] == whole
