"""The evidence of a budget adds up to the counter it explains: each counter, of the capture, each
driver, mark and statement, on every capture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.ask.budgets import STATEMENT_KEYS, number
from pgtrace.ask.evidence import BETWEEN, CUT, NO_ROW, NO_SUMS, CounterEvidence, EvidenceGroup
from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.sqltext import fingerprint
from pgtrace.trace.counters import INTEGER_KEYS, Counters
from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.trace import Trace
from tests import corpus
from tests.generated import STEPS, script
from tests.playbook import write
from tests.traces import fully_read


def keys(counters: Counters) -> list[str]:
    messages = [f"{table}.{name}" for table in ("frontend_messages", "backend_messages") for name in getattr(counters, table)]
    return [*INTEGER_KEYS, *messages]


def counted(trace: Trace) -> Iterator[tuple[str, str, str, int]]:
    """(about, name, counter, value) of everything a budget can be about."""
    sources: list[tuple[str, str, Counters]] = [("capture", "", trace.totals())]
    sources += [("driver", driver, counters) for driver, _, counters in trace.drivers()]
    sources += [("mark", name, counters) for name, counters in trace.mark_counters().items()]
    for about, name, counters in sources:
        for key in keys(counters):
            yield about, name, key, number(counters, key)
    statements: dict[str, StatementGroup] = {}
    for view in trace.statements():
        one = view.group
        statements.setdefault(one.fingerprint or fingerprint(one.sql), StatementGroup(one.sql, one.fingerprint)).merge(one)
    for group in statements.values():
        for key in STATEMENT_KEYS:
            yield "statement", group.sql, key, number(group, key)


def rest(groups: tuple[EvidenceGroup, ...]) -> list[tuple[str, int]]:
    return [(group.why, group.amount) for group in groups if group.why]


def check(trace: Trace, source: Trace | None = None) -> dict[str, int]:
    """Everything adds up; how often there was a rest, by its reason."""
    evidence = CounterEvidence(source or trace)
    rests: dict[str, int] = {}
    for about, name, counter, value in counted(source or trace):
        groups = evidence.of(counter, value, about, name)
        if counter == "max_pipeline_depth":
            assert max((group.amount // group.times for group in groups), default=0) <= value
        elif counter not in NO_SUMS:
            assert sum(group.amount for group in groups) == value, (about, name, counter)
        for why, amount in rest(groups):
            assert counter == "client_ns" or (about == "mark" and why == CUT) or why == NO_ROW, (about, name, counter, amount)
            rests[f"{about} {counter} {why}"] = amount
    return rests


@pytest.mark.sampled(6)
@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_it_adds_up_on_every_capture(path: Path) -> None:
    """And so does the evidence of what a filter selects."""
    trace = fully_read(path)
    rests = check(trace)
    assert {reason for reason in rests if not reason.endswith(BETWEEN)} <= {f"mark {key} {CUT}" for key in keys(trace.totals())}
    again = CountedTrace(parse("rows > 0 or error").over(trace))
    while again.update():
        pass
    rests = check(trace, again)
    assert all(reason.endswith((BETWEEN, CUT)) for reason in rests), rests
    again.close()
    trace.close()


@settings(max_examples=300 if corpus.NIGHTLY else 40, deadline=None)
@given(st.lists(st.integers(-2, len(STEPS) - 1), min_size=1, max_size=8), st.integers(1, 3), st.booleans())
def test_it_adds_up_in_generated_sessions(tmp_path_factory: pytest.TempPathFactory, steps: list[int], times: int, cut: bool) -> None:
    """Marks begin and end anywhere, nested, with one name or two, and in the middle of a round trip."""
    lines: list[str] = []
    opened: list[str] = []
    for step in steps * times:
        if step >= 0:
            lines += script([step]).splitlines()
        elif step == -1 or not opened:
            opened.append(f"m{len(opened) % 2}")
            lines.append(f"mark begin {opened[-1]}")
        else:
            lines.append(f"mark end {opened.pop()}")
        if step < 0 and len(lines) > 1 and lines[-2][0] in "FB":  # in the middle of what is under way
            lines[-2:] = [lines[-1], lines[-2]]
    trace = fully_read(write(tmp_path_factory.mktemp("generated") / "x.pgtrace", "\n".join(lines[:-1] if cut else lines) or "F Sync"))
    check(trace)
    trace.close()


def test_what_a_mark_cuts_is_the_rest(tmp_path: Path) -> None:
    text = """
    1  F Query SELECT 1
    2  mark begin m
    3  B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    5  F Query SELECT 2
    7  B DataRow 2 ×2 | CommandComplete SELECT 2 | ReadyForQuery I
    8  F Query SELECT 3
    9  mark end m
    10 B DataRow 3 ×4 | CommandComplete SELECT 4 | ReadyForQuery I
    """
    trace = fully_read(write(tmp_path / "x.pgtrace", text))
    counters, evidence = trace.mark_counters()["m"], CounterEvidence(trace)
    assert (counters.rows, counters.round_trips, counters.queries) == (3, 2, 2)
    rows = evidence.of("rows", counters.rows, "mark", "m")
    assert [(group.first_row, group.times, group.amount, group.why) for group in rows] == [(4, 1, 2, ""), (0, 0, 1, CUT)]
    queries = evidence.of("queries", counters.queries, "mark", "m")
    assert [(group.first_row, group.amount, group.why) for group in queries] == [(4, 1, ""), (0, 1, CUT)]
    whole = evidence.of("round_trips", counters.round_trips, "mark", "m")
    assert [(group.times, group.amount, group.why) for group in whole] == [(2, 2, "")]
    trace.close()


def test_counts_that_were_not_kept_are_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgtrace.session import effects

    monkeypatch.setattr(effects, "COUNTS_BYTES", 2_000)
    trace = fully_read(write(tmp_path / "x.pgtrace", script(list(range(len(STEPS))))))
    rests = check(trace)
    assert any(reason == f"capture round_trips {NO_ROW}" for reason in rests)
    trace.close()
