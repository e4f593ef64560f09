"""TOML text, read within bounds, since settings in a repository or beside a capture may come from
anyone.

tomllib descends into arrays by recursion, keeps a flag for each prefix of a dotted key (the square
of its length: 20,000 parts took 1.5 GB), and does not catch int()'s own error. Real keys are not
nested that deep, so a key with more than _MOST_PARTS parts is refused before it is read.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

_MOST_PARTS: Final = 64
_TOO_LONG: Final = re.compile(rf"""(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MOST_PARTS}}}""")


def loads(text: str) -> dict[str, Any]:
    """The tables of a text. Raises ValueError with the reason."""
    if _has_long_key(text):
        raise ValueError(f"a key of more than {_MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _has_long_key(text: str) -> bool:
    """Whether a line may contain such a key. Only lines with that many dots are examined."""
    return any(line.count(".") >= _MOST_PARTS and _TOO_LONG.search(line) for line in text.split("\n"))
