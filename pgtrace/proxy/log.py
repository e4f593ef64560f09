"""What the recorder prints on stderr, each text once. If one session fails, it is counted and
nothing else ends."""

from __future__ import annotations

import sys
from typing import Final

from pgtrace import sanitise
from pgtrace.errors import UpstreamError

TEXTS: Final = 100
"""The most different texts that are printed."""


class Log:
    """Prints warnings, and counts failures."""

    def __init__(self) -> None:
        self.failures = 0
        self.upstream_error: str | None = None
        """Why the last attempt to reach the upstream failed; None if no attempt failed."""
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Print this text, unless it was printed before."""
        if text not in self._warned and len(self._warned) < TEXTS:
            self._warned.add(text)
            try:
                print(sanitise.line(f"pgtrace: {text}"), file=sys.stderr, flush=True)
            except OSError:
                pass

    def upstream_failed(self, error: UpstreamError) -> None:
        """Report that the upstream could not be reached."""
        self.upstream_error = error.reason
        self.warn(str(error))

    def failed(self, error: BaseException) -> None:
        """Report a defect of pgtrace that one session has met."""
        self.failures += 1
        self.warn(f"a session failed: {type(error).__name__}: {error}")
