"""Whatever is in a packet file: it is read to its end, in linear time and bounded memory, and what is raised is a PgTraceError.

The rule is held by one test over files that are made and then mutated at every level: the
conversation's numbers and ends, the tunnel around it, the packets' order, the file's bytes. Files
that once broke it are kept in tests/data/hostile.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtrace.capture import conversations, order
from pgtrace.capture.importing import Import
from pgtrace.capture.pcap import Pcap
from pgtrace.errors import PgTraceError
from pgtrace.protocol import startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.trace import Trace
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import ACK, FIN, PSH, RST, SYN, Sent, Talk, talk_of
from tests.capture.packet_reading import SAMPLES, converted

HOSTILE = sorted((SAMPLES.parent / "hostile").glob("*.pcap*"))
STARTUP = startup.StartupMessage(3 << 16, (("user", "app"),)).wire()
SCRIPT = """
0   F StartupMessage user=app
6   B AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I
10  F Parse s1 SELECT $1 | Bind - s1 params=42 | Execute - | Sync
12  B ParseComplete | BindComplete | DataRow 42 ×3 | CommandComplete SELECT 3 | ReadyForQuery I
60  F Terminate
61  c1 close F
"""
SECONDS = 10


def read(data: bytes, directory: Path) -> None:
    """All of it: imported as the commands do, then counted. Raises PgTraceError at most."""
    path = directory / "hostile.pcap"
    path.write_bytes(data)
    capture = directory / "capture"
    capture.unlink(missing_ok=True)
    begun = time.process_time()  # how long the machine does something else does not matter
    try:
        with Import(str(path), str(capture)) as one:
            while one.step():
                assert time.process_time() - begun < SECONDS
            one.notes()
            one.nothing_found()
        Trace.open([capture]).close()
    except PgTraceError:
        pass
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_files_that_broke_a_reader(path: Path, tmp_path: Path) -> None:
    read(path.read_bytes(), tmp_path)


def test_a_port_that_talks_to_itself(tmp_path: Path) -> None:
    """A packet whose two ends are the same has no other direction, whatever its numbers are and how many there are."""
    ends = ("127.0.0.1", 5432)
    sent = [
        Sent(number, ends, ends, seq, ack, flags, STARTUP)
        for number, (seq, ack, flags) in enumerate(
            (seq, ack, flags)
            for seq in (0, 1, 1000, 2**30, 2**31, 2**32 - 1)
            for ack in (0, 1, 3_000_000_000)
            for flags in (ACK, SYN, SYN | ACK, FIN)
        )
    ]
    records, pcap = converted(forge.pcap(forge.frames(sent)))
    assert pcap.connections == 0
    assert len(records) == 1
    assert pcap.conversations.others == {5432: len(sent)}


PORTS = st.sampled_from((0, 1, 5432, 5433, 40_001, 65_535))
ADDRESSES = st.sampled_from(("127.0.0.1", "10.0.0.1", "10.0.0.2", "::1", "fe80::1"))
NUMBERS = st.one_of(st.integers(0, 60), st.sampled_from((2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**32 - 1)), st.integers(0, 2**32 - 1))
ODD = st.builds(
    lambda six, ports, numbers, flags, payload, later: Sent(
        10**18 + later, ("::1" if six else "127.0.0.1", ports[0]), ("::1" if six else "127.0.0.1", ports[1]), *numbers, flags, payload
    ),
    st.booleans(),
    st.tuples(PORTS, PORTS),
    st.tuples(NUMBERS, NUMBERS),
    st.sampled_from((ACK, PSH | ACK, SYN, SYN | ACK, FIN | ACK, RST, 0, 255)),
    st.sampled_from((b"", b"x", STARTUP, STARTUP[:9], bytes(40), b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(80))),
    st.integers(-(10**10), 10**10),
)
LINK = st.sampled_from([make for number, make in forge.LINKS.values() if number == 1] + list(forge.TUNNELS.values()))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of a session and of packets that fit to nothing, then changed."""
    talk = talk_of(SCRIPT, Talk(mss=draw(st.sampled_from((7, 60, 65_000)))))
    sent = talk.sent + draw(st.lists(ODD, max_size=12))
    if draw(st.booleans()):
        sent = draw(st.permutations(sent))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(sent) - 1))
        sent[place] = replace(sent[place], seq=draw(NUMBERS), ack=draw(NUMBERS))
    packets = [(max(0, one.time_ns), draw(LINK)(forge.ip(one))) for one in sent]
    data = bytearray(draw(st.sampled_from((forge.pcap, forge.pcapng)))(packets))
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=12)):
        data[place] = value
    return bytes(data[: draw(st.integers(24, len(data)))] if draw(st.booleans()) else data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(files())
def test_no_file_raises_or_hangs(tmp_path: Path, data: bytes) -> None:
    read(data, tmp_path)


def left_bytes(count: int) -> int:
    """What so many tiny connections leave behind."""
    pcap = Pcap()
    pcap.feed(forge.pcap([]))
    tracemalloc.start()
    for number in range(count):
        talk = Talk(
            (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 40_000), time_ns=10**18 + number * 1000, numbers=(number, 7 * number)
        ).open()
        talk.send(FRONTEND, STARTUP).send(BACKEND, b"N")
        pcap.feed(forge.pcap(forge.frames(talk.sent))[24:])
    gc.collect()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return left


def test_tiny_connections_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many live ones the silent ones are given up, and what has ended leaves its numbers only: twice as many take no more."""
    for bound in ("LIVE", "PAST", "NEWCOMERS"):
        monkeypatch.setattr(conversations, bound, 50)
    for bound in ("HELD_BYTES", "_PIECE_BYTES"):
        monkeypatch.setattr(order, bound, 10_000)
    assert left_bytes(400) < 1.1 * left_bytes(200)
