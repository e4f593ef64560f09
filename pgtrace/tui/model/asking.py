"""What somebody who wants a line of text has to say about it: its label, what may be put in, what is wrong with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from pgtrace.tui.model.keys import Hints

LONGEST: Final = 4096
"""Characters of a line; what is typed beyond is dropped."""


class Choice(NamedTuple):
    """Something that may be put in."""

    text: str
    aside: str = ""
    """What it means, or how often it occurs."""
    opens: bool = False
    """More is typed behind it: the next `tab` completes that."""


class Choices(NamedTuple):
    """What may take the place of text[start:cursor]."""

    start: int
    choices: Sequence[Choice]


class Fault(NamedTuple):
    """What is wrong with the characters from `start` to `end`."""

    start: int
    end: int
    reason: str


NO_CHOICES: Final = Choices(0, ())


class Asking(ABC):
    """Somebody who wants a line of text. All of it happens within the key that leads to it."""

    label: str = ""
    room: int = 0
    """Lines above the text that are kept for choices and for what is wrong."""
    history: Sequence[str] = ()
    """Earlier texts, the latest last."""
    HINTS: ClassVar[Hints] = (("enter", "done"), ("esc", "back"))

    def changed(self, text: str, cursor: int) -> None:  # noqa: B027 (only a filter narrows while it is typed)
        """The text is this now."""

    def choices(self, text: str, cursor: int) -> Choices:
        """What may be put in at the cursor."""
        return NO_CHOICES

    @abstractmethod
    def accepted(self, text: str) -> Fault | None:
        """Take the text: the prompt closes. Or say what is wrong: it stays open."""

    def dismissed(self) -> None:  # noqa: B027 (only a filter has something to take back)
        """The prompt has closed without a text."""
