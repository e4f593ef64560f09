"""Drivers against their own recordings, without PostgreSQL: each program ends as it did, and recorded again the golden is equal.

A process of its own serves, as a user would have it: libpq's cancel waits for the server with Python's lock held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from captures.recording.__main__ import HERE, RTT_NS, plays_of, read
from captures.recording.scenarios import SCENARIOS, Target
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.export import golden
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace
from tests.conftest import QUIET_WITHIN_S
from tests.corpus import NIGHTLY

PYTHON = (
    "asyncpg", "psycopg", "psycopg2", "pg8000", "psql", "sqlalchemy+asyncpg", "sqlalchemy+psycopg", "sqlalchemy+psycopg2",
    "sqlalchemy+pg8000",
    "django+psycopg", "django+psycopg2", "tortoise+asyncpg", "tortoise+psycopg", "databases+asyncpg", "aiopg+psycopg2",
)  # fmt: skip
SAMPLE = [
    ("asyncpg", "cancel"), ("asyncpg", "copy_in"), ("psycopg", "pipeline"), ("psycopg", "cancel"), ("psycopg2", "failure"),
    ("pg8000", "notify"), ("sqlalchemy+asyncpg", "pool"),
]  # fmt: skip
CASES = [(name, scenario) for name in PYTHON for scenario in SCENARIOS if scenario in plays_of(name)] if NIGHTLY else SAMPLE
BY_HASH = ("tortoise",)
"""Layers whose SQL depends on the seed of Python's hashes: the order of its columns."""
PASSWORD = "secret"


class Served:
    """What a serving process says."""

    port = 0
    code = -1
    mismatches: list[dict[str, Any]]
    end: dict[str, Any]


@contextmanager
def serving(path: Path, *options: str) -> Iterator[Served]:
    """`pgtrace serve` in a process of its own, with a password."""
    served = Served()
    line = [sys.executable, "-m", "pgtrace", "serve", str(path), "127.0.0.1:0", "--json", *options]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=os.environ | {"PGTRACE_SERVE_PASSWORD": PASSWORD})
    assert process.stdout is not None
    with process.stdout as said:
        try:
            served.port = int(json.loads(said.readline())["listening"][0].rpartition(":")[2])
            yield served
        finally:
            process.terminate()
            lines = [json.loads(one) for one in said.read().splitlines()]
            served.code = process.wait()
    served.mismatches, served.end = [one["mismatch"] for one in lines[:-1]], lines[-1]


@pytest.mark.parametrize(("name", "scenario"), CASES)
def test_a_scenario_is_served_to_its_driver(name: str, scenario: str, tmp_path: Path) -> None:
    path, again = HERE / name / f"{scenario}.pgtrace", tmp_path / "again.pgtrace"
    play = plays_of(name)[scenario]
    with (
        serving(path) as served,
        Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"127.0.0.1:{served.port}", {}), write=again, rtt_ns=RTT_NS) as recorder,
    ):
        try:
            play(Target(recorder.host, recorder.port, "postgres", PASSWORD, "postgres"))
        except Exception:
            if not name.startswith(BY_HASH):
                raise
        trace = Trace.open([again])
        assert recorder.quiet(trace, timeout_s=QUIET_WITHIN_S)
        trace.close()
    if name.startswith(BY_HASH) and served.mismatches:
        assert all("SELECT" in one["got"] and one["detail"] for one in served.mismatches), served.mismatches
        return
    assert served.mismatches == []
    assert served.code == 0
    assert served.end == {
        "connections": served.end["connections"],
        "mismatches": 0,
        "taken_again": 0,
        "recorded_connections_left": 0,
        "recorded_requests_left": 0,
    }
    assert served.end["connections"]
    trace = read(again)
    text = golden.text(trace)
    trace.close()
    assert text.encode("utf-8", "surrogateescape") == path.with_suffix(".trace").read_bytes()


def test_another_password_is_refused() -> None:
    import psycopg

    with (
        serving(HERE / "psycopg" / "connect.pgtrace") as served,
        pytest.raises(psycopg.OperationalError, match="password authentication failed"),
    ):
        psycopg.connect(host="127.0.0.1", port=served.port, user="postgres", password="other", dbname="postgres", connect_timeout=10)


def test_another_value_is_named_to_the_driver() -> None:
    """The driver raises the error with what differs, and so does the server's own line."""
    import psycopg

    with serving(HERE / "psycopg" / "one_query.pgtrace") as served:
        where = {"host": "127.0.0.1", "port": served.port, "user": "postgres", "password": PASSWORD, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection, pytest.raises(psycopg.Error) as caught:
            connection.execute("select id, name, price from item where id = %s", (8,))
        assert caught.value.sqlstate == "PGT01"
        assert "parameter $1: recorded" in str(caught.value)
    assert served.code == 1
    assert [one["where"] for one in served.mismatches] == [
        "connection 1 (recorded connection 1), request 2: expected Bind, got another Bind"
    ]
