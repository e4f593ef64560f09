"""When an end ends the waiting: a reset at once, a driver's own end only where no later answer
reached it. Times follow from it, counts never do."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace.capture.record import CLOSE_NOTIFY, FIN, LOST, NEITHER, RST
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session
from pgtrace.session.departure import TERMINATE
from pgtrace.session.events import Exchange, Passage
from tests.corpus import NIGHTLY
from tests.playbook import MS, Plain, play
from tests.session.letters import reads as recorded
from tests.session.test_exchanges import STEPS, Listing, Reads

ASK = "10 F Parse - SELECT pg_sleep(4) | Bind - - | Describe P - | Execute - | Sync\n"
SIMPLE = "10 F Query SELECT pg_sleep(4)\n"
ANSWER = "4010 B ParseComplete | BindComplete | RowDescription a:25 | DataRow x | CommandComplete SELECT 1 | ReadyForQuery I\n"
SIMPLE_ANSWER = "4010 B RowDescription a:25 | DataRow x | CommandComplete SELECT 1 | ReadyForQuery I\n"

Case = tuple[str, str, float, float | None]
"""Name, script, when the round trip closed (ms), and how long its execution was waited for."""
CASES: list[Case] = [
    ("a driver that has gone", ASK + "1010 c1 ends F FIN\n" + ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F", 1010, 1000),
    ("by the simple protocol", SIMPLE + "1010 c1 ends F FIN\n" + SIMPLE_ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F", 1010, 1000),
    ("a driver that reads on", ASK + "1010 c1 ends F FIN\n" + ANSWER + "4010.1 c1 ends B FIN\n4011 c1 close F", 4010, 4000),
    ("in TLS, and reads on", ASK + "1010 c1 ends F close_notify\n" + ANSWER + "4011 c1 close F", 4010, 4000),
    ("in TLS, and has gone", ASK + "1010 c1 ends F close_notify\n" + ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F", 1010, 1000),
    ("Terminate ahead of the answer, read", SIMPLE + "12 F Terminate\n" + SIMPLE_ANSWER + "4011 c1 close F", 4010, 4000),
    ("Terminate, FIN, gone", SIMPLE + "12 F Terminate\n13 c1 ends F FIN\n" + SIMPLE_ANSWER + "4010.1 c1 ends F RST\n4011 c1 close F",
    12, 2),
    ("no answer ever", ASK + "1010 c1 ends F FIN\n5000 c1 ends B FIN\n5001 c1 close F", 1010, None),
    ("half an answer", ASK + "1010 c1 ends F FIN\n2000 B ParseComplete | BindComplete\n5001 c1 close F", 1010, None),
    ("Terminate and no answer, as in version 1.0", SIMPLE + "12 F Terminate\n5001 c1 close F", 12, None),
    ("a reset of the driver", ASK + "1010 c1 ends F RST\n1011 c1 close F", 1010, None),
    ("a reset of the driver, and still an answer", ASK + "1010 c1 ends F RST\n" + ANSWER + "4011 c1 close F", 1010, 1000),
    ("a driver that was lost", ASK + "1010 c1 ends F lost\n4011 c1 close F", 1010, None),
    ("a reset of the server", ASK + "1010 c1 ends B RST\n4011 c1 close B", 1010, None),
    ("the server's FIN", ASK + "1010 c1 ends B FIN\n4011 c1 ends F FIN\n4012 c1 close B", 1010, None),
    ("pgtrace's own end", ASK + "1010 c1 ends pgtrace FIN\n4012 c1 close pgtrace", 1010, None),
    ("a FATAL, then the end", ASK + "1010 B ErrorResponse FATAL 57P01 gone\n1011 c1 ends B FIN\n4012 c1 close B", 1010, None),
    ("without an end", ASK + ANSWER + "4011 c1 close F", 4010, 4000),
    ("neither answer nor end", ASK + "4011 c1 close F", 4011, None),
]  # fmt: skip


@pytest.mark.parametrize(("script", "closed_ms", "wait_ms"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_when_the_waiting_ends(script: str, closed_ms: float, wait_ms: float | None) -> None:
    session, heard = play(script)
    assert session.tally.round_trips == 1
    asked = heard.round_trips[-1]
    assert asked.closed_ns == closed_ms * MS
    assert heard.waits_ms == ([] if wait_ms is None else [wait_ms])
    waited, client = session.waited_ns(5001 * MS)
    assert waited == (closed_ms - 10) * MS
    assert asked.first_answer_ns is None or asked.first_answer_ns <= asked.closed_ns
    assert waited + client <= 5001 * MS


def test_who_and_what_is_known_of_it() -> None:
    _, heard = play(CASES[0][1])
    gone = heard.round_trips[-1].departure
    assert gone is not None
    assert (gone.side, gone.how, gone.waits_for, gone.reached) == (FRONTEND, FIN, "Execute", False)
    assert (gone.at_ns, gone.answered_ns) == (1010 * MS, 4010 * MS)
    _, heard = play(CASES[6][1])
    said = heard.round_trips[-1].departure
    assert said is not None
    assert (said.how, said.waits_for) == (TERMINATE, "Query")


def test_nothing_is_said_before_it_is_known() -> None:
    """Answered, and its driver may be there or not: no time of it, and no waiting beyond the driver's end."""
    session, heard = play(ASK + "1010 c1 ends F FIN\n" + ANSWER)
    assert heard.round_trips[-1].closed_ns is None
    assert len(heard.executions) == 1
    assert heard.waits_ms == []
    assert session.tally.executions == session.tally.round_trips == 1
    assert session.waited_ns(4020 * MS)[0] == 1000 * MS
    assert session.has_open_run
    assert session.is_quiet
    session.close(4030 * MS)
    assert heard.waits_ms == [4000]
    assert session.waited_ns(4030 * MS)[0] == 4000 * MS


