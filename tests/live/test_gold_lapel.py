"""Gold Lapel's proxy between two legs: what it answers itself, renames and adds, without any network (`make poolers`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pgtrace.legs.joins import State, find
from pgtrace.trace.trace import Trace
from tests.live.gold_lapel import CLIENTS, ITEMS, TURNS
from tests.live.test_pooler_legs import tags

PROXY = os.environ.get("PGTRACE_GOLDLAPEL", "")
ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(not PROXY, reason="Gold Lapel is not here: make poolers"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a network of its own needs root, on Linux"),
]


def test_what_it_answers_itself_renames_and_adds(tmp_path: Path) -> None:
    path = tmp_path / "both.pgtrace"
    command = ["unshare", "--net", "--", sys.executable, "-m", "tests.live.gold_lapel", PROXY, str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert ran.returncode == 0, ran.stderr
    stored, rolled_back = map(int, ran.stdout.split())
    trace = Trace.open([path])
    trace.read_until(1 << 62)
    with contextlib.closing(trace):
        joins = find(trace)
        assert joins is not None
        (pooler,) = joins.poolers
        told = joins.as_dict()
        answered: Counter[str] = Counter()
        passed_on: Counter[str] = Counter()
        for place, row in enumerate(trace.rows):
            state, sql = joins.state(place), row.label.sql
            if trace.connections[row.connection].leg == "A":
                answered[sql] += state is State.SWALLOWED
                passed_on[sql] += state in (State.JOINED, State.AMBIGUOUS)
                if state is State.JOINED:
                    assert tags(trace, place) == {tag for one in joins.across(place) for tag in tags(trace, one)}, "joined wrongly"
        own = dict(joins.own_statements(pooler))
    assert sum(told[key] for key in ("joined", "ambiguous", "unjoined", "swallowed")) == pooler.fronts
    assert told["unjoined"] == 0
    assert told["ambiguous"] <= 0.1 * told["joined"]
    # a cache of results, for look-ups without parameters
    look_ups = [f"select name from items where id = {number}" for number in range(ITEMS)]
    assert sum(answered[sql] for sql in look_ups) >= 0.9 * TURNS
    assert answered["select name from items where id = $1"] == 0
    # BEGIN, COMMIT and ROLLBACK too: the server is in no transaction, which the rows in its table confirm
    assert answered["BEGIN"] > 0.5 * CLIENTS * TURNS
    assert rolled_back >= 2 * answered["ROLLBACK"] > 0, "rows that were rolled back, and are there"
    assert passed_on["insert into tagged values ($1)"] >= stored
    assert told["renamed"] > 0
    assert all(name.startswith("_goldlapel") for name in pooler.names.values())
    assert any("_goldlapel" in sql for sql in own), "it has a schema of its own"
    assert 1 <= own["ROLLBACK; DISCARD ALL"] <= CLIENTS
