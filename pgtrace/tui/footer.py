"""The last line: the keys of the focused area, and at the right where the list stands."""

from __future__ import annotations

import time
from typing import Final

from textual.strip import Strip

from pgtrace.tui.lines import Line, cells
from pgtrace.tui.view import View
from pgtrace.tui.widgets import Hints, LineWidget

NOTICE_S: Final = 5.0
"""How long a notice stays, and a question waits for its second key."""


class Footer(LineWidget):
    """Keys, or a question, or one line of news."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.hints: Hints = ()
        self.notice = ""
        """Said instead of the keys for a while."""
        self._said_s = 0.0
        self.position = ("", "dim")

    def say(self, notice: str) -> None:
        """Say something for NOTICE_S."""
        self.notice, self._said_s = notice, time.monotonic()
        self.redraw()

    def forget(self) -> None:
        """Take a notice back when its time is over."""
        if self.notice and time.monotonic() - self._said_s > NOTICE_S:
            self.notice = ""
            self.redraw()

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        text, role = self.position
        tail = pen.text(f"{text} " if text else "")
        line = Line(pen, width).add(" ")
        if self.notice:
            line.add(self.notice, "attention", max(0, width - 2 - cells(tail)))
        else:
            for key, meaning in self.hints:
                if line.used + len(key) + len(meaning) + 3 + cells(tail) > width:
                    break
                line.add(key, "you").add(f" {meaning}  ", "dim")
        return [line.to(width - cells(tail)).add(tail, role).strip()]
