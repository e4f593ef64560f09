"""Deliberate faults: one rule per line, and what it means.

    close before reply to Sync#2
    delay 50ms before Execute
    reset after 1MB

A rule has an action and a moment: a message of one side, the reply to a message, a number of bytes,
a time, or the beginning or end of the connection. `delay`, `limit` and `split` without a moment
apply to everything that passes. A rule never creates or changes a message: it delays, cuts reads
into pieces, or ends the connection. The grammar is in docs/faults.md.

This module parses a text into a Rule, plain data that is sent to the recorder's process. The errors
that parse() raises say what is wrong, and where. proxy/faults.py applies the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pgtrace.durations import LONGEST_NS
from pgtrace.errors import FaultError
from pgtrace.protocol.codes import BACKEND, CANCEL_REQUEST, FRONTEND, NAMES, STARTUP_MESSAGE
from pgtrace.regex.automaton import Pattern
from pgtrace.regex.patterns import BadPattern
from pgtrace.whole import whole_number

EITHER: Final = 2
"""The side of a rule that applies to both directions."""
ALWAYS: Final = ""
"""The moment of a rule that applies to everything that passes."""
AT_A_MESSAGE: Final = ("before", "after", "inside")

_ENDINGS: Final = ("connect", "before", "after", "inside", "bytes", "time")
_MOMENTS: Final = {
    "delay": (ALWAYS, "connect", "end", "before", "after"),
    "limit": (ALWAYS,),
    "split": (ALWAYS,),
    "hang": _ENDINGS,
    "close": _ENDINGS,
    "reset": _ENDINGS,
}
"""Action -> the moments it may have."""
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<figure>\d+(?:\.\d+)?[A-Za-z]*(?:/s)?)|(?P<word>[A-Za-z]\w*)|(?P<pattern>/(?:\\.|[^/\\])*/)|(?P<sign>[#~])|(?P<end>$))"
)
_FIGURE: Final = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)(/s)?")
_NS: Final = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_BYTES: Final = {"": 1, "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_LAST_MESSAGE: Final = 999_999_999
_LARGEST: Final = 1 << 62
"""A number of bytes, or of bytes per second, that is never reached."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault rule."""

    text: str
    """The rule's text, as written."""
    action: str
    """`delay`, `limit`, `split`, `hang`, `close` or `reset`."""
    amount: int = 0
    """For `delay` and `hang`: ns (0: hang for ever); for `limit`: bytes per second; for `split`:
    bytes per piece."""
    spread_ns: int = 0
    """For `delay`: the largest deviation, up or down."""
    gap_ns: int = 0
    """For `split`: the time between pieces."""
    moment: str = ALWAYS
    """`before`, `after` or `inside` a message; `connect`, `end`; `bytes` or `time`: after
    `threshold` bytes or ns."""
    side: int = EITHER
    code: int = 0
    """The message's code (protocol/codes.py)."""
    number: int = 0
    """Which of these messages on a connection, from 1; 0 means any."""
    pattern: str = ""
    """A regular expression that the message's body must match."""
    reply: bool = False
    """Whether the moment is the reply to the message."""
    threshold: int = 0
    """For `bytes` and `time`: how many bytes, or how many ns."""
    once: bool = False
    """Whether the rule applies to one connection only."""


