"""Which side of a pooler the numbers of a turn are of."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pgtrace.cli.reading import read_joined
from pgtrace.compare.turns import measure
from tests import playbook
from tests.legs.both_sides import BOTH
from tests.traces import fully_read


def test_numbers_behind_a_pooler_are_of_the_drivers_side(tmp_path: Path) -> None:
    path = playbook.write(tmp_path / "both.pgtrace", BOTH)
    with closing(fully_read(path)) as trace:
        both = measure(trace, "both", 1, draws=False)
    trace, joins = read_joined([path], quiet=True)
    with closing(trace):
        drivers = measure(trace, "both", 1, joins, draws=False)
        sides = [one for one in trace.connections if one.index not in trace.apart]
        round_trips = sum(counters.round_trips for one, counters in trace.connection_counters() if one in sides)
    assert drivers.connections == len(sides) < both.connections
    assert drivers.counters.round_trips == round_trips < both.counters.round_trips
