"""A difference between the recording and a driver: what was expected and what came, in flight
notation and in words.

    connection 2 (recorded connection 1), request 14: expected Bind, got Query
      expected  BES  Bind s1
      got       Q    Query select 1

The flight is that of the batch up to the next flush point. Text from the wire is not shown here: it
is sanitised where it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pgtrace.describe import arguments, notation
from pgtrace.framing import Framer
from pgtrace.protocol import backend, codes, frontend, heads, registry, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.serve.copydata import IGNORED
from pgtrace.serve.replies import PROTOCOL_VIOLATION, SQLSTATE
from pgtrace.serve.requests import FLUSH_POINTS, KEPT_BYTES
from pgtrace.serve.script import UNPROMPTED, Script, Step

NOTHING: Final = "no more requests"
_BATCH: Final = 1000
_WIDEST: Final = 24
_AROUND: Final = 30
_TEXT: Final = 200
_VALUE: Final = 60
_SEARCHED: Final = 10_000
"""How many recorded requests are searched backwards for a statement's types."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A request that differs from the recording."""

    where: str
    expected: str
    got: str
    detail: str = ""
    sqlstate: str = SQLSTATE
    """The SQLSTATE of the driver's ErrorResponse."""

    def lines(self) -> list[str]:
        """The lines to print."""
        lines = [self.where, f"  expected  {self.expected}", f"  got       {self.got}"]
        return [*lines, f"  {self.detail}"] if self.detail else lines


def mismatch(connection: int, script: Script, at: int, batch: Sequence[int], code: int, body: bytes, detail: str = "") -> Mismatch:
    """The mismatch for a request that differs from the recorded step at index `at`. `batch` has the
    codes of the driver's messages since its last flush point, with this one; `detail` says what
    differs in the data of a COPY.
    """
    recorded, recorded_body, flight, number = _expected(script, at)
    got = codes.message_name(FRONTEND, code)
    where = f"connection {connection} (recorded connection {script.number}), request {number}:"
    expected = codes.message_name(FRONTEND, recorded) if recorded else NOTHING
    where += f" expected {expected}, got {'another ' if got == expected else ''}{got}"
    shown = f"{flight}  {_message(recorded, recorded_body)}" if recorded else NOTHING
    wrong = malformed(code, body)
    if not wrong and recorded == code:
        detail = detail or _difference(script, at, recorded_body, body)
    return Mismatch(where, shown, f"{_flight(batch)}  {_message(code, body)}", wrong or detail, PROTOCOL_VIOLATION if wrong else SQLSTATE)


def malformed(code: int, body: bytes) -> str:
    """Why a body does not match its type byte; empty if it does, or was not kept whole."""
    if len(body) >= KEPT_BYTES or code == ord("d"):
        return ""
    try:
        registry.decode(FRONTEND, code, body)
    except MalformedMessage as wrong:
        return f"it is malformed{f' at {wrong.path}' if wrong.path else ''}: {wrong.reason}"
    return ""


def not_a_message(where: str, got: str) -> Mismatch:
    """The mismatch for bytes that are not a message."""
    return Mismatch(f"{where}: this is not a message of the protocol", "a message", got, sqlstate=PROTOCOL_VIOLATION)


def of_request(code: int, body: bytes) -> str:
    """A message in words."""
    return _message(code, body)


def _expected(script: Script, at: int) -> tuple[int, bytes, str, int]:
    """Code and body of the recorded request, its batch, and its number among the requests."""
    steps = script.steps
    number = 1 + sum(1 for index in range(at) if steps[index].asks) if at < 100_000 else at + 1
    if at >= len(steps):
        return 0, b"", "", number
    first = at
    while first > 0 and at - first < _BATCH and steps[first - 1].code not in FLUSH_POINTS and steps[first - 1].code != UNPROMPTED:
        first -= 1
    batch: list[int] = []
    while first < len(steps) and len(batch) < _BATCH:
        batch.append(steps[first].code)
        if batch[-1] in FLUSH_POINTS:
            break
        first += 1
    step = steps[at]
    body = b"" if step.code == ord("d") else script.message(step, KEPT_BYTES)[0]
    return step.code, body, _flight(batch), number


def _flight(batch: Sequence[int]) -> str:
    sent = bytes(code for one, code in pairwise([0, *batch]) if code < 256 and not one == code == ord("d"))
    return notation.fit(notation.flight(sent, b""), _WIDEST)


