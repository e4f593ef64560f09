"""The rows of a trace add up to its counters, each of them, on every capture and on generated sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.session import effects
from pgtrace.trace.counters import INTEGER_KEYS, Counters
from pgtrace.trace.rowsums import RowSums
from pgtrace.trace.trace import Trace
from tests import corpus
from tests.generated import STEPS, script
from tests.playbook import write
from tests.traces import fully_read

NO_SUMS = {"statements_live", "client_ns"}


def differences(trace: Trace) -> dict[str, tuple[object, object]]:
    """Counters that the rows do not add up to: of the whole, and of each connection."""
    sums = RowSums(trace)
    sums.add(trace.rows.columns(0, len(trace.rows)))
    assert sums.is_exact
    by_connection = sums.by_connection()
    total = Counters()
    for counters in by_connection.values():
        total.add(counters)
    pairs = [("total", total, trace.totals())]
    pairs += [(str(one.index), by_connection.get(one.index, Counters()), one.counters(trace.duration_ns)) for one in trace.connections]
    found: dict[str, tuple[object, object]] = {}
    for name, mine, right in pairs:
        for key in set(INTEGER_KEYS) - NO_SUMS:
            if getattr(mine, key) != getattr(right, key):
                found[f"{name}.{key}"] = getattr(mine, key), getattr(right, key)
        for key in ("frontend_messages", "backend_messages"):
            if getattr(mine, key) != getattr(right, key):
                found[f"{name}.{key}"] = getattr(mine, key), getattr(right, key)
    return found


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_rows_add_up_to_every_counter(path: Path) -> None:
    trace = fully_read(path)
    assert differences(trace) == {}
    trace.close()


@settings(max_examples=150 if corpus.NIGHTLY else 75, deadline=None)
@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=8), st.integers(1, 4), st.booleans())
def test_so_they_do_in_generated_sessions(tmp_path_factory: pytest.TempPathFactory, steps: list[int], times: int, cut: bool) -> None:
    lines = script(steps * times).splitlines()
    lines = lines[:-1] if cut else lines  # the last round trip is open
    trace = fully_read(write(tmp_path_factory.mktemp("generated") / "x.pgtrace", "\n".join(lines) or "F Sync"))
    assert differences(trace) == {}
    trace.close()


def test_what_is_not_kept_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "COUNTS_BYTES", 2_000)
    trace = fully_read(write(tmp_path / "x.pgtrace", script(list(range(len(STEPS))))))
    whole = fully_read(corpus.CAPTURES[0])
    sums = RowSums(trace)
    sums.add(trace.rows.columns(0, len(trace.rows)))
    assert not sums.is_exact
    assert trace.totals().round_trips > 10
    for one in (trace, whole):
        one.close()
