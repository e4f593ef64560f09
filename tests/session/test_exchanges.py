"""Known exchanges are a short cut and nothing else: with and without them a session says the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace.framing import Frame
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session import cache
from pgtrace.session.connection import Session
from pgtrace.session.events import Exchange, Passage
from tests.corpus import NIGHTLY
from tests.playbook import Listing, Plain, wire
from tests.session import letters
from tests.session.letters import SEQUENCES

Reads = list[tuple[int, bytes]]


def reads(*lines: str) -> Reads:
    """Reads in the playbook's words: `F Sync`, `B ReadyForQuery I`."""
    return [("FB".index(line[0]), wire("FB".index(line[0]), line[2:])) for line in lines]


def with_new_texts(reads: Reads) -> Reads:
    """The same reads, each Query with a text of its own."""
    return [
        (side, wire(FRONTEND, f"Query /* {number} */ {data[5:-1].decode()}") if is_query(side, data) else data)
        for number, (side, data) in enumerate(reads)
    ]


def is_query(side: int, data: bytes) -> bool:
    return side == FRONTEND and data[:1] == b"Q" and len(data) == 1 + int.from_bytes(data[1:5], "big")


def rows(count: int) -> str:
    return "".join(f"DataRow {number % 10} | " for number in range(count))


RUN = "Execute - | Sync"
PREPARE, SELECT, SUSPENDED, COMPLETED, BEGIN, COMMIT, DEALLOCATE = 0, 3, 7, 9, 13, 14, 15
SUSPENDED_P, CONTINUED_P, DO, BOUND, EXECUTED = range(20, 25)
QUERIES = range(25, 36)
ROLLBACK_TO, AND_CHAIN, PARTS = range(31, 34)
"""Places of some STEPS."""
ONE_ROW_AT_MOST = "Execute - 1 | Sync"
READY = "ReadyForQuery I"
STEPS: list[Reads] = [
    reads("F Parse s1 select 1 | Sync", f"B ParseComplete | {READY}"),
    reads("F Parse s1 select other | Sync", f"B ErrorResponse 42P05 exists | {READY}"),
    *[
        reads(f"F Bind - s1 params={'7' * size} out=0 | {RUN}", f"B BindComplete | {rows(count)}CommandComplete SELECT {count} | {READY}")
        for size, count in [(1, 0), (1, 1), (3, 1), (2, 5)]
    ],
    reads(f"F Bind - s2 params=x out=1 | {RUN}", f"B BindComplete | {rows(1)}CommandComplete SELECT 1 | {READY}"),
    reads(f"F Bind - s1 params=7 out=0 | {ONE_ROW_AT_MOST}", f"B BindComplete | {rows(1)}PortalSuspended | {READY}"),
    reads(f"F {ONE_ROW_AT_MOST}", f"B {rows(1)}PortalSuspended | {READY}"),
    reads(f"F {ONE_ROW_AT_MOST}", f"B CommandComplete SELECT 0 | {READY}"),
    reads(f"F Bind - s1 params=7 out=0 | {RUN}", f"B ErrorResponse 22012 division by zero | {READY}"),
    reads(f"F Bind - s1 params=7 out=0 | {RUN}", "B BindComplete", f"B {rows(2)}CommandComplete SELECT 2 | {READY}"),
    reads(f"F Bind - s1 params=7 out=0 | {RUN}", f"B BindComplete | {rows(1)}NoticeResponse hello | CommandComplete SELECT 1 | {READY}"),
    reads("F Query begin", "B CommandComplete BEGIN | ReadyForQuery T"),
    reads("F Query commit", f"B CommandComplete COMMIT | {READY}"),
    reads("F Query deallocate s1", f"B CommandComplete DEALLOCATE | {READY}"),
    reads("F Close S s1 | Sync", f"B CloseComplete | {READY}"),
    *[
        reads(
            f"F Parse - {sql} | Bind - - params=1 out=0 | {RUN}",
            f"B ParseComplete | BindComplete | {rows(1)}CommandComplete SELECT 1 | {READY}",
        )
        for sql in ("select 2", "select 3")
    ],
    reads(f"F {'Bind - s1 params=1 out=0 | Execute - | ' * 3}Sync", f"B {'BindComplete | CommandComplete INSERT 0 1 | ' * 3}{READY}"),
    reads("F Bind p s1 params=7 out=0 | Execute p 1 | Sync", f"B BindComplete | {rows(1)}PortalSuspended | {READY}"),
    reads("F Execute p 1 | Sync", f"B {rows(1)}PortalSuspended | {READY}"),
    reads("F Query do", "B CommandComplete DO | ReadyForQuery T"),
    reads("F Bind - s3 params=7 out=1 | Sync", f"B BindComplete | {READY}"),
    reads(f"F {RUN}", f"B {rows(2)}CommandComplete SELECT 2 | {READY}"),
    *[
        reads(f"F Query {sql}", f"B RowDescription {columns} | {rows(count)}CommandComplete SELECT {count} | {READY}")
        for sql, columns, count in [
            ("select 4", "a:23", 1),
            ("select 5;", "a:23", 3),
            ("select 6", "b:25:1", 1),
            ("select 7; ", "a:23 b:25", 0),
        ]
    ],
    reads("F Query insert", f"B CommandComplete INSERT 0 1 | {READY}"),
    reads("F Query select 8", f"B ErrorResponse 42601 syntax error | {READY}"),
    reads("F Query rollback to s1", "B CommandComplete ROLLBACK | ReadyForQuery T"),
    reads("F Query rollback and chain", "B CommandComplete ROLLBACK | ReadyForQuery T"),
    reads("F Query BASE_BACKUP", f"B RowDescription a:25 | DataRow x | {'CommandComplete SELECT | ' * 2}{READY}"),
    reads("F Query ;", f"B EmptyQueryResponse | {READY}"),
    reads("F Query select 9; insert", f"B CommandComplete SELECT 1 | CommandComplete INSERT 0 1 | {READY}"),
    *[letters.reads(sequence)[2:] for sequence, _ in SEQUENCES if "!" not in sequence and "closed" not in sequence and "^" not in sequence],
]


