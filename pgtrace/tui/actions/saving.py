"""Copies a temporary capture into a permanent file: first the existing blocks, then new ones, until
the screen closes.

A thread reads the capture like any viewer and copies whole blocks, so neither the recorder nor the
traffic waits for it. Segments become one file: the reader leaves out what later segments repeat. If
the copy falls so far behind that segments have been removed, the file has a gap.

The file is created at once, private, and never replaces another one. If copying fails before the
first copy is complete, the file is removed; later it keeps its contents, and `failed` says why it
ends.
"""

from __future__ import annotations

import os
import threading
from time import monotonic_ns
from typing import Final

from pgtrace.capture.blocks import Damage
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import End
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import PgTraceError

_AT_ONCE: Final = 4 * 1024 * 1024
_LOOK_AGAIN_S: Final = 0.2


class Saving:
    """A capture being copied."""

    def __init__(self, capture: str, path: str) -> None:
        """Create the file and begin. Raises OutputExists, CaptureError."""
        self.path = path
        self.failed = ""
        """Why the file ends before the recording does."""
        self.complete = False
        """Whether everything that existed when it began is in the file."""
        self._reader = CaptureReader(capture)
        self._writer = CaptureWriter(path, header=self._reader.header)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saving", daemon=True)
        self._thread.start()

    @property
    def percent(self) -> int:
        """The percentage of the capture that has been copied."""
        return 100 * self._reader.read_bytes // max(1, self._reader.size_bytes)

    @property
    def outcome(self) -> str:
        """The result so far, in words; empty during the first copy."""
        if self.failed:
            return f"{self.path} ends here: {self.failed}" if self.complete else f"not saved to {self.path}: {self.failed}"
        return f"saved to {self.path}; new traffic is added until you quit" if self.complete else ""

    def finish(self) -> None:
        """Copy what is left, and end the file."""
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        try:
            last = False
            while not last:
                last = self._stop.is_set()
                self._copy()
                self.complete = True
                self._stop.wait(_LOOK_AGAIN_S)
            if not self._reader.ended:
                self._writer.write([End(monotonic_ns())])
        except (OSError, PgTraceError) as error:
            reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
            if not self.complete:
                os.unlink(self.path)
            self.failed = reason
        finally:
            self._writer.close()

    def _copy(self) -> None:
        while blocks := self._reader.read(_AT_ONCE):
            for block in blocks:
                if isinstance(block, Damage):
                    self._writer.write(block.records)
                else:
                    self._writer.copy(block)
