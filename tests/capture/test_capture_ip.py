"""TCP segments come out of every link type, both IP versions and their fragments, and no packet raises."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.fragments import FRAGMENTS_BYTES
from pgtrace.capture.ip import DEEPEST, SegmentReader, ports, reversed_key, source
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import ACK, FIN, PSH, Sent

FOUR = Sent(5, ("10.1.2.3", 40001), ("10.4.5.6", 5432), 2**32 - 2, 77, PSH | ACK, b"Q\0\0\0\x0eselect 1\0", b"\1\1\1\0")
SIX = Sent(5, ("fd00::1", 40001), ("::1", 6543), 1000, 77, FIN | ACK, b"X\0\0\0\4")


def read(
    *packets: bytes, link_type: int = 1, size: int | None = None
) -> tuple[list[tuple[str, str, int, int, int, bytes, int]], SegmentReader]:
    """(source, destination, seq, ack, flags, payload, missing) of each segment."""
    reader = SegmentReader()
    segments = reader.feed((5, link_type, packet, size or len(packet)) for packet in packets)
    assert {time_ns for time_ns, *_ in segments} <= {5}
    return [(source(key), source(reversed_key(key)), *rest) for _, key, *rest in segments], reader  # type: ignore[misc]


def expected(sent: Sent) -> tuple[str, str, int, int, int, bytes, int]:
    ends = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (sent.source, sent.destination)]
    return (ends[0], ends[1], sent.seq, sent.ack, sent.flags, sent.payload, 0)


@pytest.mark.parametrize("sent", [FOUR, SIX], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("link", forge.LINKS)
def test_every_link(link: str, sent: Sent) -> None:
    number, make = forge.LINKS[link]
    assert read(make(forge.ip(sent)), link_type=number)[0] == [expected(sent)]


@pytest.mark.parametrize(("number", "sent"), [(228, FOUR), (229, SIX)])
def test_links_of_one_version(number: int, sent: Sent) -> None:
    assert read(forge.ip(sent), link_type=number)[0] == [expected(sent)]


def test_an_empty_segment_and_ethernets_padding() -> None:
    bare = Sent(5, ("10.1.2.3", 1), ("10.4.5.6", 2), 1, 2, ACK)
    frame = forge.ethernet(forge.ipv4(bare))
    assert len(frame) == 60
    assert read(frame)[0] == [expected(bare)]


def test_ip_options() -> None:
    assert read(forge.ethernet(forge.ipv4(FOUR, options=b"\x94\4\0\0")))[0] == [expected(FOUR)]


HOP_BY_HOP = (0, b"\0\1\4\0\0\0\0")
ROUTING = (43, b"\2\0\0" + bytes(20))
DESTINATION = (60, b"\0\1\4\0\0\0\0")
AUTHENTICATION = (51, b"\4" + bytes(22))


@pytest.mark.parametrize("extensions", [[HOP_BY_HOP], [HOP_BY_HOP, ROUTING, DESTINATION], [AUTHENTICATION], [(44, b"\0\0\0\0\0\0\7")]])
def test_extension_headers(extensions: list[tuple[int, bytes]]) -> None:
    assert read(forge.ethernet(forge.ipv6(SIX, extensions=extensions)))[0] == [expected(SIX)]


def test_a_length_of_0_goes_to_the_end() -> None:
    """What a card was to cut into packets of its own (TSO) can be longer than the header can say."""
    large = Sent(5, ("10.1.2.3", 1), ("10.4.5.6", 2), 1, 2, ACK, bytes(70_000))
    frame = forge.ethernet(forge.ipv4(large, length=0))
    assert read(frame)[0] == [expected(large)]
    assert read(frame[:1000], size=len(frame))[0][0][5:] == (bytes(1000 - 54), 70_000 - (1000 - 54))


@pytest.mark.parametrize("kept", [48, 54, 58, 66, 71])
def test_a_packet_that_was_cut_says_how_much_is_missing(kept: int) -> None:
    frame = forge.ethernet(forge.ipv4(FOUR))
    found, reader = read(frame[:kept], size=len(frame))
    payload = frame[58:kept]
    assert found == [(*expected(FOUR)[:5], payload, len(FOUR.payload) - len(payload))]
    assert reader.cut == 1


def test_a_packet_cut_within_its_headers() -> None:
    frame = forge.ethernet(forge.ipv4(FOUR))
    for kept in range(48):  # behind that are checksum and options, which nobody needs
        found, reader = read(frame[:kept], size=len(frame))
        assert (found, reader.others, reader.cut) == ([], 1, 1)


# Tunnels.


@pytest.mark.parametrize("name", forge.TUNNELS)
@pytest.mark.parametrize("sent", [FOUR, SIX], ids=["IPv4", "IPv6"])
def test_every_tunnel(name: str, sent: Sent) -> None:
    found, reader = read(forge.TUNNELS[name](forge.ip(sent)))
    assert found == [expected(sent)]
    assert not reader.closed


def test_a_tunnel_whose_packets_are_in_fragments() -> None:
    """Where the tunnel makes packets longer than the network takes, it is the outer ones that are cut."""
    pieces = forge.carrier_fragments(17, forge.udp(4789, forge.VXLAN_HEAD + forge.bare_ethernet(forge.ip(FOUR))), size=24)
    assert len(pieces) > 2
    assert read(*pieces[::-1], link_type=101)[0] == [expected(FOUR)]


CLOSED = {
    "IPsec ESP": forge.carrier(50, bytes(80)),
    "L2TP": forge.carrier(17, forge.udp(1701, bytes(80))),
    "WireGuard": forge.carrier(17, forge.udp(51820, b"\4" + bytes(79))),
    "GRE of type 0x0001": forge.carrier(47, b"\0\0\0\1" + bytes(40)),
    "GRE version 5": forge.carrier(47, b"\0\5\x08\0" + bytes(40)),
    "GENEVE": forge.carrier(17, forge.udp(6081, b"\0\0\x12\x34" + bytes(40))),
    "NSH": forge.carrier(47, b"\0\0\x89\x4f" + bytes(40)),
    "VXLAN": forge.carrier(17, forge.udp(4789, bytes(40))),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_tunnel_that_is_not_looked_into_is_named(name: str) -> None:
    found, reader = read(CLOSED[name], link_type=101)
    assert (found, dict(reader.closed), reader.others) == ([], {name: 1}, 1)


def test_tunnels_in_tunnels_have_an_end() -> None:
    packet = forge.ip(FOUR)
    for _ in range(DEEPEST - 1):
        packet = forge.carrier(4, packet)
    assert read(packet, link_type=101)[0] == [expected(FOUR)]
    found, reader = read(forge.carrier(4, packet), link_type=101)
    assert (found, dict(reader.closed)) == ([], {f"more than {DEEPEST} tunnels": 1})


# Fragments.


@pytest.mark.parametrize("pieces", [forge.ipv4_fragments(FOUR), forge.ipv6_fragments(SIX)], ids=["IPv4", "IPv6"])
def test_fragments_in_any_order(pieces: list[bytes]) -> None:
    sent = FOUR if pieces[0][0] >> 4 == 4 else SIX
    for order in (pieces, pieces[::-1], [pieces[0], *pieces], [*pieces[1:], pieces[0]]):
        assert read(*order, link_type=101)[0] == [expected(sent)]


def test_fragments_of_two_packets_at_once() -> None:
    other = Sent(5, FOUR.source, FOUR.destination, 5, 6, ACK, b"another")
    mixed = [one for pair in zip(forge.ipv4_fragments(FOUR), forge.ipv4_fragments(other, number=8), strict=False) for one in pair]
    assert read(*mixed, link_type=101)[0] == [expected(FOUR), expected(other)]


def test_overlapping_fragments() -> None:
    whole = FOUR.tcp
    first = forge.ipv4(FOUR, tcp=whole[:24], fragment=0x2000)
    second = forge.ipv4(FOUR, tcp=whole[16:], fragment=2)
    assert read(first, second, link_type=101)[0] == [expected(FOUR)]


def test_a_lost_or_cut_fragment_is_a_packet_less() -> None:
    pieces = forge.ipv4_fragments(FOUR)
    for missing in range(len(pieces)):
        assert read(*pieces[:missing], *pieces[missing + 1 :], link_type=101)[0] == []
    assert read(pieces[0], pieces[1][:-1], link_type=101)[0] == []


def test_fragments_that_never_become_whole_are_bounded() -> None:
    reader = SegmentReader()
    piece = bytes(1400)
    for number in range(FRAGMENTS_BYTES // 1000):
        reader.feed([(5, 101, forge.ipv4(FOUR, tcp=piece, fragment=0x2000, number=number), 1420)])
    assert reader._fragments._cost <= FRAGMENTS_BYTES
    assert len(reader._fragments._waiting) <= FRAGMENTS_BYTES // 1400


def test_time_for_fragments_is_linear() -> None:
    """Each fragment costs the same however many there are, also when they overlap and the packet never becomes whole."""

    def seconds(count: int) -> float:
        reader = SegmentReader()
        # All but the first unit, again and again from the end: each brings nothing new but the first time, and one is always missing.
        pieces = [forge.ipv4(FOUR, tcp=bytes(8), fragment=0x2000 * (place > 0) | 1 + (count - 1 - place)) for place in range(count)]
        packets = [(5, 101, piece, len(piece)) for piece in pieces * 4]
        begun = time.process_time()
        reader.feed(packets)
        return time.process_time() - begun

    seconds(500)
    assert min(seconds(4000) for _ in range(3)) < 24 * min(seconds(500) for _ in range(3))


# What is none.


def test_what_is_no_tcp_is_counted() -> None:
    udp = bytearray(forge.ethernet(forge.ipv4(FOUR)))
    udp[14 + 9] = 17
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    found, reader = read(bytes(udp), arp, forge.ethernet(forge.ipv6(SIX, extensions=[(59, b"")])))
    assert (found, reader.others) == ([], 3)


def test_a_link_that_cannot_be_read_is_named() -> None:
    found, reader = read(b"802.11", b"more", link_type=105)
    assert (found, dict(reader.unknown_links)) == ([], {105: 2})


def test_the_key_of_the_other_direction() -> None:
    reader = SegmentReader()
    ((_, key, *_),) = reader.feed([(5, 101, forge.ip(SIX), 65)])
    assert len(key) == 36
    assert reversed_key(reversed_key(key)) == key
    assert (ports(key), ports(reversed_key(key))) == ((40001, 6543), (6543, 40001))


FRAMES = [
    make(forge.ip(sent)) for make in [*(make for _, make in forge.LINKS.values()), *forge.TUNNELS.values()] for sent in (FOUR, SIX)
] + forge.ipv6_fragments(SIX)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(FRAMES), st.binary(max_size=80)),
            st.sampled_from([0, 1, 1, 9, 12, 51, 101, 108, 113, 149, 219, 228, 229, 258, 276, 147]),
            st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), max_size=4),
            st.integers(0, 100),
        ),
        max_size=6,
    )
)
def test_no_packet_raises(packets: list[tuple[bytes, int, list[tuple[int, int]], int]]) -> None:
    reader = SegmentReader()
    for data, link_type, changes, cut in packets:
        changed = bytearray(data)
        for place, value in changes:
            if place < len(changed):
                changed[place] = value
        for _, key, seq, ack, _, payload, missing in reader.feed([(1, link_type, bytes(changed[: max(0, len(changed) - cut)]), len(data))]):
            assert len(key) in (12, 36)
            assert 0 <= seq < 2**32 > ack >= 0
            assert missing >= 0
            assert len(payload) <= len(data) * len(packets)
