"""A capture once more, blanked: what was recorded is not in it, everything counts the same, and what cannot be read is not kept."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Opaque, Record, Resume
from pgtrace.capture.redacted import RedactedCopy
from pgtrace.capture.segments import SegmentWriter
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.capture.test_capture_hiding import NOT_COUNTED, counted
from tests.corpus import CAPTURES, name
from tests.playbook import SECRET, SECRET_SAID

SCRIPT = f"\nsetting redact rows{SECRET_SAID}"
SAMPLE = [path for path in CAPTURES if path.stem in ("copy_in", "failure", "pipeline", "notify")]


def copied(path: Path, out: Path, *redact: str) -> Path:
    with closing(RedactedCopy(str(path), str(out), redact or ("all",))) as copy:
        while copy.step():
            assert 0 <= copy.done <= 1
    return out


def records_of(path: Path) -> list[Record]:
    with closing(CaptureReader(path, follow=False)) as reader:
        found: list[Record] = []
        while blocks := reader.read():
            found += [record for block in blocks for record in block.records]
        return found


def test_what_was_recorded_is_not_in_it(tmp_path: Path) -> None:
    path = playbook.write(tmp_path / "recorded.pgtrace", SCRIPT)
    assert path.read_bytes().count(SECRET.encode()) == 5
    assert SECRET.encode() not in copied(path, tmp_path / "all").read_bytes()
    assert copied(path, tmp_path / "params", "params").read_bytes().count(SECRET.encode()) == 3


def test_it_says_what_is_blanked_and_what_was(tmp_path: Path) -> None:
    path = copied(playbook.write(tmp_path / "recorded.pgtrace", SCRIPT), tmp_path / "copy", "params")
    with closing(Trace.open([path])) as trace:
        trace.update()
        assert trace.settings[0, "redact"] == "params,rows"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("path", SAMPLE, ids=name)
def test_everything_counts_the_same(path: Path, tmp_path: Path) -> None:
    copy = copied(path, tmp_path / path.name)
    assert counted(copy, without=NOT_COUNTED) == counted(path, without=NOT_COUNTED)
    assert sum(len(record.data) for record in records_of(copy) if isinstance(record, Data)) == sum(
        len(record.data) for record in records_of(path) if isinstance(record, Data)
    )


def test_segments_become_one_file_and_what_begins_before_them_is_not_kept(tmp_path: Path) -> None:
    script = f"F Query select '{SECRET}'\nB CommandComplete SELECT 1 | ReadyForQuery I\n" * 30
    records = records_of(playbook.write(tmp_path / "recorded.pgtrace", f"{script}end"))
    directory = tmp_path / "kept"
    writer = SegmentWriter(directory, 1 << 20, segment_bytes=1000)
    for start in range(0, len(records), 5):
        writer.write(records[start : start + 5])
    writer.close()
    assert len(list(directory.iterdir())) > 2
    copy = copied(directory, tmp_path / "copy")
    assert SECRET.encode() not in copy.read_bytes()
    assert not any(isinstance(record, Opaque) for record in records_of(copy))
    sorted(directory.iterdir())[0].unlink()
    later = copied(directory, tmp_path / "later")
    found = records_of(later)
    assert any(isinstance(record, Resume) for record in found)
    assert not any(isinstance(record, Data) for record in found)
    assert any(isinstance(record, Opaque) for record in found)
    assert SECRET.encode() not in later.read_bytes()
