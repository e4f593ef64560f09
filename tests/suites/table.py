"""What was compared, as Markdown: a row for each suite and way, then every difference by name. A
table that is there keeps the rows of what was not run."""

from __future__ import annotations

from collections import Counter

from tests.suites.comparison import Comparison, Difference
from tests.suites.suite import FAILED, PASSED, SKIPPED
from tests.suites.ways import DIRECT, LATEST, PLAIN, THROUGH, TLS

HEADER = ("suite", "version", "way", "tests", "direct", "through pgtrace", "same", "unsteady", "different", "seconds")
WAYS = (PLAIN.name, TLS.name, LATEST.name)


def markdown(comparisons: list[Comparison], before: str = "") -> str:
    """The table and the list; `before` is such a text with earlier rows."""
    rows, lists = _parts(before)
    for comparison in comparisons:
        key = (comparison.suite.name, comparison.way.name)
        rows[key] = "| " + " | ".join(_cells(comparison)) + " |"
        lists[key] = [_line(difference) for difference in comparison.differences]
    order = sorted(rows, key=lambda key: (key[0], WAYS.index(key[1])))
    lines = ["| " + " | ".join(HEADER) + " |", "|---|---|---" + "|---:" * (len(HEADER) - 3) + "|", *(rows[key] for key in order)]
    for suite, way in order:
        if differences := lists.get((suite, way)):
            lines += ["", f"{suite}, {way}:", "", *differences]
    return "\n".join(lines)


def _parts(text: str) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], list[str]]]:
    """The rows and the lists of a text that markdown() made, by suite and way."""
    rows: dict[tuple[str, str], str] = {}
    lists: dict[tuple[str, str], list[str]] = {}
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("- "):
            found.append(line)
        elif line.endswith(":"):
            suite, _, way = line.removesuffix(":").partition(", ")
            found = lists[suite, way] = []
        elif line.startswith("| ") and not line.startswith(f"| {HEADER[0]} |"):
            suite, _, way = line.strip("| ").split(" | ")[:3]
            rows[suite, way] = line
    return rows, lists


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
