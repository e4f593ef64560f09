"""A question in the last line: its label, the choices it offers, and what is wrong with the
answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from pgtrace.tui.model.keys import Hints

LONGEST: Final = 4096
"""Characters of a line; what is typed beyond them is dropped."""


class Choice(NamedTuple):
    """Something that can be put into the line."""

    text: str
    aside: str = ""
    """What it means, or how often it occurs."""
    opens: bool = False
    """More is typed after it: the next `tab` completes that."""


class Choices(NamedTuple):
    """What can replace text[start:cursor]."""

    start: int
    choices: Sequence[Choice]


class Fault(NamedTuple):
    """What is wrong with the characters from `start` to `end`."""

    start: int
    end: int
    reason: str


NO_CHOICES: Final = Choices(0, ())


class Asking(ABC):
    """A question. All of it happens within the key that leads to it."""

    label: str = ""
    room: int = 0
    """Lines kept above the text for choices and for what is wrong."""
    history: Sequence[str] = ()
    """Earlier texts, the latest last."""
    HINTS: ClassVar[Hints] = (("enter", "done"), ("esc", "back"))

    def changed(self, text: str, cursor: int) -> None:  # noqa: B027 (only a filter narrows while it is typed)
        """The text has changed to this."""

    def choices(self, text: str, cursor: int) -> Choices:
        """The choices at the cursor."""
        return NO_CHOICES

    @abstractmethod
    def accepted(self, text: str) -> Fault | None:
        """Take the text, which closes the prompt, or say what is wrong, which leaves it open."""

    def dismissed(self) -> None:  # noqa: B027 (only a filter has something to take back)
        """The prompt has closed without a text."""
