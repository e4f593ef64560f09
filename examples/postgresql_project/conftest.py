"""PostgreSQL comes from pytest-postgresql, which knows its address when its fixture has run.

Here it is a server that runs already (--postgresql-host and so on); `postgresql_proc` in the place of
`postgresql_noproc` starts one.
"""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def pgtrace_upstream(postgresql_noproc) -> str:
    server = postgresql_noproc
    return f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/postgres"
