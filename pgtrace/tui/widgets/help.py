"""The help screen: the keys in three columns, the meaning of the column that the user looks at, the
row under the cursor explained, the two basic definitions, and the mouse.

If the screen is too low for all of it, it scrolls.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Final

from textual.message import Message
from textual.strip import Strip

from pgtrace.describe import notation
from pgtrace.protocol.codes import BACKEND, FRONTEND, NAMES
from pgtrace.tui.model import rowtext
from pgtrace.tui.model.keys import Hints, help_lines
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.lines import Line, blank

_COLUMNS: Final = ("move", "look", "do")
_ROW: Final[tuple[tuple[tuple[tuple[str, str], ...], str], ...]] = (
    ((("PBDES → 12TDCZ", "flight"),), "one letter a message, out and back; a run of rows is one D"),
    ((("BDE×100 S", "flight"),), "100 executions behind one Sync: pipelined"),
    ((("▸ SSL · Start · p", "dim"),), "folded: set-up, repeats, or ▪ a transaction"),
    ((("╭ │ ╰ ", "dim"), ("┊", "attention")), "transaction opens, goes on, closes, has failed"),
    ((("✗ ", "error"), ("! ╱╱", "attention"), (" ≥", "text")), "error; finding or early end; gap in the capture; at least"),
    ((("+ =  ", "text"), ("b t m", "dim")), "prepares, reuses a statement; binary, text, mixed"),
    ((("━ ─ ", "bar"), ("┄ ╌", "faint")), "until the first answer, the last; driver's time; idle cut"),
)
_LETTERS: Final = (
    ("F→", "frontend", "the driver sends", FRONTEND, "PBDESHCQXdcfpF"),
    ("B←", "backend", "the server sends", BACKEND, "123tTnDCsIEZGHWdcNARSKVv"),
)
"""The sender, and the letters to list first. All others in protocol/codes.py follow, because a row
may have any of them.
"""
_ROUND_TRIP: Final = "round trip = the driver had to wait for the network once"
_MOUSE: Final = (
    "click selects, double click inspects, right click goes back",
    "a click on c2 shows that connection alone; select text with shift",
)
_UNTYPED: Final = 256
"""Codes from here on have no letter: packets without a type byte are words in a row."""
_KEY_CELLS: Final = 10
_LETTER_CELLS: Final = 4
"""The width of a letter with the blanks around it."""
_SIGN_CELLS: Final = 18


class Help(ListWidget):
    """One screen of help. Its cursor is the first line in sight."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._text: list[Strip] = []
        self.defined: tuple[str, str] = ("", "")
        """The column that the user looks at, and its meaning."""
        self.real: Callable[[int], list[Strip]] = lambda width: []
        """Makes an example row at a given width, with its headings and its words."""
        self._shown_hints: Hints = ()
        """The hints that the footer shows."""

    class Written(Message):
        """The text has changed, and may have to be scrolled."""

    def redraw(self) -> None:
        """Let the footer show whether the help scrolls."""
        super().redraw()
        if self.hints() != self._shown_hints:
            self._shown_hints = self.hints()
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
        keys, row = [*self._keys(width), *self._defined(width)], self._row(width)
        words = [*self._letters(width), *self._words(width)]
        real = self.real(width)
        spare = height - len(keys) - len(row) - len(real) - len(words)
        gap = [blank(self.view.pen, width)]
        return [*keys, *gap[: max(0, spare)], *row, *real, *gap[: max(0, spare - 1)], *words]

    def _defined(self, width: int) -> list[Strip]:
        """The meaning of the column, between the keys and the row."""
        name, meaning = self.defined
        if not name:
            return []
        parts = textwrap.wrap(meaning, max(20, width - len(name) - 4))
        drawn = [Line(self.view.pen, width).add(f" {name}", "strong").add(f"  {parts[0]}", "text").strip()]
        return drawn + [Line(self.view.pen, width).to(len(name) + 3).add(part, "text").strip() for part in parts[1:]]

    def _keys(self, width: int) -> list[Strip]:
        """The columns of keys. The last column extends to the edge, and leaves room for its
        descriptions.
        """
        pen, view = self.view.pen, self.view
        third = min(34, (width - 1) // 3)
        columns = [help_lines(column, compares=view.compares, explains=bool(view.source.explain_dsn)) for column in _COLUMNS]
        last = width - 1 - third * (len(columns) - 1)
        least = max(len(keys) for keys, _ in columns[-1]) + 1
        keys_of_last = max(least, min(_KEY_CELLS, last - max(len(meaning) for _, meaning in columns[-1])))
        head = Line(pen, width, "head").add(" ")
        for title in _COLUMNS:
            head.add(title, "dim", third)
        drawn = [head.strip()]
        for number in range(max(map(len, columns))):
            line = Line(pen, width).add(" ")
            for column, entries in enumerate(columns):
                line.to(1 + column * third)
                if number < len(entries):
                    keys, meaning = entries[number]
                    own, room = (keys_of_last, last) if entries is columns[-1] else (_KEY_CELLS, third - 1)
                    line.add(keys, "you", own).add(meaning, "text", room - own)
            drawn.append(line.strip())
        return drawn

    def _row(self, width: int) -> list[Strip]:
        pen = self.view.pen
        drawn = [Line(pen, width, "head").add(" ").add("what a row says", "dim").to(1 + _SIGN_CELLS).add(_ROUND_TRIP, "dim").strip()]
        for signs, meaning in _ROW:
            line = Line(pen, width).add(" ")
            for sign, role in signs:
                for run, own in rowtext.flight_runs(pen.text(sign), pen) if role == "flight" else [(sign, role)]:
                    line.add(run, own)
            drawn.append(line.to(1 + _SIGN_CELLS).add(meaning, "dim").strip())
        return drawn

    def _letters(self, width: int) -> list[Strip]:
        """The name of each letter, on as many lines as it takes."""
        drawn = []
        for sign, role, title, side, letters in _LETTERS:
            line = Line(self.view.pen, width).add(" ").add(sign, role).add(f" {title}:", "dim")
            others = [chr(code) for code in NAMES[side] if code < _UNTYPED and chr(code) not in letters]
            for letter in (*letters, *others):
                name = notation.letter_name(side, ord(letter))
                if line.room < len(name) + _LETTER_CELLS:
                    drawn.append(line.strip())
                    line = Line(self.view.pen, width).to(len(" F→"))
                line.add("  ").add(letter, role).add(f" {name}", "dim")
            drawn.append(line.strip())
        return drawn

    def _words(self, width: int) -> list[Strip]:
        mouse = ["mouse  " + _MOUSE[0], *("       " + more for more in _MOUSE[1:])]
        return [Line(self.view.pen, width).add(f" {words}", "dim").strip() for words in mouse]
