"""A pytest plugin for inside a foreign suite: one line of JSON per phase of a test, written at
once, so that a crash loses nothing; and a choice of tests.

Names are node ids (JUnit's are not), but a suite that makes its classes while collecting, as
SQLAlchemy's does, cannot be asked for them: they are chosen from what it collected.
"""

import json
import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    with open(os.environ["SUITE_CHOSEN"]) as file:
        chosen = set(file.read().splitlines())
    if chosen:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
        items[:] = [item for item in items if item.nodeid in chosen]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    expected = hasattr(report, "wasxfail")
    why = ""
    if report.outcome == "failed" and report.longrepr is not None:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = (crash.message if crash else str(report.longrepr).strip().splitlines()[-1]).strip()
    word = "skipped" if report.skipped or expected else report.outcome
    with open(os.environ["SUITE_OUTCOMES"], "a") as lines:
        lines.write(json.dumps([report.nodeid, word, why[:300]]) + "\n")
