"""JSON text of any object, even with bytes that are not UTF-8, safe for terminals and logs.

A byte from the wire that is not UTF-8 is a lone surrogate in our strings, which msgspec refuses.
JSON can represent it, `"\\udcff"`, and a reader in Python gets the same string back. msgspec also
refuses numbers beyond 64 bits, which the sum of the losses that a capture claims can exceed.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pgtrace import sanitise
from pgtrace.sanitise import Shown


def as_json(about: Any, *, indent: int | None = None) -> Shown:
    """The object on one line; with `indent`, on several."""
    try:
        encoded = msgspec.json.encode(about)
    except (UnicodeEncodeError, OverflowError):
        return sanitise.json(json.dumps(about, indent=indent))
    return sanitise.json((encoded if indent is None else msgspec.json.format(encoded, indent=indent)).decode())
