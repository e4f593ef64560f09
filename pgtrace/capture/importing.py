"""Import a FILE into a capture: read a piece, turn it into records, write them; repeat.

step() does this once, so you can read the capture in between without a thread and without all of it
on disk. The first bytes decide the kind of file: packets, a capture (through a pipe, or
compressed), lines of JSON, or a golden. The result is an ordinary capture: a file, or segments with
`keep_bytes`. Several packet files may be one recording; then each step reads from the file that is
furthest behind.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from pgtrace.capture import versions
from pgtrace.capture.inputs import Input
from pgtrace.capture.record import Record
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError
from pgtrace.parameters import DEFAULT_PORT

if TYPE_CHECKING:
    from pgtrace.capture.pcap import Pcap


class Converter(Protocol):
    """Turns bytes of one kind into records."""

    header: versions.Header | None
    connections: int

    def feed(self, data: bytes) -> list[Record]: ...
    def finish(self, *, cut: bool = False) -> list[Record]: ...
    def notes(self) -> list[str]: ...
    def nothing_found(self) -> str: ...


def is_capture(path: str) -> bool:
    """Whether a FILE can be read directly: a capture, or a directory of segments. If it cannot be
    opened, the reader reports why.

    A pipe cannot be read directly: its bytes can be read only once, so it is opened once, as a
    stream.
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
    """One FILE that is becoming a capture. As a context manager it closes both."""

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
        """Open `path` (`-` for standard input) and begin the capture `out`; with `keep_bytes`, a
        directory of segments of that total size.

        `beside` are the other files of the same recording, all of packets. `keylog` is a file of
        TLS secrets for them. Raises CaptureError for a file of unknown kind, NewerCapture,
        MissingExtra, OutputExists.
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
        """Import the next piece. Returns False at the end. Raises CaptureError if the capture
        cannot be written."""
        records = self._next()
        self._write(self._finish() if records is None else records)
        return records is not None

    @property
    def is_stream(self) -> bool:
        """Whether the FILE is standard input or a pipe, which can be read only once."""
        return self._inputs[0].is_stream

    def interrupt(self) -> None:
        """Make a stream end soon."""
        self._inputs[0].interrupt()

    @property
    def done_bytes(self) -> int:
        """The bytes read so far, as they are on disk."""
        return sum(one.done_bytes for one in self._inputs)

    @property
    def size_bytes(self) -> int | None:
        """The size on disk, in bytes; None if it is not known."""
        sizes = [one.size_bytes for one in self._inputs]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def connections(self) -> int:
        """The number of connections found so far."""
        return self._converter.connections

    def notes(self) -> list[str]:
        """What was lost or left out, one line each."""
        beside = ", ".join(one.path for one in self._inputs[1:])
        read = [f"read as one recording with {beside}"] if beside else []
        return read + [one.trouble for one in self._inputs if one.trouble] + self._converter.notes()

    def nothing_found(self) -> str:
        """Why no connection was found, with all the details; empty if there is one, or if there
        need not be one."""
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
        """The records of the next piece; None at the end."""
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
        raise CaptureError(path, "unknown file type: not a capture, pcap, jsonl or golden")

    def _write(self, records: list[Record]) -> None:
        try:
            self.writer.write(records)
        except OSError as error:
            raise CaptureError(self._out, f"cannot be written: {(error.strerror or str(error)).lower()}") from None
