"""Durations as people type them: `20ms`, `0.5s`, `300us`; a bare number is ms."""

from __future__ import annotations

import re
from typing import Final

from pgtrace.errors import UsageError

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|)")
_NS: Final = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "": 1_000_000}
LONGEST_S: Final = 1_000_000
"""The longest duration that is accepted: 11 days."""
LONGEST_NS: Final = LONGEST_S * 1_000_000_000


def duration_ns(text: str) -> int:
    """Convert a duration to ns. Raises UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a duration such as 20ms, 0.5s or 300us")
    ns = float(found[1]) * _NS[found[2]]
    if ns > LONGEST_NS:
        raise UsageError(f"{text!r} is too long: at most {LONGEST_S}s")
    return round(ns)


def has_unit(text: str) -> bool:
    """Whether a duration has a unit."""
    found = _DURATION.fullmatch(text.strip())
    return found is not None and found[2] != ""
