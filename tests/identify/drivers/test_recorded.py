"""Recorded sessions whose driver was named wrongly, or not at all, although the wire shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.traces import fully_read

RECORDED = Path(__file__).parents[2] / "data" / "drivers"


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("copyfail_names_python", "psycopg"),
        ("gopg_unknown", "unknown"),
        ("psql_without_sslrequest", "psql"),
        ("pooler_back", "pgbouncer"),
    ],
)
def test_the_driver_of_a_recorded_session(name: str, driver: str) -> None:
    trace = fully_read(RECORDED / f"{name}.pgtrace")
    assert {connection.driver for connection in trace.connections if connection.kind == "session"} == {driver}
    trace.close()
