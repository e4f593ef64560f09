"""A question in the last line: its label, its choices, and the error in the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from pgtrace.tui.model.keys import Hints

LONGEST: Final = 4096
"""The most characters of a line; further ones are dropped."""


class Choice(NamedTuple):
    """A completion that can be inserted into the line."""

    text: str
    aside: str = ""
    """Its meaning, or how often it occurs."""
    opens: bool = False
    """Whether more must be typed after it; the next `tab` completes that."""


class Choices(NamedTuple):
    """The completions that can replace text[start:cursor]."""

    start: int
    choices: Sequence[Choice]


class Fault(NamedTuple):
    """An error in the characters from `start` to `end`."""

    start: int
    end: int
    reason: str


NO_CHOICES: Final = Choices(0, ())


class Asking(ABC):
    """A question. Its methods are called while the key is handled."""

    label: str = ""
    room: int = 0
    """How many lines are kept above the text for choices and errors."""
    history: Sequence[str] = ()
    """Earlier texts, the latest last."""
    HINTS: ClassVar[Hints] = (("enter", "done"), ("esc", "back"))

    def changed(self, text: str, cursor: int) -> None:  # noqa: B027 (only a filter narrows while it is typed)
        """Called when the text has changed."""

    def choices(self, text: str, cursor: int) -> Choices:
        """The choices at the cursor."""
        return NO_CHOICES

    @abstractmethod
    def accepted(self, text: str) -> Fault | None:
        """Take the text, which closes the prompt, or return an error, which leaves it open."""

    def dismissed(self) -> None:  # noqa: B027 (only a filter has something to take back)
        """Called when the prompt has closed without a text."""