def parse(text: str) -> Rule:
    """Parse a rule. Raises FaultError."""
    return _Parser(text).rule()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    """Parses a rule from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = self._scan()
        self._at = 0

    def rule(self) -> Rule:
        action = self._next
        if action.text not in _MOMENTS:
            raise self._error(action, "a rule begins with " + _or(_MOMENTS))
        self._at += 1
        values: dict[str, Any] = {}
        if action.text == "delay":
            values["amount"] = self._duration()
            if self._skip("~"):
                values["spread_ns"] = self._duration()
        elif action.text == "limit":
            values["amount"] = self._size("expected a rate: 64kB/s, 1MB/s", "/s")
        elif action.text == "split":
            values["amount"] = self._size("expected the bytes of a piece: 1, 100, 1kB", "")
            if self._skip("every"):
                values["gap_ns"] = self._duration()
        elif action.text == "hang" and self._next.kind == "figure":
            values["amount"] = self._duration()
        begun = self._next
        moment, about = self._moment()
        if moment not in _MOMENTS[action.text]:
            reason = f"`{action.text}` needs a moment: before, after or inside a message, after 1MB, after 2s, at connect"
            if moment != ALWAYS:
                reason = f"`{action.text}` cannot be {_spoken(moment)}"
            raise self._error(begun, reason)
        last = self._next
        once = self._skip("once")
        if once and moment in (ALWAYS, "end"):
            raise self._error(last, "`once` is for a rule with a moment")
        if self._next.kind != "end":
            raise self._error(self._next, "the rule should end here")
        return Rule(self.text.strip(), action.text, moment=moment, once=once, **values, **about)

    def _moment(self) -> tuple[str, dict[str, Any]]:
        """Parse the moment. Returns its name and the fields of Rule that belong to it."""
        token = self._next
        if token.text == "at":
            self._at += 1
            place = self._next
            if place.text not in ("connect", "end"):
                raise self._error(place, "`at` needs connect or end; a message needs before, after or inside")
            self._at += 1
            return place.text, {"side": self._side()} if place.text == "end" else {}
        if token.text not in AT_A_MESSAGE:
            return ALWAYS, {"side": self._side()}
        self._at += 1
        if token.text == "after" and self._next.kind == "figure":
            return self._threshold()
        return token.text, self._message(token.text)

    def _threshold(self) -> tuple[str, dict[str, Any]]:
        unit = _FIGURE.fullmatch(self._next.text)
        if unit is not None and unit[2] in _NS:
            return "time", {"threshold": self._duration()}
        if unit is not None and not unit[2]:
            raise self._error(self._next, "a unit is missing: 1MB, 2s")
        return "bytes", {"threshold": self._size("expected bytes or a time: 1MB, 2s", ""), "side": self._side()}

    def _message(self, moment: str) -> dict[str, Any]:
        reply = self._next
        if self._skip("reply"):
            if not self._skip("to"):
                raise self._error(self._next, "`reply` needs `to` and a message of the driver")
            if moment == "inside":
                raise self._error(reply, "`inside` needs a message, not a reply: inside DataRow, for example")
        to_reply = reply.text == "reply"
        letter, side, named = self._next, self._side(), self._next
        if to_reply and side == BACKEND:
            raise self._error(letter, "only messages of the driver have a reply")
        self._at += 1
        about: dict[str, Any] = {"reply": to_reply}
        about["side"], about["code"] = self._named(named, FRONTEND if to_reply else side)
        if self._skip("#"):
            about["number"] = whole_number(self._next.text, _LAST_MESSAGE)
            if not about["number"]:
                raise self._error(self._next, "not the number of a message: #1 is the first")
            self._at += 1
        if self._skip("~"):
            about["pattern"] = self._pattern()
        return about

    def _named(self, token: _Token, side: int) -> tuple[int, int]:
        """The side and code of a message."""
        found = [(one, code) for one in (FRONTEND, BACKEND) for code, name in _NAMES[one].items() if name == token.text]
        sides = [one for one, _ in found]
        if not found:
            import difflib

            known = [name for names in _NAMES for name in names.values()]
            near = difflib.get_close_matches(token.text.capitalize(), known, 1, 0.7) if token.text else []
            raise self._error(
                token,
                f"unknown message {token.text!r}" + (f"; did you mean {near[0]}?" if near else "") if token.text else "expected a message",
            )
        if side != EITHER and side not in sides:
            raise self._error(token, f"{token.text} is not one of the {'driver' if side == FRONTEND else 'server'}'s messages")
        if side == EITHER and len(sides) > 1:
            raise self._error(token, f"both sides have that message: F {token.text} or B {token.text}")
        return next(one for one in found if side in (EITHER, one[0]))

    def _pattern(self) -> str:
        token = self._next
        if token.kind != "pattern":
            raise self._error(token, "expected a regular expression between slashes: /orders/")
        self._at += 1
        expression = token.text[1:-1].replace("\\/", "/")
        try:
            Pattern(expression)
        except BadPattern as error:
            place = token.start + 1 + error.position
            raise FaultError(self.text, place, 1, error.reason) from None
        return expression

    def _duration(self) -> int:
        token = self._next
        found = _FIGURE.fullmatch(token.text) if token.kind == "figure" else None
        if found is None or found[2] not in _NS or found[3]:
            raise self._error(token, "expected a duration: 300us, 20ms, 1.5s, 2m")
        self._at += 1
        return round(min(LONGEST_NS, float(found[1]) * _NS[found[2]]))

    def _size(self, what: str, per: str) -> int:
        token = self._next
        found = _FIGURE.fullmatch(token.text) if token.kind == "figure" else None
        size = round(min(_LARGEST, float(found[1]) * _BYTES[found[2]])) if found is not None and found[2] in _BYTES else 0
        if found is None or (found[3] or "") != per or size < 1:
            raise self._error(token, what)
        self._at += 1
        return size

    def _side(self) -> int:
        side = {"F": FRONTEND, "B": BACKEND}.get(self._next.text, EITHER)
        self._at += side != EITHER
        return side

    @property
    def _next(self) -> _Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def _skip(self, text: str) -> bool:
        found = self._next.text == text
        self._at += found
        return found

    def _scan(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while not tokens or tokens[-1].kind != "end":
            found = _TOKEN.match(self.text, at)
            if found is None:
                at = len(self.text) - len(self.text[at:].lstrip())
                reason = "missing closing /" if self.text[at] == "/" else "unexpected text"
                raise FaultError(self.text, at, len(self.text) - at if self.text[at] == "/" else 1, reason)
            kind = str(found.lastgroup)
            tokens.append(_Token(kind, found[kind], found.start(kind), found.end(kind)))
            at = found.end()
        return tokens

    def _error(self, token: _Token, reason: str) -> FaultError:
        return FaultError(self.text, token.start, token.end - token.start, reason)


_NAMES: Final = tuple(
    {code: name for code, name in names.items() if code < STARTUP_MESSAGE or code in (STARTUP_MESSAGE, CANCEL_REQUEST)} for names in NAMES
)
"""The messages that rules may name: those that pass the recorder as messages."""


def _or(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


def _spoken(moment: str) -> str:
    return {"bytes": "after a number of bytes", "time": "after a time"}.get(
        moment, f"{moment} a message" if moment in AT_A_MESSAGE else f"at {moment}"
    )
