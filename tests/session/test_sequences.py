"""The worked sequences of the counting rules, row by row: the number is the round trips of the session."""

from __future__ import annotations

import struct

import pytest

from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session

STARTUP = struct.pack(">I", 4 + 4 + 10) + struct.pack(">I", 196608) + b"user\0app\0\0"


def message(letter: str, body: bytes = b"") -> bytes:
    return letter.encode() + struct.pack(">I", len(body) + 4) + body


ERROR = b"SERROR\0VERROR\0C23505\0Mduplicate key\0\0"
FATAL = b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0"
FRONTEND_BODIES = {
    "Q": b"select 1\0",
    "P": b"\0select 1\0\0\0",
    "B": b"\0\0\0\0\0\0\0\0",
    "D": b"P\0",
    "E": b"\0\0\0\0\0",
    "C": b"Ss1\0",
    "F": b"\0\0\0\1\0\0\0\0\0\0",
    "d": b"1\n",
    "f": b"no\0",
}
BACKEND_BODIES = {
    "C": b"SELECT 1\0",
    "D": b"\0\1\0\0\0\x011",
    "E": ERROR,
    "N": b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0",
    "Z": b"I",
    "G": b"\0\0\0",
    "H": b"\0\0\0",
    "W": b"\0\0\0",
    "d": b"1\n",
}


def play(sequence: str, session: Session | None = None) -> Session:
    """Feed a sequence like `>PBES <12CZ`: one read a group, `^` a StartupMessage, `K` AuthenticationOk and BackendKeyData."""
    session = session or Session()
    reads = sequence.split()
    if not any("^" in read for read in reads):
        reads = [">^", "<KZ", *reads]
    time_ns = 0
    for read in reads:
        time_ns += 1_000_000
        data = bytearray()
        for letter in read[1:]:
            if letter == "^":
                data += STARTUP
            elif letter == "K":
                data += message("R", b"\0\0\0\0") + message("K", b"\0\0\0\1\0\0\0\2")
            elif letter == "!":
                data += message("E", FATAL)
            else:
                bodies = FRONTEND_BODIES if read[0] == ">" else BACKEND_BODIES
                # H is CopyOutResponse from the backend, Flush from the frontend; S, c and the digits have no body.
                data += message(letter, bodies.get(letter, b""))
        session.receive(FRONTEND if read[0] == ">" else BACKEND, time_ns, bytes(data))
    return session


SEQUENCES = [
    (">Q <CZ >H >Q <CZ", 2),
    (">Q <CZ >HPBES <12CZ", 2),
    (">PBES <12CZ >H >Q <CZ", 2),
    (">PBES <12C >H <Z >Q <CZ", 2),
    (">PH <1 >HS <Z", 2),
    (">PBEH <12D >S <CZ", 1),
    (">PHQ <E >S <Z", 2),
    (">PQ <E >S <Z", 2),
    (">PBEQS <E <Z >Q <CZ", 2),
    (">PBESPBES <EZ12CZ", 1),
    (">PBES <12CEZ >Q <CZ", 2),
    (">F <EZ >Q <CZ", 2),
    (">QPBES <CZ12CZ", 1),
    (">PBEQ <12CCZ", 1),
    (">C >Q <3CZ", 1),
    (">Q <CZ <E >PBES <12CZ", 2),
    (">Q <CZ <N >Q <NCZ", 2),
    (">Q <! closed", 1),
    (">QX closed", 1),
    (">PX closed", 0),
    (">Q <G >dd <EZ >Q <CZ", 3),
    (">Q <G >dd <EZ >c >Q <CZ", 3),
    (">Q <G >dd <E >c <Z >Q <CZ", 3),
    (">Q <G >H >d >c <CZ", 2),
    (">Q >d <G >c <CZ", 2),
    (">Q >dc <G <CZ", 1),
    (">Qdcdc <GCGCZ", 1),
    (">QdcQ <GCZ <CZ", 1),
    (">Qdc <CZ >Q <CZ", 2),
    (">Q >c <CZ >Q <CZ", 2),
    (">PBES <12G >ddcS <CZ", 2),
    (">PBESddcS <12GCZ", 1),
    (">PBEddcS <12GCZ", 1),
    (">PBE <12G >dcS <CZ", 2),
    (">PBEH <12G >dcH <C >S <Z", 3),
    (">PBES <12G >dfS <EZ", 2),
    (">PBEH <12G >d <E >dcS <Z", 3),
    (">PBEH <12G >dc <E >S <Z", 3),
    (">PBEH <12HddcC >S <Z", 2),
    (">PBEH <12Hd >S <dcCZ", 1),
    (">PBEBES <12HddcC2CZ", 1),
    (">Q <W >d <d >d >c <cCZ >Q <CZ", 3),
    (">^Q <KZ <CZ >Q <CZ", 1),
    (">^ >Q <KZ <CZ", 0),
]


@pytest.mark.parametrize(("sequence", "round_trips"), SEQUENCES, ids=[one for one, _ in SEQUENCES])
def test_worked_sequence(sequence: str, round_trips: int) -> None:
    reads, closed = sequence.removesuffix(" closed"), sequence.endswith(" closed")
    session = play(reads)
    if closed:
        session.close(10**9)
    assert (session.tally.round_trips, session.tally.setup_round_trips) == (round_trips, 1)
    assert session.is_quiet
