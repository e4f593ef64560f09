"""What a comparison says adds up to the counters of the capture, on every capture and in generated sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace.compare.behaviour import ROUND_TRIP, SETUP, Behaviour
from pgtrace.compare.totals import Facts, Side
from pgtrace.trace.counters import Counters
from tests import corpus
from tests.generated import STEPS, script
from tests.playbook import write
from tests.traces import fully_read


def side(path: Path) -> Side:
    with closing(Behaviour.open([path])) as behaviour:
        while behaviour.update():
            pass
        return Side.of(behaviour.conversations(), behaviour.steps, behaviour.texts, behaviour.in_transaction)


def totals(path: Path) -> Counters:
    with closing(fully_read(path)) as trace:
        return trace.totals()


def sums(compared: Side) -> Iterator[tuple[str, int, int]]:
    """What is summed, its sum over all facts, and the same for round trips that no statement pays for, under their flights."""
    flights = {step.flight for step in compared.steps if not step.parts}
    for name in Facts.__dataclass_fields__:
        numbers = {key: getattr(facts, name) for key, facts in compared.facts.items()}
        if all(isinstance(number, int) for number in numbers.values()):
            yield name, sum(numbers.values()), sum(number for key, number in numbers.items() if key in flights)


def check(path: Path) -> None:
    counted, compared = totals(path), side(path)
    found = {name: number for name, number, _ in sums(compared)}
    assert found["round_trips"] == compared.number(ROUND_TRIP) == counted.round_trips
    assert compared.number(SETUP) == counted.setup_round_trips
    assert found["executions"] == counted.executions
    assert found["parses"] == counted.parses_named + counted.parses_unnamed
    assert found["named"] == counted.parses_named
    assert {name for name, _, of_flights in sums(compared) if of_flights} <= {"round_trips"}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_steps_and_statements_add_up_to_the_counters(path: Path) -> None:
    check(path)


@settings(max_examples=150 if corpus.NIGHTLY else 60)
@given(st.lists(st.integers(0, len(STEPS) - 1), max_size=8), st.integers(1, 4), st.booleans())
@example(list(range(len(STEPS))), 2, True)
def test_so_they_do_in_generated_sessions(tmp_path_factory: pytest.TempPathFactory, steps: list[int], times: int, cut: bool) -> None:
    lines = script(steps * times).splitlines()
    lines = lines[:-1] if cut else lines  # the last round trip is open
    check(write(tmp_path_factory.mktemp("generated") / "x.pgtrace", "\n".join(lines) or "F Sync"))
