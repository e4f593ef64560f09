"""HTML elements. Text is sanitised and escaped at one place, when it becomes markup.

    element("td", sql, class_="sql")        # sql is text from the wire
    element("tr", element("td", "1"))       # Markup stays as it is

Names of elements and attributes are those of the code, never data.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from pgtrace import sanitise

_VOID: Final = frozenset({"br", "hr", "input", "meta", "rect", "line"})


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Text as markup: it is shown, and never interpreted."""
    return text if isinstance(text, Markup) else Markup(html.escape(sanitise.text(text, newline=" "), quote=True))


def element(name: str, /, *children: str, **attributes: str | int | float | bool | None) -> Markup:
    """An element. An underscore at the end of an attribute's name is dropped, another one is a
    hyphen. An attribute that is None or False is left out; True has no value."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(f" {shown}" if value is True else f' {shown}="{escaped(str(value))}"')
    parts.append(">")
    if name in _VOID:
        return Markup("".join(parts))
    return Markup("".join([*parts, *map(escaped, children), f"</{name}>"]))


def name(text: str) -> Markup:
    """A long name without blanks, which may be broken between its parts."""
    return Markup(re.sub(r"(?<=[/_])(?=\w)", "<wbr>", escaped(text)))


def heads(names: Iterable[str]) -> Markup:
    """The head of a table. A column without a name has an empty cell, which a screen reader does
    not announce as a heading."""
    return element("thead", element("tr", *(element("th", name(text), scope="col") if text else element("td") for text in names)))


def joined(*parts: str) -> Markup:
    """Several pieces of markup or text in a row."""
    return Markup("".join(map(escaped, parts)))
