"""The bytes of a conversation come out once each and in the order in which they passed; what does not come is lost, with its size."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture import tcp
from pgtrace.capture.record import NEITHER
from pgtrace.capture.tcp import APART_NS, LOST_SEGMENTS, PATIENCE_NS, Conversation, Stream, distance
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import ACK, FIN, PSH, RST, Sent, Talk


class Heard:
    """What came out."""

    def __init__(self) -> None:
        self.events: list[tuple[int, object]] = []
        self.latest_ns = 0
        self.bytes = [bytearray(), bytearray()]
        self.closed: tuple[int, str] | None = None
        self.ends: list[tuple[int, int, str]] = []

    def take(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        assert offset == len(self.bytes[side])
        assert data
        self.bytes[side] += data
        self.events.append((side, data))

    def lose(self, side: int, time_ns: int, offset: int, size: int) -> None:
        assert offset == len(self.bytes[side])
        self.bytes[side] += b"?" * size
        self.events.append((side, size))

    def finish(self) -> None:
        """Nothing is kept here."""

    def ended(self, side: int, time_ns: int, how: str) -> None:
        self.ends.append((side, time_ns, how))

    def close(self, side: int, time_ns: int, how: str) -> None:
        assert self.closed is None
        self.closed = (side, how)


def conversation(talk: Talk) -> tuple[Heard, Conversation, tuple[Stream, Stream]]:
    """One whose beginning is known from the talk's numbers."""
    heard = Heard()
    streams = (Stream(None, FRONTEND), Stream(None, BACKEND))
    streams[0].peer, streams[1].peer = streams[1], streams[0]
    starts = ((talk.numbers[0] + 1) % 2**32, (talk.numbers[1] + 1) % 2**32)
    return heard, Conversation(heard, *streams, starts), streams


def feed(talk: Talk, sent: list[Sent], *, missing: int = 0) -> tuple[Heard, Conversation]:
    """Everything of a talk but its handshake goes in."""
    heard, one, streams = conversation(talk)
    for segment in sent:
        if not segment.flags & forge.SYN and not one.over:
            side = FRONTEND if segment.source == talk.client else BACKEND
            numbers = segment.seq % 2**32, segment.ack % 2**32
            one.accept(streams[side], (segment.time_ns, b"", *numbers, segment.flags, segment.payload, missing))
    return heard, one


def talk(*turns: tuple[int, bytes], **about: object) -> Talk:
    made = Talk(**about).open()  # type: ignore[arg-type]
    for side, data in turns:
        made.send(side, data)
    return made


TURNS = (
    (FRONTEND, b"question"),
    (BACKEND, b"answer"),
    (FRONTEND, b"another"),
    (FRONTEND, b" one"),
    (BACKEND, b"more"),
    (BACKEND, b" and more"),
)
SENT = [b"questionanother one", b"answermore and more"]


def order(heard: Heard) -> list[int]:
    """The sides by turns."""
    return [side for place, (side, _) in enumerate(heard.events) if not place or heard.events[place - 1][0] != side]


def test_in_order() -> None:
    made = talk(*TURNS).close()
    heard, one = feed(made, made.sent)
    assert heard.bytes == SENT
    assert heard.events == list(TURNS)
    assert heard.closed == (FRONTEND, "FIN")
    assert one.over


@pytest.mark.parametrize("numbers", [(2**32 - 5, 2**32 - 1), (2**32 - 1, 2**31 - 3), (2**32 - 12, 0)])
def test_sequence_numbers_wrap_around(numbers: tuple[int, int]) -> None:
    made = talk(*TURNS, numbers=numbers, mss=3).close()
    heard, _ = feed(made, made.sent)
    assert heard.bytes == SENT
    assert heard.closed is not None


