"""What the recorder prints on stderr, each text once. The failure of one session is counted and
ends nothing else."""

from __future__ import annotations

import sys
from typing import Final

from pgtrace import sanitise
from pgtrace.errors import UpstreamError

TEXTS: Final = 100
"""How many different texts are printed."""


class Log:
    """What was said, and what went wrong."""

    def __init__(self) -> None:
        self.failures = 0
        self.upstream_error: str | None = None
        """Why the last attempt to reach the upstream failed; None if none has."""
        self._said: set[str] = set()

    def warn(self, text: str) -> None:
        """Print this text, unless it was printed before."""
        if text not in self._said and len(self._said) < TEXTS:
            self._said.add(text)
            try:
                print(sanitise.line(f"pgtrace: {text}"), file=sys.stderr, flush=True)
            except OSError:
                pass

    def upstream_failed(self, error: UpstreamError) -> None:
        """The upstream could not be reached."""
        self.upstream_error = error.reason
        self.warn(str(error))

    def failed(self, error: BaseException) -> None:
        """One session has met a defect of ours."""
        self.failures += 1
        self.warn(f"a session failed: {type(error).__name__}: {error}")
