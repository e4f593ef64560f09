"""The prompt in the footer's place: a line of text, with choices and errors above it.

An Asking opens it: it has the label, is notified of every change, offers choices, and accepts the
text or reports an error. All of that happens while the key is handled, so keys typed ahead have the
right effect: `/users`, enter and `n` in one burst are three things in a row. That is why the prompt
never has the focus: while it is open the screen hands it every key (MainScreen.before_bindings),
and the area that has the focus keeps it.

Textual's `Input` (entry.py) edits the text, but this module draws it, because it may come from the
wire, and the library would draw it unsanitised.

`tab` puts in the marked choice; again, the next one in its place, unless more is to be typed after
it. `↓ ↑`, `pgdn pgup`, the wheel and `ctrl-n ctrl-p` mark another one, which `enter` then takes: it
puts it in and, unless more is to be typed after it, is done. From the first choice, or if none are
shown, `↑` continues to the history, and `↓` returns to the text being typed.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from textual import events
from textual.geometry import Offset
from textual.strip import Strip

from pgtrace import sanitise
from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.asking import NO_CHOICES, Asking, Choice, Fault
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import RIGHT_BUTTON, LineWidget
from pgtrace.tui.widgets.entry import EDITING, Entry, characters
from pgtrace.tui.widgets.lines import Line, blank

_LEAST_CHOICE_CELLS: Final = 12


class _Seen(NamedTuple):
    """A visible character: its cell, its place in the text, and how it is drawn."""

    cell: int
    start: int
    end: int
    drawn: str


class Prompt(LineWidget, Entry):
    """The line, while a question is open."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.asking: Asking | None = None
        self.fault: Fault | None = None
        self._offered = NO_CHOICES
        self._marked = 0
        self._chosen = False  # whether the user has marked it
        # the place at which the latest tab inserted one of these
        self._cycle: tuple[int, Sequence[Choice]] | None = None
        self._recalled: int | None = None  # the index of the shown text in the history
        self._draft = ""
        self._first = 0  # the first character in sight
        self._seen: list[_Seen] = []

    def room(self, height: int) -> int:
        """The lines above the text on a screen of that height."""
        return min(self.asking.room, (height - 8) // 2) if self.asking is not None else 0

    def open(self, asking: Asking, text: str = "") -> None:
        """Open the prompt for a question."""
        self.asking = asking
        self.write(text)
        self.fault = None
        self._recalled, self._draft, self._first = None, text, 0
        self._value_changed()

    def close(self) -> None:
        """Close without telling the Asking."""
        self.asking = None

    def dismiss(self) -> None:
        """Close without a text."""
        asking, self.asking = self.asking, None
        if asking is not None:
            asking.dismissed()

    def complain(self, fault: Fault | None) -> None:
        """Show an error in the text, or none."""
        if fault != self.fault:
            self.fault = fault
            self.redraw()

    def refresh_choices(self) -> None:
        """Ask for the choices again."""
        if self.asking is not None and self._cycle is None:
            before = self._offered.choices[self._marked].text if self._chosen else None
            self._offered = self.asking.choices(self.value, self.cursor_position)
            if before is not None:  # it may have moved
                found = [choice.text for choice in self._offered.choices]
                self._chosen = before in found
                self._marked = found.index(before) if self._chosen else 0
            self._marked = max(0, min(self._marked, len(self._offered.choices) - 1))
            self.redraw()

    async def key(self, event: events.Key) -> None:
        """Take a key, whatever it is."""
        if self.asking is None:
            return
        match event.key:
            case "enter":
                self._enter(self.asking)
            case "escape":
                self.dismiss()
            case "tab":
                self._complete(1)
            case "shift+tab":
                self._complete(-1)
            case "ctrl+n":
                self._mark(1)
            case "ctrl+p":
                self._mark(-1)
            case "up" if self._marked and self._lists:
                self._move(-1)
            case "down" if self._recalled is None and self._lists:
                self._move(1)
            case "up":
                self._recall(-1)
            case "down":
                self._recall(1)
            case "pageup":
                self._move(-self._page)
            case "pagedown":
                self._move(self._page)
            case key if key in EDITING:
                before = self.value
                await self.run_action(EDITING[key])
                self._edited(before)
            case _ if event.character is not None and event.is_printable:
                self.paste(event.character)

    def paste(self, text: str) -> None:
        """Insert text at the cursor, instead of the selection."""
        before = self.value
        self.replace(text, *self.selection)
        self._edited(before)

    def build(self, width: int, height: int) -> list[Strip]:
        self.app.cursor_position = self.cursor_screen_offset
        above = self._above(width, height - 1) if height > 1 else []
        return [*above, self._line(width, alone=height <= 1)]

    @property
    def cursor_screen_offset(self) -> Offset:
        """The position of the terminal's own cursor, at which an input method opens."""
        cell = next((one.cell for one in self._in_sight(self.size.width) if one.start == self.cursor_position), 0)
        return Offset(self.region.x + cell, self.region.y + max(0, self.size.height - 1))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Prevent the library from computing the character from its own layout."""
        event.prevent_default()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._move(-1)

    async def on_click(self, event: events.Click) -> None:
        """Put a clicked choice in; move the cursor to a click on the text."""
        if event.button == RIGHT_BUTTON:
            return
        event.stop()
        if event.y == self.size.height - 1:
            self.cursor_position = next((one.start for one in reversed(self._seen) if one.cell <= event.x), self.cursor_position)
            self._value_changed()
            return
        index = self._top(self._choice_lines(self.size.height - 1)) + event.y
        if event.y < self._choice_lines(self.size.height - 1) and index < len(self._shown):
            self._put(index)

    @property
    def _shown(self) -> Sequence[Choice]:
        return self._cycle[1] if self._cycle is not None else self._offered.choices

    @property
    def _page(self) -> int:
        """The number of visible choices, even before the prompt is laid out, because a key may come
        before that.
        """
        return self._choice_lines(self.room(self.app.size.height))

    @property
    def _lists(self) -> bool:
        return bool(self._shown) and self._page > 0

    def _enter(self, asking: Asking) -> None:
        """Take the choice that the user has marked, if any; then submit the text, unless more must
        be typed after the choice.
        """
        if self._chosen:
            opens = self._shown[self._marked].opens
            self._put(self._marked)
            if opens:
                return
        self._accept(asking)

    def _accept(self, asking: Asking) -> None:
        self.fault = asking.accepted(self.value)
        if self.fault is None:
            if self.asking is asking:
                self.asking = None
        else:
            self.redraw()

    def _edited(self, before: str) -> None:
        """Note that the user has changed the text or moved the cursor."""
        if self.value != before:
            self._recalled, self._draft = None, self.value
        self._value_changed(changed=self.value != before)

    def _value_changed(self, *, changed: bool = False) -> None:
        self._cycle, self._marked, self._chosen = None, 0, False
        self._notify(changed=changed)
        self.refresh_choices()
        self.redraw()

    def _notify(self, *, changed: bool) -> None:
        if changed:
            self.fault = None
            if self.asking is not None:
                self.asking.changed(self.value, self.cursor_position)

    def _recall(self, step: int) -> None:
        """Show another text of the history; the text being typed comes after the last."""
        history = self.asking.history if self.asking is not None else ()
        place = (len(history) if self._recalled is None else self._recalled) + step
        if 0 <= place <= len(history):
            self._recalled = place if place < len(history) else None
            self.write(history[place] if place < len(history) else self._draft)
            self._value_changed(changed=True)

    def _mark(self, step: int) -> None:
        if self._shown:
            self._marked, self._chosen = (self._marked + step) % len(self._shown), True
            self.redraw()

    def _move(self, step: int) -> None:
        """Mark another choice, but not beyond the last."""
        if self._lists:
            self._marked, self._chosen = max(0, min(self._marked + step, len(self._shown) - 1)), True
            self.redraw()

    def _complete(self, step: int) -> None:
        """Insert the marked choice; directly after another one was inserted, replace that by the
        next.
        """
        if self._shown:
            again = self._cycle is not None and not self._chosen
            self._put((self._marked + step) % len(self._shown) if again else self._marked)

    def _put(self, index: int) -> None:
        start, shown = self._cycle or self._offered
        choice = shown[index]
        self.write(self.value[:start] + choice.text + self.value[self.cursor_position :], start + len(choice.text))
        self._draft, self._recalled, self._chosen = self.value, None, False
        if choice.opens or len(shown) == 1:
            self._value_changed(changed=True)
            return
        self._cycle, self._marked = (start, shown), index
        self._notify(changed=True)
        self.redraw()

    def _choice_lines(self, height: int) -> int:
        return height - (1 if self.fault is not None else 0)

    def _top(self, height: int) -> int:
        """The first visible choice."""
        return max(0, min(self._marked - height // 2, len(self._shown) - height))

    def _above(self, width: int, height: int) -> list[Strip]:
        """The lines of choices, and below them the error."""
        pen, lines, shown = self.view.pen, self._choice_lines(height), self._shown
        top = self._top(lines)
        visible = [
            (index, shown[index], rowtext.plain(shown[index].text, width // 2)) for index in range(top, min(len(shown), top + lines))
        ]
        column = max((cells.width(text) for _, _, text in visible), default=0)
        drawn = []
        for index, choice, text in visible:
            line = Line(pen, width, "selected" if index == self._marked else "background").add("   ")
            more = len(shown) - index - 1
            tail = f"+ {more} more " if more and index == top + lines - 1 else ""
            line.add(text, "you", max(column, _LEAST_CHOICE_CELLS) + 2)
            line.add(rowtext.plain(choice.aside, max(0, line.room - 1 - cells.width(tail))), "dim")
            if tail and line.room > cells.width(tail):
                line.to(width - cells.width(tail)).add(tail, "dim")
            drawn.append(line.strip())
        drawn += [blank(pen, width)] * (lines - len(drawn))
        return [*drawn, self._wrong(self.fault, width)] if self.fault is not None else drawn

    def _wrong(self, fault: Fault, width: int) -> Strip:
        """The line with the error, above its place if it fits there."""
        pen, seen = self.view.pen, self._in_sight(width)
        reason = rowtext.plain(fault.reason, width - 2)
        at = next((one.cell for one in seen if one.end > fault.start), seen[-1].cell)
        return Line(pen, width).to(max(1, min(at, width - 1 - cells.width(pen.text(reason))))).add(reason, "error").strip()

    def _line(self, width: int, *, alone: bool) -> Strip:
        """Label, text and cursor; on the right the error, if there is no line for it above, or the
        keys, if there is room.
        """
        pen, fault = self.view.pen, self.fault
        self._seen = self._in_sight(width)
        first, last = sorted(self.selection)
        line = Line(pen, width).add(f" {self._label}", "you").add("…" if self._seen[0].start else " ", "faint", 1)
        for one in self._seen:
            wrong = fault is not None and fault.start <= one.start < max(fault.end, fault.start + 1)
            selected = first <= one.start < last
            line.add(one.drawn, "caret" if one.start == self.cursor_position else "inverted" if selected else "wrong" if wrong else "text")
        if alone and fault is not None:
            return line.add("  ").add(rowtext.plain(fault.reason, line.room), "error").strip()
        hints = self.asking.HINTS if self.asking is not None else ()
        wide = sum(cells.width(pen.text(key)) + cells.width(pen.text(meaning)) + 3 for key, meaning in hints)
        if wide < line.room:
            line.to(width - wide)
            for key, meaning in hints:
                line.add(key, "you").add(f" {meaning}  ", "dim")
        return line.strip()

    @property
    def _label(self) -> str:
        return self.asking.label if self.asking is not None else ""

    def _in_sight(self, width: int) -> list[_Seen]:
        """The visible characters, with the blank after the text: as many as fit, including the
        cursor's.
        """
        pen, text = self.view.pen, self.value
        spans = [*characters(text), (len(text), len(text))]
        drawn = [pen.text(sanitise.text(text[start:end])) or " " for start, end in spans]
        starts = [0, *itertools.accumulate(map(cells.width, drawn))]
        before = cells.width(pen.text(self._label)) + 2
        room = max(4, width - before - 1)
        at = bisect_left(spans, (self.cursor_position, 0))
        # The window moves as little as it has to, and leaves no room on the right while something
        # is scrolled out on the left.
        first = min(self._first, at, bisect_left(starts, starts[-1] - room))
        self._first = first = max(first, bisect_left(starts, starts[at + 1] - room))
        shift = before - starts[first]
        end = max(first + 1, bisect_right(starts, starts[first] + room) - 1)
        return [_Seen(starts[index] + shift, *spans[index], drawn[index]) for index in range(first, end)]