@given(st.randoms(use_true_random=False), st.integers(1, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_shuffled_and_repeated(chance: random.Random, mss: int, number: int, close: bool) -> None:
    """In any order within what a conversation waits for, and however often: the same bytes, and never a reply before its request."""
    made = talk(*TURNS, mss=mss, numbers=(number, number ^ 0x5555_5555))
    if close:
        made.close()
    sent = [one for one in made.sent for _ in range(chance.choice((1, 1, 1, 2)))]
    chance.shuffle(sent)
    heard, one = feed(made, sent)
    one.finish()
    assert heard.bytes == SENT
    assert order(heard) == [FRONTEND, BACKEND, FRONTEND, BACKEND]
    assert heard.closed == ((FRONTEND, "FIN") if close else None)


@given(st.lists(st.tuples(st.integers(0, 38), st.integers(0, 20)), min_size=1, max_size=20))
def test_cut_anew_and_overlapping(pieces: list[tuple[int, int]]) -> None:
    """What is sent again may be cut in other places."""
    text = b"0123456789abcdefghijklmnopqrstuvwxyz+-"
    made = Talk().open()
    first = Sent(0, made.client, made.server, made.numbers[0] + 1, made.numbers[1] + 1, PSH | ACK)
    sent = [replace(first, seq=first.seq + start, payload=text[start : start + size]) for start, size in [*pieces, (0, len(text))]]
    heard, one = feed(made, sent)
    assert heard.bytes[FRONTEND] == text
    assert not one.held_bytes


@pytest.mark.parametrize("missing", range(6))
def test_any_segment_lost(missing: int) -> None:
    """It is told where it was; the rest is all there, and in order."""
    made = talk(*TURNS).close()
    sent = [one for one in made.sent if one.payload][missing]
    heard, _ = feed(made, [one for one in made.sent if one is not sent])
    expected = [(side, len(data) if place == missing else data) for place, (side, data) in enumerate(TURNS)]
    assert heard.events == expected[:missing]  # what is missing may still come
    heard, one = feed(made, [one for one in made.sent if one is not sent])
    one.finish()
    assert heard.events == expected
    assert heard.closed == (FRONTEND, "FIN")


def without(made: Talk, missing: int) -> list[Sent]:
    return made.sent[:missing] + made.sent[missing + 1 :]


@pytest.mark.parametrize("missing", range(-3, 0))
def test_a_lost_end_loses_no_byte(missing: int) -> None:
    """Neither FIN nor the last acknowledgement is data."""
    made = talk(*TURNS).close()
    heard, one = feed(made, without(made, missing % len(made.sent)))
    one.finish()
    assert heard.bytes == SENT
    assert heard.closed == (FRONTEND, "FIN")


def test_the_last_data_is_missed_when_only_its_acknowledgement_came() -> None:
    made = talk(*TURNS).confirm(FRONTEND)
    heard, one = feed(made, without(made, -2))
    assert heard.bytes[BACKEND] == b"answermore"
    one.finish()
    assert heard.bytes[BACKEND] == b"answermore?????????"


def confirmed_loss(more: int, later_ns: int) -> Heard:
    """A request is missing, confirmed by its answer; then so many segments, the last of them that much later."""
    made = talk((FRONTEND, b"lost"), (BACKEND, b"answer"), *[(BACKEND, b"x")] * (more - 1))
    made.send(BACKEND, b"x", at_ns=made.sent[4].time_ns + later_ns)
    return feed(made, without(made, 3))[0]


def test_what_was_confirmed_is_given_up_after_some_segments_and_some_time() -> None:
    """Both: other directions may be a second behind, and a quiet connection has little to go by."""
    assert confirmed_loss(LOST_SEGMENTS - 1, APART_NS).events == []
    assert confirmed_loss(LOST_SEGMENTS, APART_NS - 1).events == []
    heard = confirmed_loss(LOST_SEGMENTS, APART_NS)
    assert heard.events[:2] == [(FRONTEND, 4), (BACKEND, b"answer")]
    assert heard.bytes == [b"????", b"answer" + b"x" * LOST_SEGMENTS]


def test_what_was_not_confirmed_comes_again() -> None:
    """Lost on the network: a window full of segments follows before it is sent again."""
    made = talk(*[(BACKEND, b"x")] * 3 * LOST_SEGMENTS, (BACKEND, b"end"))
    lost = replace(made.sent[3], time_ns=made.time_ns + 1)
    assert feed(made, without(made, 3))[0].events == []
    heard, one = feed(made, [*without(made, 3), lost])
    assert heard.bytes[BACKEND] == b"x" * 3 * LOST_SEGMENTS + b"end"
    assert not one.waits


def test_patience_ends_by_the_packets_clock() -> None:
    made = talk((FRONTEND, b"lost"), (BACKEND, b"answer"))
    heard, one = feed(made, without(made, 3))
    assert one.waits
    one.sweep(made.time_ns + PATIENCE_NS - 1)
    assert heard.events == []
    one.sweep(made.time_ns + PATIENCE_NS)
    assert heard.events == [(FRONTEND, 4), (BACKEND, b"answer")]
    assert not one.waits


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, and segments without any."""
    most = 4 * 1024 * 1024
    monkeypatch.setattr(tcp, "HELD_BYTES", most)
    made = talk((BACKEND, b"lost"), *[(BACKEND, bytes(60_000))] * (2 * most // 60_000))
    heard, one = feed(made, without(made, 3))
    assert len(heard.bytes[BACKEND]) > most
    assert one.held_bytes <= most + 100_000
    made = Talk().open()
    first = Sent(0, made.client, made.server, made.numbers[0] + 1, made.numbers[1] + 1, ACK)
    heard, one = feed(made, [replace(first, seq=first.seq + 2 + number) for number in range(most // 100)])
    assert one.held_bytes <= most + 1000


def test_a_cut_packet_is_a_loss_behind_what_is_there() -> None:
    made = talk((FRONTEND, b"question"), (FRONTEND, b"again"))
    heard, _ = feed(made, made.sent[3:4], missing=3)
    assert heard.events == [(FRONTEND, b"question"), (FRONTEND, 3)]


@pytest.mark.parametrize("behind", [True, False])
def test_a_reset_ends_it_after_what_still_comes(behind: bool) -> None:
    made = talk((FRONTEND, b"question"), (BACKEND, b"answer"))
    made.put(FRONTEND, RST)
    sent = [*made.sent[:4], made.sent[5], made.sent[4]] if behind else made.sent
    heard, one = feed(made, sent)
    assert heard.closed is None
    assert one.waits
    one.sweep(made.time_ns + PATIENCE_NS)
    assert heard.bytes == [b"question", b"answer"]
    assert heard.closed == (FRONTEND, "RST")
    assert one.over


def test_half_closed() -> None:
    """The client has ended; the server still answers."""
    made = talk((FRONTEND, b"question"))
    made.put(FRONTEND, FIN | ACK)
    made.send(BACKEND, b"answer").confirm(FRONTEND).send(BACKEND, b" and more").put(BACKEND, FIN | ACK)
    heard, _ = feed(made, made.sent)
    assert heard.bytes == [b"question", b"answer and more"]
    assert heard.closed == (FRONTEND, "FIN")


def test_given_up_without_an_end() -> None:
    made = talk(*TURNS)
    heard, one = feed(made, made.sent)
    one.abandon(made.time_ns)
    assert heard.closed == (NEITHER, "unseen")


def test_keep_alive_and_window_probes_are_nothing_new() -> None:
    made = talk((FRONTEND, b"question"))
    last = made.sent[-1]
    probes = [replace(last, seq=last.seq + 7, payload=payload) for payload in (b"", b"n")]
    heard, _ = feed(made, made.sent + probes)
    assert heard.events == [(FRONTEND, b"question")]


SEGMENTS = st.tuples(
    st.sampled_from((FRONTEND, BACKEND)),
    st.integers(-40, 40),
    st.integers(-40, 40),
    st.sampled_from((ACK, ACK, ACK, PSH, FIN | ACK, RST, RST | ACK)),
    st.binary(max_size=12),
    st.integers(0, 2),
    st.integers(0, 2 * PATIENCE_NS),
)


@given(st.lists(SEGMENTS, max_size=120))
def test_no_segments_raise(segments: list[tuple[int, int, int, int, bytes, int, int]]) -> None:
    """Whatever the numbers say, it ends, and nothing stays behind."""
    made = Talk().open()
    heard, one, streams = conversation(made)
    time_ns = 0
    for side, seq, ack, flags, payload, missing, later in segments:
        if one.over:
            break
        time_ns += later
        numbers = (streams[side].start + seq) % 2**32, (streams[1 - side].start + ack) % 2**32
        one.accept(streams[side], (time_ns, b"", *numbers, flags, payload, missing))
    one.abandon(time_ns)
    assert heard.closed is not None
    assert not any(stream.held for stream in streams)
    assert one.held_bytes == 0


def test_distance() -> None:
    assert [distance(*pair) for pair in ((5, 3), (3, 5), (2, 2**32 - 2), (2**32 - 2, 2))] == [2, -2, 4, -4]
