"""No two findings of one capture contradict each other: what one remedy turns on, no other turns off."""

from __future__ import annotations

import re
from pathlib import Path

from tests.judging import judge_once

ROOT = Path(__file__).parents[2]
CAPTURES = [
    *sorted((ROOT / "captures").rglob("*.pgtrace")),
    *sorted((ROOT / "tests" / "data" / "cases").glob("*.pgtrace")),
    *sorted((ROOT / "tests" / "data" / "findings").glob("*.pgtrace")),
]
OPPOSITES = [
    (
        r"statement_cache_size=100|prepare_threshold=5|[Pp]repare(?:d)? once|\bname: '|Connection\.prepare\(\)|cache_statement, "
        r"the default|persistent\(true\)",
        r"statement_cache_size=0|prepare_threshold=None\)|or prepare nothing|persistent\(false\)|cache_describe, exec or simple_protocol",
    ),
    (r"autocommit ?= ?True|AUTOCOMMIT|autocommit for single", r"a transaction around the query"),
    (r"create_pool|ConnectionPool|QueuePool|a pool of long-lived", r"fewer connections"),
]


def test_no_two_findings_contradict() -> None:
    told = 0
    for capture in CAPTURES:
        found, _ = judge_once(capture)
        for driver in {one.driver for one in found}:
            remedies = [remedy for one in found if one.driver == driver for remedy in one.remedies]
            told += len(remedies)
            for one, other in OPPOSITES:
                sides = [[remedy for remedy in remedies if re.search(side, remedy)] for side in (one, other)]
                assert not all(sides), (capture.name, sides)
    assert told > 100
