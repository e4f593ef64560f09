"""Every scenario of the captures of these drivers, recorded twice: the two goldens are the same text."""

from __future__ import annotations

import pytest

from captures.recording import __main__ as recording
from tests.live import scenario_server

server = scenario_server.server
DRIVERS = ("asyncpg", "psycopg", "psycopg2", "pg8000", "psql")
"""Those that need no toolchain of another language."""
PLAYED = [(driver, scenario) for driver in DRIVERS for scenario in recording.plays_of(driver)]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("driver", "scenario"), PLAYED)
def test_recorded_twice_it_is_one_golden(driver, scenario, server, tmp_path):
    play = recording.plays_of(driver)[scenario]
    found = []
    for turn in ("first", "second"):
        path = tmp_path / turn / f"{scenario}.pgtrace"
        recording.record(server, path, play)
        found.append(path.with_suffix(".trace").read_text("utf-8"))
    assert found[0] == found[1]
    assert found[0].count("ReadyForQuery") >= 1
