"""The captures in the repository: counters and goldens are derived again from the bytes, and no
driver and no layer is taken for another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgtrace.export import golden
from pgtrace.identify import drivers, layers
from tests.traces import fully_read

CAPTURES = Path(__file__).parents[1] / "captures"
FILES = sorted(CAPTURES.glob("*/*.pgtrace"))
LARGEST = 256 * 1024
INDISTINCT = {
    "psycopg": {"connect", "notify", "cancel", "copy_in", "copy_out"},
    "psycopg2": {"connect", "notify", "cancel", "copy_in", "copy_out", "one_query", "ten_queries", "failure"},
    "pg8000": {"connect", "notify"},
    "django+psycopg": {"connect", "one_query", "ten_queries", "failure", "pool"},
    "django+psycopg2": {"connect", "one_query", "ten_queries", "failure"},
    "tortoise+psycopg": {"connect"},
    "pdo_pgsql": {"connect", "notify"},
    "pgx": {"connect", "notify", "cancel", "copy_out"},
}
"""Scenarios in which a driver does nothing that others do not: start-up parameters and simple queries, as libpq sends them."""
SHOWN = {"psqlpy": ("tokio-postgres", {"failure"})}
"""A driver upon another: scenarios that show it; in all others the session is told as the one inside."""
WITHOUT_LAYER = {
    "django+psycopg": {"connect"},
    "django+psycopg2": {"connect"},
    "tortoise+asyncpg": {"connect"},
    "tortoise+psycopg": {"connect"},
    "databases+asyncpg": {"connect", "executemany", "failure"},
}
"""Scenarios in which nothing passes but what anybody sends through the driver and its pool."""

LEAST = 33
"""Counters that every file has; those that came later are not in it."""


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_there_are_captures_of_every_driver_and_layer() -> None:
    names = {path.parent.name for path in FILES}
    assert {name for name in names if "+" not in name} == {driver.name for driver in drivers.DRIVERS}
    assert {name.partition("+")[0] for name in names if "+" in name} == {*layers.BY_NAME}
    for suffix in (".json", ".trace"):
        assert {path.with_suffix(suffix) for path in FILES} == set(CAPTURES.glob(f"*/*{suffix}"))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_counters_are_derived_again(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    trace = fully_read(path)
    found = trace.totals().as_dict()
    complete = trace.complete
    trace.close()
    assert complete
    recorded = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert len(recorded) >= LEAST
    assert {key: found.get(key) for key in recorded} == recorded


@pytest.mark.parametrize("path", FILES, ids=named)
def test_goldens_are_derived_again(path: Path) -> None:
    trace = fully_read(path)
    found = golden.text(trace)
    trace.close()
    assert found.encode("utf-8", "surrogateescape") == path.with_suffix(".trace").read_bytes()


def test_nobody_is_taken_for_another() -> None:
    """The confusion matrix of drivers and of layers: on the diagonal, or nothing said where the scenario shows nothing of its own.

    Not every connection of a layer's shows it: a program may open one to ask a few things through
    its driver alone. A connection without a StartupMessage has no driver: pgx asks for encryption
    on one, and where it is refused connects again.
    """
    wrong = {}
    for path in FILES:
        trace = fully_read(path)
        sessions = [connection for connection in trace.connections if connection.kind == "session"]
        found = {connection.driver for connection in sessions}, {connection.layer.name for connection in sessions} - {""}
        trace.close()
        name = path.parent.name
        layer, plus, driver = name.rpartition("+")
        inner, shown = SHOWN.get(name, ("", {path.stem}))
        if path.stem not in shown:
            driver = inner
        expected = (
            {"unknown" if path.stem in INDISTINCT.get(name, ()) else driver},
            {layer} if plus and path.stem not in WITHOUT_LAYER.get(name, ()) else set(),
        )
        if found != expected:
            wrong[named(path)] = found
    assert not wrong
