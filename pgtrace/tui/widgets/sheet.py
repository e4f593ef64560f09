"""Pages shown in the inspector's place: a plan, or two round trips side by side.

A Page has lines, each drawn when it is visible; `esc` closes it, `y` copies its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual.strip import Strip

from pgtrace.tui.model import rowtext
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import lines
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.lines import Line


class Page(Protocol):
    """A page of lines to read."""

    title: str
    name: str
    """Its name in the copy menu."""
    more: Hints
    """Keys that act on it."""

    def __len__(self) -> int: ...

    def line(self, pen: Pen, index: int, width: int, sideways: int, *, selected: bool) -> Strip:
        """One of its lines."""

    def text(self) -> str:
        """The whole text."""


class TextPage:
    """Lines of text."""

    def __init__(self, title: str, name: str, text: Sequence[str], more: Hints = ()) -> None:
        self.title, self.name, self.more = title, name, more
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def line(self, pen: Pen, index: int, width: int, sideways: int, *, selected: bool) -> Strip:
        line = Line(pen, width, "selected" if selected else "background").add("▌" if selected else " ", "you")
        return line.add(rowtext.plain(self._text[index], width - 2, sideways)).strip()

    def text(self) -> str:
        return "\n".join(self._text)


class Sheet(ListWidget):
    """The widget of a page."""

    HINTS: ClassVar[Hints] = (("j k", "line"), ("h l", "sideways"), ("y", "copy"), ("tab", "list"), ("esc", "back"), ("?", "help"))
    HEADS = 1

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.page: Page | None = None

    def show(self, page: Page | None) -> None:
        """Show another page, or none."""
        self.page = page
        self.cursor = self.top = self.sideways = 0
        self.redraw()

    def hints(self) -> Hints:
        return (*(self.page.more if self.page is not None else ()), *self.HINTS)

    def offers(self) -> list[Offer]:
        """The parts that can be copied."""
        page = self.page
        return [] if page is None else [Offer("p", page.name, lambda: safe(page.text()))]

    def count(self) -> int:
        return len(self.page) if self.page is not None else 0

    def heads(self, width: int) -> list[Strip]:
        title = rowtext.plain(self.page.title, max(1, width - 20)) if self.page is not None else ""
        return [lines.rule(self.view.pen, width, title, "esc closes")]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        page = self.page or TextPage("", "", [""])
        return page.line(self.view.pen, index, width, self.sideways, selected=selected)
