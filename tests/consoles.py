"""The consoles of the documents: commands after `$`, each with what it prints below it.

`...` alone on a line stands for any lines, and at the end of a line for the rest of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    line: str
    """As typed."""
    printed: str


def blocks(page: str, kind: str) -> list[str]:
    return [inside for found, _, inside in BLOCK.findall(page) if found == kind]


def commands(console: str) -> Iterator[Command]:
    """The commands of a console."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        line, _, printed = part.partition("\n")
        yield Command(line, printed)


def matches(printed: str, said: str) -> bool:
    """Whether what a command printed is what the document says."""
    return re.fullmatch("".join(map(_pattern, said.splitlines())), printed) is not None


def _pattern(line: str) -> str:
    if line == "...":
        return r"(?:.*\n)*"
    start = line.removesuffix(" ...")
    return re.escape(start) + (".*\n" if start != line else r"\n")
