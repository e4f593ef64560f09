"""Packets as they come: in any order, both directions apart in files or in time, each of them
twice, in pieces. They count as they would in one good file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.capture import order
from pgtrace.capture.importing import Import
from pgtrace.capture.order import TimeOrder
from pgtrace.capture.pieces import recordings
from pgtrace.capture.record import Data, Gap
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import Sent, Talk, talk_of
from tests.capture.packet_reading import SAMPLES, converted, counted, counted_capture
from tests.corpus import NIGHTLY
from tests.playbook import MS

SCRIPT = "\n".join(
    ["0 F StartupMessage user=app", "2 B AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I"]
    + [f"{10 + 5 * turn} F Query SELECT {turn}\n{12 + 5 * turn} B CommandComplete SELECT 1 | ReadyForQuery I" for turn in range(200)]
    + ["1100 F Terminate", "1101 c1 close F"]
)
"""200 round trips of 2 ms each, every 5 ms."""
WHOLE = talk_of(SCRIPT)


def halves(talk: Talk = WHOLE) -> tuple[list[Sent], list[Sent]]:
    """What the client sent, and what the server did."""
    return [one for one in talk.sent if one.source == talk.client], [one for one in talk.sent if one.source == talk.server]


def later(sent: list[Sent], by_ns: int) -> list[Sent]:
    return [Sent(one.time_ns + by_ns, one.source, one.destination, one.seq, one.ack, one.flags, one.payload, one.options) for one in sent]


def file_of(sent: list[Sent]) -> bytes:
    return forge.pcap(forge.frames(sent))


def durations_ms(data: bytes) -> list[float]:
    """From each request to its answer, after start-up."""
    records = [record for record in converted(data)[0] if isinstance(record, Data)][2:-1]
    return [(answer.time_ns - asked.time_ns) / 1e6 for asked, answer in zip(records[::2], records[1::2], strict=True)]


EXPECTED = counted(file_of(WHOLE.sent))


def test_what_is_expected() -> None:
    assert EXPECTED["totals"]["round_trips"] == 200
    assert EXPECTED["capture"]["complete"]


@pytest.mark.parametrize("turned", [False, True])
def test_one_direction_behind_the_other(turned: bool) -> None:
    """As `cat` or `mergecap -a` puts files together."""
    sides = halves()[:: -1 if turned else 1]
    assert counted(file_of([*sides[0], *sides[1]])) == EXPECTED


@settings(max_examples=300 if NIGHTLY else 12)
@given(st.randoms(use_true_random=False))
def test_any_order(chance: random.Random) -> None:
    mixed = list(WHOLE.sent)
    chance.shuffle(mixed)
    records, pcap = converted(file_of(mixed))
    assert records == converted(file_of(WHOLE.sent))[0] or not [record for record in records if isinstance(record, Gap)]
    assert counted(file_of(mixed)) == EXPECTED
    assert pcap.notes() == []


def test_beyond_its_memory_packets_out_of_order_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "HELD_BYTES", 20_000)
    monkeypatch.setattr(order, "_PIECE_BYTES", 2_000)
    client, server = halves()
    _, pcap = converted(file_of([*client, *server]), piece=1000)
    assert pcap.order.late > 100
    assert any("sort the file with `reordercap`" in note for note in pcap.notes())
    assert converted(file_of(WHOLE.sent), piece=1000)[1].order.late == 0


@given(st.lists(st.lists(st.integers(0, 1000), max_size=30), max_size=10))
def test_what_fits_comes_out_in_order_and_nothing_is_lost(batches: list[list[int]]) -> None:
    held = TimeOrder()
    out = []
    for batch in batches:
        held.add([(time_ns, 1, b"x", 1) for time_ns in batch])
        out += held.ready()
    while rest := held.drain():
        out += rest
    assert [packet[0] for packet in out] == sorted(time_ns for batch in batches for time_ns in batch)
    assert held.late == 0


# Clocks.


@pytest.mark.parametrize("skew_ms", [-1000, -50, 50, 1000])
@pytest.mark.parametrize("handshake", [True, False])
def test_directions_that_are_apart_in_time(skew_ms: int, handshake: bool) -> None:
    """Nothing is lost, and no answer takes a second because a clock does. It is said."""
    client, server = halves()
    sent = sorted([*client, *later(server, skew_ms * MS)], key=lambda one: one.time_ns)
    if not handshake and skew_ms != -1000:  # then nothing tells for a second that it has begun: it is joined in the middle
        sent = [one for one in sent if not one.flags & forge.SYN]
    data = file_of(sent)
    assert counted(data)["totals"]["round_trips"] == 200
    records, pcap = converted(data)
    assert not [record for record in records if isinstance(record, Gap)]
    found = durations_ms(data)
    assert all(0 <= duration <= 5.1 for duration in found)
    assert any("ms apart: aligned" in note for note in pcap.notes())
    assert abs(pcap.conversations.apart_ns / 1e6 - abs(skew_ms)) <= 5


def test_no_alignment_where_nothing_is_wrong() -> None:
    """Packets that were sent again, or that processors mixed up, are no other clock."""
    mixed = [*WHOLE.sent[:41], *later(WHOLE.sent[40:], 200 * MS)]  # the 40th did not arrive and was sent again
    for place in range(10, len(mixed) - 1, 7):
        first, second = mixed[place : place + 2]
        mixed[place : place + 2] = [*later([second], first.time_ns - second.time_ns - 1000), first]
    _, pcap = converted(file_of(mixed))
    assert pcap.conversations.apart == 0
    assert durations_ms(file_of(WHOLE.sent)) == [2.0] * 200


# Twice.


def translated(sent: list[Sent], address: tuple[str, int], *, client: bool = False) -> list[Sent]:
    """The same packets behind address translation, a few microseconds later."""
    old = WHOLE.client if client else WHOLE.server
    move = {old: address}
    return [
        Sent(
            one.time_ns + 4000,
            move.get(one.source, one.source),
            move.get(one.destination, one.destination),
            one.seq,
            one.ack,
            one.flags,
            one.payload,
        )
        for one in sent
    ]


@pytest.mark.parametrize("joined", [0, 7])
@pytest.mark.parametrize("client", [False, True])
def test_translated_addresses(joined: int, client: bool) -> None:
    """Also where it was joined in the middle; then each pair of addresses is known by its port."""
    sent = WHOLE.sent[joined:]
    both = sorted([*sent, *translated(sent, ("172.17.0.2", 5432), client=client)], key=lambda one: one.time_ns)
    assert counted(file_of(both)) == counted(file_of(sent))
    (note,) = converted(file_of(both))[1].notes()
    assert "1 connections appear twice" in note
    assert "counted once" in note


def test_translated_twice_and_what_one_copy_lacks_the_other_has() -> None:
    copies = [WHOLE.sent, translated(WHOLE.sent, ("172.17.0.2", 5432)), translated(WHOLE.sent, ("172.18.0.9", 6543))]
    thinned = [[one for place, one in enumerate(copy) if place < 6 or place % 3 != number] for number, copy in enumerate(copies)]
    both = sorted((one for copy in thinned for one in copy), key=lambda one: one.time_ns)
    assert counted(file_of(both)) == EXPECTED


def test_each_packet_twice_between_the_same_addresses() -> None:
    both = sorted([*WHOLE.sent, *later(WHOLE.sent, 3000)], key=lambda one: one.time_ns)
    assert counted(file_of(both)) == EXPECTED
    (note,) = converted(file_of(both))[1].notes()
    assert "packets appear more than once" in note


def test_two_sessions_that_do_the_same_are_two() -> None:
    """The same bytes at the same time, to two servers: but numbers of their own."""
    other = talk_of(SCRIPT, Talk(server=("10.0.0.3", 5432), numbers=(77, 88)))
    both = sorted([*WHOLE.sent, *other.sent], key=lambda one: one.time_ns)
    assert counted(file_of(both))["totals"]["round_trips"] == 400


# Files.


def read(directory: Path, files: dict[str, bytes]) -> list[tuple[list[str], dict]]:
    """What each recording among files counts."""
    for name, data in files.items():
        (directory / name).write_bytes(data)
    found = []
    for number, (name, *beside) in enumerate(recordings([str(directory / name) for name in files])):
        out = directory / f"out{number}"
        with Import(name, str(out), beside=beside) as one:
            while one.step():
                continue
        found.append(([Path(path).name for path in (name, *beside)], counted_capture(out)))
    return found


@pytest.mark.parametrize(
    "names",
    [
        ("a.pcap0", "a.pcap1", "a.pcap2"),
        ("a.pcap", "a.pcap1", "a.pcap2"),
        ("a.pcap2", "a.pcap0", "a.pcap1"),
        ("a.pcap09", "a.pcap10", "a.pcap11"),
        ("a_00001_20261129082112.pcapng", "a_00002_20261129082113.pcapng", "a_00003_20261129082114.pcapng"),
    ],
)
def test_pieces_of_a_ring_buffer(names: tuple[str, ...], tmp_path: Path) -> None:
    pieces = [file_of(WHOLE.sent[start : start + 140]) for start in range(0, len(WHOLE.sent), 140)]
    files = dict(zip(sorted(names), pieces, strict=True))
    found = read(tmp_path, {name: files[name] for name in names})
    assert found == [(sorted(names), EXPECTED)]


def test_a_piece_in_the_middle_is_not_complete(tmp_path: Path) -> None:
    ((_, seen),) = read(tmp_path, {"a.pcap1": file_of(WHOLE.sent[140:280])})
    assert seen["totals"]["round_trips"] > 50
    assert not seen["capture"]["complete"]


@pytest.mark.parametrize("skew_ms", [0, 700])
def test_both_directions_in_files_of_their_own(skew_ms: int, tmp_path: Path) -> None:
    client, server = halves()
    ((names, seen),) = read(tmp_path, {"rx.pcap": file_of(client), "tx.pcap": file_of(later(server, skew_ms * MS))})
    assert names == ["rx.pcap", "tx.pcap"]
    assert seen["totals"]["round_trips"] == 200


def test_recordings_of_their_own_stay_apart(tmp_path: Path) -> None:
    """Two of the same work between the same ports, two by another name, and what is no packets."""
    again = talk_of(SCRIPT, Talk(numbers=(500_000_000, 2_000_000_000)))
    files = {
        "run1.pcap": file_of(WHOLE.sent),
        "run2.pcap": file_of(again.sent),
        "rx.pcap": file_of(halves()[0]),
        "tx.pcap": file_of(halves(again)[1]),
    }
    assert [names for names, _ in read(tmp_path, files)] == [[name] for name in files]
    assert recordings(["-", "nowhere.pcap1", "nowhere.pcap2"]) == [["-"], ["nowhere.pcap1"], ["nowhere.pcap2"]]


def test_a_sample_in_pieces_by_bytes_of_the_wire(tmp_path: Path) -> None:
    """A real one: whatever tcpdump -C makes of it."""
    head, packets = forge.split((SAMPLES / "asyncpg.pcap").read_bytes())
    middle = len(packets) // 2
    ((_, seen),) = read(tmp_path, {"x.pcap0": head + b"".join(packets[:middle]), "x.pcap1": head + b"".join(packets[middle:])})
    assert seen == counted((SAMPLES / "asyncpg.pcap").read_bytes())
