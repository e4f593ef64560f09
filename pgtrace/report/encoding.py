"""An object as JSON text, whatever bytes it came from, with nothing in it that a terminal or a log would obey.

A byte from the wire that was no UTF-8 is a lone surrogate in our strings. msgspec refuses those; JSON has a form for them, `"\\udcff"`, and a reader in
Python gets the same string back. It also refuses numbers beyond 64 bits, which sums of what a capture claims to have lost can be.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pgtrace import sanitise
from pgtrace.sanitise import Shown


def as_json(about: Any, *, indent: int | None = None) -> Shown:
    """One line, or with an indentation several."""
    try:
        encoded = msgspec.json.encode(about)
    except (UnicodeEncodeError, OverflowError):
        return sanitise.json(json.dumps(about, indent=indent))
    return sanitise.json((encoded if indent is None else msgspec.json.format(encoded, indent=indent)).decode())
