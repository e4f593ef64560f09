"""What was expected and what came instead: in flight notation, and in words.

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
from pgtrace.protocol import codes, frontend
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.serve.requests import FLUSH_POINTS, KEPT_BYTES
from pgtrace.serve.script import UNPROMPTED, Script

NOTHING: Final = "no more requests"
_BATCH: Final = 1000
_WIDEST: Final = 24
_AROUND: Final = 30
_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference."""

    where: str
    expected: str
    got: str
    detail: str = ""

    def lines(self) -> list[str]:
        """As it is printed."""
        lines = [self.where, f"  expected  {self.expected}", f"  got       {self.got}"]
        return [*lines, f"  {self.detail}"] if self.detail else lines


def mismatch(connection: int, script: Script, at: int, batch: Sequence[int], code: int, body: bytes) -> Mismatch:
    """For a request that is not the recorded one at `at`. `batch` has the codes that this driver
    has sent since its last flush point, the request included."""
    recorded, recorded_body, flight, number = _expected(script, at)
    got = codes.message_name(FRONTEND, code)
    where = f"connection {connection} (recorded connection {script.number}), request {number}:"
    expected = codes.message_name(FRONTEND, recorded) if recorded else NOTHING
    where += f" expected {expected}, got {'another ' if got == expected else ''}{got}"
    told = f"{flight}  {_told(recorded, recorded_body)}" if recorded else NOTHING
    detail = _difference(recorded, recorded_body, body) if recorded == code else ""
    return Mismatch(where, told, f"{_flight(batch)}  {_told(code, body)}", detail)


def of_request(code: int, body: bytes) -> str:
    """A message in words."""
    return _told(code, body)


def _expected(script: Script, at: int) -> tuple[int, bytes, str, int]:
    """Code and body of the recorded request, its batch, and its number among the requests."""
    steps = script.steps
    number = 1 + sum(1 for index in range(at) if steps[index].code != UNPROMPTED) if at < 100_000 else at + 1
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


def _told(code: int, body: bytes) -> str:
    argument = arguments.argument(FRONTEND, code, body) if code != ord("d") else ""
    return f"{codes.message_name(FRONTEND, code)} {argument}".strip()[:_TEXT]


def _difference(code: int, recorded: bytes, body: bytes) -> str:
    """What differs in two messages of one kind."""
    try:
        if code == ord("B"):
            return _of_binds(frontend.Bind.parse(recorded), frontend.Bind.parse(body))
        if code in b"QP":
            return _of_texts(recorded, body)
    except MalformedMessage:
        return ""
    return ""


def _of_binds(one: frontend.Bind, other: frontend.Bind) -> str:
    if one.parameter_formats != other.parameter_formats:
        return f"parameter formats: recorded {_listed(one.parameter_formats)}, now {_listed(other.parameter_formats)}"
    if one.result_formats != other.result_formats:
        return f"result formats: recorded {_listed(one.result_formats)}, now {_listed(other.result_formats)}"
    for number, (before, now) in enumerate(zip(one.parameters, other.parameters, strict=False), 1):
        if before != now:
            return f"parameter ${number}: recorded {_value(before)}, now {_value(now)}; --any-values ignores it"
    return ""


def _of_texts(recorded: bytes, body: bytes) -> str:
    """The first difference of two texts, with what is around it."""
    at = next((index for index, pair in enumerate(zip(recorded, body, strict=False)) if pair[0] != pair[1]), min(len(recorded), len(body)))
    begin = max(0, at - _AROUND)
    before, now = (arguments.text(text[begin : at + _AROUND].rstrip(b"\0").replace(b"\0", b" ")) for text in (recorded, body))
    dots = "..." if begin else ""
    return f"from character {at + 1}: recorded {dots}{before}, now {dots}{now}"


def _value(value: bytes | None) -> str:
    return "NULL" if value is None else arguments.text(value)[:60]


def _listed(formats: Sequence[int]) -> str:
    return "[" + ",".join(str(one) for one in formats[:20]) + "]"
