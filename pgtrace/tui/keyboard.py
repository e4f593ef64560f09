"""Escape and the key typed right after it are two keys.

Without the keyboard protocol of newer terminals, Alt with a key is Escape and that key: the same
bytes. If they arrive together, the toolkit takes them as Alt (or, with a digit, as the character
that Alt produces on a Mac). No key here uses Alt, and Escape goes one step back, so Escape was
meant. The two sequences that terminals send for Alt with an arrow keep their meaning: in a line
being typed the cursor moves by words, and Escape would discard the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from textual import events
from textual._xterm_parser import XTermParser

_ESCAPE: Final = "\x1b"
_BY_WORDS: Final = "bf"
_BEGINS: Final = "[O]P_"
"""Characters after which Escape is the beginning of a longer sequence."""

_toolkits = XTermParser._sequence_to_key_events


def _keys_of(parser: XTermParser, sequence: str, alt: bool = False) -> Iterable[events.Key]:
    """The keys of a sequence; none while more characters may follow. With `alt`, none followed, and
    this is the character after Escape.
    """
    after = sequence if alt else sequence[1:] if len(sequence) == 2 and sequence.startswith(_ESCAPE) else ""
    if alt or (after.isprintable() and after and after not in _BY_WORDS + _BEGINS):
        return [events.Key("escape", _ESCAPE), *_toolkits(parser, after)]
    return _toolkits(parser, sequence)


def keep_escape() -> None:
    """Make the toolkit read keys in this way."""
    setattr(XTermParser, "_sequence_to_key_events", _keys_of)  # noqa: B010 - it is a method
