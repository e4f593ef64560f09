"""Numbers of a turn: of which side of a pooler, and of rows whose bytes are not there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pgtrace.cli.reading import read_joined
from pgtrace.compare.turns import measure
from tests import playbook
from tests.legs.both_sides import BOTH
from tests.traces import fully_read

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"


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


def test_errors_whose_bytes_are_not_kept_are_counted_without_a_code() -> None:
    """A row of several errors is read again for their codes; here its bytes are not there."""
    with closing(fully_read(HOSTILE / "native-NotKept_walk_passed.pgtrace")) as trace:
        assert measure(trace, "a", 1, draws=False).sqlstates == {"?": 2}
        assert trace.totals().errors == 2
