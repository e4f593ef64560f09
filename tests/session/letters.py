"""Sessions in letters, a short form of the playbook: `>PBES <12CZ` is two reads, and each letter is
a message of tests/playbook.py.

The letters are the type bytes of the protocol. `^` is a StartupMessage, `K` an AuthenticationOk and
a BackendKeyData, `!` an ErrorResponse of severity FATAL. Without a `^` a plain start-up comes first.
"""

from __future__ import annotations

from functools import cache

from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session
from tests.playbook import MS, wire

FRONTEND_LETTERS = {
    "^": "StartupMessage user=app",
    "Q": "Query select 1",
    "P": "Parse - select 1",
    "B": "Bind - -",
    "D": "Describe P -",
    "E": "Execute -",
    "C": "Close S s1",
    "S": "Sync",
    "H": "Flush",
    "F": "FunctionCall 1",
    "d": "CopyData 1",
    "c": "CopyDone",
    "f": "CopyFail no",
    "X": "Terminate",
}
BACKEND_LETTERS = {
    "K": "AuthenticationOk | BackendKeyData 1 7777",
    "1": "ParseComplete",
    "2": "BindComplete",
    "3": "CloseComplete",
    "C": "CommandComplete SELECT 1",
    "t": "ParameterDescription 23",
    "T": "RowDescription a:23",
    "n": "NoData",
    "D": "DataRow 1",
    "s": "PortalSuspended",
    "I": "EmptyQueryResponse",
    "E": "ErrorResponse 23505 duplicate key",
    "!": "ErrorResponse FATAL 57P01 terminating",
    "N": "NoticeResponse hello",
    "Z": "ReadyForQuery I",
    "G": "CopyInResponse",
    "H": "CopyOutResponse",
    "W": "CopyBothResponse",
    "d": "CopyData 1",
    "c": "CopyDone",
}
STARTUP = wire(FRONTEND, FRONTEND_LETTERS["^"])

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
"""The worked sequences of the counting rules; the number is the round trips of the session. `closed` is the end of the connection."""


@cache
def letter(side: int, one: str) -> bytes:
    """The bytes of a letter."""
    return wire(side, (FRONTEND_LETTERS, BACKEND_LETTERS)[side][one])


def reads(sequence: str) -> list[tuple[int, bytes]]:
    """The reads of a sequence: side and bytes."""
    words = sequence.removesuffix(" closed").split()
    if "^" not in sequence:
        words = [">^", "<KZ", *words]
    sides = [FRONTEND if word[0] == ">" else BACKEND for word in words]
    return [(side, b"".join(letter(side, one) for one in word[1:])) for side, word in zip(sides, words, strict=True)]


def play(sequence: str) -> Session:
    """A sequence through a session, a read each millisecond."""
    session = Session()
    for number, (side, data) in enumerate(reads(sequence), 1):
        session.receive(side, number * MS, data)
    return session
