"""Results for texts, remembered within a bound on bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

_Result = TypeVar("_Result")


def remembered(function: Callable[[str], _Result]) -> Callable[[str], _Result]:
    """Remember results by text: many short texts, few long ones, so that memory is bounded (about
    20 MB of ASCII when full)."""
    short = lru_cache(maxsize=4096)(function)
    medium = lru_cache(maxsize=256)(function)
    long = lru_cache(maxsize=8)(function)

    @wraps(function)
    def remembering(sql: str) -> _Result:
        length = len(sql)
        return short(sql) if length <= 1_000 else medium(sql) if length <= 16_000 else long(sql)

    return remembering
