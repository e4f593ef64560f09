"""A FILE on its way into a capture: read a piece, turn it into records, write them; again.

step() does one such turn, so whoever reads the capture can do so in between and needs neither a thread nor all of the disk. What it is comes from the
first bytes: packets, a capture (through a pipe, or compressed), lines of JSON, or a golden. The result is an ordinary capture: a file, or with `keep_bytes`
segments. Of packets several files may be one recording; then each turn reads on in the one that is furthest behind.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from pgtrace.address import DEFAULT_PORT
from pgtrace.capture import versions
from pgtrace.capture.inputs import Input
from pgtrace.capture.record import Record
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError

if TYPE_CHECKING:
    from pgtrace.capture.pcap import Pcap


class Converter(Protocol):
    """Bytes of one kind into records."""

    header: versions.Header | None
    connections: int

    def feed(self, data: bytes) -> list[Record]: ...
    def finish(self, *, cut: bool = False) -> list[Record]: ...
    def notes(self) -> list[str]: ...
    def nothing_found(self) -> str: ...


def is_capture(path: str) -> bool:
    """Whether a FILE can be read as it is: a capture, or a directory of segments. What cannot be opened is left to the reader, which says why.

    A pipe cannot: what is read of it is gone, so it is opened once, as a stream.
    """
    if os.path.isdir(path):
        return True
    if os.path.exists(path) and not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(versions.MAGIC)) == versions.MAGIC
    except OSError:
        return True


class Import:
    """One FILE that is becoming a capture; a context manager that closes both."""

    def __init__(
        self,
        path: str,
        out: str,
        *,
        keep_bytes: int | None = None,
        named: Container[int] = (DEFAULT_PORT,),
        beside: Iterable[str] = (),
        keylog: str | None = None,
    ) -> None:
        """Open `path` (`-`: standard input) and begin the capture `out`, a directory of segments where `keep_bytes` bounds it.

        `beside` are the other files of the same recording, all of packets; `keylog` is a file of TLS secrets for them. Raises CaptureError for a file of no
        known kind, NewerCapture, MissingExtra, OutputExists.
        """
        self._inputs = [Input(path)]
        self._packets: Pcap | None = None
        self._finished = False
        self._out = out
        self.writer: CaptureWriter | SegmentWriter
        try:
            self._inputs += map(Input, beside)
            self._running = [*range(len(self._inputs))]
            self._converter = self._of_kind(path, named, keylog)
            records: list[Record] = []
            while self._converter.header is None and (more := self._next()) is not None:
                records += more
            if self._converter.header is None:
                records += self._finish()
            header = self._converter.header
            self.writer = SegmentWriter(out, keep_bytes, header=header) if keep_bytes else CaptureWriter(out, header=header)
        except BaseException:
            self._close_inputs()
            raise
        self._write(records)

    def step(self) -> bool:
        """One turn; False once the end was reached. Raises CaptureError where the disk does not take it."""
        records = self._next()
        self._write(self._finish() if records is None else records)
        return records is not None

    @property
    def is_stream(self) -> bool:
        """Whether it is standard input, or a pipe: what comes is all there is, and comes once."""
        return self._inputs[0].is_stream

    def interrupt(self) -> None:
        """Have a stream end soon."""
        self._inputs[0].interrupt()

    @property
    def done_bytes(self) -> int:
        """Bytes read of what is on disk."""
        return sum(one.done_bytes for one in self._inputs)

    @property
    def size_bytes(self) -> int | None:
        """How many there are; None where that cannot be told."""
        sizes = [one.size_bytes for one in self._inputs]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def connections(self) -> int:
        """Connections found so far."""
        return self._converter.connections

    def notes(self) -> list[str]:
        """What was lost or left out, a line each."""
        beside = ", ".join(one.path for one in self._inputs[1:])
        read = [f"read as one recording with {beside}"] if beside else []
        return read + [one.trouble for one in self._inputs if one.trouble] + self._converter.notes()

    def nothing_found(self) -> str:
        """Why no connection was found, with everything there is to say; empty where there is one, or need not be."""
        reason = "" if self.connections else self._converter.nothing_found()
        return "; ".join([reason, *self.notes()]) if reason else ""

    def close(self) -> None:
        """Close all files. Closing twice is fine."""
        self._close_inputs()
        self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _next(self) -> list[Record] | None:
        """What the next piece makes of records; None where all has been read."""
        if not self._running:
            return self._packets.drain() if self._packets is not None else None
        piece = self._packets.behind(self._running) if self._packets is not None else 0
        one = self._inputs[piece]
        if self._packets is not None and one.pauses() and (kept := self._packets.drain()) is not None:
            return kept
        if data := one.read():
            return self._packets.feed(data, piece) if self._packets is not None else self._converter.feed(data)
        self._running.remove(piece)
        return []

    def _finish(self) -> list[Record]:
        if self._finished:
            return []
        self._finished = True
        return self._converter.finish(cut=any(one.trouble for one in self._inputs))

    def _close_inputs(self) -> None:
        for one in self._inputs:
            one.close()

    def _of_kind(self, path: str, named: Container[int], keylog: str | None) -> Converter:
        from pgtrace.capture.golden import Golden, is_golden
        from pgtrace.capture.jsonl import joining
        from pgtrace.capture.packets import MAGICS
        from pgtrace.capture.pcap import Pcap
        from pgtrace.capture.streamed import StreamedCapture
        from pgtrace.capture.tls.keylog import KeyLog

        first = self._inputs[0].first
        if first.startswith(versions.MAGIC):
            return StreamedCapture(path)
        if first.startswith(MAGICS):
            secrets = KeyLog(keylog) if keylog is not None else None
            self._packets = Pcap(named, len(self._inputs), streamed=self._inputs[0].size_bytes is None, keylog=secrets)
            return self._packets
        if first.startswith(joining.MAGIC):
            return joining.JsonLines(path)
        if is_golden(first):
            return Golden(path)
        if not first:
            raise CaptureError(path, self._inputs[0].trouble or "empty: nothing was recorded")
        raise CaptureError(path, "no pgtrace capture, no pcap, no jsonl of pgtrace and no golden: it does not begin like one")

    def _write(self, records: list[Record]) -> None:
        try:
            self.writer.write(records)
        except OSError as error:
            raise CaptureError(self._out, f"cannot be written: {(error.strerror or str(error)).lower()}") from None
