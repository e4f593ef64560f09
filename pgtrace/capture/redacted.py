"""A copy of a capture with contents blanked, so that recorded values need not leave the machine.

It blanks as the recorder does (hiding.py), record by record, so every count in the copy is the same
as in the original. It fails closed: what cannot be framed, and what follows a gap, is counted and
not kept. The same applies to a connection whose beginning `--keep` has removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pgtrace.capture.blocks import CARRIED, Block
from pgtrace.capture.hiding import Hiding
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Record, Setting
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError

REDACT = "redact"
"""The key of the Setting that says what is blanked."""


class RedactedCopy:
    """A copy that is being made, up to the end that the capture has now."""

    def __init__(self, path: str, out: str, redact: Iterable[str]) -> None:
        """Begin the new file `out`. Raises CaptureError."""
        self._hiding = Hiding(os.urandom(32), redact)
        self._reader = CaptureReader(path, follow=False)
        try:
            self._writer = CaptureWriter(out, header=self._reader.header)
        except BaseException:
            self._reader.close()
            raise
        self.path = out
        self._has_begun = False

    def step(self) -> bool:
        """Copy some blocks. Returns False at the end. Raises CaptureError."""
        found = self._reader.read()
        for block in found:
            self._copy(block)
        return bool(found)

    @property
    def done(self) -> float:
        """How much is copied, from 0 to 1."""
        return self._reader.read_bytes / max(1, self._reader.size_bytes)

    def close(self) -> None:
        """Close both files."""
        self._reader.close()
        self._writer.close()

    def _copy(self, block: Block) -> None:
        if block.carried and self._has_begun:
            return  # a later segment repeats what the copy has
        records = self._hiding(map(self._also, block.records))
        if not self._has_begun:
            records.insert(0, self._also(Setting(block.first_ns, REDACT, "")))
            self._has_begun = True
        try:
            self._writer.write(records, flags=CARRIED if block.carried else 0)
        except OSError as error:
            raise CaptureError(self.path, f"cannot be written: {(error.strerror or str(error)).lower()}") from None

    def _also(self, record: Record) -> Record:
        """The record; the setting of what is blanked also names what this copy blanks."""
        if isinstance(record, Setting) and record.key == REDACT:
            return record._replace(value=",".join(sorted(self._hiding.chosen | set(filter(None, record.value.split(","))))))
        return record
