"""A counter as a word of the filter: it selects the rows that add to the counter, and no others."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.ask.budgets import number
from pgtrace.ask.filter import parse
from pgtrace.ask.filter.amounts import Amounts
from pgtrace.ask.filter.values import COUNTERS
from pgtrace.session import effects
from pgtrace.trace.trace import Trace
from tests.generated import STEPS, script
from tests.playbook import write
from tests.traces import fully_read

BLOCK = "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T\nF Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I"
START = "F StartupMessage user=app\nB AuthenticationOk | ReadyForQuery I"


def listed(trace: Trace, wanted: str) -> list[int]:
    return list(parse(wanted).over(trace).places())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=10), st.sampled_from(sorted(COUNTERS.values())))
def test_a_counter_is_a_word_for_the_rows_that_add_to_it(steps: list[int], counter: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory) / "a.pgtrace", f"{START}\n{script(steps)}\n{BLOCK}\nend")
        with closing(fully_read(path)) as trace:
            value, share = number(trace.totals(), counter), Amounts(trace, counter)
            places = listed(trace, f"count.{counter}")
            assert sum(share(place, trace.rows.entry(place)) for place in places) == value
            assert listed(trace, f"not count.{counter}") == sorted(set(range(len(trace.rows))) - set(places))
            for place in places:
                amount = share(place, trace.rows.entry(place))
                assert place in listed(trace, f"count.{counter}:{amount}")
                assert place not in listed(trace, f"count.{counter} > {amount}")


def test_a_row_whose_counts_were_not_kept_is_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "COUNTS_BYTES", 2_000)
    with closing(fully_read(write(tmp_path / "x.pgtrace", script(list(range(len(STEPS))))))) as trace:
        selection = parse("count.executions").over(trace)
        places = list(selection.places())
        assert selection.undecided
        assert len(places) + selection.undecided <= len(trace.rows)
        assert listed(trace, "count.backend_bytes") == list(range(len(trace.rows)))
