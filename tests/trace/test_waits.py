"""What an open connection waits for, and whose buffers are full."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pgtrace.capture.record import DISK, PEER, Pause
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace import waits
from pgtrace.trace.full_buffers import FullBuffers
from pgtrace.trace.trace import Trace
from tests.wire_recording import EXECUTE, FLUSH, SYNC, Recording, bind, describe, int8, message, parse, query, ready


@pytest.mark.parametrize(
    ("sent", "answered", "who", "owes"),
    [
        (parse("s", "SELECT $1", 20) + describe("S", "s") + FLUSH, b"", "server", "ParseComplete"),
        (parse("s", "SELECT $1", 20) + describe("S", "s") + FLUSH, message("1"), "server", "RowDescription"),
        (bind("", int8(1)) + EXECUTE + SYNC, message("2"), "server", "CommandComplete"),
        (query("SELECT 1"), b"", "server", "CommandComplete"),
        (query("COPY t FROM STDIN"), message("G", b"\0\0\0"), "driver", "CopyDone"),
    ],
)
def test_what_is_owed(tmp_path: Path, sent: bytes, answered: bytes, who: str, owes: str) -> None:
    recording = Recording(tmp_path / "x.pgtrace")
    connection = recording.connect()
    at = recording.now
    recording.send(connection, sent)
    if answered:
        recording.answer(connection, answered)
    recording.flush()
    with contextlib.closing(Trace.open([recording.path])) as trace:
        trace.update()
        wait = waits.of(trace, trace.connections[0])
        assert wait is not None
        assert (wait.who, wait.owes, wait.since_ns, wait.full) == (who, owes, at, ())
    recording.writer.close()


def test_nothing_is_owed(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "x.pgtrace")
    connection = recording.connect()
    recording.trip(connection, query(""), message("I") + ready())
    recording.flush()
    with contextlib.closing(Trace.open([recording.path])) as trace:
        trace.update()
        assert waits.of(trace, trace.connections[0]) is None
    recording.writer.close()


def test_whose_buffers_are_full(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "x.pgtrace")
    connection = recording.connect()
    recording.send(connection, query("SELECT 1"))
    recording._put(Pause(recording._time(), connection, BACKEND, True, PEER))
    at = recording.now
    recording.flush()
    with contextlib.closing(Trace.open([recording.path])) as trace:
        trace.update()
        wait = waits.of(trace, trace.connections[0])
        assert wait is not None
        assert wait.full == (("driver", at),)
    recording.writer.close()


def test_full_buffers_end_with_the_pause_or_the_connection() -> None:
    buffers = FullBuffers()
    buffers.note(1, Pause(0, 1, BACKEND, True, PEER))
    buffers.note(2, Pause(0, 1, BACKEND, True, PEER))
    buffers.note(3, Pause(0, 1, FRONTEND, True, PEER))
    buffers.note(4, Pause(0, 1, FRONTEND, True, DISK))
    assert buffers.of(1) == [(FRONTEND, 3), (BACKEND, 1)]
    assert buffers.of(2) == []
    buffers.note(5, Pause(0, 1, FRONTEND, False, PEER))
    assert buffers.of(1) == [(BACKEND, 1)]
    buffers.closed(1)
    assert buffers.of(1) == []
