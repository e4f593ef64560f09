"""`/`: the filter as it is typed, with completions above it.

The list narrows while you type, once the keys have rested for a moment. An invalid filter leaves
the list as it is, and its error is underlined. A word that is still being typed, and can be
completed, neither narrows the list nor is an error. Words come with the values that occur, values
with their numbers of round trips. `@name` after a filter names it; alone it means the filter with
that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from pgtrace.ask.filter import completion, parse
from pgtrace.ask.filter.completion import Occurring
from pgtrace.ask.filter.words import COUNT, KEYED, TAG, WORDS
from pgtrace.errors import FilterError
from pgtrace.tui.model.asking import NO_CHOICES, Asking, Choice, Choices, Fault
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.savedfilters import SavedFilters, parted

RESTS_S: Final = 0.08
"""How long after a key the list narrows."""
_ROOM: Final = 4
_VALUES_SHOWN: Final = 4


class FilterLine(Asking):
    """Ask for a filter."""

    label = "/"
    room = _ROOM
    HINTS: ClassVar[Hints] = (("↓ ↑", "choose"), ("tab", "complete"), ("enter", "keep"), ("esc", "restore"))

    def __init__(
        self,
        occurring: Occurring,
        filters: SavedFilters,
        before: str,
        narrow: Callable[[str], None],
        soon: Callable[[], None],
        complain: Callable[[Fault | None], None],
        say: Callable[[str], None],
    ) -> None:
        """`before` is the filter in force; narrow() puts another one in force, soon() calls apply()
        when the keys have rested."""
        self.history = filters.history
        self._filters = filters
        self._say = say
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

    def apply(self) -> None:
        """Narrow the list to the typed filter, or show its error."""
        text, name = parted(self._text)
        if self._text == self._refused or (name and not text):
            return
        start, offered = self.choices(text, len(text))
        if offered and all(choice.text != text[start:] for choice in offered):
            self._taken(text[:start])
            self._complain(None)
        else:
            self._complain(self._taken(text))

    def accepted(self, text: str) -> Fault | None:
        wanted, name = parted(text)
        if name and not wanted:
            wanted = self._filters.named.get(name, "")
            if not wanted:
                return Fault(0, len(text), f"there is no filter @{name} yet: to name one, type it with @{name} after it")
            name = ""
        fault = self._taken(wanted)
        self._refused = text if fault is not None else None
        if fault is None:
            self._filters.note(wanted.strip())
            if name:
                self._say(self._filters.save(name, wanted.strip()) or f"this filter is now @{name}")
        return fault

    def dismissed(self) -> None:
        self._taken(self.before)

    def choices(self, text: str, cursor: int) -> Choices:
        found = completion.expected(text, cursor)
        if found.typed.startswith("@") and not text[: found.start].strip():
            named = sorted(self._filters.named.items())
            return Choices(found.start, [Choice(kept, f"@{name}") for name, kept in named if name.startswith(found.typed[1:])])
        if found.word is not None:
            values = self._occurring.values(found.word, found.typed)
            if [choice.text for choice in values] == [found.typed]:
                return NO_CHOICES
            return Choices(found.start, [Choice(choice.text, str(choice.round_trips)) for choice in values])
        if found.typed.startswith(TAG):
            occurring = self._occurring.tag_words(found.typed)
            return Choices(found.start, [Choice(choice.text, str(choice.round_trips), opens=True) for choice in occurring])
        if found.typed.startswith(COUNT):
            return Choices(
                found.start, [Choice(choice.text) for choice in completion.counter_words(found.typed) if choice.text != found.typed]
            )
        return Choices(found.start, [self._word(choice) for choice in completion.words(found.typed) if choice.text != found.typed])

    def _word(self, choice: completion.Choice) -> Choice:
        if choice.text in KEYED:
            return Choice(choice.text, choice.meaning, opens=True)
        word = WORDS[choice.text.rstrip(" >:")]
        values = " ".join(one.text for one in self._occurring.values(word)[:_VALUES_SHOWN])
        return Choice(choice.text, values or choice.meaning, opens=not word.alone)

    def _taken(self, text: str) -> Fault | None:
        """Apply a filter, or return its error."""
        try:
            parse(text)
        except FilterError as error:
            return Fault(error.position, error.position + error.length, error.reason)
        if text.strip() != self._in_force:
            self._in_force = text.strip()
            self._narrow(text)
        return None
