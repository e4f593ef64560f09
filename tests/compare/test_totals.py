"""What a comparison says adds up to the counters of the capture, on every capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.compare.behaviour import ROUND_TRIP, SETUP, Behaviour
from pgtrace.compare.totals import Side
from pgtrace.trace.trace import Trace
from tests import corpus


def side(path: Path) -> Side:
    behaviour = Behaviour.open([path])
    while behaviour.update():
        pass
    found = Side.of(behaviour.conversations(), behaviour.steps, behaviour.texts, behaviour.in_transaction)
    behaviour.close()
    return found


@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_steps_and_statements_add_up_to_the_counters(path: Path) -> None:
    trace = Trace.open([path])
    while trace.update():
        pass
    totals, compared = trace.totals(), side(path)
    trace.close()
    flights = {step.flight for step in compared.steps if not step.parts}
    of_statements = [facts for name, facts in compared.facts.items() if name not in flights]
    assert compared.number(ROUND_TRIP) == sum(facts.round_trips for facts in compared.facts.values()) == totals.round_trips
    assert compared.number(SETUP) == totals.setup_round_trips
    assert sum(facts.executions for facts in of_statements) == totals.executions
    assert sum(facts.parses for facts in of_statements) == totals.parses_named + totals.parses_unnamed
    assert sum(facts.named for facts in of_statements) == totals.parses_named
