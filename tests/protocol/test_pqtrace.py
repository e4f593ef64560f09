"""libpq's trace text of every message, written and read back."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pgtrace.protocol import authentication, backend, codes, frontend, registry
from pgtrace.protocol.message import Message
from pgtrace.protocol.pqtrace import layouts, reading, writing

MESSAGES = [kind for kind in registry.MESSAGES if kind.__name__ not in ("BindHead", "Version2StartupMessage", "Version2Error")]
HOSTILE = 'a "quoted" name\nF\t4\tSync\n# connection 2: x\n" 0\nB\t5\tReadyForQuery\t I\n\\x00 \'x\' "SSSS" NNNN \x1b[31m é'
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12) | st.sampled_from(
    [HOSTILE, '"', '" ', '" "" 0', "\n", '" 0\nF\t4\tSync', 'S "ERROR"', 'table "x" does not exist']
)
data = st.binary(max_size=12) | st.sampled_from([b"\\x00ff", b"' 1 'x", b"'\n", b"\\x1b' -1", b"BBBB", b"''"])


def written(message: Message, *, regress: bool) -> str:
    wire = message.wire()
    return writing.line(message, len(wire) - (1 if message.code < 256 else 0), regress=regress)


def read(line: str, behind: bytes = b"F\t4\tSync\n") -> tuple[int, str, bytes]:
    text = line.encode("utf-8", "surrogateescape") + b"\n" + behind
    side, name, data, missing, end = reading.message(text, 0)
    wire = data + bytes(missing)
    assert text[end:].removeprefix(b"mismatched message length: consumed 8, expected 12\n") == behind
    return side, name, wire


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: f"{'FB'[kind.side]}-{kind.__name__}")
def test_every_message_is_read_back(kind: type[Message]) -> None:
    message = kind.parse(kind.EXAMPLE)
    side, name, wire = read(written(message, regress=False))
    blanked = wire if kind.__name__ in ("AuthenticationMD5Password",) else message.wire()
    assert (side, wire) == (kind.side, blanked)
    assert name in (kind.NAME, layouts.REPLIES.get(kind.NAME)) or name.startswith("Unknown authentication message")
    if kind.NAME not in layouts.WITHOUT_LENGTH:
        assert len(read(written(message, regress=True))[2]) == len(message.wire())


@pytest.mark.parametrize(
    ("message", "plain", "regress"),
    [
        (frontend.Parse("", "SELECT $1", (23,)), 'F\t21\tParse\t "" "SELECT $1" 1 23', 'F\t21\tParse\t "" "SELECT $1" 1 NNNN'),
        (frontend.Bind("", "s", (1,), (b"\0'\xff", None), ()), "F\t26\tBind\t \"\" \"s\" 1 1 2 3 '\\x00'\\xff' -1 0", None),
        (frontend.Sync(), "F\t4\tSync", None),
        (backend.CopyData(b"1\t\\N\n"), "B\t9\tCopyData\t '1\\x09\\N\\x0a'", "B\t9\tCopyData\t 'BBBB'"),
        (backend.ErrorResponse((("C", "22012"), ("F", "int.c"))),
         'B\t19\tErrorResponse\t C "22012" F "int.c" \\x00', 'B\tNN\tErrorResponse\t C "22012" F "SSSS" \\x00'),
        (backend.RowDescription((backend.Column("n", 2**31, 1, 25, -1, -1, 0),)),
         'B\t26\tRowDescription\t 1 "n" -2147483648 1 25 65535 -1 0', 'B\t26\tRowDescription\t 1 "n" NNNN 1 NNNN 65535 -1 0'),
        (backend.CopyInResponse(0, (0, 0)), "B\t11\tCopyInResponse\t \\x00 2 0 0", None),
        (authentication.AuthenticationSASL(("SCRAM-SHA-256",)), 'B\t23\tAuthenticationSASL\t "SCRAM-SHA-256" ""', None),
        (backend.NotificationResponse(7, "c", "x"), 'B\t12\tNotificationResponse\t 7 "c" "x"',
        'B\t12\tNotificationResponse\t NNNN "c" "x"'),
    ],
    ids=lambda value: value.NAME if isinstance(value, Message) else "",
)  # fmt: skip
def test_both_modes(message: Message, plain: str, regress: str | None) -> None:
    assert written(message, regress=False) == plain
    assert written(message, regress=True) == (regress or plain)


@given(st.one_of(
    st.builds(frontend.Query, texts),
    st.builds(frontend.Parse, texts, texts, st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple)),
    st.builds(frontend.Bind, texts, texts, st.just((0, 1)), st.lists(st.none() | data, max_size=4).map(tuple), st.just((1,))),
    st.builds(backend.DataRow, st.lists(st.none() | data, max_size=4).map(tuple)),
    st.builds(backend.ParameterStatus, texts, texts),
    st.builds(backend.CopyData, data),
    st.builds(backend.RowDescription, st.lists(st.builds(backend.Column, texts, *[st.just(1)] * 6), max_size=3).map(tuple)),
), st.booleans())  # fmt: skip
def test_any_text_is_read_back(message: Message, regress: bool) -> None:
    """As a message of that type and length, with as many fields; what it holds too, unless two texts are printed alike."""
    _, name, wire = read(written(message, regress=regress))
    assert name == message.NAME
    assert len(wire) == len(message.wire())
    again = type(message).parse(wire[5:])
    if isinstance(message, frontend.Parse):
        assert len(again.parameter_types) == len(message.parameter_types)  # type: ignore[attr-defined]
    if not regress:
        assert written(again, regress=False) == written(message, regress=False)


@given(st.lists(st.tuples(st.sampled_from("SVCMDHW"), texts), max_size=5, unique_by=lambda one: one[0]))
def test_an_error_without_a_length_is_read_back(fields: list[tuple[str, str]]) -> None:
    message = backend.ErrorResponse((("S", "ERROR"), *[one for one in fields if one[0] != "S"]))
    _, name, wire = read(written(message, regress=True))
    assert name == "ErrorResponse"
    assert written(backend.ErrorResponse.parse(wire[5:]), regress=True) == written(message, regress=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"F\tx\tSync\n", "direction, length and name expected"),
        (b"F\t4\tNonsense\n", "unknown message Nonsense"),
        (b"B\t4\tSync\n", "unknown message Sync"),
        (b"F\t3\tSync\n", "a length of 3"),
        (b"F\tNN\tSync\n", "no length for Sync"),
        (b'F\t20\tParse\t "" "SELECT $1" 1 23\n', "do not match its length, which would be 21"),
        (b"B\t12\tDataRow\t 1 8 'HANDMADE'\n", "do not match its length, which would be 18"),
        (b'B\tNN\tErrorResponse\t S "ERROR" no\n', "do not match its length"),
        (b"B\t99999999\tDataRow\t 1 2000000000 'x'\n", "do not match its length"),
        (b'F\t90\tParse\t "' + b'" "' * 30_000 + b"\n", "do not match its length"),
    ],
)  # fmt: skip
def test_what_is_no_message(line: bytes, reason: str) -> None:
    with pytest.raises(reading.NoMessage, match=reason):
        reading.message(line, 0)


def test_a_message_of_no_known_type() -> None:
    line = writing.undecoded(codes.BACKEND, 0x7A, "Unknown", 9)
    assert line == "B\t9\tUnknown message: 7a\nmismatched message length: consumed 4, expected 9"
    found = reading.message(line.encode() + b"\n", 0)
    assert (found.data, found.missing) == (b"z\0\0\0\x09", 5)
