"""Every message class: its example, cut, followed by more, and mutated; compiled against interpreted."""

from __future__ import annotations

import dataclasses
import struct
from io import BytesIO

import pytest
from construct import ConstructError, Container

from pgtrace.protocol import authentication, backend, codes, frontend, registry, replication, startup
from pgtrace.protocol.bodies import Body
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage, Message, message
from pgtrace.protocol.primitives import Field, Rest, ZString
from tests.protocol.message_mutants import mutants

MUTANTS_PER_MESSAGE = 500
CLASSES = [*registry.MESSAGES, *replication.MESSAGES, frontend.BindHead, startup.Version2StartupMessage]


def class_id(kind: type[Message]) -> str:
    return f"{'FB'[kind.side]}-{kind.__name__}"


each_class = pytest.mark.parametrize("kind", CLASSES, ids=class_id)


def compiled(kind: type[Message], body: bytes) -> object:
    try:
        return kind.BODY.read(body)
    except (struct.error, ConstructError, ValueError, IndexError):
        return "refused"


def interpreted(kind: type[Message], body: bytes) -> object:
    try:
        return kind.BODY.read_interpreted(body)
    except ConstructError:
        return "refused"


def check_spans(fields: list[Field], body: bytes) -> None:
    """The fields cover the body from its first byte to its last, each beginning where the one before it ends."""
    position = 0
    for field in fields:
        assert field.start == position
        assert field.end >= field.start
        position = field.end
    assert position == len(body)


def write_interpreted(kind: type[Message], values: tuple[object, ...]) -> bytes:
    """The body that construct builds without being compiled."""
    stream = BytesIO()
    kind.BODY._build(values, stream, Container(), "")
    return stream.getvalue()


@each_class
def test_an_example_is_built_back_to_the_same_bytes(kind: type[Message]) -> None:
    parsed = kind.parse(kind.EXAMPLE)
    assert parsed.build() == kind.EXAMPLE
    values = kind.BODY.read_interpreted(kind.EXAMPLE)
    assert kind(*values) == parsed
    assert write_interpreted(kind, values) == kind.EXAMPLE


def test_examples_exercise_their_fields() -> None:
    """An example of empty lists alone would test nothing."""
    for kind in CLASSES:
        if kind.BODY.names:
            values = [getattr(kind.parse(kind.EXAMPLE), name) for name in kind.BODY.names]
            assert any(values), kind.NAME


@each_class
def test_a_prefix_is_malformed_or_a_shorter_message(kind: type[Message]) -> None:
    ends_in_rest = bool(kind.BODY.members) and kind.BODY.members[-1].subcon is Rest if kind.BODY.names else False
    fixed = len(kind.EXAMPLE) - len(kind.BODY.read(kind.EXAMPLE)[-1]) if ends_in_rest else len(kind.EXAMPLE)
    for end in range(len(kind.EXAMPLE)):
        prefix = kind.EXAMPLE[:end]
        if end < fixed:
            with pytest.raises(MalformedMessage):
                kind.parse(prefix)
        else:
            assert kind.parse(prefix).build() == prefix
        check_spans(kind.BODY.fields(prefix), prefix)


@each_class
def test_bytes_behind_the_last_field_are_malformed(kind: type[Message]) -> None:
    longer = kind.EXAMPLE + b"\0"
    if kind.BODY.members and getattr(kind.BODY.members[-1], "subcon", None) is Rest:
        assert kind.parse(longer).build() == longer
        return
    with pytest.raises(MalformedMessage, match="1 bytes after the last field") as raised:
        kind.parse(longer)
    assert raised.value.path == ""
    assert kind.BODY.fields(longer)[-1] == Field("malformed", "1 bytes after the last field", "", len(kind.EXAMPLE), len(longer), 0)


@each_class
def test_compiled_and_interpreted_agree_on_mutants(kind: type[Message]) -> None:
    """Both accept the same bodies as the same values, and what is accepted is built back to the same bytes by both."""
    for body in mutants(kind.EXAMPLE, kind.__name__, MUTANTS_PER_MESSAGE):
        values = compiled(kind, body)
        assert values == interpreted(kind, body), body
        if isinstance(values, tuple):
            assert kind.BODY.write(values) == write_interpreted(kind, values) == body
            assert kind.parse(body).build() == body


@each_class
def test_spans_of_mutants_cover_the_body(kind: type[Message]) -> None:
    for body in mutants(kind.EXAMPLE, f"spans {kind.__name__}", 100):
        fields = kind.BODY.fields(body)
        check_spans(fields, body)
        assert (compiled(kind, body) == "refused") == any(field.name == "malformed" for field in fields)


def test_there_are_enough_mutants() -> None:
    assert MUTANTS_PER_MESSAGE * len(CLASSES) >= 20_000
    accepted = refused = 0
    for kind in CLASSES:
        for body in mutants(kind.EXAMPLE, kind.__name__, 50):
            if compiled(kind, body) == "refused":
                refused += 1
            else:
                accepted += 1
    assert accepted > 150
    assert refused > 300


def test_building_refuses_what_the_wire_cannot_hold() -> None:
    for wrong in (
        frontend.Query("a\0b"),
        authentication.AuthenticationMD5Password(b"abc"),
        backend.ReadyForQuery("II"),
        frontend.Execute("", 2**31),
        startup.StartupMessage(196608, (("", "a name that ends the list"),)),
        backend.ErrorResponse((("\0", "a code that ends the list"),)),
    ):
        values = tuple(getattr(wrong, name) for name in wrong.BODY.names)
        with pytest.raises((ConstructError, struct.error, ValueError)):
            wrong.build()
        with pytest.raises((ConstructError, struct.error, ValueError)):
            write_interpreted(type(wrong), values)


