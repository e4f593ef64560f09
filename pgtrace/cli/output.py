"""Lines on stdout, for commands whose output pipes.

A reader that has seen enough (`| head`) closes the pipe. That is no error, and nobody's business but stdout's: click would end the command with code 1 and
Python would complain once more while it closes stdout, so both are told that it now leads nowhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Final

_AT_ONCE: Final = 1000


def write(lines: Iterable[str], end: str = "\n") -> bool:
    """Print the lines, or pieces that end in nothing; False where nobody reads them any more."""
    rest = iter(lines)
    try:
        while some := list(islice(rest, _AT_ONCE)):
            sys.stdout.write(end.join(some) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
