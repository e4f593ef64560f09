"""Escapes text from the wire and from programs for Markdown.

Markup and HTML are escaped. Sites such as GitHub also act on plain words: they notify the person in
`@name`, and link `#12` and addresses. An empty comment in the middle, which is invisible, prevents
that.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace import sanitise

_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")
_ACTED_ON: Final = re.compile(r"(@|#|://|\b(?:www\.|gh-))(?=\w)", re.IGNORECASE)
_NOTHING: Final = "<!-- -->"


def plain(text: str) -> str:
    """Text on one line, escaped so that Markdown shows it as it is, also in a table."""
    return _ACTED_ON.sub(rf"\1{_NOTHING}", _MARKS.sub(r"\\\1", sanitise.text(text, newline=" ")))


def code(text: str) -> str:
    """Text as code; `|` is escaped for tables."""
    return f"<code>{plain(text)}</code>" if text else ""
