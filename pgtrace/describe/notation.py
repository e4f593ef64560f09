"""Flight notation: a round trip in one short line, and the same line in words.

A flight has the messages that the driver sent, an arrow, and the messages that came back, as type
bytes in wire order: `BDES → 2TDCZ`. The input is two byte strings with one byte per message, as the
session collects them (a run of DataRow or CopyData is already one byte). A message without a type
byte is a control character in the input and a word in the output. Rules:

- Repeats are folded: `BDE×100 S → 2nC×100 Z`. The repeated group is between the blank before it (or
  the beginning) and the ×. The smallest group that saves most is taken. A fold that would make the
  line longer is not made: `CCC`, but `C×4`.
- `…` stands for the rest of a flight that is too long to keep.
- Executions that the backend discarded after an error appear where their answers would have been:
  `skip×2`.
- In words, a group of several messages is written `Parse Bind Describe Execute ×5`, with brackets
  if something comes before it. What was completed before an error is only counted,
  `…CommandComplete×2 ErrorResponse(23505)`, since you look for the error.
- In ASCII: `x`, `->`, `..`.

A flight may have tens of thousands of messages. Everything here takes linear time, and results are
cached, because a few shapes make up most captures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

SKIP: Final = 0x01
START: Final = 0x02
SSL: Final = 0x03
GSS: Final = 0x04
CANCEL: Final = 0x05
CUT: Final = 0x06

_WORDS: Final = {START: "Start", SSL: "SSL", GSS: "GSS", CANCEL: "Cancel", CUT: "…"}
_UNTYPED: Final = {
    START: codes.STARTUP_MESSAGE,
    SSL: codes.SSL_REQUEST,
    GSS: codes.GSSENC_REQUEST,
    CANCEL: codes.CANCEL_REQUEST,
}
_REPLIES: Final = {SSL: "SSLRequestReply", GSS: "GSSENCRequestReply"}
_ERROR: Final = ord("E")
_READY: Final = ord("Z")
_ANSWER: Final = ord("p")
_COMPLETIONS: Final = {
    ord("C"): "CommandComplete",
    ord("I"): "EmptyQueryResponse",
    ord("s"): "PortalSuspended",
    ord("V"): "FunctionCallResponse",
}

_PIECES: Final = re.compile(rb"\x01+|[\x02-\x06]|[^\x01-\x06]+")
_LONGEST_GROUP: Final = 16
_ANY_REPEAT: Final = re.compile(rb"(?s)(.{1,%d}?)\1" % _LONGEST_GROUP)
_REPEATS: Final = [re.compile(rb"(?s)(.{%d})\1+" % period) for period in range(1, _LONGEST_GROUP + 1)]
_ASCII: Final = str.maketrans({"×": "x", "→": "->", "·": ".", "…": ".."})


def flight(sent: bytes, received: bytes, ascii: bool = False) -> str:
    """The flight in letters: `BDE×100 S → 2nC×100 Z`. Without an arrow while nothing has come back;
    `← A` for asynchronous messages.
    """
    text = (_short_flight if len(sent) + len(received) <= _SHORT else _long_flight)(sent, received)
    return text.translate(_ASCII) if ascii else text


def is_cut(flight: str) -> bool:
    """Whether a flight leaves out messages."""
    return "…" in flight


_SHORT: Final = 256


def _flight(sent: bytes, received: bytes) -> str:
    if not sent:
        return f"← {_letters(received)}" if received else ""
    return f"{_letters(sent)} → {_letters(received)}" if received else _letters(sent)


_short_flight = lru_cache(maxsize=4096)(_flight)
_long_flight = lru_cache(maxsize=16)(_flight)


def _letters(messages: bytes) -> str:
    """One side of a flight."""
    parts: list[str] = []
    for piece in _PIECES.findall(messages):
        if piece[0] == SKIP:
            parts.append("skip" if len(piece) == 1 else f"skip×{len(piece)}")
        elif piece[0] in _WORDS:
            parts.append(_WORDS[piece[0]])
        else:
            loose = ""
            for group, times in _folds(piece, 1):
                letters = "".join(chr(byte) if 0x21 <= byte <= 0x7E else "?" for byte in group)
                if times == 1:
                    loose += letters
                    continue
                parts += [loose] if loose else []
                parts.append(f"{letters}×{times}")
                loose = ""
            parts += [loose] if loose else []
    return " ".join(parts)


def _folds(messages: bytes, cost: int) -> Iterator[tuple[bytes, int]]:
    """The messages as (group, times): repeats that save space when folded, and the parts between
    them. `cost` is the width of one message.
    """
    position = begun = 0  # begun: where the part that is not folded began
    while (repeat := _ANY_REPEAT.search(messages, position)) is not None:
        position = repeat.start()
        longest = min(_LONGEST_GROUP, (len(messages) - position) // 2)
        best = max((_Fold.at(messages, position, begun, period, cost) for period in range(1, longest + 1)), default=_NO_FOLD)
        if best is _NO_FOLD:
            position += 1
            continue
        period = best.period
        turned = (_Fold.at(messages, position + turn, begun, period, cost) for turn in range(1, period))
        best = max((best, *turned))
        if best.start > begun:
            yield messages[begun : best.start], 1
        yield messages[best.start : best.start + period], (best.end - best.start) // period
        position = begun = best.end
    if begun < len(messages):
        yield messages[begun:], 1


class _Fold(NamedTuple):
    """A possible fold. The greatest is the best: it saves most, is short, and begins early. A group
    that ends in Sync or ReadyForQuery may save less.
    """

    worth: int
    shortness: int
    earliness: int
    end: int

    @property
    def period(self) -> int:
        return -self.shortness

    @property
    def start(self) -> int:
        return -self.earliness

    @classmethod
    def at(cls, messages: bytes, position: int, begun: int, period: int, cost: int) -> _Fold:
        match = _REPEATS[period - 1].match(messages, position)
        if match is None:
            return _NO_FOLD
        end = match.end()
        blanks = (position > begun) + (end < len(messages))
        saving = cost * (end - position - period) - len(f"×{(end - position) // period}") - blanks
        return cls(saving + _WHOLE * (messages[end - 1] in b"SZ"), -period, -position, end) if saving >= 0 else _NO_FOLD


_WHOLE: Final = 2
_NO_FOLD: Final = _Fold(-1, 0, 0, 0)


def fit(text: str, width: int) -> str:
    """A flight in at most `width` characters. An error keeps its tail, `PBDE×5 S → …E skip×2 Z`;
    otherwise the end is cut."""
    if len(text) <= width:
        return text
    for arrow in (" → ", " -> "):
        sent, found, received = text.partition(arrow)
        if not found or "E" not in received:
            continue
        tail = received[_tail_start(received) :]
        if len(tail) < len(received):
            text = f"{sent}{arrow}…{tail}"
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + "…" if width > 0 else ""


def _tail_start(received: str) -> int:
    """The position at which the tail with the first error begins: at the E, or at the beginning of
    the repeated group that contains it.
    """
    error = received.index("E")
    begins, ends = received.rfind(" ", 0, error) + 1, received.find(" ", error)
    group = received[begins : ends if ends >= 0 else len(received)]
    return begins if re.search(r"[×x]\d+$", group) else error


@lru_cache(maxsize=512)
def spell(sent: bytes, received: bytes, sqlstates: tuple[str, ...] = (), statuses: str = "", authentication: tuple[str, ...] = ()) -> str:
    """The flight in words:
    `Parse Describe Flush → ParseComplete ParameterDescription RowDescription`.

    `sqlstates` are those of its errors in order, `statuses` the letters of its last ReadyForQuery
    messages (the latest last), and `authentication` the names of its messages `p` and `R` in order.
    Without them the flight leaves out what the type bytes do not show.
    """
    names = iter(authentication)
    went = _phrase(_sent_names(sent, names))
    if not received:
        return went
    head, rest, errors = "", received, iter(sqlstates)
    error = received.find(_ERROR)
    if error > 0:
        counts = {byte: received.count(byte, 0, error) for byte in _COMPLETIONS}
        done = [f"{_COMPLETIONS[byte]}×{n}" if n > 1 else _COMPLETIONS[byte] for byte, n in counts.items() if n]
        if done:
            head, rest = f"…{' '.join(done)} ", received[error:]
    replies = [_REPLIES[byte] for byte in sent if byte in _REPLIES] if rest is received else []
    came = head + _phrase(_received_names(rest, errors, statuses, names, replies))
    return f"{went} → {came}" if went else f"← {came}"


def letter_name(side: int, code: int) -> str:
    """The name of a letter in words; `p` and `R` are families of messages."""
    return "AuthenticationResponse" if (side, code) == (FRONTEND, _ANSWER) else codes.NAMES[side][code]


def _sent_names(messages: bytes, names: Iterator[str]) -> Iterator[str]:
    for byte in messages:
        if byte == _ANSWER:
            yield next(names, letter_name(FRONTEND, byte))
        else:
            yield codes.message_name(FRONTEND, _UNTYPED.get(byte, byte))


def _received_names(messages: bytes, errors: Iterator[str], statuses: str, names: Iterator[str], replies: Sequence[str]) -> Iterator[str]:
    # index in `statuses` of the next ReadyForQuery, negative while it has none
    ready = len(statuses) - messages.count(_READY)
    skipped = 0
    for index, byte in enumerate(messages):
        if byte == SKIP:
            skipped += 1
            continue
        if skipped:
            yield _skipped(skipped)
            skipped = 0
        name = "Authentication" if byte == 0x52 else codes.message_name(BACKEND, byte)
        if index < len(replies) and byte != _ERROR:
            name = f"{replies[index]}({chr(byte)})"
        elif byte == _ERROR:
            sqlstate = next(errors, "")
            name = f"ErrorResponse({sqlstate})" if sqlstate else name
        elif byte == _READY:
            name = f"ReadyForQuery({statuses[ready]})" if ready >= 0 else name
            ready += 1
        elif byte == 0x52:
            name = next(names, name)
        yield name
    if skipped:
        yield _skipped(skipped)


def _skipped(times: int) -> str:
    return f"{times} execution{'s' if times > 1 else ''} skipped"


def _phrase(names: Iterable[str]) -> str:
    """Names separated by blanks, with repeats folded."""
    known: dict[str, int] = {}
    spelled = list(names)
    messages = bytes(known.setdefault(name, min(len(known), 0xFF)) for name in spelled)
    parts: list[str] = []
    position = 0
    for group, times in _folds(messages, 8):
        words = " ".join(spelled[position : position + len(group)])
        if times == 1:
            parts.append(words)
        elif len(group) == 1:
            parts.append(f"{words}×{times}")
        else:
            parts.append(f"({words})×{times}" if parts else f"{words} ×{times}")
        position += len(group) * times
    return " ".join(parts)
