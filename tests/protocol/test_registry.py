"""Which class a frame belongs to, and decode and spans over all of them."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from pgtrace.protocol import authentication, backend, codes, fields, frontend, registry, startup
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.primitives import Field


def test_every_code_has_its_class() -> None:
    for side in (FRONTEND, BACKEND):
        for code, name in codes.NAMES[side].items():
            kind = registry.message_class(side, code)
            if (side, code) == (BACKEND, ord("R")):
                assert kind is None
            else:
                assert kind is not None
                assert (kind.side, kind.code, kind.NAME) == (side, code, name)


def test_authentication_requests_are_told_apart_by_their_body() -> None:
    for subtype, name in codes.AUTHENTICATION_NAMES.items():
        kind = registry.message_class(BACKEND, ord("R"), subtype)
        assert kind is not None
        assert name == kind.NAME
        assert type(registry.decode(BACKEND, ord("R"), kind.EXAMPLE)) is kind
        assert registry.spans(BACKEND, ord("R"), kind.EXAMPLE)[0] == Field("authentication", subtype, "Int32", 0, 4, 0)


def test_authentication_responses_are_told_apart_by_the_request() -> None:
    expected = {
        3: authentication.PasswordMessage,
        5: authentication.PasswordMessage,
        7: authentication.GSSResponse,
        8: authentication.GSSResponse,
        9: authentication.GSSResponse,
        10: authentication.SASLInitialResponse,
        11: authentication.SASLResponse,
        -1: authentication.PasswordMessage,
        12: authentication.PasswordMessage,
    }
    for subtype, kind in expected.items():
        assert registry.message_class(FRONTEND, ord("p"), subtype) is kind
        assert type(registry.decode(FRONTEND, ord("p"), kind.EXAMPLE, subtype)) is kind


def test_no_code_is_declared_twice() -> None:
    keys = [(kind.side, kind.code, kind.authentication) for kind in registry.MESSAGES]
    assert len(keys) == len(set(keys))


def test_decode_gives_typed_messages() -> None:
    parse = registry.decode(FRONTEND, ord("P"), frontend.Parse.EXAMPLE)
    assert parse == frontend.Parse("s1", "SELECT * FROM items WHERE id = $1 AND sku = $2", (23, 0))
    assert registry.decode(BACKEND, ord("C"), b"BEGIN\0") == backend.CommandComplete("BEGIN")
    assert registry.decode(FRONTEND, ord("C"), b"Sx\0") == frontend.Close("S", "x")
    cancel = registry.decode(FRONTEND, codes.CANCEL_REQUEST, startup.CancelRequest.EXAMPLE[:8] + b"k" * 32)
    assert cancel == startup.CancelRequest(4711, b"k" * 32)


def test_unknown_codes_are_malformed_and_shown_as_bytes() -> None:
    for side, code in ((FRONTEND, ord("y")), (BACKEND, 0), (BACKEND, 255), (FRONTEND, codes.OPAQUE)):
        with pytest.raises(registry.MalformedMessage) as raised:
            registry.decode(side, code, b"hi")
        assert raised.value.name == "Unknown"
        assert registry.spans(side, code, b"hi") == [Field("data", b"hi", "Byten", 0, 2, 0)]
    with pytest.raises(registry.MalformedMessage):
        registry.decode(BACKEND, ord("R"), b"\0\0\0\x63")
    with pytest.raises(registry.MalformedMessage):
        registry.decode(BACKEND, ord("R"), b"\0")


def test_spans_of_a_bind() -> None:
    assert registry.spans(FRONTEND, ord("B"), frontend.Bind.EXAMPLE) == [
        Field("portal", "", "String", 0, 1, 0),
        Field("statement", "s1", "String", 1, 4, 0),
        Field("parameter_formats", (1, 0), "Int16[]", 4, 10, 0),
        Field("parameters", 3, "Int16", 10, 12, 0),
        Field("$1", b"\0\0\0\x2a", "Int32 Byten", 12, 20, 1),
        Field("$2", b"", "Int32 Byten", 20, 24, 1),
        Field("$3", None, "Int32 Byten", 24, 28, 1),
        Field("result_formats", (1,), "Int16[]", 28, 32, 0),
    ]


def test_spans_of_lists_of_groups_and_pairs() -> None:
    described = registry.spans(BACKEND, ord("T"), backend.RowDescription.EXAMPLE)
    assert described[:3] == [
        Field("columns", 2, "Int16", 0, 2, 0),
        Field("name", "id", "String", 2, 5, 1),
        Field("table_oid", 16385, "Int32", 5, 9, 2),
    ]
    assert [field.value for field in described if field.name == "type_oid"] == [23, 1043]
    failed = registry.spans(BACKEND, ord("E"), b"SERROR\0Zwhat\0\0")
    assert failed == [
        Field("severity", "ERROR", "Byte1 String", 0, 7, 0),
        Field("Z", "what", "Byte1 String", 7, 13, 0),
        Field("terminator", 0, "Byte1", 13, 14, 0),
    ]
    assert registry.spans(BACKEND, ord("R"), b"\0\0\0\x0aX\0\0")[1] == Field("mechanisms 1", "X", "String", 4, 6, 0)


def test_spans_keep_what_was_read_before_the_fault() -> None:
    assert registry.spans(FRONTEND, ord("B"), b"p\0s\0\0\0\0\2\0\0\0\1x\0\0\0\5ab") == [
        Field("portal", "p", "String", 0, 2, 0),
        Field("statement", "s", "String", 2, 4, 0),
        Field("parameter_formats", (), "Int16[]", 4, 6, 0),
        Field("parameters", 2, "Int16", 6, 8, 0),
        Field("$1", b"x", "Int32 Byten", 8, 13, 1),
        Field("malformed", "a value of 5 bytes, of which 2 are there", "", 13, 19, 0),
    ]


def test_arbitrary_bytes_never_raise_anything_else() -> None:
    rnd = random.Random(7)
    for side in (FRONTEND, BACKEND):
        for code in [*range(256), *range(codes.STARTUP_MESSAGE, codes.RESUMED + 1)]:
            for subtype in (-1, 10):
                body = rnd.randbytes(rnd.randint(0, 30))
                registry.spans(side, code, body, subtype)
                try:
                    registry.decode(side, code, body, subtype)
                except registry.MalformedMessage:
                    pass


def test_error_fields_take_what_is_there() -> None:
    assert fields.error_fields(backend.ErrorResponse.EXAMPLE) == dict(backend.ErrorResponse.parse(backend.ErrorResponse.EXAMPLE).fields)
    assert fields.error_fields(b"SERROR\0C235") == {"S": "ERROR", "C": "235"}
    assert fields.error_fields(b"") == {}
    assert fields.error_fields(b"\0\0\0") == {}
    assert fields.error_fields(b"M\xff\0\0") == {"M": "\udcff"}
    assert set(fields.FIELD_NAMES) == set("SVCMDHPpqWstcdnFLR")


def test_start_up_and_authentication_stand_alone() -> None:
    """The recorder imports them; the rest of the protocol must not come along."""
    program = (
        "import sys, pgtrace.protocol.startup, pgtrace.protocol.authentication;"
        "print(*(name for name in sys.modules if name.startswith('pgtrace.protocol.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pgtrace.protocol.frontend", "pgtrace.protocol.backend", "pgtrace.protocol.registry", "pgtrace.protocol.values"} & set(
        loaded
    )
    assert "pgtrace.protocol.startup" in loaded


def test_warm_compiles_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (*registry.MESSAGES, frontend.BindHead):
        monkeypatch.setattr(kind.BODY, "_compiled", None)
    registry.warm()
    assert all(kind.BODY._compiled is not None for kind in (*registry.MESSAGES, frontend.BindHead))
