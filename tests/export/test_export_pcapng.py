"""A capture as packets: read back they are the capture, and what is made up is what the format's page says."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from pgtrace.ask.filter import parse
from pgtrace.capture.ip import ACK, FIN, RST, SYN, Segment, SegmentReader, ports, source
from pgtrace.capture.packets import PacketReader
from pgtrace.capture.record import NEITHER, Close, Data, End, Ended, Gap, Opaque, Open, Record, Resume
from pgtrace.capture.versions import VERSION, Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.export.pcapng import SEGMENT_BYTES, export
from pgtrace.protocol import startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.report import stats
from tests.capture.packet_reading import converted
from tests.playbook import MONOTONIC_NS, MS, WALL_NS, write
from tests.traces import fully_read

CAPTURES = Path(__file__).parents[2] / "captures"
FILES = sorted(CAPTURES.glob("*/*.pgtrace"))
STARTUP = startup.StartupMessage(3 << 16, (("user", "app"),)).wire()
WELCOME = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"
QUERY = b"Q\0\0\0\x0dselect 1\0"
ANSWER = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"


def exported(*paths: Path, **options: Any) -> bytes:
    trace = fully_read(*paths)
    pieces = list(export(trace, **options))
    trace.close()
    assert [piece.done for piece in pieces] == sorted(piece.done for piece in pieces)
    return b"".join(piece.content for piece in pieces)


def imported(data: bytes, path: Path) -> dict[str, Any]:
    """What the capture counts that these packets become."""
    records, pcap = converted(data)
    with CaptureWriter(path, header=pcap.header) as writer:
        writer.write(records)
    return counted(path)


def counted(path: Path) -> dict[str, Any]:
    """All that `stats --json` says but where the capture is, where the server is behind pgtrace,
    how long the recorder was there, and the ends one by one: packets have them, and captures of
    version 1.0 do not."""
    trace = fully_read(path)
    told = stats.as_dict(trace)
    trace.close()
    del told["capture"]["files"], told["capture"]["duration_ns"]
    for connection in told["connections"]:
        del (
            connection["file"],
            connection["upstream"],
            connection["peer_process"],
            connection["end"],
            connection["ends"],
            connection["left_open"],
        )
        del connection["closed_ns"]  # from the first record on, which need not be a packet
    return told


def untimed(counters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counters.items() if not name.endswith("_ns")}


def segments(data: bytes) -> list[Segment]:
    return SegmentReader().feed(PacketReader().feed(data))


def made(path: Path, *records: Record) -> Path:
    """A capture of one connection from these records, with its start-up before them."""
    opened = [
        Open(0, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40001", "", WALL_NS),
        Data(1, 1, FRONTEND, 0, STARTUP),
        Data(2, 1, BACKEND, 0, WELCOME),
    ]
    with CaptureWriter(path, header=Header(VERSION, b"mark", WALL_NS, 0, "0", "")) as writer:
        writer.write([*([] if records and isinstance(records[0], Open) else opened), *records])
    return path


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_read_back_it_is_the_capture(path: Path, tmp_path: Path) -> None:
    """Every counter of every connection, statement and driver, and every time to the nanosecond; packets do not tell processes."""
    assert imported(exported(path), tmp_path / "back") == counted(path)


def test_several_captures_in_one_file(tmp_path: Path) -> None:
    """All of a driver's; each is an interface of the file."""
    paths = [path for path in FILES if path.parent.name == "psycopg"]
    data = exported(*paths)
    trace = fully_read(*paths)
    totals = trace.totals()
    told = imported(data, tmp_path / "back")
    assert len(told["connections"]) == len(trace.connections)
    assert told["totals"]["round_trips"] == totals.round_trips
    assert told["totals"]["frontend_messages"] == totals.as_dict()["frontend_messages"]
    assert all(path.name.encode() in data for path in paths)
    assert str(paths[0].parent).encode() not in data
    trace.close()


