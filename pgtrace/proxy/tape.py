"""What passed, on its way from the event loop to the capture: bounded in bytes, never waiting.

The loop appends, a thread writes. Between them stand three rules:

- The loop never waits. It appends two pieces of bytes for each read, the head of its record and what was read, and takes them off `room`; where there is no
  room (the disk stalls), the bytes are counted in a Gap of their direction and forgotten. Traffic goes on.
- The thread runs no Python for a single read: it joins the pieces of a batch, checks them and writes them, and those three give the interpreter back to the
  loop. Whatever it does for each read is done while a read of the loop waits (docs/forwarding.md has the numbers).
- A batch leaves every TICK_S, so kill -9 loses less than 250 ms, and when it holds BATCH_BYTES. Its room comes back when it is written: ROOM_BYTES bounds
  what waits and what is being written, together.

What a failing disk refuses becomes a Gap too; records that are not bytes (a connection that opened, a mark) are kept and written with it when the disk takes
data again.

What the user wants left out (capture/hiding.py) is the thread's work as well, the last step before the disk. That is done for each read, and only where it
was asked for. Should it ever fail, no bytes are written any more: they are Gaps from there on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from pgtrace.capture.record import NEITHER, Data, Elided, Gap, Made, Opaque, Record, Rewrite, decode_all, encode, encode_parts
from pgtrace.protocol.codes import BACKEND

if TYPE_CHECKING:
    from pgtrace.capture.hiding import Hiding

ROOM_BYTES: Final = 32 * 1024 * 1024
"""Bytes that may wait for the disk, objects included."""
BATCH_BYTES: Final = 1024 * 1024
ITEM_BYTES: Final = 160
"""What the head, the frame of the bytes object and the places of both in a list take."""
NOTE_BYTES: Final = 500
"""What a record other than a plain read takes, its bytes of the stream aside."""
RESERVE_BYTES: Final = 1024 * 1024
"""Records other than data may overdraw the room by this much, so that a stalled disk loses bytes before it loses connections."""
TICK_S: Final = 0.05
KEPT_RECORDS: Final = 10_000
"""Records other than data that are kept for a failing disk."""


class Writer(Protocol):
    """CaptureWriter or SegmentWriter."""

    @property
    def records(self) -> int: ...

    def append(self, parts: list[bytes], notes: list[Record]) -> int: ...
    def close(self) -> None: ...


class Tape:
    """The bounded list. Its methods belong to the loop's thread; `room` and `append` are the hot path."""

    __slots__ = (
        "_answers",
        "_call_soon",
        "_free",
        "_granted",
        "_lost",
        "_writing",
        "append",
        "key",
        "lost_bytes",
        "lost_records",
        "notes",
        "parts",
        "room",
        "scribe",
    )

    def __init__(self, call_soon: Callable[..., Any], key: bytes) -> None:
        """`key` is what secrets are hashed with; it lives and dies with the recorder."""
        self.key = key
        self.parts: list[bytes] = []
        """Two for each record: capture/record.py, encode_parts()."""
        self.append: Callable[[bytes], None] = self.parts.append
        self.notes: list[Record] = []
        """The records in `parts` that are no plain reads, for whoever needs to look at them."""
        self.room = BATCH_BYTES
        """Bytes that may be appended until somebody has to look."""
        self.lost_bytes = 0
        self.lost_records = 0
        self.scribe: Scribe
        """Who writes; set before the first turn."""
        self._free = ROOM_BYTES - BATCH_BYTES
        self._granted = BATCH_BYTES  # what the batch that is being filled may take of ROOM_BYTES
        self._writing = 0  # batches that are not written yet
        self._lost: dict[tuple[int, int], list[int]] = {}
        self._answers: list[Callable[[int], None]] = []
        self._call_soon = call_soon

    def has_room(self) -> bool:
        """Whether a read can be appended, once what fills the batch has left."""
        if self.room <= 0 < self._free:
            self._seal()
        return self.room > 0

    def lose(self, connection: int, side: int, size: int) -> None:
        """Count a read there is no room for."""
        lost = self._lost.setdefault((connection, side), [0, 0])
        lost[0] += size
        lost[1] += 1
        self.lost_bytes += size
        self.lost_records += 1

    def add(self, record: Record, size: int = 0) -> None:
        """Append a record that is no plain read; `size` counts the bytes of the stream in it."""
        if self.has_room() or self.room + RESERVE_BYTES > 0:
            self.room -= NOTE_BYTES + size
            self.append(b"")
            self.append(encode(record))
            self.notes.append(record)
        else:
            self.lose(0, NEITHER, size)

    def flush(self, answer: Callable[[int], None]) -> None:
        """Have everything appended so far written, then call `answer` with the capture's position."""
        self._answers.append(answer)
        self._tell_lost()
        self._seal()

    @property
    def waiting_bytes(self) -> int:
        """What waits for the disk or is being written."""
        return ROOM_BYTES - self._free - self.room

    def turn(self) -> None:
        """Hand the writer what is there, unless it is still busy: the timer calls this."""
        if not self._writing:
            self._tell_lost()
            if self.parts:
                self._seal()

    def _seal(self) -> None:
        """Hand the writer what is there, and begin the next batch."""
        parts, notes, answers, cost = self.parts, self.notes, self._answers, self._granted - self.room
        self.parts, self.notes, self._answers = [], [], []
        self.append = self.parts.append
        self._writing += 1
        self._free += self.room
        self._granted = self.room = 0
        self._grant()
        self.scribe.submit(parts, notes, lambda position: self._call_soon(self._written, cost, answers, position))

    def _grant(self) -> None:
        """Give the batch that is being filled as much as a batch may take, or what there is."""
        more = min(BATCH_BYTES - self._granted, self._free)
        self._free -= more
        self._granted += more
        self.room += more
        if self.room > 0:
            self._tell_lost()

    def _written(self, cost: int, answers: list[Callable[[int], None]], position: int) -> None:
        self._writing -= 1
        self._free += cost
        self._grant()
        for answer in answers:
            answer(position)

    def _tell_lost(self) -> None:
        """A Gap for each direction that lost something, before what is read from now on."""
        for (connection, side), (size, count) in self._lost.items():
            gap = Gap(monotonic_ns(), connection, side, size, count)
            self.append(b"")
            self.append(encode(gap))
            self.notes.append(gap)
        self._lost.clear()


