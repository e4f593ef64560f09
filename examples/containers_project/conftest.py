"""PostgreSQL comes from testcontainers, which knows its address when the container runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testcontainers.postgres import PostgresContainer


@pytest.fixture(scope="session")
def pgtrace_upstream() -> Iterator[str]:
    with PostgresContainer("postgres:18", driver=None) as container:
        yield container.get_connection_url()
