"""What variants do differently from the first one, and each statement under each."""

from __future__ import annotations

from pathlib import Path

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.side_by_side import SideBySide, differences
from pgtrace.compare.variants import Variant
from tests import playbook
from tests.compare.test_variants import turn

SIMPLE = "F Query SELECT 1\nB DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\nend\n"
EXTENDED = """
F Parse - SELECT $1 | Sync
B ParseComplete | ReadyForQuery I
F Bind - - | Execute - | Sync
B BindComplete | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
end
"""


def behaviour(path: Path, script: str) -> Behaviour:
    found = Behaviour.open([playbook.write(path, script)])
    while found.update():
        pass
    return found


def test_statements_and_changes(tmp_path: Path) -> None:
    found = SideBySide([Variant(label, [turn(label, 1)]) for label in ("simple", "extended", "again")], 1)
    scripts = {"simple": SIMPLE, "extended": EXTENDED, "again": SIMPLE}
    behaviours = {label: behaviour(tmp_path / f"{label}.pgtrace", script) for label, script in scripts.items()}
    differences(found, behaviours)
    for one in behaviours.values():
        one.close()
    (statement,) = found.statements
    assert {label: (facts.round_trips, facts.executions, facts.parses) for label, facts in statement.facts.items()} == {
        "simple": (1, 1, 0),
        "extended": (2, 1, 1),
        "again": (1, 1, 0),
    }
    assert [change.round_trips for change in found.changes["extended"]] == [1]
    assert found.changes["again"] == []
    assert found.is_complete


def test_a_failure_makes_it_incomplete() -> None:
    found = SideBySide([Variant("a", [turn("a", 1)])], 1)
    found.variants[0].failures.append("turn 1 ended with exit code 3")
    assert not found.is_complete
    assert not SideBySide([Variant("a", [turn("a", 1)])], 1, notes=[]).variants[0].failures
