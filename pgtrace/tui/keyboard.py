"""Escape and the key typed right after it are two keys.

Without the keyboard protocol of newer terminals, Alt with a key is Escape and that key: the same
bytes. The toolkit takes them as Alt (or, with a digit, as the sign that Alt makes of it on a Mac)
if they arrive together. No key here has Alt, and Escape is one step back, so it is Escape that was
meant. The two words that terminals send for Alt with an arrow keep their meaning: while a line is
typed the cursor goes by words, and Escape would throw the line away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from textual import events
from textual._xterm_parser import XTermParser

_ESCAPE: Final = "\x1b"
_BY_WORDS: Final = "bf"
_BEGINS: Final = "[O]P_"
"""What makes Escape the beginning of something longer."""

_toolkits = XTermParser._sequence_to_key_events


def _keys_of(parser: XTermParser, sequence: str, alt: bool = False) -> Iterable[events.Key]:
    """The keys of a sequence, none while more may follow. `alt`: nothing did, and this is the
    character after Escape."""
    after = sequence if alt else sequence[1:] if len(sequence) == 2 and sequence.startswith(_ESCAPE) else ""
    if alt or (after.isprintable() and after and after not in _BY_WORDS + _BEGINS):
        return [events.Key("escape", _ESCAPE), *_toolkits(parser, after)]
    return _toolkits(parser, sequence)


def keep_escape() -> None:
    """From now on the toolkit reads keys like this."""
    setattr(XTermParser, "_sequence_to_key_events", _keys_of)  # noqa: B010 - it is a method
