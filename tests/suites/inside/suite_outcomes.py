"""A pytest plugin for inside a foreign suite: one line of JSON per phase of a test, written at once, so that a crash loses nothing.

Names are node ids, which pytest takes back to run a test again (JUnit's are not).
"""

import json
import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    expected = hasattr(report, "wasxfail")
    why = ""
    if report.outcome == "failed" and report.longrepr is not None:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = (crash.message if crash else str(report.longrepr).strip().splitlines()[-1]).strip()
    word = "skipped" if report.skipped or expected else report.outcome
    with open(os.environ["SUITE_OUTCOMES"], "a") as lines:
        lines.write(json.dumps([report.nodeid, word, why[:300]]) + "\n")
