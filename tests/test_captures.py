"""The captures in the repository: their counters and goldens are derived again from the bytes, and no driver is taken for another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgtrace.analysis.trace import Trace
from pgtrace.export import golden

CAPTURES = Path(__file__).parents[1] / "captures"
FILES = sorted(CAPTURES.glob("*/*.pgtrace"))
LARGEST = 256 * 1024
INDISTINCT = {
    "psycopg": {"connect", "notify", "cancel", "copy_in", "copy_out"},
    "psycopg2": {"connect", "notify", "cancel", "copy_in", "copy_out", "one_query", "ten_queries", "failure"},
    "pg8000": {"connect", "notify"},
}
"""Scenarios in which a driver does nothing that others do not: start-up parameters and simple queries, as libpq sends them."""


def read(path: Path) -> Trace:
    trace = Trace.open([path])
    while trace.update():
        pass
    return trace


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_there_are_captures_of_every_driver() -> None:
    assert {path.parent.name for path in FILES} >= {"asyncpg", "psycopg", "psycopg2", "pg8000", "psql"}
    for suffix in (".json", ".trace"):
        assert {path.with_suffix(suffix) for path in FILES} == set(CAPTURES.glob(f"*/*{suffix}"))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_counters_are_derived_again(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    trace = read(path)
    found = trace.totals().as_dict()
    complete = trace.complete
    trace.close()
    assert complete
    assert {key: value for key, value in found.items() if not key.endswith("_ns")} == json.loads(
        path.with_suffix(".json").read_text("utf-8")
    )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_goldens_are_derived_again(path: Path) -> None:
    trace = read(path)
    found = golden.text(trace)
    trace.close()
    assert found.encode("utf-8", "surrogateescape") == path.with_suffix(".trace").read_bytes()


def test_no_driver_is_taken_for_another() -> None:
    """The confusion matrix: on the diagonal, or unknown where the scenario shows nothing of the driver's own."""
    wrong = {}
    for path in FILES:
        trace = read(path)
        drivers = {connection.driver for connection in trace.connections if connection.kind != "cancel"}
        trace.close()
        expected = {path.parent.name}
        if path.stem in INDISTINCT.get(path.parent.name, ()):
            expected = {"unknown"}
        if drivers != expected:
            wrong[named(path)] = drivers
    assert not wrong
