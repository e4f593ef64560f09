"""Budgets in every form of output, also where SQL and names try to be more than text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.ask.budgets import Budget, Result, evaluate
from pgtrace.report import budgets as report
from pgtrace.trace.trace import Trace
from tests import playbook

HOSTILE = 'SELECT "```", "<b>&]]>", "%0A::error::", "|" \x1b]0;t\x07 \x00 \x0b \ufffe \u202e'
NAME = "a|`b``c<script>,: \x1b[31m%\ud800"


@pytest.fixture
def results(tmp_path: Path) -> Iterator[list[Result]]:
    """One kept, one exceeded, one with nothing to check."""
    sql = HOSTILE.replace("\x00", "").replace("\x0b", "\t")  # a zero ends it on the wire, a vertical tab a line of the script
    script = f"mark begin {NAME.replace(chr(0xD800), '')}\n" + 12 * f"F Query {sql}\nB CommandComplete SELECT 0 | ReadyForQuery I\n"
    trace = Trace.open([playbook.write(tmp_path / "a.pgtrace", script)])
    trace.read_until(1 << 62)
    budgets = [
        Budget("errors", 0),
        Budget("round_trips", 4, about="mark", name=NAME.replace("\ud800", "")),
        Budget("queries", 4, about="mark", name=NAME),
    ]
    yield evaluate(trace, budgets)
    trace.close()


def unsafe(text: str) -> list[str]:
    """What no terminal may get."""
    return re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff\ufffe]", text)


def test_text_has_the_failures_first_with_their_evidence(results: list[Result]) -> None:
    lines = list(report.as_text(results))
    assert re.fullmatch(r"mark a\|.*: round_trips is 12, at most 4", lines[0])
    assert lines[1].split()[:4] == ["×12", "Q", "→", "CZ"]
    assert "nothing to check for queries: it does not occur; these do: a|" in lines[3]
    assert lines[-1] == "2 of 3 budgets not met"
    assert not unsafe("\n".join(lines))
    assert next(report.as_text(results, everything=True)) == "capture: errors is 0, at most 0"
    assert list(report.as_text(results[:1])) == ["1 budget met"]


def test_json_has_every_budget(results: list[Result]) -> None:
    told = report.as_dict(results)
    assert (told["schema"], told["kept"]) == ("pgtrace.check/1", False)
    assert [(one["counter"], one["limit"], one["actual"], one["kept"]) for one in told["budgets"]] == [
        ("errors", 0, 0, True),
        ("round_trips", 4, 12, False),
        ("queries", 4, None, False),
    ]
    (group,) = told["budgets"][1]["round_trips"]
    assert (group["times"], group["amount"], group["flight"], group["sqlstate"]) == (12, 12, "Q → CZ", None)


def test_junit_is_xml_of_the_usual_shape(results: list[Result]) -> None:
    root = ET.fromstring("\n".join(report.as_junit(results)))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "3", "2", "0")
    (suite,) = root
    assert {"name", "tests", "failures", "errors", "skipped", "time"} == set(suite.attrib)
    assert [case.tag for case in suite] == ["testcase"] * 3
    for case, result in zip(suite, results, strict=True):
        assert set(case.attrib) == {"classname", "name", "time"}
        failures = list(case)
        assert [failure.tag for failure in failures] == ([] if result.is_kept else ["failure"])
        assert all(set(failure.attrib) == {"type", "message"} for failure in failures)
    assert "<b>&]]>" in (suite[1][0].text or "")
    assert suite[2][0].get("type") == "missing"
    assert not unsafe("".join(root.itertext()) + "".join(str(case.attrib) for case in root.iter()))


def test_annotations_are_one_line_each_and_nothing_else_is_a_command(results: list[Result]) -> None:
    lines = list(report.as_github(results))
    assert [line.startswith("::error title=pgtrace%3A ") for line in lines] == [True, True, False]
    assert all(line.count("::") >= 2 and "\n" not in line for line in lines[:2])
    properties, message = re.fullmatch(r"::error (.*?)::(.*)", lines[0]).groups()  # type: ignore[union-attr]
    assert properties == "title=pgtrace%3A round_trips"
    unescaped = message.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
    assert unescaped.splitlines()[0].endswith("round_trips is 12, at most 4")
    assert "%0A::error::" in unescaped  # as it stands in the SQL
    assert not unsafe("\n".join(lines))


def test_markdown_has_text_of_the_wire_in_code_alone(results: list[Result]) -> None:
    text = "\n".join(report.as_markdown(results))
    assert text.startswith("### pgtrace: 2 of 3 budgets not met\n")
    (fence, inside) = re.findall(r"^  (`+)text\n(.*?)^  \1$", text, re.DOTALL | re.MULTILINE)[0]
    assert len(fence) > max(map(len, re.findall("`+", inside)))
    outside = re.sub(r"^  (`+)text\n.*?^  \1$", "", text, flags=re.DOTALL | re.MULTILINE)
    outside = re.sub(r"(?<!`)(`+)(?!`)(.*?[^`])\1(?!`)", "", outside)
    assert not re.search(r"[<>|`\[]", outside), outside
    assert not unsafe(text)


@pytest.mark.parametrize("text", ["a", "`", "a`", "``a`b", " a ", "a\nb", "`" * 50])
def test_code_holds_any_text(text: str) -> None:
    code = report.code(text)
    found = re.fullmatch(r"(`+)( ?)(.*)\2\1", code)
    assert found
    assert found[3] == text.replace("\n", "↵")
    assert found[1] not in re.findall("`+", found[3])


def test_a_summary_of_very_many_budgets_stays_small(results: list[Result]) -> None:
    assert len("\n".join(report.as_markdown(results[1:2] * 5000))) < 1 << 20
