"""A capture of bounded size: a directory of segments, the oldest of which is removed.

Every segment is a capture file of its own, `000001.pgtrace` and so on, all with the same header.
From the second on, a segment begins with CARRIED blocks that repeat what is still true from earlier
segments: for each live connection its Open, its Facts, a Resume, the directions that have ended and
those that are not read; the open marks; the latest value of each setting. A reader that read the
previous segment skips these blocks. A reader that starts here learns the connections from them, and
continues as after a gap.

All this is collected from the records as they are written: start-up bytes up to a connection's
first ReadyForQuery, bounded, and the position of each stream from the head of its last record in
each write.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from pgtrace.capture.blocks import CARRIED
from pgtrace.capture.record import (
    DATA_FIXED,
    DATA_HEAD,
    DECRYPTED,
    FAULT,
    STREAM,
    Close,
    Data,
    Elided,
    Ended,
    Fact,
    Made,
    Mark,
    Opaque,
    Open,
    Pause,
    Record,
    Resume,
    Rewrite,
    Setting,
    decode_all,
    encode_parts,
    time_of,
)
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.errors import CaptureError, OutputExists
from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

SEGMENT_BYTES: Final = 64 * 1024 * 1024
SHIFT: Final = 32
"""A position is the segment's number shifted left by this, plus the offset in its file. In a single
file it is the offset."""
_MOST_SEGMENTS: Final = 1 << 23
"""512 TiB of segments. A recorder never makes a file with a higher number."""
STARTUP_BYTES: Final = 16 * 1024
"""The most start-up bytes of one direction that are remembered. A longer start-up is repeated in
part."""

_STREAM: Final = itemgetter(STREAM)
_NAME: Final = re.compile(r"(\d{6,9})\.pgtrace", re.ASCII)


def segment_files(directory: Path) -> list[tuple[int, Path]]:
    """The segments in a directory by number, oldest first. Raises OSError if the directory cannot
    be listed.

    It returns only files with exactly the names that the recorder gives them: not
    `0000001.pgtrace`, and not a pipe, on which a reader would wait.
    """
    with os.scandir(directory) as entries:
        named = [(number_of(entry.name), directory / entry.name) for entry in entries if entry.is_file()]
    return sorted((number, path) for number, path in named if 0 < number < _MOST_SEGMENTS)


def name_of(number: int) -> str:
    """The file name of a segment."""
    return f"{number:06}.pgtrace"


def number_of(name: str) -> int:
    """The number of the segment with this file name, or 0."""
    match = _NAME.fullmatch(name)
    number = int(match[1]) if match is not None else 0
    return number if name == name_of(number) else 0


class _Pauses:
    """The pauses that have begun and not ended."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: dict[tuple[int, str], Pause] = {}

    def note(self, pause: Pause) -> None:
        """Note that a pause begins or ends."""
        if pause.begin:
            self._begun[pause.side, pause.why] = pause
        else:
            self._begun.pop((pause.side, pause.why), None)

    @property
    def open(self) -> Iterable[Pause]:
        return self._begun.values()


class _Live:
    """What must be repeated about one connection."""

    __slots__ = ("ends", "facts", "framer", "offsets", "opened", "pauses", "replies", "startup")

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.facts: list[Fact] = []
        self.framer: Framer | None = Framer(kept_bytes=STARTUP_BYTES)
        self.startup = b""
        self.replies = b""
        self.offsets = [0, 0]
        self.ends: list[Ended] = []
        self.pauses = _Pauses()

    def learn(self, side: int, data: bytes) -> None:
        """Keep the messages of the start-up."""
        if self.framer is None:
            return
        for code, body, size in self.framer.feed(side, data):
            if code == codes.OPAQUE:
                self.framer = None
                return
            if side == FRONTEND:
                if code == codes.STARTUP_MESSAGE:
                    self.startup = size.to_bytes(4, "big") + body
            elif code <= 255 and len(self.replies) + size <= STARTUP_BYTES:
                self.replies += bytes((code,)) + (size - 1).to_bytes(4, "big") + body
            if side == BACKEND and code == ord("Z"):
                self.framer = None
                return

    def repeated(self, time_ns: int) -> list[Record]:
        offsets = (self.offsets[FRONTEND], self.offsets[BACKEND])
        resume = Resume(time_ns, self.opened.connection, self.startup, offsets, self.replies)
        return [self.opened, *self.facts, resume, *self.ends, *self.pauses.open]


