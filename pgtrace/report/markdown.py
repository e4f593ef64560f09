"""Text from the wire and from programs, where Markdown is read: it stays text.

Marks are escaped, and so is HTML. A site such as GitHub also acts on plain words: it tells the
person that `@name` names, and links `#12` and addresses. A comment without content in the middle
keeps it from that, and nobody sees it.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace import sanitise

_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")
_ACTED_ON: Final = re.compile(r"(@|#|://|\b(?:www\.|gh-))(?=\w)", re.IGNORECASE)
_NOTHING: Final = "<!-- -->"


def plain(text: str) -> str:
    """Text on one line that Markdown takes only as text, also in a table."""
    return _ACTED_ON.sub(rf"\1{_NOTHING}", _MARKS.sub(r"\\\1", sanitise.text(text, newline=" ")))


def code(text: str) -> str:
    """The same as code; a table takes no fence with a bar inside."""
    return f"<code>{plain(text)}</code>" if text else ""
