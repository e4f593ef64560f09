"""Same outcome, test by test, direct and through pgtrace. Both routes run at once, each with a
server of its own, so that the machine's load is the same.

A test whose outcome differed is run again by itself, three times each way. It is `different` when
every outcome through pgtrace differs from every direct one; else it is `unsteady`: it differs from
itself, and so says nothing about pgtrace. A difference is `known` where the suite says why it must
be behind any proxy; every other one is a bug.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.suites.suite import FAILED, PASSED, SKIPPED, Outcome, Outcomes, Suite
from tests.suites.ways import DIRECT, THROUGH, Way, target

AGAIN = 3
ABSENT = Outcome("absent")


@dataclass(frozen=True)
class Difference:
    """A test that ended otherwise at least once: how often each way, and why it failed."""

    test: str
    direct: Counter[str]
    through: Counter[str]
    why: str
    reason: str

    @property
    def steady(self) -> bool:
        """No outcome happened on both routes."""
        return not set(self.direct) & set(self.through)


@dataclass
class Comparison:
    """One suite, one way."""

    suite: Suite
    way: Way
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def tests(self) -> set[str]:
        """Every test that either route ran or skipped."""
        return self.outcomes[DIRECT].keys() | self.outcomes[THROUGH].keys()

    @property
    def unexplained(self) -> list[Difference]:
        """What is a bug."""
        return [difference for difference in self.differences if difference.steady and not difference.reason]

    def count(self, route: str) -> Counter[str]:
        """Tests by outcome."""
        return Counter(outcome.word for outcome in self.outcomes[route].values())


def compare(suite: Suite, way: Way, cache: Path) -> Comparison:
    """Run the suite on both routes, and what differs again."""
    home = suite.home(cache)
    comparison = Comparison(suite, way)
    with ThreadPoolExecutor() as both:
        for _ in both.map(lambda route: _first(comparison, home, route), (DIRECT, THROUGH)):
            pass
    if differing := sorted(test for test in comparison.tests if len(set(_words(comparison, test))) > 1):
        comparison.differences = _again(comparison, home, differing)
    return comparison


def _first(comparison: Comparison, home: Path, route: str) -> None:
    started = time.monotonic()
    comparison.outcomes[route] = _run(comparison.suite, home, comparison.way, route, ())
    comparison.seconds[route] = time.monotonic() - started
    words = comparison.count(route)
    title = f"{comparison.suite.name} {comparison.suite.version}, {comparison.way.name}, {route}"
    figures = f"{words[PASSED]} passed, {words[FAILED]} failed, {words[SKIPPED]} skipped, {comparison.seconds[route]:.0f} s"
    print(f"{title}: {figures}", file=sys.stderr, flush=True)


def _run(suite: Suite, home: Path, way: Way, route: str, only: Sequence[str]) -> Outcomes:
    with target(way, route, suite.setup) as place:
        return suite.run(home, place, only)


def _words(comparison: Comparison, test: str) -> tuple[str, str]:
    return (
        comparison.outcomes[DIRECT].get(test, ABSENT).word,
        comparison.outcomes[THROUGH].get(test, ABSENT).word,
    )


def _again(comparison: Comparison, home: Path, tests: list[str]) -> list[Difference]:
    runs = {route: [comparison.outcomes[route]] for route in (DIRECT, THROUGH)}
    for _ in range(AGAIN):
        for route, seen in runs.items():
            seen.append(_run(comparison.suite, home, comparison.way, route, tests))
    differences = []
    for test in tests:
        counts = {route: Counter(run.get(test, ABSENT).word for run in seen) for route, seen in runs.items()}
        failures = [run[test].why for run in (*runs[THROUGH], *runs[DIRECT]) if test in run and run[test].why]
        reason = next((reason for start, reason in comparison.suite.known.items() if test.startswith(start)), "")
        differences.append(Difference(test, counts[DIRECT], counts[THROUGH], failures[0] if failures else "", reason))
    return differences
