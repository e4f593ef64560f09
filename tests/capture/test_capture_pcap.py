"""What tcpdump saw counts like what a recorder saw at the same time, however its packets are mixed,
repeated, lost and cut; and it holds no secret.

The samples in tests/data/packets are one session each, seen by both at once (tests/live/packet_recording.py made them).
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from pgtrace.capture.pcap import is_startup
from pgtrace.capture.record import Close, Data, End, Gap, Opaque, Open, Resume
from pgtrace.protocol import startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import Talk, split, talk_of
from tests.capture.packet_reading import NAMES, SAMPLES, converted, counted, counted_capture, round_trips
from tests.capture.test_capture_redact import OFFER, SCRAM_TURNS, SECRETS, SSL_REQUEST, STARTUP
from tests.corpus import NIGHTLY
from tests.playbook import MS, WALL_NS, write

SCRIPT = """
0   F SSLRequest
2   B SSLRequestReply N
4   F StartupMessage user=app database=shop
6   B AuthenticationOk | ParameterStatus server_version 18.1 | BackendKeyData 1 7777 | ReadyForQuery I
10  F Parse s1 SELECT $1 | Bind - s1 params=42 | Execute - | Sync
12  B ParseComplete | BindComplete | DataRow 42 ×3 | CommandComplete SELECT 3 | ReadyForQuery I
20  F Query BEGIN
21  B CommandComplete BEGIN | ReadyForQuery T
30  F Bind - s1 params=43 | Execute - | Sync
32  B BindComplete | DataRow 43 | CommandComplete SELECT 1 | ReadyForQuery T
40  F Query SELECT bad
41  B ErrorResponse 42703 no | ReadyForQuery E
50  F Query ROLLBACK
51  B CommandComplete ROLLBACK | ReadyForQuery I
60  F Terminate
61  c1 close F
"""


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.pcap").read_bytes()


def port_of(name: str) -> int:
    """The port that was listened on."""
    (opened,) = (record for record in converted(sample(name))[0] if isinstance(record, Open))
    return int(opened.server.rpartition(":")[2])


def payload_bytes(packet: bytes) -> int:
    """TCP payload of a sample's packet, Ethernet and IPv4 without options."""
    total, words = struct.unpack_from(">16xH28xB", packet, 16)
    return total - 20 - (words >> 4) * 4


def every(packets: list[bytes], first: int = 0, by_day: int = 6) -> range:
    """The places of every sixth packet; in the nightly run of every third, and of all if they are few."""
    return range(first, len(packets), (1 if len(packets) <= 150 else 3) if NIGHTLY else by_day)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_are_samples() -> None:
    assert len(NAMES) >= 6


def bytes_apart(counts: dict[str, Any]) -> dict[str, Any]:
    """The bytes of all statements together: a Flush for which nothing is owed belongs to the round trip before or after it, and
    packets may cross where the recorder's reads did not."""
    statements = [dict(one) for one in counts["statements"]]
    for one in statements:
        one.pop("bytes_per_execution")
    sums = {key: sum(one.pop(key) for one in statements) for key in ("frontend_bytes", "backend_bytes")}
    return counts | {"statements": statements, "bytes": sums}


def test_it_counts_what_the_recorder_counted(name: str) -> None:
    seen = counted(sample(name))
    assert bytes_apart(seen) == bytes_apart(counted_capture(SAMPLES / f"{name}.pgtrace"))
    assert seen["totals"]["round_trips"] > 10
    assert seen["capture"]["complete"]


