"""Reading a capture: a file or a directory of segments, finished or growing, in order or from any
block.

read() returns what is available. An empty result means the current end, and a later call continues
from there. A live view, `stats` and a test differ only in how often they call it. A command that
must end reads up to the end that the capture had when the command began. Once the header has been
accepted, no contents make a reader raise; it reports what is missing instead:

- `torn_bytes`: bytes at the end that are not a whole block. The writer was killed while writing, or
  is writing now.
- `damaged`: stretches in the middle that were skipped; each becomes a Gap record in its place.
- `complete`: whether this is the recording from its first moment to its End record, without any of
  those.

A position is one integer: the segment's number above SHIFT, the offset in its file below. So
positions grow in reading order and can be compared with the position that the writer returns for a
flush. Segments may vanish at any moment. The current one stays readable, since it stays open. If
the next one was removed before it was read, a Gap takes its place, and what the segment after it
repeats is passed on. A reader that starts there has no gap.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pgtrace.capture.blocks import Block, BlockFile, Damage
from pgtrace.capture.record import End
from pgtrace.capture.segments import SHIFT, segment_files
from pgtrace.capture.versions import Header
from pgtrace.errors import CaptureError, NewerCapture

READ_BYTES: Final = 4 * 1024 * 1024
_OFFSET: Final = (1 << SHIFT) - 1
_NAMED: Final = ".pgtrace"
"""The file name extension of captures, for finding them in a directory."""


class CaptureReader:
    """Reads a capture from its beginning, or from the oldest segment that is kept. Only one thread
    may call read(); any thread may call block()."""

    def __init__(self, path: str | os.PathLike[str], *, follow: bool = True) -> None:
        """Open the capture. Without `follow` it ends where it ends now, however fast it grows.
        Raises CaptureError and NewerCapture."""
        self.path = os.fspath(path)
        self._directory = Path(self.path) if os.path.isdir(self.path) else None
        self._ends: tuple[int, int] | None = None  # number and size of the last segment
        if not follow and (segments := self._segments()):
            number, latest = segments[-1]
            self._ends = number, latest.stat().st_size if latest.exists() else 0
        self._number, self._file = self._open_first()
        if not follow and self._directory is None:
            self._file.end = self._file.size()
        self._offset = self._file.start
        self._before = 0  # bytes of the segments before the current one
        self._last: Block | None = None
        self._last_ns = self._file.header.monotonic_ns
        self._continued = False  # the segment before the current one was read
        self._partial = self._number > 1  # something was removed before it could be read
        self.damaged = 0
        """The number of stretches that were skipped because they held no whole block."""
        self.at_end = False
        """Whether the last read() reached the current end."""

    def end_with(self, other: CaptureReader) -> None:
        """End where another reader of the same capture ends."""
        self._ends = other._ends
        if self._directory is None:
            self._file.end = other._file.end
        elif self._ends is not None and self._number == self._ends[0]:
            self._file.end = self._ends[1]

    @property
    def header(self) -> Header:
        """The capture's header; all segments have the same one."""
        return self._file.header

    @property
    def position(self) -> int:
        """Where the next read() begins."""
        return (self._number << SHIFT) + self._offset

    @property
    def ended(self) -> bool:
        """Whether the last block read says that the recording ended."""
        return self._last is not None and any(type(record) is End for record in self._last.records[-1:])

    @property
    def torn_bytes(self) -> int:
        """The bytes after the last whole block so far; 0 before the current end is reached."""
        return max(self._file.size() - self._offset, 0) if self.at_end else 0

    @property
    def complete(self) -> bool:
        """Whether the whole recording was read: from its beginning to its End, undamaged."""
        return self.at_end and self.ended and not (self._partial or self.damaged or self.torn_bytes)

    @property
    def read_bytes(self) -> int:
        """The number of bytes read so far."""
        return self._before + self._offset

    @property
    def size_bytes(self) -> int:
        """The bytes read so far plus those still to read, as far as they exist now."""
        size = self._before + max(self._file.size(), self._offset)
        for _, path in self._later():
            try:
                size += path.stat().st_size
            except FileNotFoundError:
                pass
        return size

    def read(self, max_bytes: int = READ_BYTES) -> list[Block]:
        """The next whole blocks, about `max_bytes` of them; empty at the current end. Call again to
        read what was written since."""
        self.at_end = False
        while True:
            if found := self._scan(max_bytes):
                return found
            following = self._following()
            if following is None:
                self.at_end = True
                return []
            # A segment is finished before the next one begins, so it is complete now.
            if found := self._scan(max_bytes):
                return found
            if found := self._enter(*following):
                return found

    def block(self, position: int) -> Block | None:
        """The block at a position that read() returned; None if it is not kept any more."""
        number, offset = self._place(position)
        file = self._file
        if file.base == number << SHIFT:
            return file.at(offset)
        if self._directory is None:
            return None
        for later, path in self._segments():
            if later == number:
                try:
                    return self._segment(number, path).at(offset)
                except (FileNotFoundError, CaptureError):
                    return None
        return None

    def blocks(self, position: int) -> Iterator[Block]:
        """The blocks from a position that read() returned to the current end, independent of
        read(); none if the block there is not kept any more."""
        number, offset = self._place(position)
        continued = False
        files = [(self._number, None)] if self._directory is None else [(one, path) for one, path in self._segments() if one >= number]
        if not files or files[0][0] != number:
            return
        for one, path in files:
            try:
                file = self._file if one == self._number or path is None else self._segment(one, path)
            except (FileNotFoundError, CaptureError):
                return
            place = file.start if continued else offset
            while True:
                # One at a time: a caller seldom wants more than a few.
                found, place = file.scan(place, 0)
                if not found:
                    break
                yield from (block for block in found if not (continued and block.carried))
            continued = True

    def _place(self, position: int) -> tuple[int, int]:
        """The segment of a position, and the offset in its file."""
        return (0, position) if self._directory is None else (position >> SHIFT, position & _OFFSET)

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _scan(self, max_bytes: int) -> list[Block]:
        """The next blocks of this segment, without those that repeat blocks already read."""
        while True:
            found, self._offset = self._file.scan(self._offset, max_bytes)
            if not found:
                return []
            self._last = found[-1]
            self._last_ns = self._last.last_ns
            self.damaged += sum(type(block) is Damage for block in found)
            fresh = [block for block in found if not block.carried] if self._continued else found
            if fresh:
                self._partial = self._partial or fresh[0].carried
                return fresh

    def _enter(self, number: int, file: BlockFile) -> list[Block]:
        """Continue in a later segment. Returns Gaps for the bytes or segments that were lost in
        between."""
        found: list[Block] = []
        torn = self._file.size() - self._offset
        if torn > 0:
            found.append(Damage(self.position, torn, self._last_ns))
            self.damaged += 1
        self._before += self._offset + max(torn, 0)
        self._continued = number == self._number + 1
        # The previous file is not closed here: another thread may be reading a block of it. It is
        # closed when its last user is gone.
        self._number, self._file, self._offset = number, file, file.start
        if not self._continued:
            found.append(Damage(self.position, 0, self._last_ns))
            self._partial = True
        return found

    def _segments(self) -> list[tuple[int, Path]]:
        try:
            found = segment_files(self._directory) if self._directory is not None else []
        except OSError:
            return []
        return found if self._ends is None else [(number, path) for number, path in found if number <= self._ends[0]]

    def _segment(self, number: int, path: Path) -> BlockFile:
        """Open a segment. Raises what BlockFile raises."""
        file = BlockFile(os.fspath(path), number << SHIFT)
        if self._ends is not None and number == self._ends[0]:
            file.end = self._ends[1]
        return file

    def _later(self) -> list[tuple[int, Path]]:
        return [(number, path) for number, path in self._segments() if number > self._number]

    def _following(self) -> tuple[int, BlockFile] | None:
        """The next segment: the oldest later one that exists and has a complete header."""
        for number, path in self._later():
            try:
                return number, self._segment(number, path)
            except (FileNotFoundError, CaptureError):
                continue
        return None

    def _open_first(self) -> tuple[int, BlockFile]:
        if self._directory is None:
            try:
                return 0, BlockFile(self.path)
            except FileNotFoundError:
                raise CaptureError(self.path, "no such file") from None
        refused: CaptureError | None = None
        try:
            for number, path in segment_files(self._directory):
                try:
                    return number, self._segment(number, path)
                except FileNotFoundError:
                    continue  # removed since the directory was listed
                except NewerCapture:
                    raise
                except CaptureError as error:
                    refused = refused or error
        except OSError as error:
            raise CaptureError(self.path, (error.strerror or str(error)).lower()) from None
        raise refused or CaptureError(self.path, f"not a capture: the directory has no segments{self._others()}")

    def _others(self) -> str:
        """A hint at the captures in the directory, if it is a directory of captures (`-w DIR/`)."""
        assert self._directory is not None
        return f"; its captures: {self.path}/*{_NAMED}" if any(self._directory.glob(f"*{_NAMED}")) else ""
