"""The comparison of `make suites`, with a suite of three tests: one that no proxy can satisfy, one
that fails everywhere, one that passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from tests.suites.comparison import compare
from tests.suites.suite import FAILED, PASSED, Outcome, Outcomes, Suite, worst
from tests.suites.table import markdown
from tests.suites.ways import PLAIN, Target

QUESTIONS = {
    "the port is the server's": "select inet_server_port() = %s",
    "never": "select %s < 0",
    "the server is there": "select %s > 0",
}


@dataclass(frozen=True, kw_only=True)
class Small(Suite):
    def fetch(self, home: Path) -> None:
        pass

    def run(self, home: Path, target: Target, only: Sequence[str]) -> Outcomes:
        with psycopg.connect(f"postgresql:{target.url}") as connection:
            answers = {name: connection.execute(sql, (target.port,)).fetchone() for name, sql in QUESTIONS.items()}
        return {name: Outcome(PASSED if answer == (True,) else FAILED) for name, answer in answers.items() if not only or name in only}


def test_difference_is_found_and_known(tmp_path):
    suite = Small(name="small", version="1", known={"the port": "a proxy has a port of its own"})
    comparison = compare(suite, PLAIN, tmp_path)
    assert [difference.test for difference in comparison.differences] == ["the port is the server's"]
    (difference,) = comparison.differences
    assert (difference.direct, difference.through) == (Counter({PASSED: 4}), Counter({FAILED: 4}))
    assert difference.steady
    assert comparison.unexplained == []
    another = Small(name="another", version="1", known=suite.known)
    other = replace(comparison, suite=another, differences=list(comparison.differences))
    comparison.differences[0] = type(difference)(difference.test, difference.direct, difference.through, "", reason="")
    assert comparison.unexplained == comparison.differences
    table = markdown([comparison])
    assert "| small | 1 | plain | 3 | 2 passed, 1 failed, 0 skipped | 1 passed, 2 failed, 0 skipped | 2 | 0 | 1 |" in table
    assert "passed ×4 direct, failed ×4 through; **a bug**" in table
    both = markdown([other], table)
    assert markdown([], both) == markdown([comparison, other]) == both
    assert both.index("| another |") < both.index("| small |")
    assert both.count("**a bug**") == 1


def test_test_is_what_its_worst_phase_was():
    phases = [["a", "passed", ""], ["a", "failed", "no"], ["a", "passed", ""], ["b", "passed", ""], ["b", "skipped", ""]]
    assert {name: outcome.word for name, outcome in worst(phases).items()} == {"a": "failed", "b": "skipped"}
