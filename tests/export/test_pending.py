"""Rows wait for their counterpart behind a pooler, but not for ever, and each is sent once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.export import pending
from pgtrace.export.pending import WAITS_S, Pending
from pgtrace.legs.joins import State, find
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.legs.both_sides import BOTH
from tests.traces import fully_read


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with closing(fully_read(playbook.write(tmp_path / "both.pgtrace", BOTH))) as found:
        yield found


def trips(trace: Trace) -> list[int]:
    return [place for place in range(len(trace.rows)) if trace.rows[place].shape.kind is RowKind.ROUND_TRIP]


def test_at_the_end_everything_goes_with_what_is_known(trace: Trace) -> None:
    waiting = Pending(trace)
    assert waiting.ready(trips(trace), 0.0, is_last=True) == trips(trace)
    known = find(trace)
    assert known is not None
    assert waiting.joins is not None
    assert [waiting.joins.across(place) for place in trips(trace)] == [known.across(place) for place in trips(trace)]


def test_what_is_decided_goes_at_once_and_the_rest_when_it_has_waited(trace: Trace) -> None:
    waiting = Pending(trace)
    found = waiting.ready(trips(trace), 0.0)
    while waiting.joins is None:
        found += waiting.ready([], 0.0)
    found += waiting.ready([], 0.0)
    assert all(waiting.joins.state(place) is not State.NONE for place in found)
    found += waiting.ready([], WAITS_S)
    assert sorted(found) == trips(trace)
    assert waiting.ready([], 2 * WAITS_S, is_last=True) == []


def test_no_more_than_so_many_wait(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST", 2)
    monkeypatch.setattr(Pending, "_is_decided", lambda *_: False)
    assert Pending(trace).ready(trips(trace), 0.0) == trips(trace)[:-2]


def test_with_one_leg_nothing_waits(tmp_path: Path) -> None:
    path = playbook.write(tmp_path / "one.pgtrace", "F Query select 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n")
    with closing(fully_read(path)) as trace:
        assert Pending(trace).ready(trips(trace), 0.0) == trips(trace)
