"""What is recorded when everything is well, when the disk stalls and when it refuses."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.capture.record import Close, Data, Fact, Gap, Mark, Opaque, Open, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy import tape as tape_module
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.relay import Leg, Session
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.writer_thread import WriterThread
from tests.proxy.recorded import of_kind, records_in
from tests.proxy.wire import READY, STARTUP


class Disk:
    """A CaptureWriter whose disk can be made to hang or to be full."""

    def __init__(self, path: Path) -> None:
        self._writer = CaptureWriter(path)
        self.go_on = threading.Event()
        self.go_on.set()
        self.full = False
        self.closed = False

    @property
    def records(self) -> int:
        return self._writer.records

    @property
    def offset(self) -> int:
        return self._writer.offset

    def append(self, parts: list[bytes], notes: list[Record]) -> int:
        assert self.go_on.wait(30)
        if self.full and parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._writer.append(parts)

    def close(self) -> None:
        self.closed = True
        self._writer.close()


class Loop:
    """A tape, its writer and a disk; call_soon runs at once, in the writer's thread, while the test waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = Disk(path)
        self.tape = Tape(self._call_soon, b"key")
        self.tape.writer = WriterThread(self.disk)
        self._pauses = Pauses(self.tape)
        self._sessions: dict[int, Session] = {}
        self._calls: list[Callable[[], None]] = []
        self._called = threading.Semaphore(0)

    def _call_soon(self, action: Callable[..., None], *arguments: object) -> None:
        self._calls.append(lambda: action(*arguments))
        self._called.release()

    def step(self) -> None:
        """Let one batch finish."""
        assert self._called.acquire(timeout=30)
        self._calls.pop(0)()

    def flush(self) -> int:
        positions: list[int] = []
        self.tape.flush(positions.append)
        while not positions:
            self.step()
        return positions[0]

    def leg(self, side: int, connection: int = 1) -> Leg:
        """One direction of a session; there is nobody to write to."""
        if connection not in self._sessions:
            self._sessions[connection] = Session(connection, self._pauses, None, 0)  # type: ignore[arg-type]
        session = self._sessions[connection]
        return session.frontend if side == FRONTEND else session.backend

    def read(self, side: int, data: bytes, connection: int = 1) -> None:
        """A socket had this."""
        self.leg(side, connection).data_received(data)

    def log_in(self, connection: int = 1) -> None:
        self.read(FRONTEND, STARTUP, connection)
        self.read(BACKEND, READY, connection)


@pytest.fixture
def loop(tmp_path):
    made = Loop(tmp_path / "tape.pgtrace")
    yield made
    made.disk.go_on.set()
    assert made.tape.writer.finish(30)
    assert made.disk.closed


def test_offsets_follow_each_direction(loop):
    loop.log_in()
    loop.read(FRONTEND, b"abc")
    loop.leg(BACKEND).record_made(b"made")
    loop.leg(BACKEND).record_rewritten(b"original", b"sent")
    loop.read(BACKEND, b"after")
    loop.read(FRONTEND, b"other", 2)
    position = loop.flush()
    found = records_in(loop.path)
    assert position == loop.path.stat().st_size
    assert [(type(record).__name__, record.connection, record.offset) for record in found] == [
        ("Data", 1, 0),
        ("Data", 1, 0),
        ("Data", 1, len(STARTUP)),
        ("Made", 1, len(READY)),
        ("Rewrite", 1, len(READY) + 4),
        ("Data", 1, len(READY) + 8),
        ("Opaque", 2, 0),
    ]


def test_what_waits_is_bounded_and_what_does_not_fit_is_a_gap(loop):
    loop.log_in()
    loop.flush()
    assert loop.tape.waiting_bytes == 0
    loop.disk.go_on.clear()
    chunk = bytes(1 << 20)
    for _ in range(56):
        loop.read(BACKEND, chunk)
        loop.tape.tick()
    assert loop.tape.waiting_bytes < tape_module.ROOM_BYTES + 2 * len(chunk)
    lost = loop.tape.lost_bytes
    assert lost > 20 << 20
    loop.tape.add(Mark(5, True, "still recorded", 1))
    loop.disk.go_on.set()
    loop.flush()
    loop.read(BACKEND, b"goes on")
    loop.flush()
    found = records_in(loop.path)
    gaps = of_kind(found, Gap)
    assert [(gap.connection, gap.side, gap.bytes) for gap in gaps] == [(1, BACKEND, lost)]
    assert sum(gap.records for gap in gaps) == lost // len(chunk)
    assert [mark.name for mark in of_kind(found, Mark)] == ["still recorded"]
    last = of_kind(found, Data)[-1]
    assert last.data == b"goes on"
    assert last.offset == len(READY) + 56 * len(chunk)
    assert [type(record) for record in found].index(Gap) < found.index(last)
    assert loop.tape.waiting_bytes == 0


