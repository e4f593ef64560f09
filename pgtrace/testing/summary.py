"""The summary at the end of a run: the cost of each test, and where captures are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgtrace import sanitise
from pgtrace.report.table import count, ms, table
from pgtrace.sanitise import Shown

_HEAD = ["test", "set-up", "round trips", "exec", "errors", "wait ms"]
_KEYS = ["setup_round_trips", "round_trips", "executions", "errors"]


def summary_lines(reports: Sequence[tuple[str, dict[str, Any]]], *, costs: bool, kept: str | None) -> list[Shown]:
    """Lines for the tests from their reports, the most expensive test first."""
    lines: list[str] = []
    if costs:
        ordered = sorted(
            (one for one in reports if any(one[1]["costs"].values())), key=lambda one: (-one[1]["costs"]["round_trips"], one[0])
        )
        rows = [[test, *(count(one["costs"][key]) for key in _KEYS), ms(one["costs"]["wait_ns"])] for test, one in ordered]
        lines += table(_HEAD, rows) if rows else []
    for path in sorted({path for _, one in reports for path in one["written"]}):
        lines.append(f"golden written: {path}; review it and commit it")
    for capture in dict.fromkeys(one["capture"] for _, one in reports if one["capture"]):
        lines.append(f"kept for the failures: pgtrace open {capture}")
    if kept is not None:
        lines.append(f"captures are in {kept}")
    return [sanitise.line(line) for line in lines]