def test_checksums(tmp_path: Path) -> None:
    """As RFC 1071 has it: the sum over header, or pseudo header and segment, is all ones. Of odd lengths and both versions of IP."""
    for number, client in enumerate(("127.0.0.1:40001", "[2001:db8::1]:40001")):
        opened = Open(0, 1, "[2001:db8::2]:6433" if "[" in client else "10.0.0.1:6433", "", client, "", WALL_NS)
        records = [Data(size, 1, FRONTEND, size * (size - 1) // 2, bytes(range(size))) for size in range(1, 40)]
        packets = PacketReader().feed(exported(made(tmp_path / str(number), opened, *records)))
        assert len(packets) == 3 + len(records)
        for _, _, packet, _ in packets:
            if packet[0] >> 4 == 4:
                assert ones(packet[:20]) == 0xFFFF
                addresses, tcp = packet[12:20], packet[20:]
            else:
                addresses, tcp = packet[8:40], packet[40:]
            assert ones(addresses + struct.pack(">II", len(tcp), 6) + tcp) == 0xFFFF


def ones(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_a_conversation_from_syn_to_fin(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "0 F Query SELECT 1\n1 B CommandComplete SELECT 1 | ReadyForQuery I\n2 F Terminate\n3 c1 close F")
    found = segments(exported(path))
    flags = [segment[4] & (SYN | FIN | RST) for segment in found]
    assert flags == [SYN, SYN, 0, 0, 0, 0, 0, 0, FIN, FIN, 0]
    assert [(segment[0] - WALL_NS) // MS for segment in found] == [0] * 6 + [1, 2, 3, 3, 3]
    nexts: dict[bytes, int] = {}
    for _, key, seq, ack, flag, payload, _ in found:
        other = key[4:8] + key[:4] + key[10:] + key[8:10]
        assert seq == nexts.get(key, seq)
        assert not flag & ACK or ack == nexts[other]
        nexts[key] = (seq + len(payload) + bool(flag & (SYN | FIN))) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("side", "how", "seen", "flags"),
    [
        (BACKEND, "FIN", (BACKEND, "FIN"), FIN),
        (BACKEND, "RST", (BACKEND, "RST"), RST),
        (2, "pgtrace", (BACKEND, "FIN"), FIN),
        (2, "unseen", None, 0),
    ],
)
def test_how_it_ended(side: int, how: str, seen: tuple[int, str] | None, flags: int, tmp_path: Path) -> None:
    data = exported(made(tmp_path / "a", Close(9, 1, side, how)))
    assert [(one.side, one.how) for one in converted(data)[0] if isinstance(one, Close)] == ([seen] if seen else [])
    assert bool(flags) == any(segment[4] & flags for segment in segments(data))


def test_the_port_is_one_that_wireshark_knows(tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    assert {ports(segment[1]) for segment in segments(exported(path))} == {(40001, 5432), (5432, 40001)}
    assert {ports(segment[1]) for segment in segments(exported(path, keep_port=True))} == {(40001, 6433), (6433, 40001)}


@pytest.mark.parametrize(
    ("client", "listener", "ends"),
    [
        ("10.1.2.3:40001", "10.0.0.1:6433", {"10.1.2.3:40001", "10.0.0.1:5432"}),
        ("[2001:db8::1]:40001", "[2001:db8::2]:6433", {"[2001:db8::1]:40001", "[2001:db8::2]:5432"}),
        ("[fe80::1%eth0]:40001", "[fe80::2%eth0]:6433", {"[fe80::1]:40001", "[fe80::2]:5432"}),
        ("[2001:db8::1]:40001", ":6433", {"[2001:db8::1]:40001", "[::1]:5432"}),
        ("unix:", "unix:/run/.s.PGSQL.6433", {"127.0.0.1:40000", "127.0.0.1:5432"}),
        ("", "", {"127.0.0.1:40000", "127.0.0.1:5432"}),
        ("nonsense:99999", "10.0.0.1:6433", {"127.0.0.1:40000", "10.0.0.1:5432"}),
    ],
)
def test_addresses(client: str, listener: str, ends: set[str], tmp_path: Path) -> None:
    data = exported(made(tmp_path / "a", Open(0, 1, listener, "", client, "", WALL_NS), Data(1, 1, FRONTEND, 0, STARTUP)))
    assert {source(segment[1]) for segment in segments(data)} == ends


def test_live_connections_have_ends_of_their_own(tmp_path: Path) -> None:
    """Three over a Unix socket at once, one of which ends before a fourth; two recorders whose drivers had the same port."""
    records: list[Record] = []
    for number in (1, 2, 3, 4):
        records += [
            *([Close(number * 10, 2, FRONTEND, "FIN")] if number == 4 else []),
            Open(number * 10, number, "unix:/run/.s.PGSQL.6433", "", "unix:", "", WALL_NS),
            Data(number * 10, number, FRONTEND, 0, STARTUP),
            Data(number * 10 + 1, number, BACKEND, 0, WELCOME),
            Data(number * 10 + 2, number, FRONTEND, len(STARTUP), QUERY),
        ]
    records += [Data(50, number, BACKEND, len(WELCOME), ANSWER) for number in (1, 3, 4)]
    path = made(tmp_path / "a", *records)
    data = exported(path)
    clients = [ports(segment[1])[0] for segment in segments(data) if segment[4] & (SYN | ACK) == SYN]
    assert clients == [40000, 40001, 40002, 40001]
    told, expected = imported(data, tmp_path / "back"), counted(path)
    assert told["totals"] == expected["totals"]
    assert told["totals"]["round_trips"] == 4

    twice = exported(made(tmp_path / "b", Data(10, 1, FRONTEND, len(STARTUP), QUERY)), made(tmp_path / "c"))
    assert len({segment[1] for segment in segments(twice)}) == 4


def test_a_read_beyond_what_a_packet_holds(tmp_path: Path) -> None:
    row = b"D" + (200_014).to_bytes(4, "big") + b"\0\1" + (200_004).to_bytes(4, "big") + bytes(200_004)
    answer = Data(4, 1, BACKEND, len(WELCOME), row + ANSWER)
    path = made(tmp_path / "a", Data(3, 1, FRONTEND, len(STARTUP), QUERY), answer, End(5))
    data = exported(path)
    assert [len(segment[5]) for segment in segments(data)][-4:] == [SEGMENT_BYTES] * 3 + [len(answer.data) % SEGMENT_BYTES]
    assert imported(data, tmp_path / "back") == counted(path)


def test_a_gap_is_missing_in_the_numbers(tmp_path: Path) -> None:
    lost = len(ANSWER)
    path = made(
        tmp_path / "a",
        Data(3, 1, FRONTEND, len(STARTUP), QUERY),
        Gap(4, 1, BACKEND, lost, 1),
        Data(5, 1, FRONTEND, len(STARTUP) + len(QUERY), QUERY),
        Data(6, 1, BACKEND, len(WELCOME) + lost, ANSWER),
        Data(7, 1, FRONTEND, len(STARTUP) + 2 * len(QUERY), QUERY),
        Data(8, 1, BACKEND, len(WELCOME) + lost + len(ANSWER), ANSWER),
        Gap(9, 1, FRONTEND, 17, 1),
        Close(10, 1, FRONTEND, "FIN"),
        End(11),
    )
    data = exported(path)
    told = imported(data, tmp_path / "back")
    assert told["capture"] == {"connections": 1, "complete": False, "gaps": 2, "dropped_bytes": lost + 17}
    assert untimed(told["totals"]) == untimed(counted(path)["totals"])


def test_opaque_bytes_are_told_and_not_made_up(tmp_path: Path) -> None:
    """As packets that were cut; read back they are opaque again, and nothing is missing."""
    request = startup.SSLRequest().wire()
    path = made(
        tmp_path / "a",
        Open(0, 1, "10.0.0.1:6433", "", "10.0.0.2:40001", "", WALL_NS),
        Data(1, 1, FRONTEND, 0, request),
        Data(2, 1, BACKEND, 0, b"S"),
        Opaque(3, 1, FRONTEND, len(request), 517),
        Opaque(4, 1, BACKEND, 1, 200_000),
        Opaque(5, 1, FRONTEND, len(request) + 517, 100),
        Close(6, 1, FRONTEND, "FIN"),
        End(7),
    )
    data = exported(path)
    assert sum(segment[6] for segment in segments(data)) == 617 + 200_000
    assert len(data) < 3000
    assert imported(data, tmp_path / "back") == counted(path)
    assert counted(path)["connections"][0]["kind"] == "opaque"


def test_tls_that_pgtrace_ended_does_not_hide_what_follows(tmp_path: Path) -> None:
    script = """
    0 F SSLRequest
    1 c1 fact tls.frontend TLSv1.3
    2 B SSLRequestReply {reply}
    3 F StartupMessage user=app
    4 B AuthenticationOk | ReadyForQuery I
    5 F Query SELECT 1
    6 B CommandComplete SELECT 1 | ReadyForQuery I
    7 c1 close F
    end"""
    told = imported(exported(write(tmp_path / "s", script.format(reply="S"))), tmp_path / "back")
    assert told["totals"]["round_trips"] == 1
    plain = write(tmp_path / "n", script.format(reply="N").replace("1 c1 fact tls.frontend TLSv1.3\n", ""))
    assert told == counted(plain)
    passed = exported(write(tmp_path / "p", script.format(reply="S").replace("1 c1 fact tls.frontend TLSv1.3\n", "")))
    assert imported(passed, tmp_path / "passed")["connections"][0]["kind"] == "opaque"


def test_joined_in_the_middle_has_no_beginning(tmp_path: Path) -> None:
    path = made(
        tmp_path / "a",
        Open(0, 1, "10.0.0.1:6433", "", "10.0.0.2:40001", "", WALL_NS),
        Resume(0, 1, STARTUP, (1000, 7000), WELCOME),
        Data(1, 1, BACKEND, 7000, b"Z\0\0\0\5I"),
        Data(3, 1, FRONTEND, 1000, QUERY),
        Data(4, 1, BACKEND, 7006, ANSWER),
        End(5),
    )
    data = exported(path)
    assert not any(segment[4] & SYN for segment in segments(data))
    told = imported(data, tmp_path / "back")
    assert untimed(told["totals"]) == untimed(counted(path)["totals"])
    assert told["totals"]["round_trips"] == 1


def test_a_filter_takes_connections_whole(tmp_path: Path) -> None:
    lines = []
    for number, sql in enumerate(("SELECT a", "SELECT b", "SELECT a"), 1):
        lines += [f"c{number} F Query {sql}", f"c{number} B CommandComplete SELECT 1 | ReadyForQuery I", f"c{number} F Query COMMIT"]
    path = write(tmp_path / "a", "\n".join(lines))
    trace = fully_read(path)
    selection = parse("sql:b").over(trace)
    places = [place for place in range(len(trace.rows)) if selection.holds(place)]
    data = b"".join(piece.content for piece in export(trace, places=places))
    trace.close()
    assert len(places) == 1
    assert {ports(segment[1])[0] for segment in segments(data)} - {5432} == {40002}
    assert b"COMMIT" in data


def test_comments_name_driver_and_round_trip(tmp_path: Path) -> None:
    path = CAPTURES / "psycopg" / "pipeline.pgtrace"
    data = exported(path)
    assert "c1 psycopg: rt 2 Start → R".encode() in data
    assert b"c1 psycopg: from pgtrace itself" in data
    trace = fully_read(path)
    trips = [row for row in trace.rows if row.is_round_trip]
    for row in trips:
        assert data.count(f"rt {row.number} {row.shape.flight}".encode()) == 1
        selection = parse(f"rt = {row.number}").over(trace)
        assert [place for place in range(len(trace.rows)) if selection.holds(place)] == [row.number - 1]
    trace.close()
    assert len(trips) == 5


def test_text_from_the_wire_is_not_in_comments_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a\x1b[2J\u202e", "0 F Query SELECT '\x1b]0;x\x07'\n1 B CommandComplete \x1b[2J | ReadyForQuery I")
    data = exported(path)
    payloads = b"".join(segment[5] for segment in segments(data))
    assert data.count(b"\x1b") == payloads.count(b"\x1b") == 2
    assert "\u202e".encode() not in data


def test_a_capture_that_grows_is_exported_to_where_it_was_read(tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    trace = fully_read(path)
    before = b"".join(piece.content for piece in export(trace))
    with open(path, "ab") as file, CaptureWriter(tmp_path / "more", header=Header(VERSION, b"mark", WALL_NS, 0, "0", "")) as writer:
        begin = writer.offset
        writer.write([Data(MONOTONIC_NS, 1, FRONTEND, len(STARTUP), QUERY)])
        file.write((tmp_path / "more").read_bytes()[begin:])
    assert b"".join(piece.content for piece in export(trace)) == before
    trace.update()
    assert QUERY in b"".join(piece.content for piece in export(trace))
    trace.close()


def test_fin_and_rst_stand_where_the_directions_ended(tmp_path: Path) -> None:
    """A driver that has gone and resets what comes later; one that the server closed; one that pgtrace ended; one whose ends nobody saw."""
    records: list[Record] = [
        Data(10, 1, FRONTEND, len(STARTUP), QUERY),
        Ended(20, 1, FRONTEND, "FIN"),
        Data(30, 1, BACKEND, len(WELCOME), ANSWER),
        Ended(31, 1, FRONTEND, "RST"),
        Close(32, 1, FRONTEND, "FIN"),
        *(Open(40, number, "127.0.0.1:6433", "", f"127.0.0.1:4000{number}", "", WALL_NS) for number in (2, 3, 4)),
        Ended(42, 2, BACKEND, "FIN"),
        Ended(43, 3, NEITHER, "FIN"),
        Ended(50, 2, FRONTEND, "FIN"),
        Close(51, 2, BACKEND, "FIN"),
        Close(52, 3, NEITHER, "pgtrace"),
        Close(53, 4, FRONTEND, "FIN"),
        End(60),
    ]
    path = made(tmp_path / "a", *records)
    data = exported(path)
    seen = []
    for time_ns, key, _, _, flags, _, _ in segments(data):
        if flags & (FIN | RST):
            here, there = ports(key)
            driver = there == 5432
            seen.append((here if driver else there, "F" if driver else "B", time_ns - WALL_NS, "RST" if flags & RST else "FIN"))
    assert sorted(seen) == sorted(
        [
            (40001, "F", 20, "FIN"), (40001, "F", 31, "RST"),
            (40002, "B", 42, "FIN"), (40002, "F", 50, "FIN"),
            (40003, "B", 43, "FIN"), (40003, "F", 52, "FIN"),
            (40004, "F", 53, "FIN"), (40004, "B", 53, "FIN"),
        ]
    )  # fmt: skip
    assert b"(driver left while waiting for Query; the server worked on for 0 ms)" in data
    assert b"closed by the driver (FIN) without Terminate" in data
    assert b"closed by the server (FIN)" in data
    assert b"closed by pgtrace (FIN)" in data
    assert untimed(imported(data, tmp_path / "back")["totals"]) == untimed(counted(path)["totals"])
    back, trace = fully_read(tmp_path / "back"), fully_read(path)
    for number in (0, 1):  # of the others not every end was seen, or one was pgtrace's
        assert back.connections[number].end == trace.connections[number].end
        assert back.connections[number].ends == trace.connections[number].ends
    back.close()
    trace.close()
