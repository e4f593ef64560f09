"""The writer thread: pieces in, blocks of the capture out. Only finish() ends it. It counts what it
cannot write.

- If the disk refuses (OSError), the thread tries again with the next batch. Until then it counts
  bytes, in a Gap for each direction. Records other than bytes (a connection that opened, a mark)
  are kept and written later.
- Any other failure (a defect of pgtrace, no memory) costs the record that causes it. The batch is
  halved until that record is alone, and it is counted.
- The thread also leaves out what the user wants left out (capture/hiding.py), as the last step
  before the disk. That takes Python for each read, and is done only if you ask for it. If it ever
  fails, no bytes are written any more; they are Gaps from then on.
- If even that fails, the rest of the batch is counted as a whole, and the thread continues with the
  next one.

Each kind of failure is reported once, and the next flush reports it again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from pgtrace.capture.record import NEITHER, Data, Elided, Gap, Made, Opaque, Record, Rewrite, decode_all, encode_parts, gap_of, time_of

if TYPE_CHECKING:
    from pgtrace.capture.hiding import Hiding
    from pgtrace.proxy.callsites import CallSites

KEPT_RECORDS: Final = 10_000
"""The most records other than data that are kept for a failing disk."""

Batch = tuple[list[bytes], list[Record], Callable[[int], None]]


class Writer(Protocol):
    """CaptureWriter or SegmentWriter."""

    @property
    def records(self) -> int: ...

    @property
    def offset(self) -> int: ...

    def append(self, parts: Sequence[bytes], notes: Sequence[Record]) -> int: ...
    def close(self) -> None: ...


class WriterThread:
    """The thread that writes the capture, and its failures."""

    def __init__(
        self,
        writer: Writer,
        hiding: Hiding | None = None,
        report: Callable[[str], None] = lambda _: None,
        call_sites: CallSites | None = None,
    ) -> None:
        """`report` is called in the thread."""
        self.error: str | None = None
        """Why the last write failed, or why no bytes are written at all; None if all is well."""
        self.failure: str | None = None
        """What has failed since the last flush; see take_failure()."""
        self.lost_bytes = 0
        self.lost_records = 0
        """The bytes and records that could not be written."""
        self._writer = writer
        self._hiding = hiding
        self._call_sites = call_sites
        self._report = report
        self._defect: str | None = None  # of the hiding
        self._kept: list[Record] = []
        self._lost: dict[tuple[int, int], list[int]] = {}
        # The rest of the present batch, neither written nor counted yet.
        self._left: Sequence[bytes] = []
        self._position = writer.append([], [])
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, parts: list[bytes], notes: list[Record], done: Callable[[int], None]) -> None:
        """Write a batch in the thread, then call `done` there with the capture's position."""
        self._batches.put((parts, notes, done))

    @property
    def position(self) -> int:
        """How far the writer has got. It moves with every block."""
        return self._writer.offset

    def take_failure(self) -> str | None:
        """What is wrong, or was wrong since the last call."""
        failure, self.failure = self.failure, None
        return self.error or failure

    def finish(self, timeout_s: float) -> bool:
        """End the capture. Returns False if the disk did not accept it in time."""
        self._batches.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        done: Callable[[int], None] | None = None
        over = False
        while not over:
            try:
                if (batch := self._batches.get()) is not None:
                    done = batch[2]
                    self._write(*batch[:2])
                else:
                    over = True
            except BaseException as error:  # the thread continues, whatever it is
                self._give_up(error)
            batch = None  # release its memory before its room
            if done is not None:
                try:
                    done(self._position)
                except Exception:  # noqa: S110 (the loop is closed: nobody waits any more)
                    pass
                done = None
        self._writer.close()

    def _write(self, parts: list[bytes], notes: list[Record]) -> None:
        self._left = parts
        if self._hiding is not None:
            parts, notes = self._hide(self._hiding, parts)
        before = self._late_records()
        if self._call_sites is not None:
            before += self._call_sites.read()
            if marks := self._call_sites.marks():
                parts, notes = _with_marks(parts, marks), [*notes, *marks]
        if before:
            parts, notes = encode_parts(before) + parts, before + notes
        self._left, self._kept, self._lost = parts, [], {}
        if self._store(parts, notes):
            self.error = self._defect
            if self._lost:  # lost to a defect, not to the disk: report it immediately
                late, self._lost = self._late_records(), {}
                self._store(encode_parts(late), late)

    def _store(self, parts: Sequence[bytes], notes: Sequence[Record]) -> bool:
        """Append these pieces. If a record fails, the batch is halved until only that record is
        left, which is counted. Returns False if the disk refuses; the rest is then kept for
        later."""
        pieces = [len(parts)]
        start = 0
        while pieces:
            stop = pieces.pop()
            whole = start == 0 and stop == len(parts)
            before = self._writer.records
            try:
                self._position = self._writer.append(parts if whole else parts[start:stop], notes if whole else _notes(parts[start:stop]))
                start = stop
            except Exception as error:
                start += 2 * (self._writer.records - before)
                if isinstance(error, OSError):
                    self._fail(f"the capture cannot be written: {error.strerror or error}")
                    self.error = error.strerror or str(error)
                    self._keep(_decoded(parts[start:]))
                    self._left = []
                    return False
                self._fail(f"a record cannot be written: {type(error).__name__}: {error}")
                if stop - start > 2:
                    pieces += [stop, start + (stop - start) // 4 * 2]
                elif start < stop:
                    self._count(_decoded(parts[start:stop]))
                    start = stop
                else:
                    self._position = self._writer.offset
            self._left = parts[start:]
        return True

    def _hide(self, hiding: Hiding, parts: list[bytes]) -> tuple[list[bytes], list[Record]]:
        """The records to write instead of these, in both forms. Once the hiding has failed: only
        those without bytes."""
        records = decode_all(b"".join(parts))
        if self._defect is None:
            try:
                hidden = hiding(records)
                return encode_parts(hidden), hidden
            except Exception as error:
                self._stop_hiding(error)
        self._keep(records)
        self._left = []
        return [], []

    def _stop_hiding(self, error: BaseException) -> None:
        """A defect of pgtrace: bytes that should be blanked must not be written."""
        self._defect = f"leaving out contents failed ({type(error).__name__}: {error}): no more bytes are written"
        self._fail(self._defect)

    def _give_up(self, error: BaseException) -> None:
        """Count the rest of a batch that an unforeseen failure has ended."""
        left, self._left = self._left, []
        try:
            if self._hiding is not None and self._defect is None:
                # The hiding has not seen these bytes, so it cannot know where the next message
                # begins.
                self._stop_hiding(error)
            self._fail(f"a batch cannot be written: {type(error).__name__}: {error}")
            self.error = str(self.failure)
            self._keep(_decoded(left))
        except BaseException:
            self._count([Opaque(monotonic_ns(), 0, NEITHER, 0, sum(map(len, left)))])

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self._report(failure)

    def _late_records(self) -> list[Record]:
        """The kept records that could not be written, with a Gap for each direction that lost
        bytes."""
        now = monotonic_ns()
        return self._kept + [Gap(now, connection, side, size, count) for (connection, side), (size, count) in self._lost.items()]

    def _keep(self, records: Iterable[Record]) -> None:
        """From records that are not written, keep connections and marks, and count the bytes."""
        for record in records:
            if isinstance(record, Data | Rewrite | Made | Opaque | Elided | Gap) or len(self._kept) >= KEPT_RECORDS:
                self._count([record])
            else:
                self._kept.append(record)

    def _count(self, records: Iterable[Record]) -> None:
        """Count these records as lost."""
        for record in records:
            gap = gap_of(record)
            total = self._lost.setdefault((gap.connection, gap.side), [0, 0])
            total[0] += gap.bytes
            total[1] += gap.records
            if gap is not record:  # the writer of the Gap has already counted it
                self.lost_bytes += gap.bytes
                self.lost_records += gap.records


def _with_marks(parts: Sequence[bytes], marks: Iterable[Record]) -> list[bytes]:
    """These pieces, and each mark at the place of its time."""
    found = list(parts)
    place = 0
    for mark in marks:
        while place < len(found) and time_of(*found[place : place + 2]) <= mark.time_ns:
            place += 2
        found[place:place] = encode_parts([mark])
    return found


def _notes(parts: Sequence[bytes]) -> list[Record]:
    """The records among these pieces, without the plain reads after a connection's start-up."""
    return _decoded([one for head, rest in zip(parts[::2], parts[1::2], strict=True) if not head for one in (head, rest)])


def _decoded(parts: Sequence[bytes]) -> list[Record]:
    return decode_all(b"".join(parts))
