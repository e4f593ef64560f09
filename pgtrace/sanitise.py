"""Text from the wire, made safe to show: every view, report and log line passes it through here.

A terminal obeys escape sequences wherever they come from: a value in a row can set the window's
title, write the clipboard, or reorder what you read (terminals and toolkits pass them through). So
nothing that is shown is interpreted: each character that is not visible becomes its escape,
`\\x1b`, `\\x9b`, `\\u202e`. These are

- C0 and C1 controls and DEL; a line break becomes `↵`, or is kept for callers that lay lines out;
- bidirectional controls, line and paragraph separators, and characters without width or shape:
  zero-width characters, fillers, variation selectors, tags;
- surrogates: a byte that was not UTF-8 (surrogateescape) is shown as that byte, `\\xff`, any other
  as `\\ud800`;
- noncharacters.

The log of a CI system obeys lines of plain text: `::error::` at the start of a line (GitHub
Actions), `##[error]`, `##vso[...]` anywhere (GitHub Actions, Azure Pipelines, TeamCity). `line`
escapes the character that makes it a command. Use it for a command's stdout and stderr, for errors
and for the failures of tests.

Markup is up to the sink (Content objects, not markup strings; HTML and Markdown escape once more).

`Shown` is the type of text that has passed. This is the lowest layer: it imports nothing of
pgtrace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NewType

_UNSAFE: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    + "".join(f"{chr((plane << 16) + 0xFFFE)}{chr((plane << 16) + 0xFFFF)}" for plane in range(1, 17))
    + "\U000e0000-\U000e0fff]"
)


_COMMAND: Final = re.compile(r"^\s*:(?=:[A-Za-z])|##(?=\w*\[)")
"""Matches text that makes a line a command for a log, up to the character that is escaped."""

Shown = NewType("Shown", str)
"""Text that is safe to show: no terminal, log or reader interprets it."""
EMPTY: Final = Shown("")


def text(s: str, newline: str = "↵") -> Shown:
    """The text with everything unsafe escaped; line breaks become `newline`."""
    if s.isascii() and s.isprintable():
        return Shown(s)
    return Shown(_UNSAFE.sub(lambda match: newline if match.group() == "\n" else _escaped(match.group()), s))


def line(s: str) -> Shown:
    """The text as one whole line of output, which no log takes for a command."""
    return Shown(obeyed_by_no_log(text(s)))


def obeyed_by_no_log(s: str) -> str:
    """One line, unchanged except for the character that makes it a command for a CI log."""
    if "##" in s or "::" in s:
        return _COMMAND.sub(lambda match: match.group()[:-1] + f"\\x{ord(match.group()[-1]):02x}", s)
    return s


def lines(given: Iterable[str]) -> Shown:
    """Several such lines."""
    return Shown("\n".join(map(line, given)))


def json(encoded: str) -> Shown:
    """JSON text with the same values, which no terminal or log obeys: unsafe characters become JSON
    escapes."""
    if encoded.isascii() and "\x7f" not in encoded and "##" not in encoded:
        return Shown(encoded)
    return Shown(_JSON.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf_16(match.group())), encoded))


def commands(s: str) -> bool:
    """Whether a CI log would obey a line of this text if it were printed unchanged."""
    return any(_COMMAND.search(one) for one in _BREAK.split(s))


_JSON: Final = re.compile(rf"(?!\n){_UNSAFE.pattern}|#(?=#\w*\[)")
"""Line breaks are excluded: JSON has already escaped those inside strings."""
_BREAK: Final = re.compile("[\r\n]")


def _utf_16(character: str) -> tuple[int, ...]:
    data = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(data[start : start + 2], "big") for start in range(0, len(data), 2))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code == 0x09:
        return "\\t"
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
