"""What a failure says about a number adds up to it: the rows it lists, and what the window cuts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.ask.budgets import Budget, number
from pgtrace.ask.evidence import NO_SUMS, cut
from pgtrace.ask.filter.amounts import Amounts
from pgtrace.testing.explain import over_budget
from pgtrace.testing.selected import Selected
from pgtrace.testing.window import Window
from pgtrace.trace.counters import INTEGER_KEYS
from pgtrace.trace.marks import BY_OPENING
from tests import corpus
from tests.playbook import write
from tests.traces import fully_read

CUT = """
1  F Query SELECT 1
2  mark begin m
3  B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
5  F Query SELECT 2
7  B DataRow 2 ×2 | CommandComplete SELECT 2 | ReadyForQuery I
8  F Query SELECT 3
9  mark end m
10 B DataRow 3 ×4 | CommandComplete SELECT 4 | ReadyForQuery I
"""


def test_what_a_window_cuts_is_said(tmp_path: Path) -> None:
    trace = fully_read(write(tmp_path / "x.pgtrace", CUT))
    window = Window(trace, "m")
    lines = over_budget(window, window, [Budget("rows", 2), Budget("round_trips", 1)])
    assert lines[1] == "    rows is 3, at most 2; 1 of it in round trips that began before the window or ended after it"
    assert lines[2] == "    round_trips is 2, at most 1"
    assert cut(trace, window.intervals, "rows", window.rows) == 1
    trace.close()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_what_a_filter_selects_is_in_the_rows_it_lists(path: Path) -> None:
    trace = fully_read(path)
    for text in ("rt > 0", "rows > 0 or error"):
        selected = Selected(trace, text, range(len(trace.rows)))
        assert selected.show().count("\n") <= len(selected.places)
        for counter in set(INTEGER_KEYS) - NO_SUMS - set(BY_OPENING) - {"client_ns"}:
            amounts = Amounts(trace, counter)
            of_round_trips = [place for place in selected.places if trace.rows[place].is_round_trip]
            assert sum(amounts(place, trace.rows.entry(place)) for place in of_round_trips) == number(selected.counters, counter), counter
    trace.close()


def test_counts_that_were_not_kept_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fully_read(write(tmp_path / "whole.pgtrace", CUT))
    from pgtrace.session import effects

    monkeypatch.setattr(effects, "COUNTS_BYTES", 600)
    trace = fully_read(write(tmp_path / "x.pgtrace", CUT))
    for text in ("", "rows > 1"):
        mine, right = (Selected(one, text, range(len(one.rows))).counters for one in (trace, whole))
        assert mine == right, text
    trace.close()
    whole.close()