COPY = next(place for place, step in enumerate(STEPS) if b"G\0\0\0" in step[1][1] and step[-2] == (FRONTEND, b"S\0\0\0\4"))
"""A COPY whose Sync is a read of its own."""


def heard(session: Session, listing: Listing, reads: Reads, tick_ns: int = 1000) -> tuple[object, object, object]:
    for number, (side, data) in enumerate([*letters.reads(">Q <CZ")[:2], *reads]):
        session.receive(side, number * tick_ns, data)
    tally = session.tally
    counts = [dict(value) if isinstance(value := getattr(tally, name), dict) else value for name in tally.__slots__]
    names = {name: statement.sql for name, statement in session.statements.live.items()}
    state = (names, session.status, session.statements.in_block, session.statements.suspended, session.offsets, session.is_quiet)
    return listing.all, [counts, session.waited_ns(10**9)], state


@settings(max_examples=300 if NIGHTLY else 150, deadline=None)
@given(st.lists(st.sampled_from(range(len(STEPS))), max_size=12), st.integers(1, 5), st.booleans(), st.sampled_from([1000, 0]))
# Where a known exchange leaves a suspended portal, the next Execute goes on with it; a portal of another name stays as it is.
@example([PREPARE, *[SUSPENDED, COMPLETED] * 5], 1, False, 1000)
@example([PREPARE, *[SELECT] * 5, SUSPENDED_P, SELECT, CONTINUED_P], 1, False, 1000)
# The same inside a block and outside, and blocks that are known themselves.
@example([PREPARE, *[SELECT, BEGIN, SELECT, COMMIT] * 5], 1, False, 1000)
@example([*[DO, BEGIN, BEGIN, COMMIT] * 5], 1, False, 1000)
@example([*[DO, COMMIT, COMMIT] * 5], 1, False, 1000)
# The name means something else, or nothing that is known.
@example([PREPARE, *[SELECT] * 5, DEALLOCATE, *[SELECT] * 5, PREPARE, *[SELECT] * 5], 1, False, 1000)
# The portal is the one that was bound last.
@example([PREPARE, *[SELECT, BOUND] * 6, SELECT, EXECUTED], 1, False, 1000)
@example([PREPARE, *[BOUND, EXECUTED] * 5, SELECT, EXECUTED], 1, False, 1000)
# A known Sync ends a COPY.
@example([COPY], 5, False, 1000)
# A text that is new each time, in a block and outside; nobody waited for it.
@example([*QUERIES, BEGIN, *QUERIES, COMMIT], 4, True, 1000)
@example([*QUERIES, BEGIN, *QUERIES, COMMIT], 4, True, 0)
# What a text says beside its tag, and a text with two answers.
@example([BEGIN, *[ROLLBACK_TO] * 5, AND_CHAIN, COMMIT], 1, True, 1000)
@example([PARTS], 5, True, 1000)
# Texts that come again among those.
@example([*[query for query in QUERIES for _ in range(5)], *QUERIES], 2, False, 1000)
def test_the_short_cut_tells_the_same(steps: list[int], times: int, differ: bool, tick_ns: int) -> None:
    reads = [read for step in steps for read in STEPS[step]] * times
    if differ:
        reads = with_new_texts(reads)
    plain, quick = Listing(), Listing()
    assert heard(Session(quick), quick, reads, tick_ns) == heard(Plain(plain), plain, reads, tick_ns)


