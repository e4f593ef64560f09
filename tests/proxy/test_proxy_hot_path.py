"""What is done for a read, counted: calls and lines, no clock. Whoever adds to the hot path has to come here and say so."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pgtrace.capture.record import Data, Open, Resume
from pgtrace.capture.segments import SegmentWriter, segment_files
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.relay import Leg, Session
from pgtrace.proxy.tape import Tape
from pgtrace.proxy.writer_thread import WriterThread
from tests.proxy.recorded import of_kind, records_in
from tests.proxy.wire import READY, STARTUP


@pytest.fixture
async def session():
    """Logged in; what it sends is collected by a list."""
    made = Session(1, Pauses(Tape(lambda *_: None, b"key")), asyncio.get_running_loop(), 0)
    made.tape.add(Open(1, 1, "listener", "upstream", "client", "", 1))
    made.frontend.data_received(STARTUP)
    made.backend.data_received(READY)
    sent: list[bytes] = []
    made.frontend.write = made.backend.write = sent.append
    return made


def calls(action: Callable[[], object]) -> Counter[str]:
    """The functions called by `action`, those of C included, by name."""
    found: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            found[argument.__name__] += 1
        elif event == "call":
            found[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    del found["setprofile"]
    return found


def lines(action: Callable[[], object]) -> int:
    """The lines of Python that `action` runs."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    gc.disable()  # its callbacks, such as hypothesis', are lines as well
    sys.settrace(note)
    try:
        action()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize("side", ["frontend", "backend"])
def test_a_read_is_six_calls(session, side):
    leg: Leg = getattr(session, side)
    expected = {"<lambda>": 1, "data_received": 1, "monotonic_ns": 1, "append": 1 + 2, "len": 1, "pack": 1}
    assert calls(lambda: leg.data_received(b"Q\0\0\0\x0dselect 1\0")) == expected


def recorded(session: Session, reads: int) -> list[bytes]:
    """The pieces of so many reads in both directions."""
    session.tape.parts.clear()
    for number in range(reads):
        (session.backend if number % 2 else session.frontend).data_received(b"x" * 100)
    return session.tape.parts[:]


@pytest.mark.parametrize("kind", [CaptureWriter, lambda path: SegmentWriter(path, 1 << 30)], ids=["file", "segments"])
def test_the_writer_runs_no_line_for_a_single_read(session, kind, tmp_path):
    writer = WriterThread(kind(tmp_path / "written"))
    few, many = (recorded(session, reads) for reads in (10, 3000))
    cost = [lines(lambda parts=parts: writer._write(parts, [])) for parts in (few, few, many)]
    assert writer.finish(30)
    assert 0 < cost[1] == cost[2]


async def test_a_new_segment_knows_where_both_streams_stand(session, tmp_path: Path):
    writer = SegmentWriter(tmp_path / "kept", 1 << 20, segment_bytes=2000)
    writer.append(session.tape.parts, session.tape.notes)
    stood = []
    while len(segment_files(tmp_path / "kept")) < 3:
        stood.append((session.frontend.offset, session.backend.offset))
        writer.append(recorded(session, 7), [])
    writer.close()
    resumed = [of_kind(records_in(path), Resume)[0] for _, path in segment_files(tmp_path / "kept")[1:]]
    assert resumed[-1].offsets == stood[-1]
    assert resumed[0].offsets in stood[1:-1]
    assert all(record.startup == STARTUP for record in resumed)


async def test_what_was_appended_is_what_was_read(session, tmp_path: Path):
    path = tmp_path / "written"
    writer = WriterThread(CaptureWriter(path))
    writer._write(recorded(session, 5), [])
    assert writer.finish(30)
    found = of_kind(records_in(path), Data)
    assert [(record.connection, record.side, record.data) for record in found] == [
        (1, BACKEND if number % 2 else FRONTEND, b"x" * 100) for number in range(5)
    ]
    assert [record.offset for record in found] == [len(STARTUP), len(READY), len(STARTUP) + 100, len(READY) + 100, len(STARTUP) + 200]
    assert [record.time_ns for record in found] == sorted(record.time_ns for record in found)
