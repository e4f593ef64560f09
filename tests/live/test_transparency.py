"""What goes in comes out: large transfers, bytes that are no messages, and readings that do not depend on how the bytes were cut.

Server and client are real, or plain sockets where real ones would refuse: nothing between them may
change a byte, whatever pgtrace thinks of it.
"""

from __future__ import annotations

import hashlib
import random
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Made, Rewrite
from pgtrace.demo.scene import open_scene
from pgtrace.framing import LONGEST_STARTUP
from pgtrace.inspect import details
from pgtrace.protocol import codes, registry
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from pgtrace.session import cache as session_reads
from pgtrace.session.connection import Session
from pgtrace.trace.trace import Trace
from tests.corpus import NIGHTLY
from tests.playbook import Listing

MIB = 1 << 20

# COPY.

COPY_BYTES = 64 * MIB
BLOCK_BYTES = 64 * 1024


def copy_blocks() -> Iterator[bytes]:
    """64 MiB of COPY text that no two rows share, the same in every run."""
    chance = random.Random(64)
    line_bytes = 1024
    for _ in range(COPY_BYTES // BLOCK_BYTES):
        noise = chance.randbytes(BLOCK_BYTES // 2).hex().encode()
        yield b"".join(noise[at : at + line_bytes - 1] + b"\n" for at in range(0, BLOCK_BYTES, line_bytes))


def copied_out(connection: psycopg.Connection) -> tuple[int, str]:
    """Bytes and SHA-256 of the table as COPY gives them."""
    size, digest = 0, hashlib.sha256()
    with connection.cursor() as cursor, cursor.copy("copy big to stdout") as copy:
        for block in copy:
            size += len(block)
            digest.update(block)
    return size, digest.hexdigest()


def test_64_mib_through_copy_in_and_out(server, proxy, trace_of):
    digest = hashlib.sha256()
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as connection:
        connection.execute("create unlogged table big (line text)")
        with connection.cursor() as cursor, cursor.copy("copy big from stdin") as copy:
            for block in copy_blocks():
                digest.update(block)
                copy.write(block)
        try:
            with psycopg.connect(server.url(), autocommit=True) as past_the_recorder:
                assert copied_out(past_the_recorder) == (COPY_BYTES, digest.hexdigest())
            assert copied_out(connection) == (COPY_BYTES, digest.hexdigest())
        finally:
            connection.execute("drop table big")
    trace = trace_of(proxy)
    counted = trace.totals()
    assert trace.dropped_bytes == proxy.stats()["lost_bytes"]
    assert counted.frontend_bytes + counted.backend_bytes + trace.dropped_bytes > 2 * COPY_BYTES
    print(f"COPY of 64 MiB in and out: SHA-256 equal; {trace.dropped_bytes} bytes passed faster than they could be recorded")


# Mutated messages.

MUTANTS = 500_000 if NIGHTLY else 20_000
TOGETHER = 40
"""Mutants of each side on one connection that runs already."""
GREETING = b"".join(
    kind.wire()
    for kind in (
        registry.decode(BACKEND, ord("R"), b"\0\0\0\0"),
        registry.decode(BACKEND, ord("K"), b"\0\0\x12\x67\1\2\3\4"),
        registry.decode(BACKEND, ord("Z"), b"I"),
    )
)


def mutant(wire: bytes, chance: random.Random) -> bytes:
    """The message a little or a lot different: bytes changed, left out or put in, anywhere from its type byte to its end."""
    changed = bytearray(wire)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(changed))
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                del changed[at : at + chance.randint(1, 4)]
            case 2:
                changed[at:at] = chance.choice((b"\0", b"\xff\xff\xff\xff", b"\x7f\xff", b"\xc3", b"x\0"))
            case 3:
                changed[at : at + 4] = struct.pack(">i", chance.choice((-1, 0, 1, 3, 4, 65535, 2**31 - 1)))
            case 4:
                del changed[at:]
    return bytes(changed)


def first_mutant(wire: bytes, chance: random.Random) -> bytes:
    """A mutant that can be a driver's first packet: as long as it says it is, and no request for
    encryption, which pgtrace answers itself."""
    while True:
        packet = mutant(wire, chance).ljust(8, b"\0")
        length, request = struct.unpack_from(">II", packet)
        if not 8 <= length <= LONGEST_STARTUP:
            return packet
        if request not in (codes.SSL_REQUEST_CODE, codes.GSSENC_REQUEST_CODE):
            return packet.ljust(length, b"\x55")


def exchanges() -> tuple[list[tuple[bytes, bytes]], int]:
    """What each connection sends and is sent, and how many mutants that is: the same number of every message type."""
    chance = random.Random(20_000)
    each = -(-MUTANTS // len(registry.MESSAGES))
    wires = [(kind, kind.parse(kind.EXAMPLE).wire()) for kind in registry.MESSAGES]
    first = [first_mutant(wire, chance) for kind, wire in wires if kind.side == FRONTEND and kind.code > 255 for _ in range(each)]
    later = [mutant(wire, chance) for kind, wire in wires if kind.side == FRONTEND and kind.code < 256 for _ in range(each)]
    replies = [mutant(wire, chance) for kind, wire in wires if kind.side == BACKEND for _ in range(each)]
    count = len(first) + len(later) + len(replies)
    for one in (first, later, replies):
        chance.shuffle(one)
    opening = list(zip(first, (replies.pop() for _ in first), strict=True))
    start = registry.message_class(FRONTEND, codes.STARTUP_MESSAGE)
    assert start is not None
    hello = start.parse(start.EXAMPLE).wire()
    running = []
    while later or replies:
        sent, later = later[:TOGETHER], later[TOGETHER:]
        received, replies = replies[:TOGETHER], replies[TOGETHER:]
        running.append((hello + b"".join(sent), GREETING + b"".join(received)))
    return opening + running, count


def pass_through(
    listener: socket.socket, address: tuple[str, int], sent: bytes, replied: bytes, chance: random.Random
) -> tuple[bytes, bytes]:
    """What arrives at each end of one connection when each end says this, in pieces, and hangs up."""
    with socket.create_connection(address, 10) as client:
        speak(client, sent, chance)
        served, _ = listener.accept()
        with served:
            served.settimeout(10)
            speak(served, replied, chance)
            return everything(served), everything(client)


def speak(sock: socket.socket, data: bytes, chance: random.Random) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    cut = chance.randint(0, len(data))
    for piece in (data[:cut], data[cut:]):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


def everything(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


def test_20000_mutated_messages_pass_unchanged(tmp_path):
    """Half of what pgtrace sees here is no message at all: it passes all the same, is counted to the byte, and can be looked at."""
    chance = random.Random(1)
    conversations, count = exchanges()
    assert count >= MUTANTS
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        upstream = parse_upstream(f"postgresql://127.0.0.1:{listener.getsockname()[1]}/?sslmode=disable", {})
        with Recorder(parse_listen("127.0.0.1:0"), upstream, write=tmp_path / "mutants.pgtrace") as recorder:
            for sent, replied in conversations:
                assert pass_through(listener, (recorder.host, recorder.port), sent, replied, chance) == (sent, replied)
            stats = recorder.stats()
            assert recorder.alive
            assert (stats["accepted"], stats["failures"], stats["lost_bytes"], recorder.log) == (len(conversations), 0, 0, "")
    with closing(Trace.open([tmp_path / "mutants.pgtrace"])) as trace:
        trace.update()
        counted = trace.totals()
        assert (len(trace.connections), trace.gaps, trace.complete) == (len(conversations), 0, True)
        assert counted.frontend_bytes == sum(len(sent) for sent, _ in conversations)
        assert counted.backend_bytes == sum(len(replied) for _, replied in conversations)
        shown = sum(len(message.fields()) for place in range(len(trace.rows)) for message in details.read(trace, place).messages)
    print(f"{count} mutants of {len(registry.MESSAGES)} message types on {len(conversations)} connections; {shown} fields shown")


# Cuts.


Reads = list[tuple[int, int, bytes]]
"""(time, side, bytes) of one connection."""


def heard(reads: Reads, known: session_reads.Reads) -> tuple[object, ...]:
    """Everything a session says about these reads."""
    listing = Listing()
    session = Session(listing, known)
    for time_ns, side, data in reads:
        session.receive(side, time_ns, data)
    session.close(reads[-1][0])
    tally = {name: getattr(session.tally, name) for name in session.tally.__slots__}
    return listing.all, tally, tuple(session.bytes), dict(session.parameters)


def recorded_sessions(capture: Path) -> list[Reads]:
    """The reads of each connection of a capture."""
    sessions: defaultdict[int, Reads] = defaultdict(list)
    with closing(CaptureReader(capture)) as reader:
        while blocks := reader.read():
            for record in (record for block in blocks for record in block.records):
                if isinstance(record, Data | Rewrite):
                    sessions[record.connection].append((record.time_ns, record.side, record.data))
                elif isinstance(record, Made):
                    sessions[record.connection].append((record.time_ns, BACKEND, record.data))
    return [sessions[number] for number in sorted(sessions)]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory) -> list[Reads]:
    """The demo's work under every driver, as it was recorded."""
    capture = tmp_path_factory.mktemp("cuts") / "demo.pgtrace"
    with open_scene(parse_listen("127.0.0.1:0"), write=capture) as scene:
        scene.play()
    return recorded_sessions(capture)


def test_sessions_cut_at_every_byte_give_the_same_events(sessions):
    """For every n, each read is cut behind its n-th byte: at night no byte of a session is left at which it has not been cut."""
    known = session_reads.Reads()
    cuts = 0
    for reads in sessions:
        whole = heard(reads, known)
        for at in range(1, max(len(data) for _, _, data in reads), 1 if NIGHTLY else 6):
            cut: Reads = []
            for time_ns, side, data in reads:
                cut += [(time_ns, side, piece) for piece in (data[:at], data[at:]) if piece]
                cuts += at < len(data)
            assert heard(cut, known) == whole
    every = sum(len(data) - 1 for reads in sessions for _, _, data in reads)
    assert cuts == every if NIGHTLY else cuts > every / 7
    print(f"{len(sessions)} sessions of real drivers, cut at {cuts} places")


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64])
def test_sessions_in_small_pieces_give_the_same_events(sessions, piece_bytes):
    for reads in sessions:
        pieces = [(time_ns, side, data[at : at + piece_bytes]) for time_ns, side, data in reads for at in range(0, len(data), piece_bytes)]
        assert heard(pieces, session_reads.Reads()) == heard(reads, session_reads.Reads())
