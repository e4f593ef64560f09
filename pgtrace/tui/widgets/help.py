"""The help screen: the keys in three columns, the meaning of the column the user looks at, the row
under the cursor with what it says, the two definitions that everything rests on, and the mouse.

If the screen is too low for all of it, it scrolls.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Final

from textual.message import Message
from textual.strip import Strip

from pgtrace.tui.model import rowtext
from pgtrace.tui.model.keys import Hints, told
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.lines import Line, blank

_COLUMNS: Final = tuple((column, told(column)) for column in ("move", "look", "do"))
_ROW: Final[tuple[tuple[tuple[tuple[str, str], ...], str], ...]] = (
    ((("PBDES → 12TDCZ", "flight"),), "type bytes out and back; a run of rows is one D"),
    ((("BDE×100 S", "flight"),), "100 executions behind one Sync: pipelined"),
    ((("▸ SSL · Start · p", "dim"),), "folded: set-up, repeats, or ▪ a transaction"),
    ((("╭ │ ╰ ", "dim"), ("┊", "attention")), "transaction opens, goes on, closes, has failed"),
    ((("✗ ", "error"), ("! ╱╱", "attention"), (" ≥", "text")), "error; in a finding; gap in the capture; at least"),
    ((("+ =  ", "text"), ("b t m", "dim")), "prepares, reuses a named statement; binary, text, mixed"),
    ((("━ ─ ", "bar"), ("┄ ╌", "faint")), "till the first answer, till the last; driver's time; idle cut"),
)
_WORDS: Final = (
    "F frontend (driver)   B backend (server)",
    "round trip = the driver had to wait for the network once",
)
_MOUSE: Final = (
    "click selects, double click inspects, right click goes back",
    "a click on c2 shows that connection alone; select text with shift",
)
_REAL_FROM: Final = 4
"""Lines that must be left over for a real row."""
_KEY_CELLS: Final = 10
_SIGN_CELLS: Final = 18


class Help(ListWidget):
    """One screen of help. Its cursor is the first line in sight."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._text: list[Strip] = []
        self.defined: tuple[str, str] = ("", "")
        """The column that the user looks at, and its meaning."""
        self.real: Callable[[int], list[Strip]] = lambda width: []
        """The heads and the row under the cursor, at a given width."""

    class Written(Message):
        """The text has changed, and may have to be scrolled."""

    def redraw(self) -> None:
        """Have the footer say whether it scrolls."""
        before = self.hints()
        super().redraw()
        if self.hints() != before:
            self.post_message(self.Written())

    def hints(self) -> Hints:
        scrolls: Hints = (("j k", "scroll"),) if self.count() > self.page_lines else ()
        return (*scrolls, ("esc", "back"), ("q", "quit"))

    def count(self) -> int:
        return len(self._text)

    def keep_in_sight(self) -> None:
        self.cursor = self.top = max(0, min(self.cursor, self.count() - self.page_lines))

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        return self._text[index]

    def build(self, width: int, height: int) -> list[Strip]:
        self._text = self._written(width, height)
        return super().build(width, height)

    def _written(self, width: int, height: int) -> list[Strip]:
        keys, row, words = [*self._keys(width), *self._defined(width)], self._row(width), self._words(width)
        spare = height - len(keys) - len(row) - len(words)
        real = self.real(width) if spare > _REAL_FROM else []
        empty = blank(self.view.pen, width)
        return [*keys, *[empty][: max(0, spare)], row[0], *real, *row[1:], *[empty][: max(0, spare - 1)], *words]

    def _defined(self, width: int) -> list[Strip]:
        """The meaning of the column, between the keys and the row."""
        name, meaning = self.defined
        if not name:
            return []
        parts = textwrap.wrap(meaning, max(20, width - len(name) - 4))
        drawn = [Line(self.view.pen, width).add(f" {name}", "strong").add(f"  {parts[0]}", "text").strip()]
        return drawn + [Line(self.view.pen, width).to(len(name) + 3).add(part, "text").strip() for part in parts[1:]]

    def _keys(self, width: int) -> list[Strip]:
        pen = self.view.pen
        third = min(34, (width - 1) // 3)
        head = Line(pen, width, "head").add(" ")
        for title, _ in _COLUMNS:
            head.add(title, "dim", third)
        drawn = [head.strip()]
        for number in range(max(len(entries) for _, entries in _COLUMNS)):
            line = Line(pen, width).add(" ")
            for column, (_, entries) in enumerate(_COLUMNS):
                line.to(1 + column * third)
                if number < len(entries):
                    keys, meaning = entries[number]
                    line.add(keys, "you", _KEY_CELLS).add(meaning, "text", third - _KEY_CELLS - 1)
            drawn.append(line.strip())
        return drawn

    def _row(self, width: int) -> list[Strip]:
        pen = self.view.pen
        drawn = [Line(pen, width, "head").add(" ").add("what a row says", "dim").strip()]
        for signs, meaning in _ROW:
            line = Line(pen, width).add(" ")
            for sign, role in signs:
                for run, own in rowtext.flight_runs(pen.text(sign), pen) if role == "flight" else [(sign, role)]:
                    line.add(run, own)
            drawn.append(line.to(1 + _SIGN_CELLS).add(meaning, "dim").strip())
        return drawn

    def _words(self, width: int) -> list[Strip]:
        mouse = ["mouse  " + _MOUSE[0], *("       " + more for more in _MOUSE[1:])]
        return [Line(self.view.pen, width).add(f" {words}", "dim").strip() for words in (*_WORDS, *mouse)]
