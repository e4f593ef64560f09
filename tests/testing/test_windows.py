"""Windows of one recorder: what they cost, that they stay apart, and that a thousand of them take no more memory than a few."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from pgtrace.testing.suite import LiveWindow, Settings, Suite

pytestmark = pytest.mark.live


WINDOWS = 1_000
ROUND_TRIPS = 100
MS_A_WINDOW = 3.0
US_A_ROUND_TRIP = 150.0
BUSY = 4
"""How much slower than the bounds a busy machine may be; measured on an idle one: 0.9 ms of wall
and 0.4 of CPU a window, 23 us of CPU a round trip."""
MOST_GROWTH = 32 * 1024 * 1024
MS_OF_START = 5.0


@pytest.fixture
def suite(server):
    suite = Suite(Settings(upstream=server.url()))
    yield suite
    suite.stop()


@pytest.fixture
def connection(suite):
    with psycopg.connect(suite.url(), autocommit=True, prepare_threshold=0) as connection:
        yield connection


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_thousand_windows(suite, connection):
    """Each has the round trips and the values of its own; what a window costs does not grow, nor does what they keep."""
    taken = []
    for number in range(WINDOWS):
        began = time.process_time()
        window = suite.begin(f"window {number}", LiveWindow)
        begun = time.process_time() - began
        for value in range(number % 3 + 1):
            connection.execute(f"select %s::int as of_{number % 7}", (value,))
        began = time.process_time()
        suite.end(window)
        assert window.complete
        assert window.executions == number % 3 + 1
        assert window.round_trips == window.executions + (number < 7)  # psycopg prepares a statement once, in a round trip of its own
        assert [one.executions for one in window.statements] == [number % 3 + 1]
        assert f"of_{number % 7}" in window.statements[0].sql
        taken.append(begun + time.process_time() - began)
        window.interval.forget_statements()
        if number == 50:
            before = resident_bytes()
    assert resident_bytes() - before < MOST_GROWTH
    assert sum(sorted(taken)[: WINDOWS // 2]) / (WINDOWS // 2) * 1e3 < MS_A_WINDOW * BUSY
    assert sum(taken[-200:]) < 5 * sum(taken[50:250]) + 0.1


def test_what_a_round_trip_costs(suite, connection):
    def run(number: int) -> None:
        for value in range(number):
            connection.execute("select %s::int", (value,))

    run(20)
    costs = []
    for _ in range(10):
        window = suite.begin("busy", LiveWindow)
        run(ROUND_TRIPS)
        began = time.process_time()
        suite.end(window)
        costs.append(time.process_time() - began)
        assert window.round_trips == ROUND_TRIPS
    assert sorted(costs)[len(costs) // 2] / ROUND_TRIPS * 1e6 < US_A_ROUND_TRIP * BUSY


def test_windows_within_windows(suite, connection):
    with suite.window("outer", LiveWindow) as outer:
        connection.execute("select 1 as outside")
        with suite.window("inner", LiveWindow) as inner:
            connection.execute("select 1 as inside")
        assert (outer.round_trips, inner.round_trips) == (4, 2)
    assert [(one.sql, one.live, one.names) for one in inner.statements] == [("select $1 as inside", 1, ["_pg3_1"])]
    assert {one.sql for one in outer.statements} == {"select $1 as inside", "select $1 as outside"}


def test_windows_of_one_name_are_apart(suite, connection):
    """A test that is run again has a window of its own, though its mark has the same name."""
    found = []
    for times in (1, 2):
        with suite.window("again", LiveWindow) as window:
            for _ in range(times):
                connection.execute("select 'again'", prepare=False)
        found.append(window)
    assert [window.round_trips for window in found] == [1, 2]
    assert [window.statement("select ...").executions for window in found] == [1, 2]


def test_the_plugin_costs_nothing_where_it_is_not_used():
    """pytest imports it in every run: it imports nothing but pytest, and that takes no time."""
    script = (
        "import json, sys, time, pytest, _pytest.config\n"
        "before, began = set(sys.modules), time.process_time()\n"
        "import pgtrace.testing.pytest_plugin\n"
        "print(json.dumps([time.process_time() - began, sorted(set(sys.modules) - before)]))"
    )
    runs = [json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout) for _ in range(3)]
    assert min(seconds for seconds, _ in runs) * 1e3 < MS_OF_START
    assert set(runs[0][1]) - {"pgtrace", "pgtrace.testing", "pgtrace.testing.pytest_plugin"} == set()
