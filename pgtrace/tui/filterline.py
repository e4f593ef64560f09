"""`/`: the filter as it is typed, above it what may come next.

The list narrows while one types, once the keys have rested for a moment. A text that means nothing leaves the list as it is and is underlined where it
is wrong. A word that is still being typed, for as long as there is something to complete it with, neither narrows nor is wrong. Words come with the values
that occur, values with the numbers of their round trips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from pgtrace.analysis.filter import completion, parse
from pgtrace.analysis.filter.completion import Occurring
from pgtrace.analysis.filter.words import WORDS
from pgtrace.errors import FilterError
from pgtrace.tui.prompt import NO_CHOICES, Asking, Choice, Choices, Fault
from pgtrace.tui.widgets import Hints

RESTS_S: Final = 0.08
"""How long after a key the list narrows."""
HISTORY_KEPT: Final = 100
_ROOM: Final = 4
_VALUES_TOLD: Final = 4


class FilterLine(Asking):
    """Asks for a filter."""

    label = "/"
    room = _ROOM
    HINTS: ClassVar[Hints] = (("tab", "complete"), ("enter", "keep"), ("esc", "restore"))

    def __init__(
        self,
        occurring: Occurring,
        history: list[str],
        before: str,
        narrow: Callable[[str], None],
        soon: Callable[[], None],
        complain: Callable[[Fault | None], None],
    ) -> None:
        """`before` is the filter that is in force; narrow() puts another one there, soon() calls look() when the keys have rested."""
        self.history = self._history = history
        self.before = before
        self._occurring = occurring
        self._in_force = before
        self._text = before
        self._refused: str | None = None
        self._narrow = narrow
        self._soon = soon
        self._complain = complain

    def changed(self, text: str, cursor: int) -> None:
        self._text = text
        self._soon()

    def look(self) -> None:
        """Narrow the list to what has been typed, or say what is wrong with it."""
        text = self._text
        if text == self._refused:
            return
        start, offered = self.choices(text, len(text))
        if offered and all(choice.text != text[start:] for choice in offered):
            self._taken(text[:start])
            self._complain(None)
        else:
            self._complain(self._taken(text))

    def accepted(self, text: str) -> Fault | None:
        fault = self._taken(text)
        self._refused = text if fault is not None else None
        kept = text.strip()
        if fault is None and kept:
            self._history[:] = [*(one for one in self._history if one != kept), kept][-HISTORY_KEPT:]
        return fault

    def dismissed(self) -> None:
        self._taken(self.before)

    def choices(self, text: str, cursor: int) -> Choices:
        found = completion.expected(text, cursor)
        if found.word is not None:
            values = self._occurring.values(found.word, found.typed)
            if [choice.text for choice in values] == [found.typed]:
                return NO_CHOICES
            return Choices(found.start, [Choice(choice.text, str(choice.round_trips)) for choice in values])
        return Choices(found.start, [self._word(choice) for choice in completion.words(found.typed) if choice.text != found.typed])

    def _word(self, choice: completion.Choice) -> Choice:
        word = WORDS[choice.text.rstrip(" >:")]
        values = " ".join(one.text for one in self._occurring.values(word)[:_VALUES_TOLD])
        return Choice(choice.text, values or choice.meaning, opens=not word.alone)

    def _taken(self, text: str) -> Fault | None:
        """Put a filter in force, or say what is wrong with it."""
        try:
            parse(text)
        except FilterError as error:
            return Fault(error.position, error.position + error.length, error.reason)
        if text.strip() != self._in_force:
            self._in_force = text.strip()
            self._narrow(text)
        return None