def test_a_password_behind_a_gap_is_blanked(loop):
    loop.read(FRONTEND, STARTUP)
    loop.disk.go_on.clear()
    for size in (100_000, 1):  # the reserve of start-ups included
        lost = loop.tape.lost_records
        while loop.tape.lost_records == lost:
            loop.tape.add(Fact(1, 2, "key", "v" * size))
    loop.read(BACKEND, b"R\0\0\0\x08\0\0\0\3")
    loop.disk.go_on.set()
    loop.flush()
    loop.read(FRONTEND, b"p\0\0\0\x0bsecret\0")
    loop.flush()
    found = records_in(loop.path)
    assert [gap.bytes for gap in of_kind(found, Gap) if gap.side == BACKEND] == [9]
    assert [record.data for record in of_kind(found, Data)] == [STARTUP, b"p\0\0\0\x0b******\0"]
    assert b"secret" not in loop.path.read_bytes()


def test_a_start_up_that_cannot_be_framed_is_not_kept(loop):
    loop.read(FRONTEND, STARTUP)
    loop.read(BACKEND, b"R\0\0\0\x08\0\0\0\3")
    loop.read(FRONTEND, b"p\0\0\0\0secret\0")
    loop.read(FRONTEND, b"secret")
    loop.flush()
    found = records_in(loop.path)
    assert [(record.side, record.offset, record.length) for record in of_kind(found, Opaque)] == [
        (FRONTEND, len(STARTUP), 12),
        (FRONTEND, len(STARTUP) + 12, 6),
    ]
    assert b"secret" not in loop.path.read_bytes()


def test_a_full_disk_loses_bytes_and_keeps_connections(loop):
    loop.disk.full = True
    loop.tape.add(Open(1, 1, "l", "u", "c", "", 0))
    loop.log_in()
    loop.read(BACKEND, b"lost")
    loop.tape.add(Fact(2, 1, "key", "value"))
    loop.flush()
    assert loop.tape.writer.error == "No space left on device"
    loop.read(FRONTEND, b"more")
    loop.tape.add(Close(3, 1, FRONTEND, "FIN"))
    loop.flush()
    assert loop.tape.writer.lost_bytes == len(STARTUP) + len(READY) + 8
    loop.disk.full = False
    loop.flush()
    assert loop.tape.writer.error is None
    found = records_in(loop.path)
    assert [type(record).__name__ for record in found] == ["Open", "Fact", "Close", "Gap", "Gap"]
    assert {(gap.side, gap.bytes) for gap in of_kind(found, Gap)} == {(FRONTEND, len(STARTUP) + 4), (BACKEND, len(READY) + 4)}


def test_flush_waits_for_what_was_appended_before_it(loop):
    loop.log_in()
    loop.disk.go_on.clear()
    loop.tape.tick()
    loop.read(FRONTEND, b"behind")
    positions: list[int] = []
    loop.tape.flush(positions.append)
    assert positions == []
    loop.disk.go_on.set()
    loop.step()
    assert positions == []
    loop.step()
    assert positions == [loop.path.stat().st_size]
    assert of_kind(records_in(loop.path), Data)[-1].data == b"behind"


def test_a_stalled_disk_does_not_keep_more_than_its_share_of_records(loop):
    loop.disk.go_on.clear()
    for number in range(1, 24_001):  # by their bytes alone all of them would have room
        loop.tape.add(Fact(1, number, "key", "value" * 100))
    assert loop.tape.waiting_bytes <= tape_module.ROOM_BYTES + tape_module.RESERVE_BYTES + tape_module.NOTE_BYTES
    assert loop.tape.lost_records > 0
    loop.disk.go_on.set()
    loop.flush()
    assert [(gap.connection, gap.records) for gap in of_kind(records_in(loop.path), Gap)] == [(0, loop.tape.lost_records)]
