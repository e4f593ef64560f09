"""The examples of docs/golden.md are what the exporter writes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pgtrace.export import golden, rules
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.test_docs import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "golden.md").read_text("utf-8")


def test_the_session_has_that_golden(tmp_path: Path) -> None:
    ((_, script),) = blocks(PAGE, "trace")
    ((_, expected),) = blocks(PAGE, "golden")
    trace = Trace.open([playbook.write(tmp_path / "x.pgtrace", script)])
    while trace.update():
        pass
    found = golden.text(trace)
    trace.close()
    assert found == expected


def test_the_rules_are_rules() -> None:
    ((_, settings),) = blocks(PAGE, "toml")
    written = rules.parse(tomllib.loads(settings)["tool"]["pgtrace"]["golden"]["rules"])
    assert [one.text for one in written] == re.findall(r"--normalise '(s/.*?)'", PAGE)
    assert written[0].apply("at 2026-01-02 03:04:05.678") == "at TIME"
    assert rules.Rule(re.findall(r"--normalise '(s,.*?)'", PAGE)[0]).apply("-- req-12") == "-- REQUEST"
