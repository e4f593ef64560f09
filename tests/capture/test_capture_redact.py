"""The protocol's secrets do not reach a capture, however the reads are cut and whatever is sent."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.redact import Redactor
from pgtrace.protocol.codes import BACKEND, FRONTEND

KEY = b"the recorder's own"
Turns = list[tuple[int, bytes]]


def message(code: str, body: bytes = b"") -> bytes:
    return code.encode() + (len(body) + 4).to_bytes(4, "big") + body


def packet(code: int, body: bytes = b"") -> bytes:
    return struct.pack(">II", len(body) + 8, code) + body


def authentication(subtype: int, rest: bytes = b"") -> bytes:
    return message("R", subtype.to_bytes(4, "big") + rest)


STARTUP = packet(196608, b"user\0alice\0database\0shop\0\0")
SSL_REQUEST = packet(80877103)
GSSENC_REQUEST = packet(80877104)
READY = message("Z", b"I")
QUERY = message("Q", b"select 'p\0\0\0\x08secret'\0")
OFFER = authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")


def initial_response(mechanism: bytes, payload: bytes) -> bytes:
    return message("p", mechanism + b"\0" + len(payload).to_bytes(4, "big") + payload)


def redacted(turns: Turns, key: bytes = KEY) -> list[bytes | None]:
    redactor = Redactor(key)
    return [redactor.feed(side, data) for side, data in turns]


SCRAM_TURNS: Turns = [
    (FRONTEND, STARTUP),
    (BACKEND, OFFER),
    (FRONTEND, initial_response(b"SCRAM-SHA-256", b"n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL")),
    (BACKEND, authentication(11, b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")),
    (FRONTEND, message("p", b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")),
    (BACKEND, authentication(12, b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") + authentication(0)),
    (BACKEND, message("S", b"server_version\x0018.0\0") + message("K", struct.pack(">I", 4711) + b"\xde\xad\xbe\xef") + READY),
]
SECRETS = (b"fyko", b"W22Z", b"biws", b"v0X8", b"rmF9", b"\xde\xad\xbe\xef")


def test_scram_keeps_mechanism_and_gs2_header_and_lengths() -> None:
    answers = redacted(SCRAM_TURNS)
    assert [len(answer or b"") for answer in answers] == [len(data) for _, data in SCRAM_TURNS]
    stored = b"".join(answer or b"" for answer in answers)
    assert not any(secret in stored for secret in SECRETS)
    assert answers[0] == STARTUP
    assert answers[1] == OFFER
    assert answers[2] == initial_response(b"SCRAM-SHA-256", b"n,," + b"*" * 34)
    assert answers[3] == authentication(11, b"*" * 78)
    assert answers[4] == message("p", b"*" * 82)
    assert answers[5] == authentication(12, b"*" * 30) + authentication(0)
    assert answers[6] is not None
    assert answers[6].startswith(message("S", b"server_version\x0018.0\0") + b"K\0\0\0\x0c" + struct.pack(">I", 4711))
    assert answers[6].endswith(READY)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_any_cut_gives_the_same_bytes(size: int) -> None:
    redactor = Redactor(KEY)
    for (side, data), whole in zip(SCRAM_TURNS, redacted(SCRAM_TURNS), strict=True):
        pieces = [redactor.feed(side, data[i : i + size]) for i in range(0, len(data), size)]
        assert b"".join(piece or b"" for piece in pieces) == whole
    assert redactor.done


def test_done_comes_with_ready_for_query_and_not_before() -> None:
    redactor = Redactor(KEY)
    for side, data in SCRAM_TURNS:
        assert not redactor.done
        redactor.feed(side, data)
    assert redactor.done
    redactor = Redactor(KEY)
    redactor.feed(FRONTEND, STARTUP + message("p", b"hunter2\0")[:7])
    redactor.feed(BACKEND, authentication(0) + READY)
    assert not redactor.done, "a password is half-way through"
    assert redactor.feed(FRONTEND, message("p", b"hunter2\0")[7:]) == b"*****\0"
    assert redactor.done


@pytest.mark.parametrize(("subtype", "body"), [(3, b"hunter2\0"), (5, b"md5" + b"a1" * 16 + b"\0")])
def test_passwords_keep_only_the_final_zero(subtype: int, body: bytes) -> None:
    ask = authentication(subtype, b"salt" if subtype == 5 else b"")
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, ask), (FRONTEND, message("p", body))])
    assert answers[1:] == [ask, message("p", b"*" * (len(body) - 1) + b"\0")]


@pytest.mark.parametrize("subtype", [7, 8, 9])
def test_gss_payloads_are_blanked(subtype: int) -> None:
    token = b"token" if subtype == 8 else b""
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, authentication(subtype, token)), (FRONTEND, message("p", b"ticket\0"))])
    assert answers[1:] == [authentication(subtype, b"*" * len(token)), message("p", b"*" * 7)]


def test_unknown_authentication_is_blanked() -> None:
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, authentication(99, b"who knows")), (FRONTEND, message("p", b"secret"))])
    assert answers[1:] == [authentication(99, b"*" * 9), message("p", b"*" * 6)]


def test_a_password_sent_unasked_is_blanked() -> None:
    answers = redacted([(FRONTEND, STARTUP + message("p", b"hunter2\0") + QUERY)])
    assert answers == [STARTUP + message("p", b"*******\0") + QUERY]


def test_a_second_answer_to_one_request_is_blanked() -> None:
    first = initial_response(b"SCRAM-SHA-256", b"n,,x")
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, OFFER), (FRONTEND, first), (FRONTEND, first)])
    assert answers[3] == message("p", b"*" * (len(first) - 5))


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (b"y,,n=,r=nonce", b"y,,"),
        (b"p=tls-server-end-point,,n=,r=nonce", b"p=tls-server-end-point,,"),
        (b"n,a=alice,n=,r=nonce", b"n,a=alice,"),
        (b"n,a=alice\x01secret,", b"n,a=alice"),
        (b"n=alice,secret,", b"n"),
        (b"password,password,", b"p"),
        (b"", b""),
    ],
)
def test_of_a_payload_only_a_gs2_header_is_kept(payload: bytes, kept: bytes) -> None:
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, OFFER), (FRONTEND, initial_response(b"SCRAM-SHA-256-PLUS", payload))])
    assert answers[2] == initial_response(b"SCRAM-SHA-256-PLUS", kept + b"*" * (len(payload) - len(kept)))


def test_oauth_token_is_blanked() -> None:
    offer = authentication(10, b"OAUTHBEARER\0\0")
    answers = redacted(
        [(FRONTEND, STARTUP), (BACKEND, offer), (FRONTEND, initial_response(b"OAUTHBEARER", b"n,,\x01auth=Bearer tok\x01\x01"))]
    )
    assert answers[2] == initial_response(b"OAUTHBEARER", b"n,," + b"*" * 18)


def test_mechanisms_without_gs2_header_keep_no_payload() -> None:
    turns = [(FRONTEND, STARTUP), (BACKEND, authentication(10, b"PLAIN\0\0")), (FRONTEND, initial_response(b"PLAIN", b"n,,secret"))]
    assert redacted(turns)[2] == initial_response(b"PLAIN", b"*" * 9)


def test_a_mechanism_nobody_offered_is_a_secret() -> None:
    answers = redacted([(FRONTEND, STARTUP), (BACKEND, OFFER), (FRONTEND, message("p", b"Summer2026!\0"))])
    assert answers[2] == message("p", b"S" + b"*" * 11)


def test_a_cancel_key_has_one_hash_everywhere() -> None:
    secret = bytes(range(1, 33))
    (key_data,) = redacted([(BACKEND, message("K", struct.pack(">I", 7) + secret))])
    (cancel,) = redacted([(FRONTEND, packet(80877102, struct.pack(">I", 7) + secret))])
    (other_recorder,) = redacted([(FRONTEND, packet(80877102, struct.pack(">I", 7) + secret))], b"another key")
    assert key_data is not None
    assert cancel is not None
    assert key_data[5:] == cancel[8:]
    assert cancel[:12] == packet(80877102, struct.pack(">I", 7) + secret)[:12]
    assert len(cancel) == 12 + 32
    assert cancel[12:] != secret
    assert other_recorder is not None
    assert other_recorder[12:] != cancel[12:]
    assert secret[:2] not in cancel


def test_two_cancel_keys_differ_where_they_differ() -> None:
    one, two = redacted([(BACKEND, message("K", b"\0\0\0\7abcd"))])[0], redacted([(BACKEND, message("K", b"\0\0\0\7abcx"))])[0]
    assert one is not None
    assert two is not None
    assert one[:-1] == two[:-1]
    assert one != two


def test_an_endless_cancel_key_costs_no_more_than_a_long_one() -> None:
    redactor = Redactor(KEY)
    redactor.feed(BACKEND, b"K" + (0x3FFFFFFF).to_bytes(4, "big") + b"\0\0\0\7" + b"k" * 256)
    assert redactor.feed(BACKEND, b"k" * 1_000_000) == b"*" * 1_000_000


def test_pipelined_data_behind_start_up_passes() -> None:
    assert redacted([(FRONTEND, STARTUP + QUERY)]) == [STARTUP + QUERY]
    after = authentication(0) + READY + message("D", b"\0\1\0\0\0\1x") + message("K", b"\0\0\0\7abcd")[:3]
    assert redacted([(FRONTEND, STARTUP), (BACKEND, after)])[1] == after


def test_refused_encryption_goes_on_in_plain() -> None:
    turns: Turns = [(FRONTEND, GSSENC_REQUEST), (BACKEND, b"N"), (FRONTEND, SSL_REQUEST), (BACKEND, b"N"), *SCRAM_TURNS]
    assert redacted(turns)[:5] == [GSSENC_REQUEST, b"N", SSL_REQUEST, b"N", STARTUP]
    assert redacted(turns)[4:] == redacted(SCRAM_TURNS)
    together: Turns = [(FRONTEND, SSL_REQUEST + STARTUP), (BACKEND, b"N" + authentication(0) + READY)]
    assert redacted(together) == [data for _, data in together]


@pytest.mark.parametrize(("request_packet", "reply"), [(SSL_REQUEST, b"S"), (GSSENC_REQUEST, b"G")])
def test_accepted_encryption_makes_both_directions_opaque(request_packet: bytes, reply: bytes) -> None:
    redactor = Redactor(KEY)
    assert redactor.feed(FRONTEND, request_packet) == request_packet
    assert redactor.feed(BACKEND, reply) == reply
    assert redactor.feed(FRONTEND, STARTUP) is None
    assert redactor.feed(BACKEND, READY) is None
    assert not redactor.done
    assert redacted([(FRONTEND, request_packet), (BACKEND, reply + b"more")])[1] is None


def test_an_error_in_the_reply_slot_is_a_message() -> None:
    error = message("E", b"SFATAL\0C0A000\0\0")
    assert redacted([(FRONTEND, SSL_REQUEST), (BACKEND, error)])[1] == error


def unframeable() -> Iterator[tuple[str, Turns]]:
    yield "HTTP", [(FRONTEND, b"GET / HTTP/1.1\r\n\r\n"), (BACKEND, READY)]
    yield "TLS at once", [(FRONTEND, b"\x16\x03\x01\x02\x00"), (BACKEND, b"\x16\x03")]
    yield "a password as the first thing", [(FRONTEND, b"hunter2")]
    yield "one byte of it", [(FRONTEND, b"h")]
    yield "a start-up packet that is too long", [(FRONTEND, (10_005).to_bytes(4, "big") + b"\0\3\0\0")]
    yield "a start-up packet that is too short", [(FRONTEND, b"\0\0\0\7")]
    yield "a reply nobody knows", [(FRONTEND, SSL_REQUEST), (BACKEND, b"X")]


@pytest.mark.parametrize(("what", "turns"), list(unframeable()))
def test_what_cannot_be_framed_is_not_stored(what: str, turns: Turns) -> None:
    redactor = Redactor(KEY)
    answers = [redactor.feed(side, data) for side, data in turns]
    assert [answer for answer in answers if answer is not None] == [data for _, data in turns if data == SSL_REQUEST], what
    assert redactor.feed(FRONTEND, b"more") is None
    assert redactor.feed(BACKEND, b"more") is None
    assert not redactor.done


@pytest.mark.parametrize("side", [FRONTEND, BACKEND])
@pytest.mark.parametrize("length", [0, 3, 0x40000000, 0xFFFFFFFF])
def test_an_impossible_length_loses_that_direction(side: int, length: int) -> None:
    redactor = Redactor(KEY)
    redactor.feed(FRONTEND, STARTUP)
    redactor.feed(BACKEND, authentication(3))
    assert redactor.feed(side, b"p" + length.to_bytes(4, "big") + b"hunter2") is None
    assert redactor.feed(side, b"hunter2") is None
    assert redactor.feed(1 - side, message("S", b"a\0b\0")) == message("S", b"a\0b\0")
    redactor.feed(BACKEND, READY)
    assert not redactor.done


def test_an_error_of_protocol_2_is_text_and_what_follows_is_not() -> None:
    redactor = Redactor(KEY)
    assert redactor.feed(FRONTEND, packet(0x00020000, b"shop" + b"\0" * 60)) is not None
    assert redactor.feed(BACKEND, b"EFATAL:  unsupported ") == b"EFATAL:  unsupported "
    assert redactor.feed(BACKEND, b"protocol\n\0secret") == b"protocol\n\0******"
    assert redactor.feed(BACKEND, b"secret\0") == b"*******"
    assert redactor.feed(FRONTEND, b"\0\0\0\x0bhunter2") is None, "protocol 2.0 sends passwords without a type byte"


@given(st.lists(st.tuples(st.sampled_from([FRONTEND, BACKEND]), st.binary(max_size=64)), max_size=20))
def test_never_raises_and_keeps_every_length(turns: Turns) -> None:
    for prefix in ([], SCRAM_TURNS[:1], SCRAM_TURNS[:2], [(FRONTEND, SSL_REQUEST)]):
        redactor = Redactor(KEY)
        for side, data in [*prefix, *turns]:
            answer = redactor.feed(side, data)
            assert answer is None or len(answer) == len(data)


@given(st.data())
def test_no_cut_lets_a_secret_through(data: st.DataObject) -> None:
    redactor = Redactor(KEY)
    stored: list[bytes] = [b"", b""]
    for side, whole in SCRAM_TURNS:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
        for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            stored[side] += redactor.feed(side, whole[start:stop]) or b""
    expected = redacted(SCRAM_TURNS)
    for side in (FRONTEND, BACKEND):
        assert stored[side] == b"".join(answer or b"" for (turn, _), answer in zip(SCRAM_TURNS, expected, strict=True) if turn == side)
