"""Sessions of PostgreSQL's own test program for pipelines, in the words of pgtrace and of libpq: the same lines in the same order.

The program traces its first connection, after two SETs of its own; see tests/data/libpq_pipeline/README.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.capture.importing import Import
from pgtrace.export import golden
from tests.traces import fully_read

DATA = Path(__file__).parents[1] / "data" / "libpq_pipeline"
LAST_BEFORE = 'F\t35\tQuery\t "SET debug_parallel_query = off"'
"""Behind it, and its two replies, libpq's trace begins."""


def first_connection(path: Path) -> list[str]:
    trace = fully_read(path)
    lines = list(golden.lines(trace))
    trace.close()
    sections = [place for place, line in enumerate(lines) if line.startswith("# connection ")]
    return lines[sections[0] + 1 : sections[1] if len(sections) > 1 else None]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.pgtrace")), ids=lambda path: path.stem)
def test_it_is_what_libpq_wrote(path: Path) -> None:
    lines = first_connection(path)
    begins = lines.index(LAST_BEFORE) + 3
    assert "".join([f"{line}\n" for line in lines[begins:]]) == path.with_suffix(".trace").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(DATA.glob("*.trace")), ids=lambda path: path.stem)
def test_libpq_s_own_file_can_be_read(path: Path, tmp_path: Path) -> None:
    with Import(str(path), str(tmp_path / "x.pgtrace")) as one:
        while one.step():
            pass
    lines = first_connection(tmp_path / "x.pgtrace")
    assert "".join([f"{line}\n" for line in lines]) == path.read_text("utf-8")


def test_all_sessions_are_there() -> None:
    assert len(list(DATA.glob("*.pgtrace"))) == len(list(DATA.glob("*.trace"))) == 10
