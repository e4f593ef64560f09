"""Where a statement was seen, and what became of its preparations."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.trace import sightings
from pgtrace.trace.feed import Feed
from pgtrace.trace.sightings import Sightings
from pgtrace.trace.totals import StatementView
from pgtrace.trace.trace import Trace
from tests import playbook

TRIP = "F Parse s1 {sql} | Describe S s1 | Flush", "B ParseComplete | ParameterDescription | NoData"
SCRIPT = """
0 F Query select 1
1 B CommandComplete SELECT 1 | ReadyForQuery I
10 F Query select 2
11 B CommandComplete SELECT 1 | ReadyForQuery I
20 F Query select 3; delete from t
21 B CommandComplete SELECT 1 | CommandComplete DELETE 0 | ReadyForQuery I
30 c2 F Parse - select 4 | Bind - - | Execute - | Parse - insert into t values (1) | Bind - - | Execute - | Sync
31 c2 B ParseComplete | BindComplete | CommandComplete SELECT 1 | ParseComplete | BindComplete | \
CommandComplete INSERT 0 1 | ReadyForQuery I
"""


def read(tmp_path: Path, text: str) -> tuple[Sightings, dict[str, StatementView]]:
    with closing(Trace.open([playbook.write(tmp_path / f"{len(os.listdir(tmp_path))}.pgtrace", text)])) as trace:
        trace.update()
        found = Sightings()
        feed = Feed(trace)
        feed.subscribe(found)
        feed.advance()
        return found, {view.group.sql: view for view in trace.statements()}


def test_each_statement_of_a_round_trip_is_seen(tmp_path: Path) -> None:
    found, statements = read(tmp_path, SCRIPT)
    seen = found.of(statements["select $1"].group.number, lambda _: True)
    assert seen is not None
    assert seen.flights.total() == 4
    assert seen.connections == [0, 1]
    assert (seen.first_ns, seen.last_ns) == (0, 30_000_000)
    for sql, view in statements.items():
        of_it = found.of(view.group.number, lambda _: True)
        assert of_it is not None
        assert of_it.flights.total() == view.group.round_trips, sql


def test_only_connections_that_are_asked_for(tmp_path: Path) -> None:
    found, statements = read(tmp_path, SCRIPT)
    seen = found.of(statements["select $1"].group.number, lambda connection: connection == 1)
    assert seen is not None
    assert seen.connections == [1]
    assert found.of(statements["delete from t"].group.number, lambda connection: connection == 1) is None


def test_what_is_beyond_the_bound_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "PAIRS_KEPT", 1)
    found, statements = read(tmp_path, SCRIPT)
    assert not found.complete
    assert found.of(statements["select $1"].group.number, lambda _: True) is not None
    assert found.of(statements["delete from t"].group.number, lambda _: True) is None


@pytest.mark.parametrize(
    ("leaves", "ended", "live"),
    [
        ("", {}, 1),
        ("20 F Close S s1 | Sync\n21 B CloseComplete | ReadyForQuery I", {"Close": 1}, 0),
        ("20 F Query DEALLOCATE s1\n21 B CommandComplete DEALLOCATE | ReadyForQuery I", {"DEALLOCATE": 1}, 0),
        ("20 F Query DISCARD ALL\n21 B CommandComplete DISCARD ALL | ReadyForQuery I", {"DISCARD ALL": 1}, 0),
    ],
)
def test_who_ended_a_preparation(tmp_path: Path, leaves: str, ended: dict[str, int], live: int) -> None:
    prepared = "10 F Parse s1 select a | Sync\n11 B ParseComplete | ReadyForQuery I"
    _, statements = read(tmp_path, f"{prepared}\n{leaves}")
    group = statements["select a"].group
    assert (group.ended, group.live) == (ended, live)
    _, statements = read(tmp_path, f"{prepared}\n{leaves}\n30 F Terminate\n31 c1 close F")
    assert statements["select a"].group.ended == ended


def many(connections: int, statements: int) -> str:
    """Different statements in turn on several connections."""
    trip = "{0} c{2} F Query select {3}\n{1} c{2} B CommandComplete SELECT 1 | ReadyForQuery I"
    turns = range(connections * statements)
    return "\n".join(trip.format(10 + 2 * n, 11 + 2 * n, 1 + n % connections, "a" * (1 + n // connections)) for n in turns)


def test_by_slices_it_is_the_same(tmp_path: Path) -> None:
    path = playbook.write(tmp_path / "t.pgtrace", many(2, 200) + "\n9000 c1 F Terminate\n9001 c1 close F")
    with closing(Trace.open([path])) as trace:
        trace.update()
        slices = list(trace.statements_by_slices())
        assert slices.count(None) > 5
        assert slices[-1] is not None
        by_sql = {view.group.sql: view.group.as_dict("") for view in slices[-1]}
        assert by_sql == {view.group.sql: view.group.as_dict("") for view in trace.statements()}
        assert len(by_sql) == 200


@pytest.mark.parametrize("slices", [1, 4, 7])
def test_a_connection_that_ends_meanwhile_is_counted_once(tmp_path: Path, slices: int) -> None:
    whole = playbook.write(tmp_path / "whole.pgtrace", many(3, 200) + "\n9000 c1 F Terminate\n9001 c1 close F").read_bytes()
    path = tmp_path / "t.pgtrace"
    path.write_bytes(whole[:-10])  # the block with the close is not there yet
    with closing(Trace.open([path])) as trace:
        trace.update()
        work = trace.statements_by_slices()
        for _ in range(slices):
            assert next(work) is None
        assert trace.connections[0].closed_ns is None
        path.write_bytes(whole)
        trace.update()
        assert trace.connections[0].closed_ns is not None
        found = [views for views in work if views is not None][-1]
        assert sum(view.group.round_trips for view in found) == trace.totals().round_trips == 600
