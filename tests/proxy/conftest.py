from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import commands


@pytest.fixture(scope="module", autouse=True)
def _forked() -> Iterator[None]:
    with commands.recorders():
        yield
