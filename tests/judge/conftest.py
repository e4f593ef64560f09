"""Scripts and captures, advised."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.judge.advice import Advice
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.judging import Judge, Judged


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[Judge]:
    """Of the lines of a script, or of a capture."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def judge(*lines: str, capture: Path | None = None) -> Judged:
            trace = Trace.open([capture or playbook.write(tmp_path / f"{next(numbers)}.pgtrace", "\n".join(lines))])
            stack.callback(trace.close)
            trace.read_until(1 << 62)
            advice = Advice(trace)
            assert advice.update()
            left = advice.unexplained()
            return Judged(trace, advice.findings(), left.errors, left.ends)

        yield judge
