"""Test suites that others wrote, each direct against PostgreSQL and through pgtrace, compared test by test.

    python -m tests.suites [SUITE...] [--way WAY] [--write FILE]

They are long, they fetch what they run, and some of their tests race against a clock: that is why
`make check` has no part of them. Exit code 1 when a test ends otherwise through pgtrace and no
known reason stands for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import platformdirs

from tests.suites.comparison import compare
from tests.suites.node_suite import NODE
from tests.suites.pgbench_suite import PGBENCH
from tests.suites.python_suites import SUITES as PYTHON_SUITES
from tests.suites.table import markdown

SUITES = {suite.name: suite for suite in (*PYTHON_SUITES, NODE, PGBENCH)}
BEGIN, END = "<!-- begin: make suites -->\n", "<!-- end -->\n"


def main() -> int:
    """Run what was asked for, print the table, and put it into the document."""
    parser = argparse.ArgumentParser(prog="python -m tests.suites")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"one or more of {', '.join(SUITES)} (default: all)")
    parser.add_argument("--way", help="this way alone: plain, TLS, or 'protocol 3.2'")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="a document whose marked part has the table: rows of what was run are new"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - SUITES.keys():
        parser.error(f"no such suite: {', '.join(sorted(unknown))} (there are {', '.join(SUITES)})")
    cache = platformdirs.user_cache_path("pgtrace") / "suites"
    comparisons = [
        compare(SUITES[name], way, cache)
        for name in arguments.suites or SUITES
        for way in SUITES[name].ways
        if arguments.way in {None, way.name}
    ]
    print(markdown(comparisons))
    if arguments.write:
        head, _, rest = arguments.write.read_text().partition(BEGIN)
        before, _, tail = rest.partition(END)
        arguments.write.write_text(f"{head}{BEGIN}\n{markdown(comparisons, before)}\n\n{END}{tail}")
    return int(any(comparison.unexplained for comparison in comparisons))


if __name__ == "__main__":
    sys.exit(main())
