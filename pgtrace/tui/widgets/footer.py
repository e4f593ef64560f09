"""The last line: the keys of the focused area, and on the right the position in its list; or a
menu, while one is open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from textual import events
from textual.message import Message
from textual.strip import Strip

from pgtrace.tui.model import cells
from pgtrace.tui.model.copying import Offer
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

NOTICE_S: Final = 5.0
"""How long a notice stays, and a question waits for its second key, in seconds."""
_COPY: Final = " copy  "
_NOTHING: Final = ("esc", "nothing")
_BETWEEN: Final = 2
_BACK: Final = "esc"


class Footer(LineWidget):
    """Shows keys, or one notice."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.keys: Hints = ()
        self.notice = ""
        """Shown instead of the keys for a while."""
        self.notices = 0
        """How many notices there have been."""
        self._notice_s = 0.0
        self.position = ("", "dim")
        self._work = ""

    def show_notice(self, notice: str) -> None:
        """Show a notice for NOTICE_S, or until something else happens."""
        self.notice, self._notice_s = notice, time.monotonic()
        self.notices += 1
        self.redraw()

    def show_work(self, text: str) -> None:
        """Show the progress of work in the background, until the next call."""
        if text != self._work:
            self._work = text
            self.redraw()

    def forget(self) -> None:
        """Remove the notice."""
        if self.notice:
            self.notice = ""
            self.redraw()

    def forget_older(self, notices: int) -> None:
        """Remove a notice after a key has acted, unless the key itself showed it: `notices` is the
        number of notices before the key.
        """
        if self.notices == notices:
            self.forget()

    def tick(self) -> None:
        """Remove the notice when its time is over."""
        if time.monotonic() - self._notice_s > NOTICE_S:
            self.forget()

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        text, role = (self._work, "attention") if self._work else self.position
        tail = pen.text(f"{text} " if text else "")
        line = Line(pen, width).add(" ")
        if self.notice:
            if cells.width(pen.text(self.notice)) + 2 + cells.width(tail) > width:
                tail = ""
            line.add(self.notice, "attention", max(0, width - 2 - cells.width(tail)))
        else:
            for key, meaning in _that_fit(self.keys, width - line.used - cells.width(tail)):
                line.add(key, "you").add(f" {meaning}  ", "dim")
        return [line.to(width - cells.width(tail)).add(tail, role).strip()]


def _that_fit(hints: Hints, width: int) -> list[tuple[str, str]]:
    """As many hints as there is room for: the first ones, and always the way back and the last."""
    shown = list(hints)
    while sum(len(key) + len(meaning) + 3 for key, meaning in shown) > width:
        spare = [place for place, (key, _) in enumerate(shown[:-1]) if key != _BACK]
        if not spare:
            break
        del shown[spare[-1]]
    return shown


class CopyMenu(LineWidget):
    """The menu of things to copy, one key each."""

    class Chosen(Message):
        """The user has chosen what to copy, or closed the menu."""

        def __init__(self, offer: Offer | None) -> None:
            super().__init__()
            self.offer = offer

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.offers: tuple[Offer, ...] = ()
        self._places: list[list[tuple[int, Offer | None]]] = []

    def offer(self, offers: Sequence[Offer], width: int) -> None:
        """Open the menu, with as many lines as it needs."""
        self.offers = tuple(offers)
        self.styles.height = len(self._lines_of(width))
        self.display = True
        self.redraw()

    def build(self, width: int, height: int) -> list[Strip]:
        drawn = []
        self._places = []
        for number, entries in enumerate(self._lines_of(width)):
            line = Line(self.view.pen, width).add("" if number else _COPY, "attention").to(len(_COPY))
            self._places.append([])
            for offer in entries:
                key, name = (offer.key, offer.name) if offer is not None else _NOTHING
                line.add(key, "you").add(f" {name}", "dim").to(line.used + _BETWEEN)
                self._places[-1].append((line.used, offer))
            drawn.append(line.strip())
        return drawn

    def offered(self, key: str | None) -> Offer | None:
        """The offer for a key; None for any other key."""
        return next((offer for offer in self.offers if offer.key == key), None)

    def on_click(self, event: events.Click) -> None:
        """Treat a click on a name as its key."""
        event.stop()
        places = self._places[event.y] if event.y < len(self._places) else []
        self.post_message(self.Chosen(next((offer for end, offer in places if event.x < end), None)))

    def _lines_of(self, width: int) -> list[list[Offer | None]]:
        """The offers, then the way out, line by line."""
        found: list[list[Offer | None]] = [[]]
        used = len(_COPY)
        for offer in (*self.offers, None):
            key, name = (offer.key, offer.name) if offer is not None else _NOTHING
            taken = len(key) + 1 + len(name)
            if used + taken > width and found[-1]:
                found.append([])
                used = len(_COPY)
            found[-1].append(offer)
            used += taken + _BETWEEN
        return found
