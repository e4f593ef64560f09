"""An object as JSON text, whatever bytes it came from.

A byte from the wire that was no UTF-8 is a lone surrogate in our strings. msgspec refuses those; JSON has a form for them, `"\\udcff"`, and a reader in
Python gets the same string back.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


def as_json(about: Any, *, indent: int | None = None) -> str:
    """One line, or with an indentation several."""
    try:
        encoded = msgspec.json.encode(about)
    except UnicodeEncodeError:
        return json.dumps(about, indent=indent)
    return (encoded if indent is None else msgspec.json.format(encoded, indent=indent)).decode()
