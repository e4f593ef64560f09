"""A running recorder, and a look into what it recorded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from pgtrace.address import Listen, Upstream
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Made, Record, Rewrite
from pgtrace.protocol.codes import BACKEND
from pgtrace.recorder import Recorder

ASKED_AGAIN_S = 0.002
"""Without a pause, two processes would be busy with the question."""
MOST_PAUSE_S = 0.02
"""What lasts is asked for less often."""
ANY_PORT = Listen(("127.0.0.1",), 0)


@contextlib.contextmanager
def recording(upstream: Upstream, listen: Listen = ANY_PORT, **options: object) -> Iterator[Recorder]:
    """A running recorder with a temporary capture."""
    with Recorder(listen, upstream, **options) as recorder:  # type: ignore[arg-type]
        yield recorder
        assert recorder.stats()["failures"] == 0, recorder.log


def records(recorder: Recorder) -> list[Record]:
    """All that is recorded up to now."""
    recorder.flush()
    return records_in(recorder.capture)


def records_in(path: Path) -> list[Record]:
    """All the records of a capture."""
    found: list[Record] = []
    with contextlib.closing(CaptureReader(path)) as reader:
        while blocks := reader.read():
            for block in blocks:
                found += block.records
    return found


def of_kind(found: list[Record], kind: type) -> list[Record]:
    """The records of one kind."""
    return [record for record in found if type(record) is kind]


def stream(found: list[Record], side: int, connection: int = 1) -> bytes:
    """One direction of a connection as the capture has it; the offsets must fit."""
    parts = bytearray()
    for record in found:
        mine = (type(record) in (Data, Rewrite) and record.side == side) or (type(record) is Made and side == BACKEND)  # type: ignore[union-attr]
        if mine and record.connection == connection:  # type: ignore[union-attr]
            assert record.offset == len(parts)  # type: ignore[union-attr]
            parts += record.data  # type: ignore[union-attr]
    return bytes(parts)


def wait_for_end(recorder: Recorder) -> list[Record]:
    """The records once no session is left."""
    wait_until_left(recorder, 0)
    return records(recorder)


def wait_until_left(recorder: Recorder, most: int, within_s: float = 60) -> None:
    """Wait until no more than so many sessions are left."""
    pause_s, deadline = ASKED_AGAIN_S, time.monotonic() + within_s
    while recorder.stats()["connections"] > most:
        assert time.monotonic() < deadline
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, MOST_PAUSE_S)