def _message(code: int, body: bytes) -> str:
    argument = arguments.argument(FRONTEND, code, body) if code != ord("d") else ""
    return f"{codes.message_name(FRONTEND, code)} {argument}".strip()[:_TEXT]


def _difference(script: Script, at: int, recorded: bytes, body: bytes) -> str:
    """The difference between two messages of one type, in words."""
    code = script.steps[at].code
    try:
        if code == ord("B"):
            before = frontend.Bind.parse(recorded)
            return _of_binds(before, frontend.Bind.parse(body), _types(script, at, before.statement))
        if code == ord("Q"):
            return _of_texts(recorded[:-1], body[:-1])
        if code == ord("P"):
            return _of_parses(frontend.Parse.parse(recorded), frontend.Parse.parse(body))
    except MalformedMessage:
        return ""
    return ""


def _types(script: Script, at: int, statement: str) -> Sequence[int]:
    """The parameter types of a recorded statement, as far as its Parse or the server gave them."""
    named = statement.encode("utf-8", "surrogateescape")
    described: Sequence[int] = ()
    for index in range(at - 1, max(-1, at - 1 - _SEARCHED), -1):
        step = script.steps[index]
        if step.code == ord("D") and not described and script.message(step, KEPT_BYTES)[0] == b"S" + named + b"\0":
            described = _described(script, step)
        elif step.code == ord("P") and (parsed := heads.parse(script.message(step, KEPT_BYTES)[0])) is not None and parsed[0] == statement:
            return described or parsed[2]
    return described


def _described(script: Script, step: Step) -> Sequence[int]:
    """The types of a ParameterDescription in the answer to a Describe."""
    answer = script.answered.read(step.reply, min(step.length, KEPT_BYTES))
    body = next((body for code, body, _ in Framer.typed().feed(BACKEND, answer) if code == ord("t")), None)
    return backend.ParameterDescription.parse(body).parameter_types if body is not None else ()


def _of_parses(one: frontend.Parse, other: frontend.Parse) -> str:
    if one.query != other.query:
        return _of_texts(one.query.encode("utf-8", "surrogateescape"), other.query.encode("utf-8", "surrogateescape"))
    if one.parameter_types != other.parameter_types:
        before, now = (
            "[" + arguments.listed(values.type_name(oid) if oid else "not said" for oid in types[:20]) + "]"
            for types in (one.parameter_types, other.parameter_types)
        )
        return f"parameter types: recorded {before}, now {now}"
    return f"statement's name: recorded {one.statement or 'unnamed'}, now {other.statement or 'unnamed'}"


def _of_binds(one: frontend.Bind, other: frontend.Bind, types: Sequence[int]) -> str:
    if one.parameter_formats != other.parameter_formats:
        return f"parameter formats: recorded {_listed(one.parameter_formats)}, now {_listed(other.parameter_formats)}"
    if one.result_formats != other.result_formats:
        return f"result formats: recorded {_listed(one.result_formats)}, now {_listed(other.result_formats)}"
    for number, (before, now) in enumerate(zip(one.parameters, other.parameters, strict=False), 1):
        if before != now:
            oid = types[number - 1] if number <= len(types) else 0
            formats = one.parameter_formats
            format = (formats[0] if len(formats) == 1 else formats[number - 1]) if formats[number - 1 :] or len(formats) == 1 else 0
            return f"parameter ${number}: recorded {_value(before, oid, format)}, now {_value(now, oid, format)}; {IGNORED}"
    if len(one.parameters) != len(other.parameters):
        return f"parameters: recorded {len(one.parameters)}, now {len(other.parameters)}"
    return ""


def _of_texts(recorded: bytes, now_sent: bytes) -> str:
    """The first difference of two SQL texts, with what is around it."""
    one, other = heads.text(recorded), heads.text(now_sent)
    at = next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))
    begin = max(0, at - _AROUND)
    before, now = (text[begin : at + _AROUND] for text in (one, other))
    dots = "..." if begin else ""
    return f"SQL from character {at + 1}: recorded {dots}{before}, now {dots}{now}"


def _value(value: bytes | None, oid: int, format: int) -> str:
    """A value as text, or in hex if its type is not known."""
    if value is not None and not oid:
        return f"\\x{value[:30].hex()}" if format else arguments.text(value)[:_VALUE]
    return values.decode(oid, format, value)[:_VALUE]


def _listed(formats: Sequence[int]) -> str:
    return "[" + ",".join(str(one) for one in formats[:20]) + "]"
