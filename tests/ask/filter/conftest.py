"""Captures to filter: scripts written by the real writer (playbook.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.trace.trace import Trace
from tests.ask.filter.filter_shop import SHOP
from tests.playbook import write
from tests.traces import fully_read


@pytest.fixture
def read() -> Iterator[Callable[..., Trace]]:
    """Captures as a trace, read to their ends."""
    opened: list[Trace] = []

    def read(*paths: Path) -> Trace:
        opened.append(fully_read(*paths))
        return opened[-1]

    yield read
    for trace in opened:
        trace.close()


@pytest.fixture(scope="session")
def same_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    """The shop, read once, for tests that only ask it."""
    trace = fully_read(write(tmp_path_factory.mktemp("shop") / "shop.pgtrace", SHOP, block_records=1000))
    yield trace
    trace.close()


@pytest.fixture
def shop(read: Callable[..., Trace], tmp_path: Path) -> Trace:
    return read(write(tmp_path / "shop.pgtrace", SHOP, block_records=1000))
