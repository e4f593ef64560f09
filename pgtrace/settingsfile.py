"""Text files with settings: budgets, a baseline, passwords, services. None of them is large, and
the path may lead anywhere, so only LARGEST bytes are read."""

from __future__ import annotations

import errno
import os
from typing import Final

LARGEST: Final = 16 * 1024 * 1024


def text_of(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """The text of a file. Raises OSError, also for a file that is too large, and
    UnicodeDecodeError. `errors` is how to decode bytes that are not UTF-8."""
    with open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return data.decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")
