"""A batch, the same Bind and Execute over and over, is one item of what is owed; what a session
says is what it would say message by message."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace.framing import Frame
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session import machine
from pgtrace.session.connection import Session
from tests.corpus import NIGHTLY
from tests.playbook import Listing, wire

Reads = list[tuple[int, bytes]]

START: Reads = [
    (FRONTEND, wire(FRONTEND, "StartupMessage user=app")),
    (BACKEND, wire(BACKEND, "AuthenticationOk | ReadyForQuery I")),
    (FRONTEND, wire(FRONTEND, "Parse s INSERT INTO t VALUES ($1) | Parse u SELECT $1 | Sync")),
    (BACKEND, wire(BACKEND, "ParseComplete | ParseComplete | ReadyForQuery I")),
]
ASKED = (
    "Bind - s params=1 out=0 | Execute -",
    "Bind - s params=22,333 out=0 | Execute -",
    "Bind - u params=NULL out=1 | Execute -",
    "Bind p u params=1 out=1 | Execute p 5",
    "Bind p s params=1 out=0 | Execute -",
    "Query SELECT 1",
    "Flush",
    "Sync",
    "CopyData x",
)
DONE = "BindComplete | CommandComplete INSERT 0 1"
ANSWERED = (
    DONE,
    "BindComplete | DataRow 1 | DataRow 2 | CommandComplete SELECT 2",
    "BindComplete | CommandComplete COMMIT",
    "BindComplete | DataRow 1 | PortalSuspended",
    "BindComplete | ErrorResponse 23505 duplicate | ReadyForQuery E",
    "BindComplete | CopyInResponse",
    "ErrorResponse FATAL 57P01 gone",
    "NoticeResponse hello",
    "NotificationResponse 1 c p",
    "ReadyForQuery T",
    "BindComplete",
    "CommandComplete INSERT 0 1",
)


class OneByOne(Session):
    """Each message is looked at by itself."""

    def _take_frontend(self, time_ns: int, data: bytes) -> None:
        self._run(time_ns, data)

    def _take_backend(self, time_ns: int, data: bytes) -> None:
        self._backend(time_ns, self.framer.feed(BACKEND, data))

    def _frontend(self, time_ns: int, frames: list[Frame]) -> None:
        for frame in frames:
            super()._frontend(time_ns, [frame])

    def _backend(self, time_ns: int, frames: list[Frame]) -> None:
        for frame in frames:
            super()._backend(time_ns, [frame])


def said(session: Session, listing: Listing, reads: Reads) -> tuple[object, ...]:
    for number, (side, data) in enumerate(START + reads):
        session.receive(side, number * 1000, data)
    seen = []
    for _ in range(2):  # open, then closed
        tally = session.tally
        counts = [dict(value) if isinstance(value := getattr(tally, name), dict) else value for name in tally.__slots__]
        seen.append((listing.all, counts, session.waited_ns(10**6), session.offsets, session.is_quiet, dict(session.statements.live)))
        names = [(name, statement.sql, statement.binds) for name, statement in session.statements.live.items()]
        seen[-1] = (*seen[-1][:-1], names, set(session.statements.live_portals), set(session.statements.suspended))
        session.close(10**6)
    return tuple(seen)


def several(parts: tuple[str, ...], side: int) -> st.SearchStrategy[Reads]:
    """One read or two of messages that come again and again, cut anywhere."""
    runs = st.lists(st.tuples(st.sampled_from(parts), st.integers(1, 12)), min_size=1, max_size=4)
    return st.tuples(runs, st.floats(0, 1)).map(
        lambda drawn: _cut(side, b"".join(wire(side, part) * times for part, times in drawn[0]), drawn[1])
    )


def _cut(side: int, data: bytes, where: float) -> Reads:
    at = round(len(data) * where)
    return [(side, piece) for piece in (data[:at], data[at:]) if piece]


def batch(times: int, *, sync: bool = True) -> Reads:
    return [(FRONTEND, wire(FRONTEND, ASKED[0]) * times + (wire(FRONTEND, "Sync") if sync else b""))]


def done(times: int, then: str = "ReadyForQuery I") -> Reads:
    return [(BACKEND, wire(BACKEND, DONE) * times + wire(BACKEND, then))]


@settings(max_examples=400 if NIGHTLY else 200, deadline=None)
@given(
    st.lists(several(ASKED, FRONTEND) | several(ANSWERED, BACKEND), max_size=8).map(lambda parts: [read for part in parts for read in part])
)
@example(batch(20) + done(20))
@example(batch(20) + done(7, "BindComplete | ErrorResponse 23505 duplicate | ReadyForQuery I"))  # it fails in the middle
@example(
    batch(20, sync=False) + done(7, "BindComplete") + batch(20) + done(0, "CommandComplete INSERT 0 1") + done(32)
)  # and a read ends there
@example([*batch(20, sync=False), (FRONTEND, wire(FRONTEND, "Flush")), *done(20, "NoticeResponse hello")])
@example([*batch(20), *done(5, "BindComplete | CopyInResponse"), (FRONTEND, wire(FRONTEND, "CopyData x | CopyDone"))])
def test_a_batch_says_what_its_messages_say(reads: Reads) -> None:
    folded, one_by_one = Listing(), Listing()
    assert said(Session(folded), folded, reads) == said(OneByOne(one_by_one), one_by_one, reads)


@pytest.mark.parametrize("sync", [True, False], ids=["behind its Sync", "before its Sync"])
def test_a_batch_is_answered_a_read_at_a_time(monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    """asyncpg sends thousands of them before the Sync, and the server answers as its buffer fills."""
    looked_at = []
    each = machine.Machine._answer_each
    monkeypatch.setattr(
        machine.Machine, "_answer_each", lambda self, time_ns, frames: (looked_at.append(len(frames)), each(self, time_ns, frames))
    )
    session = Session()
    reads = batch(3000, sync=sync) + [(BACKEND, wire(BACKEND, DONE) * 1000)] * 3 + ([] if sync else [(FRONTEND, wire(FRONTEND, "Sync"))])
    said(session, Listing(), [*reads, (BACKEND, wire(BACKEND, "ReadyForQuery I"))])
    assert session.tally.executions == 3000
    assert sum(looked_at) < 20


def test_owed_by_a_batch_is_bounded_like_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_OWED", 50)
    folded, one_by_one = Listing(), Listing()
    reads = batch(40) + done(40) + batch(10) + done(10)
    assert said(Session(folded), folded, reads) == said(OneByOne(one_by_one), one_by_one, reads)