def test_one_record_a_packet_with_its_time(name: str) -> None:
    _, packets = split(sample(name))
    times = {struct.unpack_from("<II", packet) for packet in packets if payload_bytes(packet)}
    records = [record for record in converted(sample(name))[0] if isinstance(record, Data)]
    assert {divmod(record.time_ns // 1000, 1_000_000) for record in records} == times
    assert len(records) == sum(payload_bytes(packet) > 0 for packet in packets)


def test_in_any_pieces(name: str) -> None:
    whole = [record for record in converted(sample(name))[0] if not isinstance(record, Data)]
    for piece in (1, 100, 4096):
        assert [record for record in converted(sample(name), piece=piece)[0] if not isinstance(record, Data)] == whole


def test_packets_in_another_order(name: str) -> None:
    head, packets = split(sample(name))
    expected = counted(sample(name))
    for seed in range(12 if NIGHTLY else 5):
        chance = random.Random(seed)
        reach = chance.choice((2, 3, 5, 8, 12))
        mixed = list(packets)
        for start in range(0, len(mixed), reach):
            some = mixed[start : start + reach]
            chance.shuffle(some)
            mixed[start : start + reach] = some
        for named in ((), (port_of(name),)):
            assert counted(head + b"".join(mixed), named) == expected, f"seed {seed}"


@pytest.mark.parametrize("tunnel", sorted(forge.TUNNELS.keys() - {"LLC/SNAP"}))  # whose frames have 1,500 bytes at most
def test_through_a_tunnel(tunnel: str) -> None:
    _, packets = split(sample("asyncpg"))
    wrapped = [(struct.unpack_from("<II", packet), forge.TUNNELS[tunnel](packet[16 + 14 :])) for packet in packets]
    file = forge.pcap([(seconds * 10**9 + micros * 1000, frame) for (seconds, micros), frame in wrapped])
    assert counted(file) == counted(sample("asyncpg"))


@pytest.mark.sampled(2)
def test_packets_that_come_twice(name: str) -> None:
    head, packets = split(sample(name))
    expected = counted(sample(name))
    assert counted(head + b"".join(packet * 2 for packet in packets)) == expected
    assert counted(head + b"".join(packets * 2)) == expected
    chance = random.Random(name)
    mixed: list[bytes] = []
    for packet in packets:
        mixed.append(packet)
        if chance.random() < 0.3:
            mixed.insert(max(0, len(mixed) - chance.randrange(8)), packet)
    assert counted(head + b"".join(mixed)) == expected


@pytest.mark.sampled(2)
def test_any_one_packet_lost(name: str) -> None:
    """One that carried data is a gap of its size; any other changes nothing. Only what is missing makes the counts differ."""
    head, packets = split(sample(name))
    expected = counted(sample(name))
    for place in every(packets):
        seen = counted(head + b"".join(packets[:place] + packets[place + 1 :]))
        size = payload_bytes(packets[place])
        if size:
            assert (seen["capture"]["gaps"], seen["capture"]["dropped_bytes"]) == (1, size), f"packet {place}"
            totals, whole = seen["totals"], expected["totals"]
            assert totals["frontend_bytes"] + totals["backend_bytes"] + size == whole["frontend_bytes"] + whole["backend_bytes"]
            assert whole["round_trips"] - 3 <= totals["round_trips"] <= whole["round_trips"]
        else:
            assert seen == expected, f"packet {place}"


@pytest.mark.sampled(2)
def test_the_file_cut_at_every_packet(name: str) -> None:
    head, packets = split(sample(name))
    whole = counted(sample(name))["totals"]["round_trips"]
    before = 0
    for place in every(packets):
        seen = round_trips(head + b"".join(packets[:place]))
        assert before <= seen <= whole
        before = seen
    assert round_trips(sample(name)) == whole


@pytest.mark.sampled(2)
def test_joined_at_every_packet(name: str) -> None:
    """Nothing of a set-up is counted, nothing is called lost, and from the first idle moment on everything counts."""
    head, packets = split(sample(name))
    expected = counted(sample(name))["totals"]
    named = {port_of(name)}
    before = expected["round_trips"]
    start_up = next(place for place, packet in enumerate(packets) if b"user\0" in packet)
    for place in every(packets, start_up + 1, by_day=3):
        seen = counted(head + b"".join(packets[place:]), named)
        assert seen["capture"]["gaps"] == 0
        assert seen["totals"]["setup_round_trips"] == 0
        assert before - 3 <= seen["totals"]["round_trips"] <= before
        before = seen["totals"]["round_trips"]
        if seen["connections"]:
            assert [one["kind"] for one in seen["connections"]] == ["session"]


def test_the_file_cut_at_any_byte(name: str) -> None:
    data = sample(name)
    for size in range(0, len(data), 97):
        records, pcap = converted(data[:size])
        assert not pcap.pieces[0].damaged
        assert any(isinstance(record, End) for record in records) is not bool(pcap.pieces[0].lost_bytes)


# Sessions made up.


def test_a_script_counts_like_its_capture(tmp_path) -> None:
    expected = counted_capture(write(tmp_path / "script.pgtrace", SCRIPT + "end"))
    for link, (number, _) in forge.LINKS.items():
        for talk in (Talk(), Talk(("fd00::1", 40001), ("fd00::2", 5432))):
            made = talk_of(SCRIPT, talk, confirm=True)
            for file in (forge.pcap(forge.frames(made.sent, link), number), forge.pcapng(forge.frames(made.sent, link), number)):
                seen = counted(file)
                assert seen["totals"] == expected["totals"], link
                assert seen["capture"]["complete"]


@pytest.mark.parametrize("mss", [1, 5, 7, 64])
def test_messages_over_many_segments_and_numbers_that_wrap(mss: int, tmp_path) -> None:
    expected = counted_capture(write(tmp_path / "script.pgtrace", SCRIPT + "end"))
    made = talk_of(SCRIPT, Talk(mss=mss, numbers=(2**32 - 90, 2**32 - 130)))
    assert counted(forge.pcap(forge.frames(made.sent)))["totals"] == expected["totals"]


def test_fragments(tmp_path) -> None:
    expected = counted_capture(write(tmp_path / "script.pgtrace", SCRIPT + "end"))
    for talk, pieces in ((Talk(), forge.ipv4_fragments), (Talk(("::1", 40001), ("::1", 5432)), forge.ipv6_fragments)):
        made = talk_of(SCRIPT, talk)
        packets = [
            (one.time_ns, piece)
            for number, one in enumerate(made.sent)
            for piece in (forge.ipv4_fragments(one, number=number) if pieces is forge.ipv4_fragments else forge.ipv6_fragments(one))
        ]
        assert counted(forge.pcap(packets, 101))["totals"] == expected["totals"]


def test_times_are_the_packets() -> None:
    records, pcap = converted(forge.pcap(forge.frames(talk_of(SCRIPT).sent), nanoseconds=True))
    assert pcap.header is not None
    assert pcap.header.wall_ns == pcap.header.monotonic_ns
    data = [record for record in records if isinstance(record, Data)]
    assert [record.time_ns - WALL_NS for record in data[2:6]] == [4 * MS, 6 * MS, 10 * MS, 12 * MS]


def test_several_servers_and_ports_in_one_file() -> None:
    talks = [
        talk_of(SCRIPT, Talk(("10.0.0.1", 41000), ("10.0.0.2", 5432))),
        talk_of(SCRIPT, Talk(("10.0.0.1", 41000), ("10.0.0.3", 5432), numbers=(11, 12))),
        talk_of(SCRIPT, Talk(("10.0.0.1", 41000), ("10.0.0.2", 6432), numbers=(21, 22))),
        talk_of(SCRIPT, Talk(("fd00::1", 41000), ("fd00::2", 9999), numbers=(31, 32))),
    ]
    web = (
        Talk(("10.0.0.1", 41001), ("10.0.0.2", 8080))
        .open()
        .send(FRONTEND, b"GET / HTTP/1.1\r\n\r\n")
        .send(BACKEND, b"HTTP/1.1 200 OK\r\n\r\n")
        .close()
    )
    mixed = sorted((one for talk in [*talks, web] for one in talk.sent), key=lambda one: one.time_ns)
    records, pcap = converted(forge.pcap(forge.frames(mixed)))
    opened = [record for record in records if isinstance(record, Open)]
    assert {record.server for record in opened} == {"10.0.0.2:5432", "10.0.0.3:5432", "10.0.0.2:6432", "[fd00::2]:9999"}
    assert {record.client for record in opened} == {"10.0.0.1:41000", "[fd00::1]:41000"}
    assert [record.connection for record in opened] == [1, 2, 3, 4]
    assert sum(isinstance(record, Close) for record in records) == 4
    assert dict(pcap.conversations.others) == {8080: len(web.sent)}
    assert counted(forge.pcap(forge.frames(mixed)))["totals"]["round_trips"] == 4 * 5


def cancelled() -> tuple[Talk, Talk]:
    """A session, and the connection that cancels in it."""
    session = talk_of(SCRIPT)
    key = next(one.payload for one in session.sent if b"K\0\0\0\x0c" in one.payload).partition(b"K\0\0\0\x0c")[2][:8]
    cancel = Talk(("10.0.0.1", 40002), time_ns=session.time_ns).open().send(FRONTEND, SSL_REQUEST).send(BACKEND, b"N")
    cancel.send(FRONTEND, startup.CancelRequest(*struct.unpack(">I4s", key)).wire()).close()
    return session, cancel


def test_a_cancel_is_linked_to_its_session() -> None:
    """The key is hashed alike in both, and is in neither."""
    session, cancel = cancelled()
    key = next(one.payload for one in cancel.sent if len(one.payload) == 16)[8:]
    file = forge.pcap(forge.frames([*session.sent, *cancel.sent]))
    assert [(one["kind"], one["cancels"]) for one in counted(file)["connections"]] == [("session", None), ("cancel", 1)]
    assert not any(key[4:] in record.data for record in converted(file)[0] if isinstance(record, Data))


def test_without_its_syn_ack_a_connection_is_known_by_the_next_packet() -> None:
    """So it has its number, and its cancel key, before the one that refers to it."""
    session, cancel = cancelled()
    begin, rest = session.sent[:9], session.sent[9:]
    whole = counted(forge.pcap(forge.frames([*begin, *cancel.sent, *rest])))
    assert [(one["kind"], one["cancels"]) for one in whole["connections"]] == [("session", None), ("cancel", 1)]
    for handshake in (begin[:1], begin[:1] + begin[2:3]):
        assert counted(forge.pcap(forge.frames([*handshake, *begin[3:], *cancel.sent, *rest]))) == whole


def test_one_byte_lost_before_a_fin_is_no_fin() -> None:
    """The backend's N, the only byte it sends."""
    _, cancel = cancelled()
    lost = next(one for one in cancel.sent if one.payload == b"N")
    seen = counted(forge.pcap(forge.frames([one for one in cancel.sent if one is not lost])))
    assert (seen["capture"]["gaps"], seen["capture"]["dropped_bytes"]) == (1, 1)


# Joined in the middle, and after a loss.


def pooled(turns: int, *, mss: int = 65_000, sql: bytes = b"select 1") -> Talk:
    """A connection that was opened long ago: one query after the other."""
    made = Talk(mss=mss)
    query = b"Q" + (len(sql) + 5).to_bytes(4, "big") + sql + b"\0"
    for _ in range(turns):
        made.send(FRONTEND, query).send(BACKEND, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I").confirm(FRONTEND)
    return made


@pytest.mark.parametrize(("mss", "sql"), [(65_000, b"select 1"), (100, b"select " + b"x" * 950), (7, b"select 1")])
def test_a_pool_counts_from_its_first_idle_moment(mss: int, sql: bytes) -> None:
    """The first ReadyForQuery is that moment, also where every query takes several packets."""
    made = pooled(40, mss=mss, sql=sql)
    for skipped in range(1, 5):
        seen = counted(forge.pcap(forge.frames(made.sent[skipped:])))
        assert seen["totals"]["round_trips"] == (38 if skipped >= 2 and mss == 65_000 else 39)
        assert seen["totals"]["setup_round_trips"] == 0
        assert seen["capture"] == {"connections": 1, "complete": False, "gaps": 0, "dropped_bytes": 0}  # its beginning is not there


def test_a_pool_on_a_port_nobody_named_is_told() -> None:
    made = pooled(3)
    made.server = ("10.0.0.2", 6000)
    fresh = talk_of(SCRIPT, Talk(("10.0.0.9", 40001), ("10.0.0.2", 6000), time_ns=made.time_ns + MS))
    pool = [forge.Sent(one.time_ns, *((("10.0.0.1", 40001), made.server) if one.destination[1] == 5432 else (made.server, ("10.0.0.1",
    40001))),
            one.seq, one.ack, one.flags, one.payload) for one in made.sent]  # fmt: skip
    file = forge.pcap(forge.frames([*pool, *fresh.sent]))
    found, pcap = converted(file)
    assert pcap.connections == 1
    assert not any(isinstance(one, End) for one in found)  # what was left out is missing
    assert any(isinstance(one, End) for one in converted(forge.pcap(forge.frames(fresh.sent)))[0])
    assert any("--port 6000" in note for note in pcap.notes())
    assert converted(file, {6000})[1].connections == 2


def test_only_one_direction_was_captured() -> None:
    made = pooled(100)
    for side in (FRONTEND, BACKEND):
        sent = [one for one in made.sent if (one.source == made.client) == (side == FRONTEND)]
        seen = counted(forge.pcap(forge.frames(sent)))
        assert seen["capture"]["connections"] == 1
        assert seen["capture"]["gaps"]


def test_a_connection_that_ended_unseen_gives_way_to_the_next() -> None:
    """The same ports again, with a SYN; without one, by its start-up packet; and far away from every window."""
    first = talk_of(SCRIPT.replace("61  c1 close F", ""))
    for numbers, handshake in (((50_000, 70), True), ((first.next[0] + 500, 70), False), ((first.next[0] + 2**31 + 5, 70), False)):
        second = talk_of(SCRIPT, Talk(numbers=numbers, time_ns=first.time_ns + MS))
        records, _ = converted(forge.pcap(forge.frames(first.sent + second.sent[0 if handshake else 3 :])))
        assert [(record.connection, record.how) for record in records if isinstance(record, Close)] == [(1, "unseen"), (2, "FIN")]
        assert not any(isinstance(record, Gap) for record in records)


# Secrets.


def scram(**about) -> Talk:
    made = Talk(**about).open()
    for side, data in SCRAM_TURNS:
        made.send(side, data).confirm(1 - side)
    return made.send(FRONTEND, b"Q\0\0\0\x0dselect 1\0").send(BACKEND, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I").close()


def stored(data: bytes, named=(5432,)) -> bytes:
    return b"\n".join(record.data for record in converted(data, named)[0] if isinstance(record, Data))


@pytest.mark.parametrize("mss", [65_000, 9, 1])
def test_no_secret_of_a_start_up(mss: int) -> None:
    made = scram(mss=mss)
    kept = stored(forge.pcap(forge.frames(made.sent)))
    assert not any(secret in kept for secret in SECRETS)
    if mss > 9:
        assert all(public in kept for public in (b"alice", b"SCRAM-SHA-256", b"n,,*", b"select 1"))


def test_no_secret_whatever_is_lost() -> None:
    made = scram(mss=40)
    frames = forge.frames(made.sent)
    for place in range(len(frames)):
        for some in (frames[:place] + frames[place + 1 :], frames[place:], frames[:place] + frames[place + 3 :], frames[::-1][place:]):
            kept = stored(forge.pcap(some))
            assert not any(secret in kept for secret in SECRETS), f"packet {place}"


def test_no_secret_of_a_start_up_nobody_saw_behind_a_session_that_ended_unseen() -> None:
    """The ports were used again, and everything up to the password was lost."""
    first = talk_of(SCRIPT.replace("61  c1 close F", ""))
    second = scram(numbers=(first.next[0] + 90, first.next[1] + 90), time_ns=first.time_ns)
    for skipped in range(3, 12):
        kept = stored(forge.pcap(forge.frames(first.sent + second.sent[skipped:])))
        assert not any(secret in kept for secret in SECRETS), f"{skipped} packets lost"


def test_cut_packets_are_gaps_and_no_leak() -> None:
    frames = forge.frames(scram().sent)
    for longest in (68, 96, 128):
        records, pcap = converted(forge.pcap(frames, longest=longest))
        kept = b"\n".join(record.data for record in records if isinstance(record, Data))
        assert not any(secret[:3] in kept for secret in SECRETS)
        assert any(isinstance(record, Gap) for record in records)
        assert any("tcpdump -s 0" in note for note in pcap.notes())


def test_encrypted_connections_are_counted_only() -> None:
    made = Talk().open().send(FRONTEND, SSL_REQUEST).send(BACKEND, b"S")
    made.send(FRONTEND, b"\x16\x03\x01 hello, the secret").send(BACKEND, b"\x16\x03\x03 secret certificate").close()
    file = forge.pcap(forge.frames(made.sent))
    assert b"secret" not in stored(file)
    opaque = [(record.side, record.length) for record in converted(file)[0] if isinstance(record, Opaque)]
    assert opaque == [(FRONTEND, 21), (BACKEND, 22)]
    assert [one["kind"] for one in counted(file)["connections"]] == ["opaque"]


def test_what_is_encrypted_loses_nothing_by_missing_packets() -> None:
    """It is counted and not kept, so the numbers of the next packet say all there is to know; packets that are cut likewise."""
    made = Talk().open().send(FRONTEND, SSL_REQUEST).send(BACKEND, b"S")
    for _ in range(3):
        made.send(FRONTEND, bytes(100)).send(BACKEND, bytes(200)).confirm(FRONTEND)
    frames = forge.frames(made.close().sent)
    expected = counted(forge.pcap(frames))
    assert expected["capture"]["complete"]
    assert (expected["totals"]["frontend_bytes"], expected["totals"]["backend_bytes"]) == (8 + 300, 1 + 600)
    assert counted(forge.pcap(frames, longest=80)) == expected
    for place in range(5, 14):
        assert counted(forge.pcap(frames[:place] + frames[place + 1 :])) == expected, f"packet {place}"


def test_a_loss_within_what_is_encrypted_shows_nothing_of_it() -> None:
    made = Talk(mss=10).open().send(FRONTEND, SSL_REQUEST).send(BACKEND, b"S")
    made.send(FRONTEND, b"\x16\x03\x01 hello, the secret and more of it Z\0\0\0\5I").send(BACKEND, b"Z\0\0\0\5I").send(
        FRONTEND, b"secret Q"
    )
    for place in range(5, len(made.sent)):
        assert b"secr" not in stored(forge.pcap(forge.frames(made.sent[:place] + made.sent[place + 1 :])))


# What a driver begins with.


@pytest.mark.parametrize(
    ("payload", "judged"),
    [
        (STARTUP, True),
        (STARTUP[:20], True),
        (STARTUP[:9], None),
        (STARTUP[:5], None),
        (b"", None),
        (SSL_REQUEST, True),
        (startup.GSSENCRequest().wire(), True),
        (startup.CancelRequest(5, b"1234").wire(), True),
        (startup.CancelRequest(5, bytes(32)).wire(), True),
        (b"\0\0\x01\x28\0\2\0\0" + bytes(288), True),
        (startup.StartupMessage(3 << 16 | 9999, (("_pq_.test_protocol_negotiation", "1"), ("user", "a"))).wire(), True),
        (b"GET / HT", False),
        (b"GET", False),
        (b"\x16\x03\x01\x02\0\x01\0\x01", None),  # a ClientHello: whether it asks for PostgreSQL is said further on
        (OFFER, False),
        (struct.pack(">IHHIH", 26, 3, 12, 1, 9) + b"consumer-1", False),  # Kafka asks for metadata
        (struct.pack(">II", 9, 3 << 16) + b"\0", False),
        (struct.pack(">II", 20_000, 3 << 16) + b"user\0a\0\0", False),
    ],
)
def test_what_a_drivers_stream_begins_with(payload: bytes, judged: bool | None) -> None:
    assert is_startup(payload) is judged


def test_a_joined_connection_begins_with_an_empty_resume() -> None:
    records, _ = converted(forge.pcap(forge.frames(pooled(2).sent)))
    assert isinstance(records[0], Open)
    assert records[1] == Resume(records[0].time_ns, 1, b"", (0, 0))
