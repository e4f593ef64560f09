"""The inspector's left half: the messages of the selected row, in the order in which they passed.

If there are more than LONGEST, a run of the same message becomes one line (`DataRow ×20 000`).
`enter` opens a window of such a run, read from the capture then; the rest of the run stays one
line. Only the lines in sight are decoded.
"""

from __future__ import annotations

from itertools import islice
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace.inspect import details
from pgtrace.inspect.details import NotKept, scan
from pgtrace.inspect.message import MessageView
from pgtrace.protocol.codes import FRONTEND
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line

LONGEST: Final = 200
"""The most messages that are listed singly; beyond that, runs are joined."""
WINDOW: Final = 1000
"""Messages of a run that one `enter` opens."""
_ARGUMENT_COLUMN: Final = 60
"""From this width on, arguments have a separate column."""
_SKIPPED: Final = "skipped by the server"


class Messages(ListWidget):
    """Messages of one row or fold."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("messages")
    HEADS = 1
    HINTS: ClassVar[Hints] = (
        ("j k", "message"),
        ("tab", "fields"),
        ("p", "values"),
        ("S", "all SQL"),
        ("n", "next problem"),
        ("y", "copy"),
        ("h l", "sideways"),
        ("esc", "back"),
        ("?", "help"),
    )

    class Moved(Message):
        """Another message is under the cursor."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.messages: list[MessageView] = []
        self.note = ""
        self._deeper = False
        self._entries: list[tuple[int, int]] = []  # first message, how many are listed for it
        self.places: list[int] = []
        """For each message, the place of its row."""
        # for each message, ns from the first row's opening to its own row's
        self._shift: list[int] = []

    def show(self, item: Item | None) -> None:
        """List the messages of a line of the timeline, with the cursor on its ErrorResponse if
        there is one."""
        self.messages, self.places, self._shift, self.note = [], [], [], ""
        for place, row in zip(item.places, item.rows, strict=True) if item else ():
            found = details.read(self.view.trace, place)
            self.note = found.note or self.note
            self.messages += found.messages
            self.places += [place] * len(found.messages)
            self._shift += [row.opened_ns - item.opened_ns if item else 0] * len(found.messages)
        if item is not None and not self.messages and not self.note:
            self.note = item.row.label.sql
        self._deeper = any(message.execution > 1 for message in self.messages)
        self._entries = self._joined() if self.passed > LONGEST else [(number, 1) for number in range(len(self.messages))]
        self.sideways = 0
        self.cursor = next((line for line, (number, _) in enumerate(self._entries) if self.messages[number].name == "ErrorResponse"), 0)
        self._show_around()
        self.redraw()

    def on_resize(self) -> None:
        """Keep the messages around the cursor visible."""
        self._show_around()
        super().on_resize()

    def _show_around(self) -> None:
        """Show an answer near the bottom, because its cause is above it, and a sent message near
        the top, because its effects are below.
        """
        sent = self.message is not None and self.message.side == FRONTEND
        self.top = max(0, self.cursor - (self.page_lines // 4 if sent else max(0, self.page_lines - 2)))

    @property
    def message(self) -> MessageView | None:
        """The message under the cursor."""
        return self.messages[self._entries[self.cursor][0]] if self.cursor < len(self._entries) else None

    @property
    def passed(self) -> int:
        """The number of messages, with every message of a run counted."""
        return sum(message.count for message in self.messages)

    @property
    def place(self) -> int:
        """The place of the row of the message under the cursor; -1 without one."""
        return self.places[self._entries[self.cursor][0]] if self.cursor < len(self._entries) else -1

    def go_to(self, side: int, offset: int) -> None:
        """Put the cursor on the message at that offset of its side's stream."""
        number = next((number for number, one in enumerate(self.messages) if (one.side, one.offset) == (side, offset)), None)
        if number is not None:
            self.cursor = next(line for line, (first, run) in enumerate(self._entries) if first <= number < first + run)
            self._show_around()
            self.moved()

    def count(self) -> int:
        return len(self._entries)

    def heads(self, width: int) -> list[Strip]:
        line = Line(self.view.pen, width).add(" side", "dim").add("ms", "dim", 6, right=True)
        if self._deeper:
            line.add("ex", "dim", 4, right=True)
        return [line.add("    message", "dim").to(width - 8).add("bytes", "dim", 7, right=True).strip()]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        number, run = self._entries[index]
        message = self.messages[number]
        role = "frontend" if message.side == FRONTEND else "backend"
        line = Line(self.view.pen, width, "selected" if selected else "background")
        line.add("▌" if selected else " ", "you" if self.has_focus else "dim")
        line.add("F→" if message.side == FRONTEND else "B←", role).add(
            f"{(message.time_ns + self._shift[number]) / 1e6:.3f}", "dim", 8, right=True
        )
        if self._deeper:
            line.add(str(message.execution) if message.execution else "", "text", 4, right=True)
        line.add("  ").add(chr(message.code) if 0x20 < message.code < 0x7F else " ", role).add(" ")
        failed = message.name == "ErrorResponse"
        end = width - 8
        passed = sum(one.count for one in self.messages[number : number + run])
        name = message.name if passed == 1 else f"{message.name} ×{figures.grouped(passed)}"
        name_cells = 21 if width >= _ARGUMENT_COLUMN else len(name)
        line.add(name, "error" if failed else "dim" if message.skipped else "text", min(name_cells, end - line.used))
        argument = _SKIPPED if message.skipped else message.argument if passed == 1 else ""
        if message.skipped and end - line.used - 1 < len(_SKIPPED):
            argument = _SKIPPED.partition(" ")[0]
        if argument and end - line.used > 2:
            line.add(" ")
            line.add(rowtext.plain(argument, end - line.used, self.sideways), "error" if failed else "dim", end - line.used)
        return line.to(end).add(figures.count(sum(one.size for one in self.messages[number : number + run])), "dim", 7, right=True).strip()

    def build(self, width: int, height: int) -> list[Strip]:
        drawn = super().build(width, height)
        if not self._entries:
            drawn.append(Line(self.view.pen, width).add(f" {rowtext.plain(self.note or 'no messages', width)}", "dim").strip())
        return drawn

    def moved(self) -> None:
        super().moved()
        self.post_message(self.Moved())

    @property
    def is_run(self) -> bool:
        """Whether the line under the cursor represents several messages."""
        if self.cursor >= len(self._entries):
            return False
        number, run = self._entries[self.cursor]
        return run > 1 or self.messages[number].count > 1

    def open(self) -> None:
        """Open a window of the run under the cursor."""
        if not self.is_run:
            return
        number, run = self._entries[self.cursor]
        opened: list[MessageView] = []
        taken = 0
        while taken < run and len(opened) < WINDOW:
            message = self.messages[number + taken]
            opened += [message] if message.count == 1 else self._read(number + taken, WINDOW - len(opened))
            taken += 1
        grown = len(opened) - taken
        for listed, one in ((self.places, self.places[number]), (self._shift, self._shift[number])):
            listed[number : number + taken] = [one] * len(opened)
        self.messages[number : number + taken] = opened
        alone = len(opened) - (opened[-1].count > 1)
        rest = run - taken + len(opened) - alone
        later = [(first + grown, joined) for first, joined in self._entries[self.cursor + 1 :]]
        window = [(number + place, 1) for place in range(alone)]
        self._entries[self.cursor :] = [*window, *([(number + alone, rest)] if rest else []), *later]
        self.moved()

    def _read(self, number: int, most: int) -> list[MessageView]:
        """The messages that a line represents: the first ones, and one that counts the rest; only
        the line itself if they are no longer kept.
        """
        message, place = self.messages[number], self.places[number]
        before = sum(one.count for one, own in zip(self.messages[:number], self.places[:number], strict=True) if own == place)
        shown = min(most, message.count)
        try:
            found = list(islice(scan(self.view.trace, place), before, before + shown + (shown < message.count)))
        except NotKept:
            return [message]
        if len(found) > shown:
            found[-1].count = message.count - shown
            found[-1].size = message.size - sum(one.size for one in found[:-1])
        return found

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.is_run if action == "open" else True

    def action_open(self) -> None:
        self.open()

    def _joined(self) -> list[tuple[int, int]]:
        entries: list[tuple[int, int]] = []
        for number, message in enumerate(self.messages):
            if entries:
                first, run = entries[-1]
                before = self.messages[first]
                if (before.side, before.code, before.skipped) == (
                    message.side,
                    message.code,
                    message.skipped,
                ) and message.name != "ErrorResponse":
                    entries[-1] = (first, run + 1)
                    continue
            entries.append((number, 1))
        return entries
