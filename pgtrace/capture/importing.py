"""A FILE on its way into a capture: read a piece, turn it into records, write them; again.

step() does one such turn, so whoever reads the capture can do so in between and needs neither a thread nor all of the disk. What it is comes from the
first bytes: packets, a capture (through a pipe, or compressed), lines of JSON, or a golden. The result is an ordinary capture: a file, or with `keep_bytes`
segments.
"""

from __future__ import annotations

import os
from collections.abc import Container
from types import TracebackType
from typing import Protocol, Self

from pgtrace.address import DEFAULT_PORT
from pgtrace.capture import versions
from pgtrace.capture.inputs import Input
from pgtrace.capture.record import Record
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError


class Converter(Protocol):
    """Bytes of one kind into records."""

    header: versions.Header | None
    connections: int

    def feed(self, data: bytes) -> list[Record]: ...
    def finish(self, *, cut: bool = False) -> list[Record]: ...
    def notes(self) -> list[str]: ...
    def nothing_found(self) -> str: ...


def is_capture(path: str) -> bool:
    """Whether a FILE can be read as it is: a capture, or a directory of segments. What cannot be opened is left to the reader, which says why."""
    if os.path.isdir(path):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(versions.MAGIC)) == versions.MAGIC
    except OSError:
        return True


class Import:
    """One FILE that is becoming a capture; a context manager that closes both."""

    def __init__(self, path: str, out: str, *, keep_bytes: int | None = None, named: Container[int] = (DEFAULT_PORT,)) -> None:
        """Open `path` (`-`: standard input) and begin the capture `out`, a directory of segments where `keep_bytes` bounds it.

        Raises CaptureError for a file of no known kind, NewerCapture, MissingExtra, OutputExists.
        """
        self.input = Input(path)
        self.writer: CaptureWriter | SegmentWriter
        try:
            self._converter = self._of_kind(path, named)
            records: list[Record] = []
            while self._converter.header is None and (data := self.input.read()):
                records += self._converter.feed(data)
            if self._converter.header is None:
                self._converter.finish()
            header = self._converter.header
            self.writer = SegmentWriter(out, keep_bytes, header=header) if keep_bytes else CaptureWriter(out, header=header)
        except BaseException:
            self.input.close()
            raise
        self._out = out
        self._write(records)

    def step(self) -> bool:
        """One turn; False once the end was reached. Raises CaptureError where the disk does not take it."""
        data = self.input.read()
        if not data:
            self._write(self._converter.finish(cut=bool(self.input.trouble)))
            return False
        self._write(self._converter.feed(data))
        return True

    @property
    def connections(self) -> int:
        """Connections found so far."""
        return self._converter.connections

    def notes(self) -> list[str]:
        """What was lost or left out, a line each."""
        trouble = [self.input.trouble] if self.input.trouble else []
        return trouble + self._converter.notes()

    def nothing_found(self) -> str:
        """Why no connection was found, with everything there is to say; empty where there is one, or need not be."""
        reason = "" if self.connections else self._converter.nothing_found()
        return "; ".join([reason, *self.notes()]) if reason else ""

    def close(self) -> None:
        """Close both files. Closing twice is fine."""
        self.input.close()
        self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _of_kind(self, path: str, named: Container[int]) -> Converter:
        from pgtrace.capture.golden import Golden, is_golden
        from pgtrace.capture.jsonl import joining
        from pgtrace.capture.packets import MAGICS
        from pgtrace.capture.pcap import Pcap
        from pgtrace.capture.streamed import StreamedCapture

        first = self.input.first
        if first.startswith(versions.MAGIC):
            return StreamedCapture(path)
        if first.startswith(MAGICS):
            return Pcap(named)
        if first.startswith(joining.MAGIC):
            return joining.JsonLines(path)
        if is_golden(first):
            return Golden(path)
        if not first:
            raise CaptureError(path, self.input.trouble or "empty: nothing was recorded")
        raise CaptureError(path, "no pgtrace capture, no pcap, no jsonl of pgtrace and no golden: it does not begin like one")

    def _write(self, records: list[Record]) -> None:
        try:
            self.writer.write(records)
        except OSError as error:
            raise CaptureError(self._out, f"cannot be written: {(error.strerror or str(error)).lower()}") from None
