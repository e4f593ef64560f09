"""Known exchanges are a short cut and nothing else: with and without them a session says the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.framing import Frame
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session import cache
from pgtrace.session.connection import Session
from tests.playbook import Listing, Plain
from tests.session.test_robustness import recorded
from tests.session.test_sequences import SEQUENCES, message

Reads = list[tuple[int, bytes]]


def bind(statement: str, value: bytes, *, portal: str = "", results: int = 0) -> bytes:
    return message(
        "B",
        portal.encode()
        + b"\0"
        + statement.encode()
        + b"\0\0\0\0\1"
        + struct.pack(">I", len(value))
        + value
        + b"\0\1"
        + struct.pack(">H", results),
    )


def rows(count: int) -> bytes:
    return b"".join(message("D", b"\0\1\0\0\0\1" + str(number % 10).encode()) for number in range(count))


def parse(name: str, sql: str) -> bytes:
    return message("P", name.encode() + b"\0" + sql.encode() + b"\0\0\0")


EXECUTE = message("E", b"\0\0\0\0\0") + message("S")
ONE_ROW_AT_MOST = message("E", b"\0\0\0\0\1") + message("S")
READY = message("Z", b"I")
STEPS: list[Reads] = [
    [(FRONTEND, parse("s1", "select 1") + message("S")), (BACKEND, message("1") + READY)],
    [(FRONTEND, parse("s1", "select other") + message("S")), (BACKEND, message("E", b"SERROR\0VERROR\0C42P05\0\0") + READY)],
    *[
        [(FRONTEND, bind("s1", b"7" * size) + EXECUTE), (BACKEND, message("2") + rows(count) + message("C", b"SELECT %d\0" % count) + READY)]
        for size, count in [(1, 0), (1, 1), (3, 1), (2, 5)]
    ],
    [(FRONTEND, bind("s2", b"x", results=1) + EXECUTE), (BACKEND, message("2") + rows(1) + message("C", b"SELECT 1\0") + READY)],
    [(FRONTEND, bind("s1", b"7") + ONE_ROW_AT_MOST), (BACKEND, message("2") + rows(1) + message("s") + READY)],
    [(FRONTEND, ONE_ROW_AT_MOST), (BACKEND, rows(1) + message("s") + READY)],
    [(FRONTEND, ONE_ROW_AT_MOST), (BACKEND, message("C", b"SELECT 0\0") + READY)],
    [(FRONTEND, bind("s1", b"7") + EXECUTE), (BACKEND, message("E", b"SERROR\0VERROR\0C22012\0\0") + READY)],
    [(FRONTEND, bind("s1", b"7") + EXECUTE), (BACKEND, message("2")), (BACKEND, rows(2) + message("C", b"SELECT 2\0") + READY)],
    [(FRONTEND, bind("s1", b"7") + EXECUTE), (BACKEND, message("2") + rows(1) + message("N", b"SNOTICE\0\0") + message("C", b"SELECT 1\0") + READY)],
    [(FRONTEND, message("Q", b"begin\0")), (BACKEND, message("C", b"BEGIN\0") + message("Z", b"T"))],
    [(FRONTEND, message("Q", b"commit\0")), (BACKEND, message("C", b"COMMIT\0") + READY)],
    [(FRONTEND, message("Q", b"deallocate s1\0")), (BACKEND, message("C", b"DEALLOCATE\0") + READY)],
    [(FRONTEND, message("C", b"Ss1\0") + message("S")), (BACKEND, message("3") + READY)],
    [(FRONTEND, parse("", "select 2") + bind("", b"1") + EXECUTE), (BACKEND, message("1") + message("2") + rows(1) + message("C", b"SELECT 1\0") + READY)],
    [(FRONTEND, parse("", "select 3") + bind("", b"1") + EXECUTE), (BACKEND, message("1") + message("2") + rows(1) + message("C", b"SELECT 1\0") + READY)],
    [(FRONTEND, (bind("s1", b"1") + EXECUTE[:-5]) * 3 + message("S")), (BACKEND, (message("2") + message("C", b"INSERT 0 1\0")) * 3 + READY)],
    *[recorded(sequence)[2:] for sequence, _ in SEQUENCES if "!" not in sequence and "closed" not in sequence and "^" not in sequence],
]  # fmt: skip


def heard(session: Session, listing: Listing, reads: Reads) -> tuple[object, object, object]:
    for number, (side, data) in enumerate([*recorded(">Q <CZ")[:2], *reads]):
        session.receive(side, number * 1000, data)
    tally = session.tally
    counts = [dict(value) if isinstance(value := getattr(tally, name), dict) else value for name in tally.__slots__]
    names = {name: statement.sql for name, statement in session.statements.live.items()}
    state = (names, session.status, session.statements.in_block, session.statements.suspended, session.offsets, session.is_quiet)
    return listing.all, [counts, session.waited_ns(10**9)], state


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(range(len(STEPS))), max_size=12), st.integers(1, 5))
def test_the_short_cut_tells_the_same(steps: list[int], times: int) -> None:
    reads = [read for step in steps for read in STEPS[step]] * times
    plain, quick = Listing(), Listing()
    assert heard(Session(quick), quick, reads) == heard(Plain(plain), plain, reads)


PLAIN_SELECT = [
    [
        (FRONTEND, parse("", "select 2") + bind("", value) + message("D", b"P\0") + EXECUTE),
        (BACKEND, message("1") + message("2") + message("T", b"\0\0") + rows(count) + message("C", b"SELECT %d\0" % count) + READY),
    ]
    for value, count in ((b"%d" % number, number % 4) for number in range(1, 101))
]
SEVERAL = [
    [
        (FRONTEND, parse("", "begin") + bind("", b"") + EXECUTE[:-5] + bind("s1", value) + EXECUTE),
        (BACKEND, message("1") + (message("2") + message("C", b"INSERT 0 1\0")) * 2 + READY),
    ]
    for value in (b"%d" % number for number in range(50))
]


@pytest.mark.parametrize(
    ("reads", "at_most"),
    [
        (STEPS[0] + STEPS[3] * 50 + STEPS[4] * 50, 6),
        ([read for reads in PLAIN_SELECT for read in reads], 5),
        (STEPS[0] + [read for reads in SEVERAL for read in reads], 6),
    ],
    ids=["prepared selects", "selects that were not prepared", "several Binds in one read"],
)
def test_the_short_cut_is_taken(reads: Reads, at_most: int) -> None:
    """The plain machine runs a prepared select three times: prepared, bound first, learned. What differs in values alone it has seen."""
    ran = []

    class Counting(Session):
        def _frontend(self, time_ns: int, frames: list[Frame]) -> None:
            ran.append(frames)
            super()._frontend(time_ns, frames)

    heard(Counting(), Listing(), reads)
    assert len(ran) <= at_most
    plain, quick = Listing(), Listing()
    assert heard(Session(quick), quick, reads) == heard(Plain(plain), plain, reads)


@pytest.mark.parametrize(("binds", "is_known"), [(1, True), (31, True), (32, False), (4_000, False)])
def test_of_a_long_read_no_more_messages_are_looked_at_than_can_be_learned(
    monkeypatch: pytest.MonkeyPatch, binds: int, is_known: bool
) -> None:
    """Looking at each Bind of a deep pipeline took time that grew with their square."""
    looked = 0

    def header(data: bytes, position: int) -> tuple[int, int]:
        nonlocal looked
        looked += 1
        return unpack(data, position)

    unpack = cache._HEADER
    monkeypatch.setattr(cache, "_HEADER", header)
    data = (bind("s1", b"7") + message("E", b"\0\0\0\0\0")) * binds + message("S")
    known = cache.Reads()
    for _ in range(2):
        looked = 0
        assert (known.asked_key(data) is not None) is is_known
        assert looked <= cache.LONGEST + 1
    assert known.asked_key(data) == known.asked_key(data.replace(b"7", b"8"))
