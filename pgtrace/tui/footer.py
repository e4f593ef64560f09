"""The last line: the keys of the focused area, and at the right where the list stands. Or a menu, while one is open."""

from __future__ import annotations

import time
from typing import Final

from textual import events
from textual.message import Message
from textual.strip import Strip

from pgtrace.tui.copying import Offer
from pgtrace.tui.lines import Line, cells
from pgtrace.tui.view import View
from pgtrace.tui.widgets import Hints, LineWidget

NOTICE_S: Final = 5.0
"""How long a notice stays, and a question waits for its second key."""


class Footer(LineWidget):
    """Keys, or a question, or one line of news."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.keys: Hints = ()
        self.notice = ""
        """Said instead of the keys for a while."""
        self._said_s = 0.0
        self.position = ("", "dim")

    def say(self, notice: str) -> None:
        """Say something for NOTICE_S, or until something else happens."""
        self.notice, self._said_s = notice, time.monotonic()
        self.redraw()

    def forget(self) -> None:
        """Take a notice back."""
        if self.notice:
            self.notice = ""
            self.redraw()

    def tick(self) -> None:
        """Take a notice back when its time is over."""
        if time.monotonic() - self._said_s > NOTICE_S:
            self.forget()

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        text, role = self.position
        tail = pen.text(f"{text} " if text else "")
        line = Line(pen, width).add(" ")
        if self.notice:
            if cells(pen.text(self.notice)) + 2 + cells(tail) > width:
                tail = ""
            line.add(self.notice, "attention", max(0, width - 2 - cells(tail)))
        else:
            for key, meaning in _that_fit(self.keys, width - line.used - cells(tail)):
                line.add(key, "you").add(f" {meaning}  ", "dim")
        return [line.to(width - cells(tail)).add(tail, role).strip()]


def _that_fit(hints: Hints, width: int) -> list[tuple[str, str]]:
    """As many hints as there is room for: the first ones and, always, the last."""
    shown = list(hints)
    while len(shown) > 1 and sum(len(key) + len(meaning) + 3 for key, meaning in shown) > width:
        del shown[-2]
    return shown


class CopyMenu(LineWidget):
    """What can be copied, one key each."""

    class Chosen(Message):
        """Something is to be copied, or nothing."""

        def __init__(self, offer: Offer | None) -> None:
            super().__init__()
            self.offer = offer

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.offers: tuple[Offer, ...] = ()

    def build(self, width: int, height: int) -> list[Strip]:
        line = Line(self.view.pen, width).add(" copy  ", "attention")
        for offer in self.offers:
            line.add(offer.key, "you").add(f" {offer.name}  ", "dim")
        return [line.add("esc", "you").add(" nothing", "dim").strip()]

    def offered(self, key: str | None) -> Offer | None:
        """What a key stands for; nothing for any other."""
        return next((offer for offer in self.offers if offer.key == key), None)

    def on_click(self, event: events.Click) -> None:
        """A click on a name is its key."""
        event.stop()
        end = len(" copy  ")
        for offer in self.offers:
            end += len(offer.key) + len(offer.name) + 3
            if event.x < end:
                self.post_message(self.Chosen(offer))
                return
        self.post_message(self.Chosen(None))