class SegmentWriter:
    """A directory of capture segments that is being written. It has the interface of CaptureWriter,
    with positions instead of offsets."""

    def __init__(
        self, directory: str | os.PathLike[str], keep_bytes: int, *, segment_bytes: int = SEGMENT_BYTES, header: Header | None = None
    ) -> None:
        """Begin the first segment. The directory is created with mode 0700 if it does not exist.

        Segments are `segment_bytes` long, or half of `keep_bytes` if that is less. Raises
        OutputExists and CaptureError.
        """
        self.path = os.fspath(directory)
        self.header = header or Header.now()
        self.keep_bytes = keep_bytes
        self.segment_bytes = min(segment_bytes, max(keep_bytes // 2, 1))
        self.records = 0
        """The number of records written, including removed ones, without repeated ones."""
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            occupied = bool(segment_files(Path(self.path)))
        except OSError as error:
            raise CaptureError(self.path, f"cannot be created: {(error.strerror or str(error)).lower()}") from None
        if occupied:
            raise OutputExists(self.path)
        self._live: dict[int, _Live] = {}
        self._marks: dict[int, Mark] = {}
        self._settings: dict[str, Setting] = {}
        self._pauses = _Pauses()  # of all connections
        # The path and size of the segments before the current one.
        self._finished: list[tuple[str, int]] = []
        self._number = 1
        self._segment = CaptureWriter(self._file(1), header=self.header)
        # The size of header and carried blocks. A segment must hold as much again before the next
        # one begins.
        self._preamble = self._segment.offset

    @property
    def offset(self) -> int:
        """The position after the last whole block."""
        return (self._number << SHIFT) + self._segment.offset

    def write(self, records: Sequence[Record]) -> int:
        """Append the records, in a new segment if this one is full. Returns the position after
        them.

        Raises OSError if the disk fails; the capture then ends at its last whole block.
        """
        return self.append(encode_parts(records), records)

    def append(self, parts: Sequence[bytes], notes: Iterable[Record]) -> int:
        """Append encoded records, as write() does. `notes` are the records among them that are not
        reads after a connection's start-up."""
        if parts and self._segment.offset >= max(self.segment_bytes, 2 * self._preamble):
            self._roll(time_of(*parts[:2]))
        before = self._segment.records
        try:
            self._segment.append(parts)
        except BaseException:
            parts = parts[: 2 * (self._segment.records - before)]
            notes = decode_all(b"".join(parts))
            raise
        finally:
            self.records += len(parts) // 2
            self._note(parts, notes)
        return self.offset

    def close(self) -> None:
        """Close the segment. Closing twice is fine."""
        self._segment.close()

    def _file(self, number: int) -> str:
        return os.path.join(self.path, name_of(number))

    def _roll(self, time_ns: int) -> None:
        """Begin the next segment, and remove the oldest ones to make room for it."""
        path = self._file(self._number + 1)
        try:
            segment = CaptureWriter(path, header=self.header)
        except CaptureError as error:
            raise OSError(str(error)) from error
        try:
            segment.write(self._repeated(time_ns), flags=CARRIED)
        except OSError:
            segment.close()
            os.unlink(path)
            raise
        self._segment.close()
        self._finished.append((self._segment.path, self._segment.offset))
        segment.records = 0
        self._segment, self._number, self._preamble = segment, self._number + 1, segment.offset
        kept = sum(size for _, size in self._finished)
        while len(self._finished) > 1 and kept + self.segment_bytes > self.keep_bytes:
            oldest, size = self._finished.pop(0)
            kept -= size
            try:
                os.unlink(oldest)
            except FileNotFoundError:
                pass

    def _repeated(self, time_ns: int) -> Iterable[Record]:
        yield from self._settings.values()
        yield from self._marks.values()
        yield from self._pauses.open
        for live in self._live.values():
            yield from live.repeated(time_ns)

    def _note(self, parts: Sequence[bytes], notes: Iterable[Record]) -> None:
        """Track what must be repeated later."""
        for record in notes:
            self._note_record(record)
        heads = parts[::2]
        # The last read of each stream.
        for head in dict(zip(map(_STREAM, heads), heads, strict=True)).values():
            if head:
                length, _, _, connection, side, offset = DATA_HEAD.unpack(head)
                known = self._live.get(connection)
                if known is not None:
                    known.offsets[side] = max(known.offsets[side], offset + length - DATA_FIXED)

    def _note_record(self, record: Record) -> None:
        if isinstance(record, Data):
            known = self._live.get(record.connection)
            if known is not None:
                known.offsets[record.side] = record.offset + len(record.data)
                known.learn(record.side, record.data)
        elif isinstance(record, Open):
            self._live[record.connection] = _Live(record)
        elif isinstance(record, Close):
            self._live.pop(record.connection, None)
        elif isinstance(record, Mark):
            if record.begin:
                self._marks[record.id] = record
            else:
                self._marks.pop(record.id, None)
        elif isinstance(record, Setting):
            self._settings[record.key] = record
        elif isinstance(record, Pause) and not record.connection:
            self._pauses.note(record)
        elif isinstance(record, Fact | Made | Rewrite | Opaque | Elided | Ended | Pause) and (known := self._live.get(record.connection)):
            if isinstance(record, Fact):
                if record.key != FAULT:
                    known.facts.append(record)
                if record.key == DECRYPTED and known.framer is not None:
                    known.framer.decrypted()
            elif isinstance(record, Ended):
                known.ends.append(record)
            elif isinstance(record, Pause):
                known.pauses.note(record)
            elif isinstance(record, Made):
                known.offsets[BACKEND] = record.offset + len(record.data)
                known.learn(BACKEND, record.data)
            elif isinstance(record, Rewrite):
                known.offsets[record.side] = record.offset + len(record.data)
                known.learn(record.side, record.data)
            else:
                known.offsets[record.side] = record.offset + (record.length if isinstance(record, Opaque) else record.bytes)
                known.framer = None
