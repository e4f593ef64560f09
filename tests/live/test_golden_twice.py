"""Every scenario of the captures, recorded twice: the two goldens are the same text."""

from __future__ import annotations

import importlib

import pytest

from captures.recording import __main__ as recording
from captures.recording.scenarios import SCENARIOS

PLAYED = [
    (driver, scenario)
    for driver in recording.DRIVERS
    for scenario in SCENARIOS
    if scenario in importlib.import_module(f"captures.recording.with_{driver}").PLAYS
]


@pytest.mark.parametrize(("driver", "scenario"), PLAYED)
def test_recorded_twice_it_is_one_golden(driver, scenario, server, tmp_path):
    play = importlib.import_module(f"captures.recording.with_{driver}").PLAYS[scenario]
    found = []
    for turn in ("first", "second"):
        path = tmp_path / turn / f"{scenario}.pgtrace"
        recording.record(server, path, play)
        found.append(path.with_suffix(".trace").read_text("utf-8"))
    assert found[0] == found[1]
    assert found[0].count("ReadyForQuery") >= 1