PLAIN_SELECT = [
    reads(
        f"F Parse - select 2 | Bind - - params={number} out=0 | Describe P - | {RUN}",
        f"B ParseComplete | BindComplete | RowDescription | {rows(number % 4)}CommandComplete SELECT {number % 4} | {READY}",
    )
    for number in range(1, 101)
]
SEVERAL = [
    reads(
        f"F Parse - begin | Bind - - params='' out=0 | Execute - | Bind - s1 params={number} out=0 | {RUN}",
        f"B ParseComplete | {'BindComplete | CommandComplete INSERT 0 1 | ' * 2}{READY}",
    )
    for number in range(50)
]


@pytest.mark.parametrize(
    ("reads", "at_most"),
    [
        (STEPS[0] + STEPS[3] * 50 + STEPS[4] * 50, 6),
        ([read for reads in PLAIN_SELECT for read in reads], 5),
        (STEPS[0] + [read for reads in SEVERAL for read in reads], 6),
        (with_new_texts(STEPS[QUERIES[0]] * 50 + STEPS[QUERIES[1]] * 50), 3),
    ],
    ids=["prepared selects", "selects that were not prepared", "several Binds in one read", "texts with values in them"],
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


def test_a_text_that_comes_again_becomes_one_exchange() -> None:
    """Among texts that are new each time; what is known by its own text costs least."""
    exchanges: list[Exchange] = []

    class Keeping(Listing):
        def happened(self, exchange: Exchange, passage: Passage) -> None:
            exchanges.append(exchange)

    select = STEPS[QUERIES[0]]
    heard(Session(keeping := Keeping()), keeping, with_new_texts(select * 50) + select * 50)
    assert len(exchanges) == 101
    assert len(set(exchanges)) <= 55


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
    data = wire(FRONTEND, "Bind - s1 params=7 out=0 | Execute -") * binds + wire(FRONTEND, "Sync")
    known = cache.Reads()
    for _ in range(2):
        looked = 0
        assert (known.asked_key(data) is not None) is is_known
        assert looked <= cache.LONGEST + 1
    assert known.asked_key(data) == known.asked_key(data.replace(b"7", b"8"))


def test_a_form_knows_its_reads_however_long_their_values_are() -> None:
    """More lengths than it remembers, until it forgets them; no byte beside the values may differ."""
    known = cache.Reads()
    asked = [wire(FRONTEND, f"Bind - s1 params={'7' * size} out=0 | {RUN}") for size in range(1, 40)]
    answered = [wire(BACKEND, f"BindComplete | DataRow {'7' * size} | CommandComplete SELECT 1 | {READY}") for size in range(1, 40)]
    for data in asked[:2]:
        key = known.asked_key(data)
    assert isinstance(key, tuple)
    form = cache.AskedForm(key, cache.Asked(is_self_contained=True), known._rests[key[2]])
    answer_key, _ = cache.answered_key(answered[0])
    assert answer_key is not None
    answer_form = cache.AnsweredForm(answer_key, cache.Answered())
    for data, answer in list(zip(asked, answered, strict=True)) * (2 * cache._OTHERS // len(asked)):
        assert form.is_of(data)
        assert answer_form.rows_of(answer) == 1
        assert max(len(form._layouts), len(answer_form._layouts)) <= cache._LAYOUTS
    for data, answer in zip(asked[::7], answered[::7], strict=True):
        for place in range(len(data)):
            other = data[:place] + b"\x01" + data[place + 1 :]
            assert not form.is_of(other) or known.asked_key(other) == key
        for place in range(len(answer)):
            other = answer[:place] + b"\x01" + answer[place + 1 :]
            assert answer_form.rows_of(other) < 0 or cache.answered_key(other)[0] == answer_key
