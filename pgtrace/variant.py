"""The label of a variant: one capture, one label.

A label is the user's own text: it is shown sanitised and compared unchanged. The file name that is
made from it has only characters that every file system accepts and no shell interprets. So two
labels may need the same file; creating it then fails, as with any existing file.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.errors import UsageError

LONGEST: Final = 200
"""The most characters of a label."""
SUFFIX: Final = ".pgtrace"
_UNSAFE: Final = re.compile(r"[^\w.+=@-]+")


def checked(label: str) -> str:
    """The label, if it is valid. Raises UsageError."""
    if not label.strip():
        raise UsageError("a label needs a name: --label 'psycopg binary'")
    if len(label) > LONGEST:
        raise UsageError(f"a label of {len(label)} characters is too long: at most {LONGEST}")
    return label


def file_name(label: str) -> str:
    """The file name of its capture in a directory."""
    return (_UNSAFE.sub("-", label).strip("-.") or "variant") + SUFFIX
