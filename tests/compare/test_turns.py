"""Which side of a pooler the numbers of a turn are of."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pgtrace.compare.turns import measure
from pgtrace.legs.joins import find
from tests import playbook
from tests.legs.both_sides import BOTH
from tests.traces import fully_read


def test_numbers_behind_a_pooler_are_of_the_drivers_side(tmp_path: Path) -> None:
    with closing(fully_read(playbook.write(tmp_path / "both.pgtrace", BOTH))) as trace:
        joins = find(trace)
        assert joins is not None
        assert measure(trace, "both", 1, joins, draws=False).side == "leg:A"
        assert measure(trace, "both", 1, draws=False).side == ""
