"""What passed, on its way from the event loop to the capture: bounded in bytes, never waiting.

The loop appends, a thread writes. Between them stand two rules:

- The loop never waits. It appends a tuple `(time_ns, connection, side, data)` or a record to `items` and takes its bytes off `room`; when there is no
  room (the disk stalls), the bytes are counted in a Gap of their direction and forgotten. Traffic goes on.
- Everything heavy is the thread's: offsets, redaction of the start-up phase, encoding, writing. It gets one batch at a time; the room of a batch
  comes back when the batch is written. So ROOM_BYTES bounds what waits and what is being written, together.

A batch leaves every TICK_S, so kill -9 loses less than 250 ms. What a failing disk refuses becomes a Gap too; records that are not bytes (a
connection that opened, a mark) are kept and written with it when the disk takes data again.

What the user wants left out (capture/hiding.py) is the thread's work too: the last step before the capture.

The bytes of a connection whose start-up cannot be framed, or of which a piece is missing, are stored as Opaque: blanking fails closed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from pgtrace.capture.record import DECRYPTED, Close, Data, Fact, Gap, Made, Opaque, Record, Rewrite
from pgtrace.capture.redact import Redactor
from pgtrace.protocol.codes import BACKEND

if TYPE_CHECKING:
    from pgtrace.capture.hiding import Hiding

ROOM_BYTES: Final = 16 * 1024 * 1024
"""Bytes that may wait for the disk, objects included."""
ITEM_BYTES: Final = 200
"""What a tuple, its integers and the head of its bytes object take."""
RESERVE_BYTES: Final = 1024 * 1024
"""Records other than data may overdraw the room by this much, so that a stalled disk loses bytes before it loses connections."""
TICK_S: Final = 0.05
SLICE_BYTES: Final = 512 * 1024
SLICE_RECORDS: Final = 4096
KEPT_RECORDS: Final = 10_000
"""Records other than data that are kept for a failing disk."""

Item = Any
"""`(time_ns, connection, side, data)` for a read, a record for everything else: the hot path makes no object of a class of ours."""


class Writer(Protocol):
    """CaptureWriter or SegmentWriter."""

    @property
    def records(self) -> int: ...

    def write(self, records: list[Record]) -> int: ...
    def close(self) -> None: ...


class Tape:
    """The bounded list. Its methods belong to the loop's thread; `room`, `append` and `lose` are the hot path."""

    __slots__ = ("_call_soon", "_lost", "_waiting", "_writing", "append", "items", "lost_bytes", "lost_records", "room", "scribe")

    def __init__(self, call_soon: Callable[..., Any]) -> None:
        self.items: list[Item] = []
        self.append: Callable[[Item], None] = self.items.append
        self.room = ROOM_BYTES
        self.lost_bytes = 0
        self.lost_records = 0
        self._lost: dict[tuple[int, int], list[int]] = {}
        self.scribe: Scribe
        """Who writes; set before the first turn."""
        self._call_soon = call_soon
        self._writing = False
        self._waiting: list[Callable[[int], None]] = []

    def lose(self, connection: int, side: int, size: int) -> None:
        """Count a read there is no room for."""
        lost = self._lost.setdefault((connection, side), [0, 0])
        lost[0] += size
        lost[1] += 1
        self.lost_bytes += size
        self.lost_records += 1

    def add(self, record: Record, size: int = 0) -> None:
        """Append a record that is no plain read; `size` counts the bytes of the stream in it."""
        if self.room + RESERVE_BYTES > 0:
            self.room -= ITEM_BYTES + size
            self.append(record)
        else:
            self.lose(0, 2, size)

    def flush(self, answer: Callable[[int], None]) -> None:
        """Have everything appended so far written, then call `answer` with the capture's position."""
        self._waiting.append(answer)
        self.turn()

    @property
    def waiting_bytes(self) -> int:
        """What waits for the disk or is being written."""
        return ROOM_BYTES - self.room

    def turn(self) -> None:
        """Hand the writer what is there, unless it is still busy: the timer calls this."""
        if self._writing or not (self.items or self._waiting or self._lost):
            return
        items, answers = self.items, self._waiting
        items.extend(Gap(monotonic_ns(), connection, side, size, count) for (connection, side), (size, count) in self._lost.items())
        self._lost.clear()
        self.items, self._waiting = [], []
        self.append = self.items.append
        self._writing = True
        cost = ROOM_BYTES - self.room
        self.scribe.submit(items, lambda position: self._call_soon(self._written, cost, answers, position))

    def _written(self, cost: int, answers: list[Callable[[int], None]], position: int) -> None:
        self._writing = False
        self.room += cost
        for answer in answers:
            answer(position)
        if self._waiting:
            self.turn()


class _Stream:
    """What the writer knows of one connection."""

    __slots__ = ("offsets", "redactor")

    def __init__(self, key: bytes) -> None:
        self.offsets = [0, 0]
        self.redactor: Redactor | None = Redactor(key)
        """None once a piece of the start-up is missing: nothing behind it can be blanked."""


