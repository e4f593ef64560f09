"""Which conversations are PostgreSQL's and who is the server; and that neither floods nor nonsense take more than their share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture import conversations
from pgtrace.capture.conversations import NEWCOMER_SEGMENTS, Conversations
from pgtrace.capture.ip import SegmentReader
from pgtrace.capture.pcap import is_startup
from pgtrace.capture.tcp import PATIENCE_NS
from pgtrace.protocol import startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import ACK, FIN, PSH, RST, SYN, Sent, Talk

STARTUP = startup.StartupMessage(3 << 16, (("user", "app"),)).wire()
OTHER_PORT = ("10.0.0.2", 6000)


class Opener:
    """Takes every conversation and notes what it is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, bool]] = []
        self.heard: list[tuple[int, int, bytes]] = []
        self.lost = 0
        self.closed: list[tuple[int, str]] = []

    def is_startup(self, payload: bytes) -> bool | None:
        return is_startup(payload)

    def open(self, time_ns: int, client: str, server: str, *, seen: bool) -> _Receiver:
        self.opened.append((client, server, seen))
        return _Receiver(self, len(self.opened), time_ns)


class _Receiver:
    def __init__(self, opener: Opener, number: int, time_ns: int) -> None:
        self._opener = opener
        self._number = number
        self.ends: list[tuple[int, int, str]] = []
        self.latest_ns = time_ns

    def take(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        self._opener.heard.append((self._number, side, data))
        self.latest_ns = time_ns

    def lose(self, side: int, time_ns: int, offset: int, size: int) -> None:
        self._opener.lost += size

    def finish(self) -> None:
        """Nothing is kept here."""

    def ended(self, side: int, time_ns: int, how: str) -> None:
        self.ends.append((side, time_ns, how))

    def close(self, side: int, time_ns: int, how: str) -> None:
        self._opener.closed.append((self._number, how))


def follow(sent: list[Sent], named: tuple[int, ...] = (5432,), *, finish: bool = True) -> tuple[Opener, Conversations]:
    opener = Opener()
    found = Conversations(opener, named)
    reader = SegmentReader()
    for one in sent:
        found.feed(reader.feed([(one.time_ns, 101, forge.ip(one), len(forge.ip(one)))]))
    if finish:
        found.finish()
    return opener, found


def test_a_named_port_is_known_by_its_handshake() -> None:
    opener, _ = follow(Talk().open().sent[:2], finish=False)
    assert opener.opened == [("10.0.0.1:40001", "10.0.0.2:5432", True)]


def test_any_other_port_is_known_by_the_start_up() -> None:
    made = Talk(server=OTHER_PORT).open()
    assert follow(made.sent, finish=False)[0].opened == []
    made.send(FRONTEND, STARTUP)
    assert follow(made.sent, finish=False)[0].opened == [("10.0.0.1:40001", "10.0.0.2:6000", True)]


def test_a_start_up_in_pieces() -> None:
    made = Talk(server=OTHER_PORT, mss=3).open().send(FRONTEND, STARTUP).send(BACKEND, b"R")
    opener, _ = follow(made.sent)
    assert b"".join(data for _, side, data in opener.heard if side == FRONTEND) == STARTUP


def test_no_handshake_but_a_start_up() -> None:
    """Whichever packet comes first, and whoever has which port."""
    made = Talk(("10.0.0.1", 5432), OTHER_PORT).open().send(FRONTEND, STARTUP).send(BACKEND, b"R").send(BACKEND, b"Z").sent[3:]
    for sent in (made, made[::-1], [made[1], made[0], made[2]]):
        opener, _ = follow(sent)
        assert opener.opened == [("10.0.0.1:5432", "10.0.0.2:6000", True)]
        assert opener.heard == [(1, FRONTEND, STARTUP), (1, BACKEND, b"R"), (1, BACKEND, b"Z")]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_handshake_of_which_one_packet_is_missing(missing: int) -> None:
    made = Talk().open().send(FRONTEND, STARTUP).send(BACKEND, b"R")
    opener, _ = follow(made.sent[:missing] + made.sent[missing + 1 :])
    assert opener.opened == [("10.0.0.1:40001", "10.0.0.2:5432", True)]
    assert [data for *_, data in opener.heard] == [STARTUP, b"R"]
    assert not opener.lost


def test_without_either_the_named_port_tells_the_server() -> None:
    made = Talk().send(FRONTEND, b"Q").send(BACKEND, b"C").send(FRONTEND, b"X")
    for first in (0, 1):
        opener, _ = follow(made.sent[first:])
        assert opener.opened == [("10.0.0.1:40001", "10.0.0.2:5432", False)]
        assert [data for *_, data in opener.heard] == [b"Q", b"C", b"X"][first:]


def test_a_newcomer_is_judged_after_some_segments_or_some_time() -> None:
    made = Talk()
    for _ in range(NEWCOMER_SEGMENTS):
        made.send(FRONTEND, b"Q")
    assert follow(made.sent[:-1], finish=False)[0].opened == []
    assert len(follow(made.sent, finish=False)[0].heard) == NEWCOMER_SEGMENTS
    other = Talk(("10.0.0.9", 1), ("10.0.0.9", 2), time_ns=made.time_ns + PATIENCE_NS).open()
    assert len(follow(made.sent[:1] + other.sent, finish=False)[0].heard) == 1


def test_what_is_none_of_ours_is_counted_by_port() -> None:
    web = Talk(server=("10.0.0.2", 80)).open().send(FRONTEND, b"GET / HTTP/1.1").send(BACKEND, b"HTTP/1.1 200")
    ssh = Talk(("10.0.0.3", 50_000), ("10.0.0.2", 22)).send(BACKEND, b"SSH-2.0").send(FRONTEND, b"SSH-2.0")
    opener, found = follow(web.sent + ssh.sent)
    assert (opener.opened, dict(found.others)) == ([], {80: 5, 22: 2})


def test_what_is_none_of_ours_may_be_followed_by_what_is() -> None:
    web = Talk(server=OTHER_PORT).open().send(FRONTEND, b"GET / HTTP/1.1")
    again = Talk(server=OTHER_PORT, numbers=(77_000, 5)).open().send(FRONTEND, STARTUP)
    assert len(follow(web.sent + again.sent)[0].opened) == 1


def test_a_refused_connection_is_none() -> None:
    made = Talk()
    made.put(FRONTEND, SYN)
    made.put(BACKEND, RST | ACK)
    opener, found = follow(made.sent)
    assert opener.opened == []
    assert not found._streams


def test_late_packets_of_an_ended_connection_begin_none() -> None:
    made = Talk().open().send(FRONTEND, STARTUP).send(BACKEND, b"R").close()
    opener, _ = follow(made.sent * 2 + made.sent[::-1])
    assert len(opener.opened) == 1
    assert opener.closed == [(1, "FIN")]


def test_the_same_ports_once_more() -> None:
    first = Talk().open().send(FRONTEND, STARTUP).close()
    second = Talk(numbers=(70_000, 90)).open().send(FRONTEND, STARTUP).close()
    opener, _ = follow(first.sent + second.sent)
    assert opener.closed == [(1, "FIN"), (2, "FIN")]


def test_a_flood_of_beginnings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "NEWCOMERS", 1000)
    sent = [Sent(1, (f"10.1.{number >> 8}.{number & 255}", 9), ("10.0.0.2", 5432), number, 0, SYN) for number in range(3000)]
    _, found = follow(sent, finish=False)
    assert len(found._newcomers) == 1000
    assert len(found._streams) <= 2000