def test_a_driver_that_sends_on_was_there() -> None:
    """Behind its own Terminate, where that does not end the connection."""
    session, heard = play(
        SIMPLE + "12 F Terminate\n" + SIMPLE_ANSWER + "4020 F Query SELECT 2\n4030 B CommandComplete SELECT 0 | ReadyForQuery I"
    )
    assert [one.closed_ns for one in heard.round_trips[1:]] == [4010 * MS, 4030 * MS]
    assert heard.waits_ms == [4000, 10]
    assert session.waited_ns(5000 * MS)[0] == 4010 * MS


def test_copy_in_that_is_left() -> None:
    """The run of CopyData has no flush point; the error that answers it makes it count, and its time is the driver's end."""
    script = (
        "10 F Query COPY t FROM STDIN\n11 B CopyInResponse\n20 F CopyData x\n30 c1 ends F FIN\n"
        "40 B ErrorResponse 57014 COPY from stdin failed: unexpected EOF\n41 c1 ends F RST\n42 c1 close F"
    )
    session, heard = play(script)
    assert session.tally.round_trips == 2
    assert [one.closed_ns for one in heard.round_trips[1:]] == [11 * MS, 30 * MS]


def test_bytes_that_are_missing_behind_an_end() -> None:
    _, heard = play(ASK + "1010 c1 ends F FIN\n2000 B ParseComplete\n2001 c1 gap 100\n4010 c1 close F")
    assert heard.round_trips[-1].uncertain
    assert heard.round_trips[-1].closed_ns == 2001 * MS


def test_bytes_that_are_missing_behind_the_answer() -> None:
    """What is lost may have been a reset: the answer stays the end."""
    session, heard = play(ASK + "1010 c1 ends F FIN\n" + ANSWER + "4010.1 c1 gap 100\n4011 c1 ends F RST\n4012 c1 close F")
    assert heard.round_trips[-1].closed_ns == 4010 * MS
    assert heard.waits_ms == [4000]
    assert not session.has_open_run


# Any session, with ends at any place.


class Told(Listing):
    """What a session says in the end: of each round trip the last word, what it counted and its times."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[object, tuple[object, list[object]]] = {}

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        super().happened(exchange, passage)
        effect = exchange.effect
        counted = (effect.sent, effect.received, effect.is_round_trip, effect.depth, effect.executions, effect.errors)
        parts = sorted((str(part.statement.sql), part.ended, part.errors, exchange.returned(part, passage.rows)) for part in exchange.parts)
        sizes = passage.rows, passage.sent_bytes, passage.received_bytes
        self.last[passage.note] = (counted, parts, sizes), [passage.opened_ns, passage.first_answer_ns, passage.closed_ns]

    @property
    def ended(self) -> int:
        """Executions that ended."""
        return sum(part[1] for (_, parts, _), _ in self.last.values() for part in parts)  # type: ignore[misc, has-type]


End = tuple[int, str]
Event = tuple[int, bytes] | End
"""A read, or a direction's end."""
ENDS: list[End] = [
    (FRONTEND, FIN),
    (FRONTEND, CLOSE_NOTIFY),
    (FRONTEND, RST),
    (FRONTEND, LOST),
    (BACKEND, FIN),
    (BACKEND, RST),
    (NEITHER, FIN),
]


