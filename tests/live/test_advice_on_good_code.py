"""What advise says of the demo's work and of the example program: code that does each thing as its
driver's manual would. Each finding has its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgtrace import Recorder
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.workloads import VARIANTS, Variant
from pgtrace.demo.workloads.common import SCHEMA, Target
from pgtrace.judge.advice import Advice
from pgtrace.trace.trace import Trace

EXAMPLE = Path(__file__).parents[2] / "examples" / "count_round_trips.py"
LOOKS_UP = "its ten point queries are a loop, one value each: that is what the demo shows"
MEANT = {"23505": 1}
"""The demo's own violation of a unique key, which no finding explains."""
FOUND = {
    "asyncpg": {"n+1": LOOKS_UP},
    "psycopg text": {"n+1": LOOKS_UP},
    "psycopg binary": {"n+1": LOOKS_UP},
    "psycopg pipeline": {},
    "psycopg2": {"n+1": LOOKS_UP},
    "pg8000": {
        "n+1": f"{LOOKS_UP}; and executemany() waits for each row",
        "extra-describe": "the DB-API of pg8000 parses and describes each time, two round trips more a query; a pooler can come between",
    },
}


def advised(capture: Path) -> tuple[set[str], dict[str, int], dict[str, int]]:
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    advice = Advice(trace)
    advice.update()
    left = advice.unexplained()
    found = {one.name for one in advice.findings()}, left.errors, left.ends
    trace.close()
    return found


@pytest.fixture(scope="module")
def shop(server: EmbeddedServer) -> Iterator[str]:
    """A database with the demo's tables."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create database advised")
    with psycopg.connect(server.url().rpartition("/")[0] + "/advised", autocommit=True) as connection:
        connection.execute(SCHEMA)
    yield "advised"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop database advised with (force)")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_demo(server: EmbeddedServer, shop: str, tmp_path: Path, variant: Variant) -> None:
    with Recorder(upstream=f"{server.host}:{server.port}", write=tmp_path / "demo.pgtrace") as recorder:
        variant.load()(Target(recorder.host, recorder.port, server.user, server.password, shop))
    assert advised(tmp_path / "demo.pgtrace") == (set(FOUND[variant.name]), MEANT, {})


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_example(server: EmbeddedServer, tmp_path: Path, driver: str) -> None:
    with Recorder(upstream=f"{server.host}:{server.port}", write=tmp_path / "example.pgtrace") as recorder:
        url = recorder.url(user=server.user, password=server.password, database=server.database)
        subprocess.run(
            [sys.executable, str(EXAMPLE), "--driver", driver], env=os.environ | {"DATABASE_URL": url}, check=True, capture_output=True
        )
    found, errors, ends = advised(tmp_path / "example.pgtrace")
    assert found <= {"n+1"}  # its five lookups are a loop
    assert (errors, ends) == ({}, {})