def test_early_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "NEWCOMERS_BYTES", 100_000)
    sent = [Talk(("10.0.0.1", port), OTHER_PORT).send(FRONTEND, bytes(30_000)).sent[0] for port in range(1, 50)]
    _, found = follow(sent, finish=False)
    assert found._newcomers_bytes <= 100_000
    assert len(found._newcomers) <= 3


def test_what_all_hold_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "HELD_BYTES", 100_000)
    sent: list[Sent] = []
    for port in range(1, 40):
        made = Talk(("10.0.0.1", port)).open().send(FRONTEND, STARTUP)
        made.next[BACKEND] += 10  # lost
        sent += made.send(BACKEND, bytes(30_000)).sent
    opener, found = follow(sent, finish=False)
    assert found._held_bytes <= 100_000
    assert opener.lost >= 10 * 30
    assert found._held_bytes == sum(one.held_bytes for one in found._live)


def test_of_too_many_the_silent_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "LIVE", 10)
    talks = [Talk(("10.0.0.1", port)).open().send(FRONTEND, STARTUP) for port in range(1, 11)]
    sent = [one for talk in talks for one in talk.sent]
    for talk in (*talks[:4], *talks[5:]):
        sent += talk.send(BACKEND, b"R").sent[-1:]
    opener, found = follow(sent + Talk(("10.0.0.1", 11), time_ns=talks[0].time_ns + 1).open().sent, finish=False)
    assert opener.closed == [(5, "unseen")]
    assert (len(opener.opened), len(found._live)) == (11, 10)


def test_many_short_connections_leave_little_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "PAST", 100)
    opener = Opener()
    found = Conversations(opener, (5432,))
    reader = SegmentReader()
    for number in range(2000):
        made = Talk((f"10.0.{number >> 8}.{number & 255}", 40_000)).open().send(FRONTEND, STARTUP).close()
        found.feed(reader.feed((one.time_ns, 101, forge.ip(one), 500) for one in made.sent))
    assert len(opener.closed) == 2000
    assert (len(found._live), len(found._newcomers), len(found._waiting)) == (0, 0, 0)
    assert len(found._past) == 100
    assert len(found._streams) == 200


SEGMENTS = st.tuples(
    st.sampled_from((40_001, 40_002)),
    st.sampled_from((FRONTEND, BACKEND)),
    st.one_of(st.integers(0, 60), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 60), st.integers(0, 2**32 - 1)),
    st.sampled_from((ACK, ACK, ACK, PSH | ACK, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, 0, 255)),
    st.sampled_from((b"", b"", b"x", b"some more", STARTUP, STARTUP[:9], bytes(40))),
    st.integers(-1, PATIENCE_NS),
)


@given(st.lists(SEGMENTS, max_size=60), st.sampled_from(((5432,), ())))
def test_no_segments_raise(segments: list[tuple[int, int, int, int, int, bytes, int]], named: tuple[int, ...]) -> None:
    """Every conversation that was opened is told of once, and at the end nothing is held."""
    time_ns = 10**18
    sent = []
    for port, side, seq, ack, flags, payload, later in segments:
        time_ns += later
        ends = [("10.0.0.1", port), ("10.0.0.2", 5432)]
        sent.append(Sent(time_ns, ends[side], ends[1 - side], seq, ack, flags, payload))
    opener, found = follow(sent, named)
    assert not found._newcomers
    assert found._newcomers_bytes == found._held_bytes == 0
    assert len({number for number, _ in opener.closed}) == len(opener.closed)
    assert len(opener.closed) + len(found._live) == len(opener.opened)
    assert len(found._streams) <= 4
