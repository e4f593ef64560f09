"""A capture in segments becomes one file that says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.capture.record import Data, End, Open, Record
from pgtrace.capture.segments import SegmentWriter, segment_files
from pgtrace.errors import OutputExists
from pgtrace.tui.actions.saving import Saving
from tests.traces import fully_read
from tests.wire_recording import MS, done, message, query, ready, startup


class Session:
    """One connection that goes on and on, in a directory of small segments."""

    def __init__(self, directory: Path, keep_bytes: int) -> None:
        self.writer = SegmentWriter(directory, keep_bytes, segment_bytes=4096)
        self._now = self.writer.header.monotonic_ns
        self._offsets = [0, 0]
        self.writer.write([Open(self._now, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40001", "10.0.0.5:5432", self.writer.header.wall_ns)])
        hello = message("R", b"\0\0\0\0") + message("K", b"\0" * 8) + ready()
        self.writer.write([self._data(0, startup(user="app", database="shop")), self._data(1, hello)])

    def work(self, trips: int) -> None:
        for number in range(trips):
            self.writer.write([self._data(0, query(f"SELECT {number} -- {'x' * 200}")), self._data(1, done("SELECT 1") + ready())])

    def end(self) -> None:
        self.writer.write([End(self._now)])

    def _data(self, side: int, data: bytes) -> Record:
        self._now += MS
        offset = self._offsets[side]
        self._offsets[side] += len(data)
        return Data(self._now, 1, side, offset, data)


def read(path: Path) -> tuple[list[str], bool, bool, int]:
    trace = fully_read(path)
    found = [row.label.sql for row in trace.rows], trace.ended, trace.complete, trace.totals().round_trips
    trace.close()
    return found


def test_segments_become_one_file_with_what_came_meanwhile(tmp_path: Path) -> None:
    session = Session(tmp_path / "capture", 1 << 30)
    session.work(60)
    saving = Saving(str(tmp_path / "capture"), str(tmp_path / "kept.pgtrace"))
    session.work(60)
    session.writer.close()
    saving.finish()
    assert len(segment_files(tmp_path / "capture")) > 3
    assert (saving.failed, saving.complete) == ("", True)
    kept, ended, complete, trips = read(tmp_path / "kept.pgtrace")
    assert kept == read(tmp_path / "capture")[0]
    assert (trips, ended, complete) == (120, True, True)
    assert (tmp_path / "kept.pgtrace").stat().st_mode & 0o777 == 0o600


def test_a_recording_that_has_ended_has_one_end(tmp_path: Path) -> None:
    session = Session(tmp_path / "capture", 1 << 30)
    session.work(3)
    session.end()
    session.writer.close()
    Saving(str(tmp_path / "capture"), str(tmp_path / "kept.pgtrace")).finish()
    (segment,) = (tmp_path / "capture").iterdir()
    assert (tmp_path / "kept.pgtrace").read_bytes() == segment.read_bytes()


def test_what_was_no_longer_kept_is_not_made_up(tmp_path: Path) -> None:
    session = Session(tmp_path / "capture", 16 * 1024)
    session.work(200)
    session.writer.close()
    assert segment_files(tmp_path / "capture")[0][0] > 1
    Saving(str(tmp_path / "capture"), str(tmp_path / "kept.pgtrace")).finish()
    kept, ended, complete, trips = read(tmp_path / "kept.pgtrace")
    assert (kept, trips) == (read(tmp_path / "capture")[0], read(tmp_path / "capture")[3])
    assert (ended, complete) == (True, False)
    assert 0 < trips < 200


def test_nothing_is_written_over(tmp_path: Path) -> None:
    session = Session(tmp_path / "capture", 1 << 30)
    session.writer.close()
    target = tmp_path / "target"
    target.write_text("mine")
    link = tmp_path / "link.pgtrace"
    link.symlink_to(target)
    with pytest.raises(OutputExists):
        Saving(str(tmp_path / "capture"), str(link))
    assert target.read_text() == "mine"
