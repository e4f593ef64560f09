"""The legs of a capture: their letters, their sums, and what selects them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pgtrace.legs.sums import legs
from pgtrace.report.stats import as_dict, as_text
from pgtrace.trace.trace import Trace
from tests import playbook

TWO_LEGS = """
F Query SELECT 1
c1 fact leg A
B CommandComplete SELECT 1 | ReadyForQuery I
c2 F Query SELECT 1
c2 fact leg B
c2 B CommandComplete SELECT 1 | ReadyForQuery I
c3 F Query SELECT 2
c3 fact leg B
c3 B ErrorResponse 42601 no | ReadyForQuery I
end
"""


@contextlib.contextmanager
def read(script: str, directory: Path) -> Iterator[Trace]:
    trace = Trace.open([playbook.write(directory / "a.pgtrace", script)])
    trace.update()
    with contextlib.closing(trace):
        yield trace


def test_the_sums_of_each_leg(tmp_path: Path) -> None:
    with read(TWO_LEGS, tmp_path) as trace:
        found = [(leg.letter, leg.connections, leg.counters.round_trips, leg.counters.errors) for leg in legs(trace)]
        told = as_dict(trace)
    assert found == [("A", 1, 1, 0), ("B", 2, 2, 1)]
    assert [one["leg"] for one in told["connections"]] == ["A", "B", "B"]
    assert [(one["leg"], one["connections"], one["executions"]) for one in told["legs"]] == [("A", 1, 1), ("B", 2, 2)]


def test_connections_on_no_leg_have_a_line_and_no_element(tmp_path: Path) -> None:
    """Two captures: one has legs, the other was recorded without."""
    other = playbook.write(tmp_path / "b.pgtrace", "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nend")
    trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", TWO_LEGS), other])
    trace.update()
    with contextlib.closing(trace):
        lines = [line.split() for line in as_text(trace, "leg")]
        assert [leg["leg"] for leg in as_dict(trace)["legs"]] == ["A", "B"]
    assert [line[0] for line in lines[3:]] == ["all", "A", "B", "(no"]
    assert [int(line[-11]) for line in lines[3:]] == [4, 1, 2, 1]


def test_the_letter_is_shown_and_the_numbers_go_on(tmp_path: Path) -> None:
    with read(TWO_LEGS, tmp_path) as trace:
        assert [connection.name for connection in trace.connections] == ["a1", "b2", "b3"]


def test_one_leg_is_none(tmp_path: Path) -> None:
    with read("F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nend", tmp_path) as trace:
        assert legs(trace) == []
        assert as_dict(trace)["legs"] == []
        assert as_dict(trace)["connections"][0]["leg"] is None
        assert trace.connections[0].name == "c1"
