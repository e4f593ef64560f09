"""What the inspector says of a row is what the session says of the connection: which message each
reply answers, and what the server discarded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.framing import Framer
from pgtrace.inspect import details
from pgtrace.protocol import codes
from pgtrace.session.watched import Watched
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests.corpus import CAPTURES, name
from tests.generated import STEPS, script
from tests.playbook import write
from tests.traces import fully_read

Place = tuple[int, int]
"""Side and offset of a message."""


def by_the_session(trace: Trace) -> tuple[dict[tuple[int, Place], Place], set[tuple[int, Place]]]:
    """Of each connection: what each reply answers, and what was discarded, by one machine from its beginning to its end."""
    answers: dict[tuple[int, Place], Place] = {}
    discarded: set[tuple[int, Place]] = set()
    for connection in trace.connections:
        machine: Watched[Place] = Watched()
        framer = Framer()
        offsets = [0, 0]
        blocks, position, _ = trace.blocks_at(connection.position)
        for time_ns, side, _, data, left_out in blocks.pieces(position, connection.number, (0, 0)):
            assert not left_out
            for frame in framer.feed(side, data):
                place = (side, offsets[side])
                offsets[side] += frame[2]
                if side == codes.FRONTEND:
                    skipped = [place] if machine.sent(time_ns, frame, place) else []
                else:
                    item, skipped = machine.received(time_ns, frame)
                    if item is not None and item.asked is not None:
                        answers[connection.index, place] = item.asked
                discarded |= {(connection.index, one) for one in skipped}
    return answers, discarded


def differences(trace: Trace) -> list[str]:
    """Where the inspector says something else than the session."""
    answers, discarded = by_the_session(trace)
    found = []
    for place in range(len(trace.rows)):
        row = trace.rows[place]
        messages = list(details.scan(trace, place)) if row.shape.kind not in (RowKind.MARK, RowKind.GAP, RowKind.CLOSED) else []
        here = {(message.side, message.offset) for message in messages}
        for message in messages:
            key = (row.connection, (message.side, message.offset))
            said = (message.answers.side, message.answers.offset) if message.answers is not None else None
            right = answers.get(key)
            if right not in here:  # asked in an earlier row; a COPY that goes on says what of this row is answered
                right = said if said is None or _goes_on(message.answers) else None
            if said != right:
                found.append(f"row {place + 1} {row.shape.flight}: {message.name} answers {said}, not {right}")
            if message.skipped is not (key in discarded):
                found.append(f"row {place + 1} {row.shape.flight}: {message.name} skipped: {message.skipped}")
    return found


def _goes_on(message: details.MessageView | None) -> bool:
    return message is not None and message.name == "CopyData"


@pytest.mark.parametrize("path", CAPTURES, ids=name)
def test_the_inspector_says_what_the_session_says(path: Path) -> None:
    trace = fully_read(path)
    assert differences(trace) == []
    trace.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=8))
def test_so_it_is_of_generated_sessions(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    path = write(tmp_path_factory.mktemp("generated") / "x.pgtrace", script(steps))
    trace = fully_read(path)
    assert differences(trace) == []
    trace.close()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(sorted({text for step in STEPS for _, text in step}))), max_size=10))
def test_so_it_is_of_conversations_that_make_no_sense(tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, str]]) -> None:
    """Whatever the two sides say: here each message is one that its side can send."""
    fitting = [(side, text) for side, text in said if any((side, text) in step for step in STEPS)]
    lines = "\n".join(f"{'FB'[side]} {text}" for side, text in fitting) or "F Terminate"
    trace = fully_read(write(tmp_path_factory.mktemp("generated") / "x.pgtrace", lines))
    assert differences(trace) == []
    trace.close()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "F Parse - COPY t FROM STDIN | Bind - - | Execute - | Sync\nB ParseComplete | BindComplete | CopyInResponse\n"
            "F CopyData a | CopyDone | Sync\nB CommandComplete COPY 1 | ReadyForQuery I",
            ["ParseComplete Parse", "BindComplete Bind", "CopyInResponse Execute", "CommandComplete CopyDone", "ReadyForQuery Sync"],
        ),
        (
            "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData a | CopyFail no\nB ErrorResponse 57014 no | ReadyForQuery I",
            ["CopyInResponse Query", "ErrorResponse CopyFail", "ReadyForQuery CopyFail"],
        ),
        (
            "F Query COPY t FROM STDIN\nB CopyInResponse\nF CopyData a\nB ErrorResponse 22P02 no | ReadyForQuery I",
            ["CopyInResponse Query", "ErrorResponse CopyData", "ReadyForQuery CopyData"],
        ),
        (
            "F Parse - SELECT 1 | Flush | Bind - -\nB ParseComplete\nF Execute - | Sync\n"
            "B BindComplete | CommandComplete SELECT 1 | ReadyForQuery I",
            ["ParseComplete Parse", "BindComplete None", "CommandComplete Execute", "ReadyForQuery Sync"],
        ),
    ],
    ids=["the Sync that COPY swallowed", "CopyFail", "an error in the data", "a Bind of the row before"],
)
def test_what_a_reply_answers(tmp_path: Path, lines: str, said: list[str]) -> None:
    trace = fully_read(write(tmp_path / "x.pgtrace", lines))
    found = [
        f"{message.name} {message.answers.name if message.answers is not None else None}"
        for place in range(len(trace.rows))
        if trace.rows[place].shape.kind is RowKind.ROUND_TRIP
        for message in details.read(trace, place).messages
        if message.side == codes.BACKEND
    ]
    assert found == said
    trace.close()


@pytest.mark.parametrize("fact", ["1 c1 fact tls.frontend TLSv1.3\n", ""])
def test_a_start_up_that_the_recorder_decrypted_is_there(tmp_path: Path, fact: str) -> None:
    """What follows `S` is the plain stream if the recorder says so, and was never kept if it passed TLS on."""
    asked = "0 c1 F SSLRequest\n1 c1 raw B 53\n" + fact
    plain = "2 c1 F StartupMessage user=app\n3 c1 B AuthenticationOk | ReadyForQuery I\n4 c1 F Query SELECT 1\n"
    trace = fully_read(write(tmp_path / "c", asked + (plain if fact else "2 c1 opaque F 90\n3 c1 opaque B 90\n") + "end"))
    found = [details.read(trace, place) for place in range(len(trace.rows)) if trace.rows[place].shape.kind is RowKind.SETUP]
    assert [[message.name for message in one.messages] for one in found] == [
        ["SSLRequest", "SSLRequestReply"],
        *([["StartupMessage", "AuthenticationOk", "ReadyForQuery"]] if fact else []),
    ]
    assert {one.note for one in found} == {""}
    trace.close()
