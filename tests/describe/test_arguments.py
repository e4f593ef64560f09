"""Each message's main argument, and that none can be made to raise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.describe import arguments
from pgtrace.protocol import codes, registry
from pgtrace.protocol.codes import BACKEND, FRONTEND


def body(kind: str, *values: int) -> bytes:
    return struct.pack(">" + kind, *values)


@pytest.mark.parametrize(
    ("side", "code", "content", "text"),
    [
        (FRONTEND, codes.STARTUP_MESSAGE, body("I", 196608) + b"user\0app\0database\0shop\0\0", "3.0 user=app database=shop"),
        (FRONTEND, codes.CANCEL_REQUEST, body("III", codes.CANCEL_REQUEST_CODE, 4711, 1), "pid 4711"),
        (BACKEND, codes.SSL_REPLY, b"N", "N  refused"),
        (BACKEND, codes.SSL_REPLY, b"S", "S  accepted"),
        (BACKEND, "R", body("I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "SCRAM-SHA-256-PLUS, SCRAM-SHA-256"),
        (BACKEND, "R", body("I", 0), ""),
        (FRONTEND, "Q", b"select 1\0", "select 1"),
        (FRONTEND, "Q", b"select cut", "select cut"),
        (FRONTEND, "P", b"_pg3_0\0SELECT $1\0" + body("H", 0), "_pg3_0  SELECT $1"),
        (FRONTEND, "P", b"\0SELECT 1\0" + body("H", 0), '""  SELECT 1'),
        (FRONTEND, "P", b"s1\0SELECT cut", "s1  SELECT cut"),
        (FRONTEND, "B", b"\0_pg3_0\0" + body("HHiH", 0, 1, -1, 0), "_pg3_0"),
        (FRONTEND, "B", b"C_1\0\0" + body("HHH", 0, 0, 0), '"" portal C_1'),
        (FRONTEND, "D", b"P\0", 'portal ""'),
        (FRONTEND, "D", b"S_pg3_0\0", "statement _pg3_0"),
        (FRONTEND, "C", b"Ss1\0", "statement s1"),
        (FRONTEND, "E", b"\0" + body("I", 0), 'portal ""'),
        (FRONTEND, "E", b"c1\0" + body("I", 1), "portal c1 at most 1 rows"),
        (FRONTEND, "S", b"", ""),
        (FRONTEND, "d", b"1\tSKU-1\n", "1\tSKU-1\n"),
        (FRONTEND, "d", b"\xff\0", "\\xff00"),
        (FRONTEND, "f", b"no more\0", "no more"),
        (BACKEND, "Z", b"T", "T  in transaction"),
        (BACKEND, "Z", b"E", "E  failed transaction"),
        (BACKEND, "T", body("H", 1) + b"id\0" + body("IHIhih", 0, 0, 20, 8, -1, 0), "id int8"),
        (BACKEND, "t", body("HII", 2, 23, 25), "int4, text"),
        (BACKEND, "D", body("HI", 1, 0), "1 value"),
        (BACKEND, "C", b"INSERT 0 1\0", "INSERT 0 1"),
        (BACKEND, "E", b"SERROR\0C23505\0Mduplicate key\0\0", "23505 duplicate key"),
        (BACKEND, "N", b"SNOTICE\0C00000\0Mhello", "00000 hello"),
        (BACKEND, "S", b"TimeZone\0UTC\0", "TimeZone = UTC"),
        (BACKEND, "K", body("II", 4711, 99), "pid 4711"),
        (BACKEND, "A", body("I", 7) + b"orders\x0042\0", "orders 42 from pid 7"),
        (BACKEND, "G", body("BHHH", 0, 2, 0, 0), "text, 2 columns"),
        (BACKEND, "v", body("II", 196608, 1) + b"_pq_.x\0", "3.0, without _pq_.x"),
        (BACKEND, "V", body("i", -1), "NULL"),
        (BACKEND, "1", b"", ""),
        (BACKEND, "!", b"x", "type byte 0x21"),
        (BACKEND, codes.OPAQUE, b"", ""),
    ],
)
def test_argument(side: int, code: int | str, content: bytes, text: str) -> None:
    assert arguments.argument(side, ord(code) if isinstance(code, str) else code, content) == text


def test_a_secret_is_no_argument() -> None:
    assert arguments.argument(FRONTEND, ord("p"), b"hunter2\0", codes.AUTH_CLEARTEXT) == ""
    assert arguments.argument(FRONTEND, ord("p"), b"SCRAM-SHA-256\0" + body("I", 3) + b"n,,", codes.AUTH_SASL) == "SCRAM-SHA-256"
    assert arguments.argument(FRONTEND, ord("p"), b"c=biws,r=x", codes.AUTH_SASL_CONTINUE) == ""


def test_a_malformed_body_tells_why() -> None:
    assert arguments.argument(FRONTEND, ord("E"), b"").startswith("malformed portal: ")


def test_every_message_has_an_argument_of_bounded_length() -> None:
    long = body("H", 60_000) + body("I", 23) * 60_000
    assert len(arguments.argument(BACKEND, ord("t"), long)) <= arguments.LONGEST
    for kind in registry.MESSAGES:
        authentication = -1 if kind.authentication is None else kind.authentication
        assert not arguments.argument(kind.side, kind.code, kind.EXAMPLE, authentication).startswith("malformed"), kind.NAME


@given(st.sampled_from([FRONTEND, BACKEND]), st.integers(0, 270), st.binary(max_size=40), st.integers(-1, 12))
@settings(max_examples=400)
def test_no_bytes_raise(side: int, code: int, content: bytes, authentication: int) -> None:
    assert len(arguments.argument(side, code, content, authentication)) <= arguments.LONGEST
