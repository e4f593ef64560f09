"""Where contents are blanked, advise says the same, except what needs them: every finding's example, and every recorded
scenario, in every way of `--redact`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from pgtrace.capture.redacted import RedactedCopy
from pgtrace.judge.finding import Finding
from pgtrace.judge.unexplained import Unexplained
from tests.judging import judge, judge_once

ROOT = Path(__file__).parents[2]
CAPTURES = sorted(
    path for place in ("tests/data/findings/*.pgtrace", "tests/data/cases/*.pgtrace", "captures/*/*.pgtrace") for path in ROOT.glob(place)
)
WAYS = ("params", "rows", "literals", "all")
NEEDS_VALUES = "repeat"
"""Without values it is silent; its statement may then look like a loop over values, n+1."""
NEEDS_COMMENTS = "comment-cache"
"""Without comments the text is prepared again for no known reason."""
NEEDS_ROWS = "keepalive-unanswered"
"""A keepalive is in a CopyData."""
NEEDS_TEXTS = "refused"
"""Which remedy depends on the server's message."""


class Said(NamedTuple):
    """A finding, as it may stay the same."""

    name: str
    number: float
    subject: str
    driver: str
    remedies: tuple[str, ...]


def said(found: Sequence[Finding], left: Unexplained) -> tuple[list[Said], Counter[str]]:
    """The findings, and what no finding explains."""
    shown = [Said(one.name, one.number, one.note.subject, one.driver, one.remedies) for one in found]
    return shown, Counter({**left.errors, **left.ends})


def blanked(capture: Path, way: str, into: Path) -> Path:
    copy = RedactedCopy(str(capture), str(into / f"{way}.pgtrace"), [way])
    while copy.step():
        pass
    copy.close()
    return Path(copy.path)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_is_said_of_blanked_contents(tmp_path: Path, capture: Path) -> None:
    whole, left = said(*judge_once(capture))
    for way in WAYS:
        found, unexplained = said(*judge(blanked(capture, way, tmp_path)))
        values, rows, literals = way != "rows", way in ("rows", "all"), way in ("literals", "all")
        gone = {NEEDS_VALUES} if values else set()
        gone |= {NEEDS_COMMENTS} if literals else set()
        gone |= {NEEDS_ROWS} if rows else set()
        come = ({"n+1"} if values else set()) | ({"prepared-once"} if literals else set())
        stays = [one for one in whole if one.name not in gone]
        new = Counter(one[:2] for one in found) - Counter(one[:2] for one in stays)
        assert not Counter(one[:2] for one in stays) - Counter(one[:2] for one in found), way
        assert {name for name, _ in new} <= come, way
        assert not {one.name for one in found} & gone
        if not any(one.name == NEEDS_ROWS for one in whole):
            assert unexplained == left, way
        for one in found:
            before = [other for other in stays if other[:2] == one[:2] and other.driver == one.driver]
            if before and one.name != NEEDS_TEXTS:
                assert one.remedies in [other.remedies for other in before], way


def test_a_text_of_which_literals_are_blanked_gets_no_remedy_about_it(tmp_path: Path) -> None:
    """Whether values are in the text, or one text was prepared again, is not to be seen."""
    capture = ROOT / "tests" / "data" / "findings" / "comment_cache.pgtrace"
    found, _ = said(*judge(blanked(capture, "literals", tmp_path)))
    (once,) = [one for one in found if one.name == "prepared-once"]
    assert not any("prepare()" in remedy or "parameters" in remedy for remedy in once.remedies)


@pytest.mark.parametrize("way", ["params", "all"])
def test_whether_blanked_values_are_the_same_is_not_known(tmp_path: Path, way: str) -> None:
    """One question again and again, and a loop over values, look alike then: the finding says so."""
    for case, name in (("same_question_repeated", "repeat"), ("two_statements_alternating", "n+1")):
        capture = ROOT / "tests" / "data" / "cases" / f"{case}.pgtrace"
        (tmp_path / case).mkdir()
        (whole,), _ = judge(capture)
        (found,), _ = judge(blanked(capture, way, tmp_path / case))
        assert (whole.name, found.name) == (name, "n+1")
        assert "values are blanked" not in whole.what
        assert "its values are blanked: if they are the same each time, cache the answer" in found.what
        assert found.cost == whole.cost
