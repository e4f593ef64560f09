"""Two round trips side by side: their messages aligned, with differences bright.

Messages are paired by side and type (compare/align.py). A pair with the same arguments is dim. A
pair whose arguments differ, or a message that only one side has, is bright, with a sign between the
halves: `~` differs, `<` only left, `>` only right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from textual.strip import Strip

from pgtrace import sanitise
from pgtrace.compare.align import align
from pgtrace.inspect.message import MessageView
from pgtrace.protocol.codes import FRONTEND
from pgtrace.tui.model import rowtext
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.widgets.lines import Line

_NAME_CELLS: Final = 21
_NARROW: Final = 50
_SIZE_CELLS: Final = 6


class MessageText(NamedTuple):
    """A message and its argument as text."""

    side: int
    name: str
    argument: str
    size: int

    @classmethod
    def of(cls, message: MessageView) -> MessageText:
        name = message.name if message.count == 1 else f"{message.name} ×{message.count}"
        return cls(message.side, name, "skipped by the server" if message.skipped else message.argument, message.size)


class Comparison:
    """The page of two round trips."""

    more: Hints = ()
    name = "comparison"

    def __init__(self, titles: tuple[str, str], first: Sequence[MessageView], second: Sequence[MessageView]) -> None:
        self.title = f"{titles[0]}  beside  {titles[1]}"
        numbers: dict[tuple[int, int, bool], int] = {}

        def keys(messages: Sequence[MessageView]) -> list[int]:
            return [numbers.setdefault((one.side, one.code, one.skipped), len(numbers)) for one in messages]

        self._lines: list[tuple[MessageText | None, MessageText | None]] = []
        left = right = 0
        for one, other in [*align(keys(first), keys(second)), (len(first), len(second))]:
            self._lines += [(MessageText.of(message), None) for message in first[left:one]]
            self._lines += [(None, MessageText.of(message)) for message in second[right:other]]
            if one < len(first) and other < len(second):
                self._lines.append((MessageText.of(first[one]), MessageText.of(second[other])))
            left, right = one + 1, other + 1

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, pen: Pen, index: int, width: int, sideways: int, *, selected: bool) -> Strip:
        left, right = self._lines[index]
        half = (width - 5) // 2
        line = Line(pen, width, "selected" if selected else "background").add("▌" if selected else " ", "you")
        sign = _sign(left, right)
        _add(line, left, half, sideways, same=not sign)
        line.to(1 + half).add(f" {sign or '│'} ", "attention" if sign else "faint")
        _add(line, right, width - 4 - half, sideways, same=not sign)
        return line.strip()

    def text(self) -> str:
        return "\n".join([self.title, *(f"{_sign(*pair) or ' '} {_words(pair[0]):<70} {_words(pair[1])}".rstrip() for pair in self._lines)])


def _sign(left: MessageText | None, right: MessageText | None) -> str:
    if left is None or right is None:
        return ">" if left is None else "<"
    return "" if (left.name, left.argument) == (right.name, right.argument) else "~"


def _words(message: MessageText | None) -> str:
    return "" if message is None else f"{'FB'[message.side]} {message.name} {sanitise.text(message.argument)}"


def _add(line: Line, message: MessageText | None, width: int, sideways: int, *, same: bool) -> None:
    if message is None:
        return
    end = line.used + width
    line.add("F→" if message.side == FRONTEND else "B←", "frontend" if message.side == FRONTEND else "backend").add(" ")
    failed = message.name == "ErrorResponse"
    line.add(message.name, "error" if failed else "dim" if same else "text", _NAME_CELLS if width >= _NARROW else None).add(" ")
    room = end - line.used - _SIZE_CELLS
    if room > 2:
        line.add(rowtext.plain(message.argument, room, sideways), "dim" if same else "strong", room)
        line.add(str(message.size), "dim", _SIZE_CELLS, right=True)
