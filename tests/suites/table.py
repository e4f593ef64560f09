"""What was compared, as Markdown: a row for each suite and way, then every difference by name."""

from __future__ import annotations

from collections import Counter

from tests.suites.comparison import Comparison, Difference
from tests.suites.suite import FAILED, PASSED, SKIPPED
from tests.suites.ways import DIRECT, THROUGH

HEADER = ("suite", "version", "way", "tests", "direct", "through pgtrace", "same", "unsteady", "different", "seconds")


def markdown(comparisons: list[Comparison]) -> str:
    """The table and the list."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---|---|---" + "|---:" * (len(HEADER) - 3) + "|"]
    lines += ["| " + " | ".join(_cells(comparison)) + " |" for comparison in comparisons]
    for comparison in comparisons:
        if comparison.differences:
            lines += ["", f"{comparison.suite.name}, {comparison.way.name}:", ""]
            lines += [_line(difference) for difference in comparison.differences]
    return "\n".join(lines)


def _cells(comparison: Comparison) -> list[str]:
    steady = sum(difference.steady for difference in comparison.differences)
    return [
        comparison.suite.name,
        comparison.suite.version,
        comparison.way.name,
        f"{len(comparison.tests):,}",
        _counted(comparison.count(DIRECT)),
        _counted(comparison.count(THROUGH)),
        f"{len(comparison.tests) - len(comparison.differences):,}",
        str(len(comparison.differences) - steady),
        str(steady),
        f"{comparison.seconds[DIRECT]:.0f} / {comparison.seconds[THROUGH]:.0f}",
    ]


def _counted(words: Counter[str]) -> str:
    return f"{words[PASSED]:,} passed, {words[FAILED]} failed, {words[SKIPPED]} skipped"


def _line(difference: Difference) -> str:
    verdict = "unsteady" if not difference.steady else f"known: {difference.reason}" if difference.reason else "**a bug**"
    why = " ".join(difference.why.split())[:160].replace("`", "'")
    return f"- `{difference.test}`: {_times(difference.direct)} direct, {_times(difference.through)} through; {verdict}" + (
        f" (`{why}`)" if why else ""
    )


def _times(words: Counter[str]) -> str:
    return ", ".join(f"{word} ×{number}" for word, number in sorted(words.items()))
