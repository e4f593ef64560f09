"""A trace of lines of a playbook, for tests that look at a few of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.trace.trace import Trace
from tests import playbook

Read = Callable[..., Trace]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Read]:
    with ExitStack() as stack:

        def of(*lines: str) -> Trace:
            trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", "\n".join(lines))])
            stack.callback(trace.close)
            trace.read_until(1 << 62)
            return trace

        yield of