class Scribe:
    """The writer thread: pieces in, blocks of the capture out."""

    def __init__(self, writer: Writer, hiding: Hiding | None = None) -> None:
        self.error: str | None = None
        """Why the last write failed, or why bytes are not written at all; None while all is well."""
        self.lost_bytes = 0
        """Bytes the disk refused."""
        self._writer = writer
        self._hiding = hiding
        self._defect: str | None = None  # of the hiding
        self._kept: list[Record] = []
        self._lost: dict[tuple[int, int], list[int]] = {}
        self._position = writer.append([], [])
        self._batches: queue.SimpleQueue[tuple[list[bytes], list[Record], Callable[[int], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, parts: list[bytes], notes: list[Record], done: Callable[[int], None]) -> None:
        """Write a batch in the thread, then call `done` there with the capture's position."""
        self._batches.put((parts, notes, done))

    def finish(self, timeout_s: float) -> bool:
        """End the capture; False where the disk did not take it in time."""
        self._batches.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._write(*batch[:2])
            done = batch[2]
            batch = None  # its memory is given back before its room
            done(self._position)
        self._writer.close()

    def _write(self, parts: list[bytes], notes: list[Record]) -> None:
        if self._hiding is not None:
            parts, notes = self._hidden(self._hiding, list(decode_all(b"".join(parts))))
        if late := self._late():
            parts, notes = encode_parts(late) + parts, late + notes
        before = self._writer.records
        try:
            self._position = self._writer.append(parts, notes)
        except OSError as error:
            self.error = error.strerror or str(error)
            written = self._writer.records - before
            self._keep(record for at in range(2 * written, len(parts), 2) for record in decode_all(parts[at] + parts[at + 1]))
        else:
            self.error = self._defect
            self._kept = []
            self._lost = {}

    def _hidden(self, hiding: Hiding, records: list[Record]) -> tuple[list[bytes], list[Record]]:
        """The records to write for these, in both forms; nothing but what is no bytes once the hiding has failed."""
        if self._defect is None:
            try:
                hidden = hiding(records)
                return encode_parts(hidden), hidden
            except Exception as error:  # a defect of ours: what should be blanked is not written
                self._defect = (
                    f"what was to be left out could not be found ({type(error).__name__}: {error}): no bytes are written any more"
                )
        self._keep(self._late() + records)
        return [], []

    def _late(self) -> list[Record]:
        """What was kept of records that could not be written, with a Gap for each direction that lost something."""
        now = monotonic_ns()
        return self._kept + [Gap(now, connection, side, size, count) for (connection, side), (size, count) in self._lost.items()]

    def _keep(self, records: Iterable[Record]) -> None:
        """Of what is not written: remember connections and marks, count the bytes."""
        kept: list[Record] = []
        lost: dict[tuple[int, int], list[int]] = {}
        for record in records:
            size, count = 0, 1
            match record:
                case Data() | Rewrite():
                    size = len(record.data)
                    where = (record.connection, record.side)
                case Made():
                    size = len(record.data)
                    where = (record.connection, BACKEND)
                case Opaque():
                    size = record.length
                    where = (record.connection, record.side)
                case Elided():
                    size = record.bytes
                    where = (record.connection, record.side)
                case Gap():
                    size, count = record.bytes, record.records
                    where = (record.connection, record.side)
                case _ if len(kept) < KEPT_RECORDS:
                    kept.append(record)
                    continue
                case _:
                    where = (0, NEITHER)
            total = lost.setdefault(where, [0, 0])
            total[0] += size
            total[1] += count
            if type(record) is not Gap:  # whoever wrote the Gap has counted its bytes
                self.lost_bytes += size
        self._kept, self._lost = kept, lost
