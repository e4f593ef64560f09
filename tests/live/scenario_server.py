"""A PostgreSQL for the scenarios of captures/ alone: their table has a name that other tests use,
and must be the only one ever made there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgtrace.demo.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as own:
        yield own