def told(session: Session, heard: Told, events: list[Event], *, counts_only: bool = False) -> tuple[object, ...]:
    reads: list[Event] = [*recorded(">Q <CZ")[:2]]
    for number, (side, what) in enumerate([*reads, *events]):
        if isinstance(what, bytes):
            session.receive(side, number * 1000, what)
        elif not counts_only:
            session.ended(side, what, number * 1000)
    before = session.is_quiet
    session.close((len(events) + 3) * 1000)
    tally = {
        name: value if not isinstance(value, dict) else dict(value)
        for name in session.tally.__slots__
        for value in [getattr(session.tally, name)]
    }
    said = list(heard.last.values())
    if counts_only:
        return tally, [counts for counts, _ in said], before, session.offsets
    assert all(None not in times[-1:] for _, times in said)
    assert heard.waits.total() == heard.ended
    return tally, said, +heard.waits, before, session.offsets, session.waited_ns((len(events) + 3) * 1000)


@st.composite
def sessions(draw: st.DrawFn) -> list[Event]:
    """Steps that drivers take, their reads joined or apart, and ends among them."""
    reads: Reads = [read for step in draw(st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=8)) for read in STEPS[step]]
    if draw(st.booleans()):
        reads.insert(draw(st.integers(0, len(reads))), (FRONTEND, b"X\0\0\0\4"))
    events: list[Event] = [*reads]
    for _ in range(draw(st.integers(0, 3))):
        events.insert(draw(st.integers(0, len(events))), draw(st.sampled_from(ENDS)))
    return events


@settings(max_examples=300 if NIGHTLY else 150, deadline=None)
@given(sessions())
@example([*STEPS[0], STEPS[3][0], (FRONTEND, FIN), STEPS[3][1], (FRONTEND, RST)])
def test_the_short_cut_says_the_same(events: list[Event]) -> None:
    quick, plain = Told(), Told()
    assert told(Session(quick), quick, events) == told(Plain(plain), plain, events)


@settings(max_examples=300 if NIGHTLY else 150, deadline=None)
@given(sessions())
@example([*STEPS[0], STEPS[3][0], (FRONTEND, FIN), STEPS[3][1], (FRONTEND, RST)])
@example([*STEPS[0], STEPS[3][0], (BACKEND, FIN), STEPS[3][0]])
def test_counts_are_those_of_the_same_session_without_ends(events: list[Event]) -> None:
    with_ends, without = Told(), Told()
    tally, said, _, quiet, offsets, _ = told(Session(with_ends), with_ends, events)
    assert isinstance(said, list)
    assert (tally, [counts for counts, _ in said], quiet, offsets) == told(Session(without), without, events, counts_only=True)


@settings(max_examples=200 if NIGHTLY else 100, deadline=None)
@given(sessions(), st.data())
def test_any_cut_says_the_same(events: list[Event], data: st.DataObject) -> None:
    """Of one time: only what was read apart differs then."""
    cut: list[Event] = []
    for side, what in events:
        if isinstance(what, bytes) and len(what) > 1:
            at = data.draw(st.integers(1, len(what) - 1))
            cut += [(side, what[:at]), (side, what[at:])]
        else:
            cut.append((side, what))  # type: ignore[arg-type]

    def counted(events: list[Event]) -> tuple[object, ...]:
        session, heard = Plain(listing := Told()), listing
        for side, what in [*recorded(">Q <CZ")[:2], *events]:
            if isinstance(what, bytes):
                session.receive(side, 0, what)
            else:
                session.ended(side, what, 0)
        session.close(0)
        return list(heard.last.values()), session.tally.round_trips, session.tally.executions

    assert counted(cut) == counted(events)
