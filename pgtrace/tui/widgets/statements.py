"""The statements of the inspected row: a few lines above its messages, or all of them on a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from textual.strip import Strip

from pgtrace.callsites.notes import Site
from pgtrace.inspect.message import MessageView
from pgtrace.tui.model import rowtext, statement
from pgtrace.tui.model.highlight import Runs
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.statement import Ran
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

_SITES_SHOWN: Final = 4
_MEASURED: Final = 20
"""How many statements are measured for the height."""


class Statements(LineWidget):
    """The statement of the message under the cursor, and those after it."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.ran: list[Ran] = []
        self.in_place = False
        """Whether values are shown instead of parameters."""
        self._sites: tuple[Site, ...] = ()
        self._first = 0

    def show(self, messages: Sequence[MessageView], places: Sequence[int]) -> None:
        """Show the statements behind a row's messages, and the lines of code that sent them."""
        self.ran = statement.ran(messages, places)
        self._sites = tuple(dict.fromkeys(site for place in dict.fromkeys(places) for site in self.view.trace.call_sites.at(place)))
        self._first = statement.index_of(self.ran, -1, 0)

    def follow(self, message: MessageView | None, place: int) -> None:
        """Begin with the statement of that message."""
        if message is not None and message.execution:
            self._first = statement.index_of(self.ran, place, message.execution)
        self.redraw()

    def height_for(self, width: int, most: int) -> int:
        """The lines it needs, at most `most`: enough for any of the first statements, so that
        nothing jumps as the cursor moves."""
        longest = len(statement.lines(self.ran, self._first, width, most, in_place=self.in_place))
        for one in self.ran[:_MEASURED]:
            longest = max(longest, len(statement.lines([one], 0, width, most, in_place=self.in_place)))
        return min(most, longest + bool(self._sites))

    def build(self, width: int, height: int) -> list[Strip]:
        drawn = [self._code(width)] if self._sites else []
        rows = statement.lines(self.ran, self._first, width, height - len(drawn), in_place=self.in_place)
        return [*drawn, *(drawn_line(self.view.pen, width, runs) for runs in rows)]

    def _code(self, width: int) -> Strip:
        more = len(self._sites) - _SITES_SHOWN
        words = ", ".join(site.words for site in self._sites[:_SITES_SHOWN]) + (f", {more} more" if more > 0 else "")
        return Line(self.view.pen, width).add(" at ", "dim").add(rowtext.plain(words, max(1, width - 5)), "you").strip()


def drawn_line(pen: Pen, width: int, runs: Runs, ground: str = "background") -> Strip:
    """A line of texts with their roles."""
    line = Line(pen, width, ground)
    for text, role in runs:
        line.add(text, role)
    return line.strip()


class StatementPage:
    """All statements of a row as they were written."""

    name = "SQL"
    more: Hints = (("p", "values"),)

    def __init__(self, title: str, shown: Statements, width: Callable[[], int]) -> None:
        self.title = title
        self._shown, self._width = shown, width
        self._made: tuple[int, bool] = (0, False)
        self._lines: list[Runs] = []

    def __len__(self) -> int:
        made = (self._width(), self._shown.in_place)
        if made != self._made:
            self._made = made
            self._lines = statement.whole(self._shown.ran, made[0] - 2, in_place=made[1])
        return len(self._lines)

    def line(self, pen: Pen, index: int, width: int, sideways: int, *, selected: bool) -> Strip:
        """One line of a statement, or one value."""
        return drawn_line(pen, width, (("▌" if selected else " ", "you"), *self._lines[index]), "selected" if selected else "background")

    def text(self) -> str:
        """Every statement as the application wrote it."""
        return ";\n".join(one.sql.rstrip().rstrip(";") for one in self._shown.ran) + ";"