def test_text_of_any_encoding_survives() -> None:
    latin = b"SELECT '\xe9\xff\x80'\0"
    assert frontend.Query.parse(latin).build() == latin
    assert frontend.Query.parse(latin).query == "SELECT '\udce9\udcff\udc80'"


def test_null_is_not_empty() -> None:
    assert backend.DataRow.parse(b"\0\2\xff\xff\xff\xff\0\0\0\0").columns == (None, b"")
    assert authentication.SASLInitialResponse.parse(b"X\0\xff\xff\xff\xff").data is None
    assert authentication.SASLInitialResponse.parse(b"X\0\0\0\0\0").data == b""


def test_a_malformed_message_names_the_field() -> None:
    cases = [
        (frontend.Bind, b"\0\0\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xfe\0\0", "parameters[1]", "a length of -2"),
        (frontend.Bind, b"\0\0\0\0\0\1\0\0\0\x09abc", "parameters[0]", "a value of 9 bytes, of which 3 are there"),
        (backend.RowDescription, b"\0\1id", "columns[0].name", "a string without its zero byte"),
        (backend.ErrorResponse, b"SERROR\0C235", "fields[1].value", "a string without its zero byte"),
        (backend.ErrorResponse, b"SERROR\0", "fields[1]", "a list without its zero byte"),
        (backend.NegotiateProtocolVersion, b"\0\3\0\2\xff\xff\xff\xff", "unrecognized_options", "a count of -1"),
        (startup.SSLRequest, b"\0\0\0\1", "request", "1 instead of 80877103"),
    ]
    for kind, body, path, reason in cases:
        with pytest.raises(MalformedMessage) as raised:
            kind.parse(body)
        assert (raised.value.name, raised.value.path, raised.value.reason) == (kind.NAME, path, reason)
        assert str(raised.value) == f"{kind.NAME}.{path}: {reason}"


def test_counts_have_no_sign() -> None:
    """As many parameters as the protocol allows."""
    body = frontend.Bind("", "", (), (None,) * 65535, ()).build()
    assert frontend.Bind.parse(body).parameters == (None,) * 65535
    assert backend.ParameterDescription.parse(b"\xff\xff" + b"\0\0\0\x17" * 65535).parameter_types == (23,) * 65535


def test_wire_puts_the_right_header_before_the_body() -> None:
    assert frontend.Sync().wire() == b"S\0\0\0\4"
    assert frontend.Query("").wire() == b"Q\0\0\0\5\0"
    assert startup.SSLRequest().wire() == b"\0\0\0\x08\x04\xd2\x16\x2f"
    assert startup.SSLRequestReply("S").wire() == b"S"
    assert startup.GSSENCRequestReply("G").wire() == b"G"
    assert startup.Version2Error("no\n").wire() == b"Eno\n\0"


def test_the_decorator_refuses_fields_that_are_not_the_bodys() -> None:
    with pytest.raises(TypeError, match=r"fields \('name',\), but BODY has \('nome',\)"):

        @message(b"Q", FRONTEND)
        class Wrong(Message):
            name: str
            BODY = Body("nome" / ZString)
            EXAMPLE = b"\0"


def test_the_decorator_refuses_a_code_without_a_name() -> None:
    with pytest.raises(TypeError, match=r"Nameless: codes\.py has no name"):

        @message(b"q", FRONTEND)
        class Nameless(Message):
            BODY = Body()
            EXAMPLE = b""


def test_messages_are_values() -> None:
    sync = frontend.Query("a")
    assert sync == frontend.Query("a")
    assert hash(sync) == hash(frontend.Query("a"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        sync.query = "b"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        sync.other = "b"  # type: ignore[attr-defined]


def test_bind_head_and_summary_agree_with_bind() -> None:
    accepted = 0
    for body in (frontend.Bind.EXAMPLE, *mutants(frontend.Bind.EXAMPLE, "summary", 5000)):
        try:
            bind = frontend.Bind.parse(body)
        except MalformedMessage:
            with pytest.raises(MalformedMessage):
                frontend.bind_summary(body)
            continue
        accepted += 1
        head = frontend.BindHead.parse(body)
        expected = (bind.portal, bind.statement, bind.parameter_formats)
        assert (head.portal, head.statement, head.parameter_formats) == expected
        assert frontend.bind_summary(body) == (*expected, len(bind.parameters), bind.result_formats)
    assert accepted > 150


def test_bind_head_reads_a_body_that_was_cut() -> None:
    body = frontend.Bind("p", "s", (1,), (b"x" * 1000,), (0,)).build()
    assert frontend.BindHead.parse(body[:100]).statement == "s"
    with pytest.raises(MalformedMessage):
        frontend.bind_summary(body[:100])


def test_names_are_the_manuals() -> None:
    for kind in registry.MESSAGES:
        subtype = -1 if kind.authentication is None else kind.authentication
        assert codes.message_name(kind.side, kind.code, subtype) == kind.NAME
        assert kind.__name__ == kind.NAME or kind is startup.Version2Error
        assert kind.__doc__
        assert (kind.side, kind.code) in {(side, code) for side in (FRONTEND, BACKEND) for code in codes.NAMES[side]}


@pytest.mark.parametrize("kind", [backend.BackendKeyData, backend.NotificationResponse, startup.CancelRequest])
def test_a_process_id_is_any_number_of_four_bytes(kind: type[Message]) -> None:
    """A pooler draws one."""
    body = kind.EXAMPLE
    at = 4 if kind is startup.CancelRequest else 0
    message = kind.parse(body[:at] + b"\xae\xd7\x6b\x94" + body[at + 4 :])
    assert message.process_id == 0xAED76B94  # type: ignore[attr-defined]
