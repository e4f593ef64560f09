"""From bytes to frames: cut anywhere, at start-up, with lengths that cannot be, after gaps, and on bytes that are no protocol at all."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgtrace.framing import KEPT_BYTES, LONGEST, LONGEST_ERROR, LONGEST_STARTUP, Frame, Framer
from pgtrace.protocol import backend, codes, frontend, startup
from pgtrace.protocol.authentication import AuthenticationOk
from pgtrace.protocol.codes import BACKEND, FRONTEND

STARTUP = startup.StartupMessage(196608, (("user", "app"),)).wire()
SSL = startup.SSLRequest().wire()
GSSENC = startup.GSSENCRequest().wire()
READY = backend.ReadyForQuery("I").wire()
FAILED = backend.ErrorResponse((("S", "FATAL"), ("C", "0A000"))).wire()
VERSION_2_TEXT = b"EFATAL:  unsupported frontend protocol\n\0"
OLD_STARTUP = startup.Version2StartupMessage(0x20000, "shop", "app", "", "", "").wire()
QUERY = frontend.Query("SELECT 1").wire()
FIRST_ANSWER = AuthenticationOk().wire() + backend.BackendKeyData(1, b"abcd").wire() + READY
ANSWER = backend.DataRow((b"1", None)).wire() + backend.CommandComplete("SELECT 1").wire() + READY
BATCH = frontend.Parse("", "SELECT $1", ()).wire() + frontend.Bind("", "", (), (b"x" * 300,), ()).wire() + frontend.Sync().wire()

Turns = list[tuple[int, bytes]]

CONVERSATIONS: dict[str, Turns] = {
    "plain": [(FRONTEND, STARTUP), (BACKEND, FIRST_ANSWER), (FRONTEND, QUERY), (BACKEND, ANSWER), (FRONTEND, BATCH), (BACKEND, ANSWER)],
    "refused TLS and GSSAPI": [
        (FRONTEND, GSSENC),
        (BACKEND, b"N"),
        (FRONTEND, SSL),
        (BACKEND, b"N"),
        (FRONTEND, STARTUP),
        (BACKEND, FIRST_ANSWER),
        (FRONTEND, QUERY),
    ],
    "start-up without waiting": [(FRONTEND, SSL + STARTUP), (BACKEND, b"N" + FIRST_ANSWER), (FRONTEND, QUERY), (BACKEND, ANSWER)],
    "TLS": [(FRONTEND, SSL), (BACKEND, b"S"), (FRONTEND, b"\x16\x03\x01\0\x05hello"), (BACKEND, b"\x16\x03\x03\0\x05hello")],
    "GSSAPI": [(FRONTEND, GSSENC), (BACKEND, b"G"), (FRONTEND, b"\0\0\0\x03abc"), (BACKEND, b"\0\0\0\x03abc")],
    "direct TLS": [(FRONTEND, b"\x16\x03\x01\0\x05hello"), (BACKEND, b"\x16\x03\x03\0\x05hello")],
    "error in the reply slot": [(FRONTEND, SSL), (BACKEND, FAILED)],
    "version 2 error in the reply slot": [(FRONTEND, SSL), (BACKEND, VERSION_2_TEXT)],
    "version 2 error": [(FRONTEND, STARTUP), (BACKEND, VERSION_2_TEXT)],
    "protocol 2 refused": [(FRONTEND, OLD_STARTUP), (BACKEND, VERSION_2_TEXT), (FRONTEND, b"X")],
    "protocol 2 spoken": [
        (FRONTEND, OLD_STARTUP),
        (BACKEND, b"R\0\0\0\5abcd"),
        (FRONTEND, b"\0\0\0\x28md5"),
        (BACKEND, b"R\0\0\0\0K\0\0\0\x2a"),
    ],
    "protocol 4": [(FRONTEND, b"\0\0\0\x0e\0\4\0\0user\0\0"), (FRONTEND, QUERY), (BACKEND, FAILED)],
    "cancel": [(FRONTEND, startup.CancelRequest(1, b"k" * 32).wire())],
    "not PostgreSQL": [(FRONTEND, b"GET / HTTP/1.1\r\n\r\n"), (BACKEND, b"HTTP/1.1 400 Bad Request\r\n")],
    "length 3": [(FRONTEND, STARTUP), (BACKEND, READY + b"Z\0\0\0\3I"), (FRONTEND, QUERY + b"Q\0\0\0\3\0")],
    "length beyond 1 GiB": [(FRONTEND, STARTUP + QUERY + b"d\x40\0\0\0abc"), (BACKEND, b"D\xff\xff\xff\xfe1")],
}
each_conversation = pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)


def typed_framer(kept_bytes: int = KEPT_BYTES) -> Framer:
    framer = Framer(kept_bytes=kept_bytes)
    framer.feed(FRONTEND, STARTUP)
    framer.feed(BACKEND, READY)
    return framer


def frames_of(turns: Turns) -> list[tuple[int, Frame]]:
    """All frames in order, neighbouring opaque bytes of a side added up: they have no borders."""
    framer = Framer()
    frames: list[tuple[int, Frame]] = []
    for side, data in turns:
        for frame in framer.feed(side, data):
            if frame[0] == codes.OPAQUE and frames and frames[-1][0] == side and frames[-1][1][0] == codes.OPAQUE:
                frames[-1] = (side, (codes.OPAQUE, b"", frames[-1][1][2] + frame[2]))
            else:
                frames.append((side, frame))
    return frames


def pieces(turns: Turns, cuts: list[int]) -> Turns:
    """The same bytes, each turn cut at some of its positions."""
    cut: Turns = []
    for side, data in turns:
        borders = sorted({0, len(data), *(position % (len(data) + 1) for position in cuts)})
        cut += [(side, data[start:end]) for start, end in itertools.pairwise(borders)]
    return cut


def names_of(turns: Turns) -> list[str]:
    return [
        "opaque" if code == codes.OPAQUE else codes.message_name(side, code, codes.authentication_subtype(body))
        for side, (code, body, _) in frames_of(turns)
    ]


@each_conversation
def test_every_cut_gives_the_same_frames(turns: Turns) -> None:
    whole = frames_of(turns)
    for position in range(max(len(data) for _, data in turns)):
        assert frames_of(pieces(turns, [position])) == whole
    assert frames_of([(side, data[i : i + 1]) for side, data in turns for i in range(len(data))]) == whole
    assert sum(size for _, (_, _, size) in whole) == sum(len(data) for _, data in turns)


@given(st.sampled_from(sorted(CONVERSATIONS)), st.lists(st.integers(0, 500), max_size=40))
def test_any_chunking_gives_the_same_frames(name: str, cuts: list[int]) -> None:
    assert frames_of(pieces(CONVERSATIONS[name], cuts)) == frames_of(CONVERSATIONS[name])


def test_frames_are_code_body_and_size() -> None:
    framer = Framer()
    assert framer.feed(FRONTEND, STARTUP) == [(codes.STARTUP_MESSAGE, STARTUP[4:], len(STARTUP))]
    assert framer.feed(BACKEND, FIRST_ANSWER) == [(0x52, b"\0\0\0\0", 9), (0x4B, b"\0\0\0\1abcd", 13), (0x5A, b"I", 6)]
    assert framer.feed(FRONTEND, frontend.Sync().wire() + QUERY) == [(0x53, b"", 5), (0x51, b"SELECT 1\0", 14)]


def test_names_of_the_start_up_phase() -> None:
    assert names_of(CONVERSATIONS["refused TLS and GSSAPI"])[:6] == [
        "GSSENCRequest",
        "GSSENCRequestReply",
        "SSLRequest",
        "SSLRequestReply",
        "StartupMessage",
        "AuthenticationOk",
    ]
    assert names_of(CONVERSATIONS["TLS"]) == ["SSLRequest", "SSLRequestReply", "opaque", "opaque"]
    assert names_of(CONVERSATIONS["direct TLS"]) == ["opaque", "opaque"]
    assert names_of(CONVERSATIONS["protocol 2 refused"]) == ["StartupMessage", "ErrorResponse", "opaque"]
    assert names_of(CONVERSATIONS["protocol 2 spoken"]) == ["StartupMessage", "opaque", "opaque", "opaque"]
    assert names_of(CONVERSATIONS["protocol 4"]) == ["StartupMessage", "opaque", "ErrorResponse"]
    assert names_of(CONVERSATIONS["cancel"]) == ["CancelRequest"]
    assert names_of(CONVERSATIONS["not PostgreSQL"]) == ["opaque", "opaque"]


def test_reply_slot_bytes_are_no_messages() -> None:
    """N is NoticeResponse, S ParameterStatus and G CopyInResponse everywhere but here."""
    for request, yes in ((SSL, b"S"), (GSSENC, b"G")):
        for reply, opaque in ((b"N", False), (yes, True)):
            framer = Framer()
            ((code, _, _),) = framer.feed(FRONTEND, request)
            ((replied, body, size),) = framer.feed(BACKEND, reply)
            assert (replied, body, size) == (codes.SSL_REPLY if code == codes.SSL_REQUEST else codes.GSSENC_REPLY, reply, 1)
            assert framer._opaque == [opaque, opaque]
    framer = typed_framer()
    assert framer.feed(BACKEND, backend.NoticeResponse(()).wire()) == [(ord("N"), b"\0", 6)]


def test_two_requests_have_two_replies() -> None:
    framer = Framer()
    framer.feed(FRONTEND, GSSENC + SSL)
    assert framer.feed(BACKEND, b"NN") == [(codes.GSSENC_REPLY, b"N", 1), (codes.SSL_REPLY, b"N", 1)]
    assert framer._untyped
    framer.feed(FRONTEND, STARTUP)
    assert not framer._untyped


def test_an_unexpected_reply_is_opaque() -> None:
    framer = Framer()
    framer.feed(FRONTEND, SSL)
    assert framer.feed(BACKEND, b"G") == [(codes.OPAQUE, b"", 1)]
    assert framer._opaque[FRONTEND]


def test_an_error_in_the_reply_slot_is_a_message() -> None:
    framer = Framer()
    framer.feed(FRONTEND, SSL)
    assert framer.feed(BACKEND, FAILED) == [(ord("E"), FAILED[5:], len(FAILED))]


def test_a_version_2_error_ends_at_its_zero_byte() -> None:
    framer = Framer()
    framer.feed(FRONTEND, STARTUP)
    assert framer.feed(BACKEND, VERSION_2_TEXT[:20]) == []
    assert framer.unfinished(BACKEND)
    assert framer.feed(BACKEND, VERSION_2_TEXT[20:] + b"more") == [
        (codes.VERSION_2_ERROR, VERSION_2_TEXT[1:], len(VERSION_2_TEXT)),
        (codes.OPAQUE, b"", 4),
    ]
    assert framer._opaque[BACKEND]
    assert not framer._opaque[FRONTEND]


def test_a_version_2_error_without_end_is_bounded() -> None:
    framer = Framer()
    framer.feed(FRONTEND, STARTUP)
    frames: list[Frame] = []
    for _ in range(40):
        frames += framer.feed(BACKEND, b"EFATAL: x " * 100)
    assert frames[0][::2] == (codes.VERSION_2_ERROR, LONGEST_ERROR)
    assert sum(size for _, _, size in frames) == 40_000


def test_an_error_later_is_never_taken_for_version_2() -> None:
    framer = typed_framer()
    assert framer.feed(BACKEND, VERSION_2_TEXT) == [(codes.OPAQUE, b"", len(VERSION_2_TEXT))]


def test_decrypted_reads_on_behind_the_reply() -> None:
    framer = Framer()
    framer.feed(FRONTEND, SSL)
    framer.feed(BACKEND, b"S")
    framer.decrypted()
    assert framer.feed(FRONTEND, STARTUP)[0][0] == codes.STARTUP_MESSAGE
    assert [code for code, _, _ in framer.feed(BACKEND, FIRST_ANSWER)] == [0x52, 0x4B, 0x5A]


@pytest.mark.parametrize("length", [0, 1, 2, 3, LONGEST + 1, 0x80000000, 0xFFFFFFFF])
def test_an_impossible_length_makes_one_direction_opaque(length: int) -> None:
    framer = typed_framer()
    bad = b"d" + struct.pack(">I", length)
    assert framer.feed(FRONTEND, QUERY + bad + b"rest") == [(0x51, b"SELECT 1\0", 14), (codes.OPAQUE, b"", 9)]
    assert framer.feed(FRONTEND, QUERY) == [(codes.OPAQUE, b"", len(QUERY))]
    assert framer._opaque[FRONTEND]
    assert [code for code, _, _ in framer.feed(BACKEND, ANSWER)] == [0x44, 0x43, 0x5A]


def test_the_longest_length_is_possible() -> None:
    framer = typed_framer()
    assert framer.feed(BACKEND, b"d" + struct.pack(">I", LONGEST) + b"x" * 10) == []
    assert framer.unfinished(BACKEND)
    assert framer.unfinished_bytes(BACKEND) == 15


@pytest.mark.parametrize("length", [0, 4, 7, LONGEST_STARTUP + 1, 0xFFFFFFFF])
def test_an_impossible_first_packet_makes_the_connection_opaque(length: int) -> None:
    framer = Framer()
    packet = struct.pack(">II", length, 196608)
    assert framer.feed(FRONTEND, packet) == [(codes.OPAQUE, b"", 8)]
    assert framer._opaque[FRONTEND]
    assert framer._opaque[BACKEND]


def test_start_up_packets_are_framed_by_their_length() -> None:
    """A server accepts an SSLRequest of nine bytes; so the length decides, not the code."""
    framer = Framer()
    assert framer.feed(FRONTEND, b"\0\0\0\x09\x04\xd2\x16\x2fx") == [(codes.SSL_REQUEST, b"\x04\xd2\x16\x2fx", 9)]


def test_what_has_not_ended_is_known() -> None:
    framer = Framer()
    framer.feed(FRONTEND, STARTUP[:9])
    assert framer.unfinished(FRONTEND)
    assert framer.unfinished_bytes(FRONTEND) == 9
    framer.feed(FRONTEND, STARTUP[9:])
    assert not framer.unfinished(FRONTEND)
    assert framer.unfinished_bytes(FRONTEND) == 0
    for cut in range(1, len(QUERY)):
        framer.feed(FRONTEND, QUERY[:cut])
        assert framer.unfinished(FRONTEND)
        assert framer.unfinished_bytes(FRONTEND) == cut
        framer.feed(FRONTEND, QUERY[cut:])
        assert not framer.unfinished(FRONTEND)


@given(st.integers(0, 60), st.integers(0, 40), st.lists(st.integers(1, 30), max_size=10))
@example(10, 10, [])
@example(11, 10, [5])
def test_long_bodies_are_cut_and_counted(length: int, kept: int, cuts: list[int]) -> None:
    body = bytes(range(length))
    data = b"d" + struct.pack(">I", length + 4) + body + READY
    framer = typed_framer(kept_bytes=kept)
    frames = [frame for side, piece in pieces([(BACKEND, data)], cuts) for frame in framer.feed(side, piece)]
    assert frames == [(0x64, body[:kept], length + 5), (0x5A, b"I"[:kept], 6)]


def test_a_huge_message_is_not_collected() -> None:
    framer = typed_framer()
    framer.feed(BACKEND, b"d" + struct.pack(">I", LONGEST))
    piece = b"x" * 65536
    remaining = LONGEST - 4
    while remaining > len(piece):
        assert framer.feed(BACKEND, piece) == []
        remaining -= len(piece)
    assert len(framer._backend.body) == KEPT_BYTES
    frames = framer.feed(BACKEND, piece[:remaining] + READY)
    assert [(code, len(body), size) for code, body, size in frames] == [(0x64, KEPT_BYTES, LONGEST + 1), (0x5A, 1, 6)]


def test_a_gap_ends_where_both_sides_make_sense_again() -> None:
    framer = typed_framer()
    framer.feed(BACKEND, b"D\0\0\xff\xff")
    framer.gap()
    assert framer.seeking
    assert not framer.unfinished(BACKEND)
    assert framer.feed(BACKEND, b"middle of a row") == [(codes.UNDECODED, b"", 15)]
    assert framer.feed(FRONTEND, QUERY) == [(codes.UNDECODED, b"", len(QUERY))]  # before any ReadyForQuery
    assert framer.feed(BACKEND, b"row" + backend.ReadyForQuery("T").wire()) == [(codes.UNDECODED, b"", 9)]
    assert framer.feed(FRONTEND, BATCH[2:]) == [(codes.UNDECODED, b"", len(BATCH) - 2)]  # no chain, and the chance is gone
    assert framer.feed(FRONTEND, QUERY) == [(codes.UNDECODED, b"", len(QUERY))]
    assert framer.feed(BACKEND, backend.ReadyForQuery("T").wire()) == [(codes.UNDECODED, b"", 6)]
    frames = framer.feed(FRONTEND, BATCH)
    assert frames[0] == (codes.RESUMED, b"T", 0)
    assert [code for code, _, _ in frames[1:]] == [0x50, 0x42, 0x53]
    assert not framer.seeking
    assert [code for code, _, _ in framer.feed(BACKEND, ANSWER)] == [0x44, 0x43, 0x5A]


@pytest.mark.parametrize(
    ("read", "sent"),
    [
        (READY[:-1] + b"X", QUERY),  # no transaction status
        (READY + b"N", QUERY),  # does not end in ReadyForQuery
        (READY, QUERY[:-1]),  # not whole
        (READY, QUERY + b"y\0\0\0\4"),  # an unknown type
        (READY, b"Q\0\0\0\3"),  # an impossible length
    ],
)
def test_a_gap_goes_on_without_sense(read: bytes, sent: bytes) -> None:
    framer = typed_framer()
    framer.gap()
    framer.feed(BACKEND, read)
    assert framer.feed(FRONTEND, sent) == [(codes.UNDECODED, b"", len(sent))]
    assert framer.seeking


def test_a_gap_during_start_up_is_left_like_any_other() -> None:
    framer = Framer()
    framer.feed(FRONTEND, STARTUP[:10])
    framer.gap()
    assert not framer._untyped
    assert not framer.unfinished(FRONTEND)
    framer.feed(BACKEND, READY)
    assert [code for code, _, _ in framer.feed(FRONTEND, QUERY)] == [codes.RESUMED, 0x51]


def test_a_gap_does_not_revive_what_is_opaque() -> None:
    both = Framer()
    both.feed(FRONTEND, b"\x16\x03\x01")
    one = typed_framer()
    one.feed(FRONTEND, b"Q\0\0\0\0")
    for framer in (both, one):
        framer.gap()
        assert not framer.seeking
        assert framer.feed(BACKEND, READY) == [(codes.OPAQUE, b"", 6)]
        assert framer.feed(FRONTEND, QUERY) == [(codes.OPAQUE, b"", len(QUERY))]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from((FRONTEND, BACKEND)), st.binary(max_size=60)),
        st.tuples(st.just(FRONTEND), st.sampled_from((STARTUP, SSL, GSSENC, QUERY, BATCH, QUERY[:7]))),
        st.tuples(st.just(BACKEND), st.sampled_from((READY, FIRST_ANSWER, ANSWER, FAILED, VERSION_2_TEXT, b"N", b"S", b"G", b"E"))),
        st.just((2, b"gap")),
        st.just((3, b"decrypted")),
    ),
    max_size=15,
)


@given(STEPS)
def test_arbitrary_bytes_are_all_accounted_for(steps: list[tuple[int, bytes]]) -> None:
    """No bytes raise, and frames plus what has not ended are what was fed, on each side, until a gap forgets the rest."""
    framer = Framer()
    fed, framed = [0, 0], [0, 0]
    for side, data in steps:
        if side == 2:
            for each in (FRONTEND, BACKEND):
                framed[each] += framer.unfinished_bytes(each)
            framer.gap()
        elif side == 3:
            framer.decrypted()
        else:
            fed[side] += len(data)
            for code, body, size in framer.feed(side, data):
                assert len(body) <= max(size, 1)
                assert 0 <= code <= codes.RESUMED
                framed[side] += size
        for each in (FRONTEND, BACKEND):
            assert framed[each] + framer.unfinished_bytes(each) == fed[each]
            assert framer.unfinished(each) == (framer.unfinished_bytes(each) > 0)