class Scribe:
    """The writer thread: items in, records of the capture out."""

    def __init__(self, writer: Writer, key: bytes, hiding: Hiding | None = None) -> None:
        self.error: str | None = None
        """Why the last write failed, None while the disk takes what it gets."""
        self.lost_bytes = 0
        """Bytes the disk refused."""
        self._writer = writer
        self._key = key
        self._hiding = hiding
        self._streams: dict[int, _Stream] = {}
        self._plain: dict[int, list[int]] = {}  # the offsets of the connections whose start-up is over
        self._kept: list[Record] = []
        self._lost: dict[tuple[int, int], list[int]] = {}
        self._position = writer.write([])
        self._batches: queue.SimpleQueue[tuple[list[Item], Callable[[int], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, items: list[Item], done: Callable[[int], None]) -> None:
        """Write `items` in the thread, then call `done` there with the capture's position. One batch at a time."""
        self._batches.put((items, done))

    def finish(self, timeout_s: float) -> bool:
        """End the capture; False where the disk did not take it in time."""
        self._batches.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            batch = self._batches.get()
            if batch is None:
                self._writer.close()
                return
            items, done = batch
            for start in range(0, len(items), SLICE_RECORDS):
                self._encode(items[start : start + SLICE_RECORDS])
            if self._kept or self._lost:
                self._write([])
            batch = items = None  # type: ignore[assignment]
            done(self._position)

    def _encode(self, items: list[Item]) -> None:
        records: list[Record] = []
        size = 0
        plain = self._plain
        new: Callable[..., Data] = tuple.__new__
        for item in items:
            if type(item) is tuple:
                time_ns, connection, side, data = item
                offsets = plain.get(connection)
                if offsets is not None:  # start-up is over: nearly every record comes here
                    offset = offsets[side]
                    offsets[side] = offset + len(data)
                    records.append(new(Data, (time_ns, connection, side, offset, data)))
                else:
                    records.append(self._starting(time_ns, connection, side, data))
                size += len(data)
            else:
                records.append(self._other(item))
            if size > SLICE_BYTES:
                self._write(records)
                records, size = [], 0
        if records:
            self._write(records)

    def _starting(self, time_ns: int, connection: int, side: int, data: bytes) -> Data | Opaque:
        """The record of a read whose connection may still be in its start-up: blanked, or Opaque where that cannot be done."""
        stream = self._streams.get(connection)
        if stream is None:
            stream = self._streams[connection] = _Stream(self._key)
        offset = stream.offsets[side]
        stream.offsets[side] = offset + len(data)
        blanked = stream.redactor.feed(side, data) if stream.redactor is not None else None
        if stream.redactor is None or blanked is None:
            return Opaque(time_ns, connection, side, offset, len(data))
        if stream.redactor.done:
            self._plain[connection] = stream.offsets
        return Data(time_ns, connection, side, offset, blanked)

    def _own(self, time_ns: int, connection: int, side: int, data: bytes) -> int:
        """The offset of bytes of our own; there is nothing to blank in them, but whoever blanks the rest must see them."""
        offsets = self._plain.get(connection)
        if offsets is None:
            return self._starting(time_ns, connection, side, data).offset
        offset = offsets[side]
        offsets[side] += len(data)
        return offset

    def _other(self, record: Record) -> Record:
        if isinstance(record, Made):
            return record._replace(offset=self._own(record.time_ns, record.connection, BACKEND, record.data))
        if isinstance(record, Rewrite):
            return record._replace(offset=self._own(record.time_ns, record.connection, record.side, record.data))
        if isinstance(record, Fact) and record.key == DECRYPTED:
            stream = self._streams.setdefault(record.connection, _Stream(self._key))
            if stream.redactor is not None:
                stream.redactor.decrypted()
        elif isinstance(record, Gap) and record.connection:
            stream = self._streams.setdefault(record.connection, _Stream(self._key))
            stream.offsets[record.side] += record.bytes
            if record.connection not in self._plain:
                stream.redactor = None
        elif isinstance(record, Close):
            self._streams.pop(record.connection, None)
            self._plain.pop(record.connection, None)
        return record

    def _write(self, records: list[Record]) -> None:
        if self._hiding is not None:
            records = self._hiding(records)
        if self._kept or self._lost:
            now = monotonic_ns()
            gaps: list[Record] = [Gap(now, connection, side, size, count) for (connection, side), (size, count) in self._lost.items()]
            records = self._kept + gaps + records
        written = self._writer.records
        try:
            self._position = self._writer.write(records)
        except OSError as error:
            self.error = error.strerror or str(error)
            self._keep(records[self._writer.records - written :])
        else:
            self.error = None
            self._kept = []
            self._lost = {}

    def _keep(self, records: list[Record]) -> None:
        """Of what the disk refused: remember connections and marks, count the bytes."""
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
                case Gap():
                    size, count = record.bytes, record.records
                    where = (record.connection, record.side)
                case _ if len(kept) < KEPT_RECORDS:
                    kept.append(record)
                    continue
                case _:
                    where = (0, 2)
            total = lost.setdefault(where, [0, 0])
            total[0] += size
            total[1] += count
        self.lost_bytes += sum(size for size, _ in lost.values()) - sum(size for size, _ in self._lost.values())
        self._kept, self._lost = kept, lost
