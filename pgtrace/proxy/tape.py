"""What passed, on its way from the event loop to the capture: bounded in bytes, and never waiting.

The loop appends, a thread writes. Three rules apply:

- The loop never waits. For each read it appends two pieces, the head of the record and the bytes,
  and subtracts them from `room`. If there is no room because the disk stalls, the bytes are counted
  in a Gap of their direction and forgotten. Traffic continues.
- The thread runs no Python for a single read. It joins the pieces of a batch, checksums them and
  writes them, and during those three the loop can run. Anything it did for each read would hold up
  a read of the loop (docs/forwarding.md has the figures).
- A batch leaves every TICK_S, so kill -9 loses less than 250 ms, and also when it holds
  BATCH_BYTES. Its room becomes free when it is written. ROOM_BYTES bounds the bytes that wait and
  those being written, together.

writer_thread.py says what the thread does with a batch, and what happens to records that cannot be
written. A record that the format cannot hold (a mark whose name takes 17 MiB) is refused here,
where it is encoded; a Gap counts it, and the user gets a message.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from pgtrace.capture.record import DISK, NEITHER, Gap, Pause, Record, Unwritable, encode, gap_of

if TYPE_CHECKING:
    from pgtrace.proxy.writer_thread import WriterThread

ROOM_BYTES: Final = 32 * 1024 * 1024
"""The most bytes that may wait for the disk, objects included."""
BATCH_BYTES: Final = 1024 * 1024
ITEM_BYTES: Final = 160
"""The size of a read's head, of its bytes object without the bytes, and of both their places in a
list."""
NOTE_BYTES: Final = 500
"""The memory of a record other than a plain read, without its contents."""
RESERVE_BYTES: Final = 1024 * 1024
"""How far records other than data may overdraw the room, so that a stalled disk loses bytes before
it loses connections."""
OVERDRAWN_BYTES: Final = 4 * 1024 * 1024
"""How far reads that had already arrived may overdraw the room when traffic begins to wait."""
HANGING_S: Final = 30.0
"""How long the disk may accept nothing before traffic stops waiting for it."""
TICK_S: Final = 0.05


class Tape:
    """The bounded list. Its methods belong to the loop's thread; `room` and `append` are the hot
    path."""

    __slots__ = (
        "_answers",
        "_call_soon",
        "_dropping",
        "_free",
        "_granted",
        "_lost",
        "_moved_ns",
        "_position",
        "_writing",
        "append",
        "holding",
        "key",
        "lost_bytes",
        "lost_records",
        "notes",
        "on_holding",
        "parts",
        "refused",
        "report",
        "room",
        "waits",
        "writer",
    )

    def __init__(
        self, call_soon: Callable[..., Any], key: bytes, report: Callable[[str], None] = lambda _: None, *, waits: bool = False
    ) -> None:
        """`key` is the key for hashing secrets; it lives and dies with the recorder. `report` gets
        the reason if something is not recorded.

        With `waits`, traffic waits if there is no room, as long as the disk accepts data.
        """
        self.key = key
        self.report = report
        self.waits = waits
        self.holding = False
        """Whether traffic waits for the disk now."""
        self.on_holding: Callable[[], object] = lambda: None
        """Called when `holding` has changed: pauses.py stops reading, or resumes."""
        self.parts: list[bytes] = []
        """Two for each record: see encode_parts() in capture/record.py."""
        self.append: Callable[[bytes], None] = self.parts.append
        self.notes: list[Record] = []
        """The records in `parts` other than plain reads, for writers that need the records
        themselves."""
        self.room = BATCH_BYTES
        """How many bytes may be appended before the slow path has to check the room."""
        self.lost_bytes = 0
        self.lost_records = 0
        self.refused: str | None = None
        """Why the last record that the format cannot hold was refused. The next flush reports
        it."""
        self.writer: WriterThread
        """Writes the batches; set before the first turn."""
        self._free = ROOM_BYTES - BATCH_BYTES
        self._granted = BATCH_BYTES  # how much of ROOM_BYTES the present batch may take
        self._writing = 0  # batches that are not written yet
        # The disk fails or hangs: traffic does not wait until everything is written.
        self._dropping = False
        self._position = 0  # where the writer was when it last moved, and when that was
        self._moved_ns = monotonic_ns()
        self._lost: dict[tuple[int, int], list[int]] = {}
        self._answers: list[Callable[[int], None]] = []
        self._call_soon = call_soon

    def has_room(self) -> bool:
        """Whether a read can be appended, if necessary after the present batch has left."""
        if self.room <= 0 < self._free:
            self._seal()
        return self.room > 0

    def hold(self) -> bool:
        """There is no room: stop reading until there is. Returns False if traffic does not wait, or
        if the room is already overdrawn."""
        if not self.waits or self._dropping or self.room < -OVERDRAWN_BYTES:
            return False
        if self.writer.error is not None:
            self._drop(self.writer.error)
            return False
        if not self.holding:
            self._set_holding(True)
        return True

    def lose(self, connection: int, side: int, size: int) -> None:
        """Count a read for which there is no room."""
        lost = self._lost.setdefault((connection, side), [0, 0])
        lost[0] += size
        lost[1] += 1
        self.lost_bytes += size
        self.lost_records += 1

    def add(self, record: Record) -> None:
        """Append a record other than a plain read. If that is not possible, count it."""
        try:
            encoded = encode(record)
        except Unwritable as error:
            self.refused = str(error)
            self.report(self.refused)
        else:
            cost = NOTE_BYTES + 2 * len(encoded)  # the record and its encoding
            self.has_room()
            if self.room + self._free + RESERVE_BYTES > cost:
                self.room -= cost
                self.append(b"")
                self.append(encoded)
                self.notes.append(record)
                return
        gap = gap_of(record)
        self.lose(gap.connection, gap.side, gap.bytes)

    def flush(self, answer: Callable[[int], None]) -> None:
        """Write everything appended so far, then call `answer` with the capture's position."""
        self._answers.append(answer)
        self._write_gaps()
        self._seal()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the disk or are being written."""
        return ROOM_BYTES - self._free - self.room

    def tick(self) -> None:
        """Called by the timer: give the present batch to the writer unless it is still busy, and
        check its progress."""
        if self.waits:
            self._watch()
        if not self._writing:
            self._write_gaps()
            if self.parts:
                self._seal()

    def _watch(self) -> None:
        """Let traffic wait for a slow disk, but not for one that fails or hangs."""
        now = monotonic_ns()
        if not self._writing or self.writer.position != self._position:
            self._position, self._moved_ns = self.writer.position, now
        if self.holding and (self.writer.error is not None or now - self._moved_ns > HANGING_S * 1e9):
            self._drop(self.writer.error or f"it has accepted no data for {HANGING_S:.0f} s")

    def _drop(self, reason: str) -> None:
        """Let traffic continue without the disk until the disk has accepted everything that waits
        for it."""
        if not self._dropping:
            self._dropping = True
            self.report(f"traffic no longer waits for the disk ({reason}): some of it may not be recorded")
        if self.holding:
            self._set_holding(False)

    def _set_holding(self, holding: bool) -> None:
        self.holding = holding
        self.add(Pause(monotonic_ns(), 0, NEITHER, holding, DISK))
        self.on_holding()

    def _seal(self) -> None:
        """Give the present batch to the writer, and begin the next one."""
        parts, notes, answers, cost = self.parts, self.notes, self._answers, self._granted - self.room
        self.parts, self.notes, self._answers = [], [], []
        self.append = self.parts.append
        self._writing += 1
        self._free += self.room
        self._granted = self.room = 0
        self._grant()
        self.writer.submit(parts, notes, lambda position: self._call_soon(self._written, cost, answers, position))

    def _grant(self) -> None:
        """Give the present batch as much room as a batch may take, or as much as is left."""
        more = min(BATCH_BYTES - self._granted, self._free)
        self._free -= more
        self._granted += more
        self.room += more
        if self.room > 0:
            self._write_gaps()

    def _written(self, cost: int, answers: list[Callable[[int], None]], position: int) -> None:
        self._writing -= 1
        self._free += cost
        self._grant()
        if not self._writing and self.writer.error is None:
            self._dropping = False
        if self.holding and self._free + self.room >= ROOM_BYTES // 2:
            self._set_holding(False)
        for answer in answers:
            answer(position)

    def _write_gaps(self) -> None:
        """Write a Gap for each direction that lost bytes, before anything read from now on."""
        for (connection, side), (size, count) in self._lost.items():
            gap = Gap(monotonic_ns(), connection, side, size, count)
            self.append(b"")
            self.append(encode(gap))
            self.notes.append(gap)
        self._lost.clear()
