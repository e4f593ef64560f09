"""The language of fault rules: every form, what each means, and where an error points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.errors import FaultError
from pgtrace.faults import EITHER, Rule, parse
from pgtrace.protocol.codes import BACKEND, FRONTEND, STARTUP_MESSAGE

PAGE = (Path(__file__).parent.parent / "docs" / "faults.md").read_text(encoding="utf-8")
MS = 1_000_000


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("close before Sync#2", {"action": "close", "moment": "before", "side": FRONTEND, "code": ord("S"), "number": 2}),
        ("reset after B CopyData", {"action": "reset", "moment": "after", "side": BACKEND, "code": ord("d")}),
        ("hang inside DataRow", {"action": "hang", "moment": "inside", "side": BACKEND, "code": ord("D")}),
        ("hang 2s after StartupMessage", {"action": "hang", "amount": 2000 * MS, "moment": "after", "side": 0, "code": STARTUP_MESSAGE}),
        ("delay 50ms before reply to Parse ~ /orders/", {"action": "delay", "amount": 50 * MS, "moment": "before", "side": 0}
            | {"code": ord("P"), "pattern": "orders", "reply": True}),
        ("close after reply to F CopyDone once", {"action": "close", "moment": "after", "side": 0, "code": ord("c"), "reply": True,
        "once": True}),
        ("delay 20ms~5ms", {"action": "delay", "amount": 20 * MS, "spread_ns": 5 * MS, "side": EITHER}),
        ("delay 300us F", {"action": "delay", "amount": 300_000, "side": FRONTEND}),
        ("delay 2s at end", {"action": "delay", "amount": 2000 * MS, "moment": "end"}),
        ("delay 1m at connect", {"action": "delay", "amount": 60_000 * MS, "moment": "connect"}),
        ("limit 64kB/s B", {"action": "limit", "amount": 64_000, "side": BACKEND}),
        ("limit 1.5MiB/s", {"action": "limit", "amount": 1_572_864}),
        ("split 1", {"action": "split", "amount": 1}),
        ("split 1kB every 5ms F", {"action": "split", "amount": 1000, "gap_ns": 5 * MS, "side": FRONTEND}),
        ("reset after 1MB", {"action": "reset", "moment": "bytes", "threshold": 1_000_000}),
        ("close after 100B F once", {"action": "close", "moment": "bytes", "threshold": 100, "side": FRONTEND, "once": True}),
        ("hang after 1.5s", {"action": "hang", "moment": "time", "threshold": 1500 * MS}),
        ("reset at connect once", {"action": "reset", "moment": "connect", "once": True}),
        ("  close   before Sync # 2 ~ /a\\/b/ ", {"text": "close   before Sync # 2 ~ /a\\/b/", "action": "close", "moment": "before"}
            | {"side": 0, "code": ord("S"), "number": 2, "pattern": "a/b"}),
    ],
)  # fmt: skip
def test_a_rule_and_what_it_means(text: str, meaning: dict[str, object]) -> None:
    assert parse(text) == Rule(**({"text": text} | meaning))  # type: ignore[arg-type]


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_more_than_anything_is_as_much_as_there_can_be(digits: int) -> None:
    """Beyond what a float holds and int() takes, too."""
    number = "9" * digits
    assert parse(f"delay {number}s before Sync").amount == 10**15
    assert parse(f"limit {number}GB/s").amount == parse(f"close after {number}MB").threshold == parse(f"split {number}").amount == 1 << 62
    with pytest.raises(FaultError, match="not the number of a message"):
        parse(f"close before Sync#{number}")


@pytest.mark.parametrize(
    ("text", "marked", "reason"),
    [
        ("", "", "a rule begins with delay, limit, split, hang, close or reset"),
        ("kill before Sync", "kill", "a rule begins with"),
        ("close", "", "`close` needs a moment"),
        ("close F", "F", "`close` needs a moment"),
        ("close at Sync", "Sync", "`at` needs connect or end"),
        ("close at end", "at", "`close` cannot be at end"),
        ("limit 1kB/s before Sync", "before", "`limit` cannot be before a message"),
        ("delay 1ms after 1MB", "after", "`delay` cannot be after a number of bytes"),
        ("close before", "", "expected a message"),
        ("close before Synk", "Synk", "unknown message 'Synk'; did you mean Sync?"),
        ("close before SSLRequest", "SSLRequest", "unknown message 'SSLRequest'"),
        ("close before CopyData", "CopyData", "both sides have that message: F CopyData or B CopyData"),
        ("close before B Sync", "Sync", "Sync is not one of the server's messages"),
        ("close before reply to DataRow", "DataRow", "DataRow is not one of the driver's messages"),
        ("close before reply to B Sync", "B", "only messages of the driver have a reply"),
        ("close inside reply to Sync", "reply", "`inside` needs a message, not a reply"),
        ("close before reply Sync", "Sync", "`reply` needs `to`"),
        ("close before Sync#0", "0", "not the number of a message: #1 is the first"),
        ("close before Sync#x", "x", "not the number of a message: #1 is the first"),
        ("close before Sync ~ orders", "orders", "expected a regular expression between slashes"),
        ("close before Sync ~ /a", "/a", "missing closing /"),
        ("close before Parse ~ /(a/", "(", "no `)` for this `(`"),
        ("delay", "", "expected a duration: 300us, 20ms, 1.5s, 2m"),
        ("delay 5", "5", "expected a duration"),
        ("delay 5kB", "5kB", "expected a duration"),
        ("limit 5", "5", "expected a rate: 64kB/s, 1MB/s"),
        ("limit 5kB", "5kB", "expected a rate"),
        ("split 0", "0", "expected the bytes of a piece"),
        ("split 1/s", "1/s", "expected the bytes of a piece"),
        ("close after 12", "12", "a unit is missing: 1MB, 2s"),
        ("close after 12x", "12x", "expected bytes or a time: 1MB, 2s"),
        ("split 1 once", "once", "`once` is for a rule with a moment"),
        ("delay 1s at end once", "once", "`once` is for a rule with a moment"),
        ("close after 1MB now", "now", "the rule should end here"),
        ("close before Sync; reset", ";", "unexpected text"),
    ],
)  # fmt: skip
def test_an_error_points_at_the_place(text: str, marked: str, reason: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse(text)
    error = raised.value
    assert error.exit_code == 2
    assert error.reason.startswith(reason)
    assert text[error.position : error.position + error.length] == marked
    first, shown, arrows = str(error).split("\n")
    assert first == f"fault: {error.reason}"
    assert (shown, arrows.rstrip("^")) == (f"    {text}", "    " + " " * error.position)


@given(
    st.lists(
        st.sampled_from(
            [
                *re.findall(r"[\w#~/]+|\S", "close before reply to Sync#2 ~ /a/ after 1MB 2s at end connect once B F delay hang"),
                "split",
                "é",
            ]
        )
    )
)
def test_any_words_are_a_rule_or_an_error(words: list[str]) -> None:
    text = " ".join(words)
    try:
        said = parse(text).text
    except FaultError as error:
        said = error.text
        places = range(len(text) + 1)
        assert places[error.position] + error.length in places  # noqa: PT017 (either is fine)
    assert said == text


# docs/faults.md.


def test_every_rule_of_the_page_is_one() -> None:
    rules = re.findall(r"^ +pgtrace .*--fault '([^']+)'", PAGE, re.MULTILINE) + re.findall(
        r"^\| `((?:delay|limit|split|hang|close|reset) [^`]*)` \|", PAGE, re.MULTILINE
    )
    assert len(rules) > 20
    for rule in rules:
        parse(rule)


def test_the_actions_and_moments_of_the_page_are_those_there_are() -> None:
    from pgtrace import faults

    grammar = PAGE.partition("```abnf")[2].partition("```")[0]
    literals = set(re.findall(r'"(\w+)"', grammar))
    words = {word for moments in faults._MOMENTS.values() for word in moments} - {"", "bytes", "time"} | set(faults._MOMENTS)
    assert words | set(faults._NS) | (set(faults._BYTES) - {""}) | {"F", "B", "at", "to", "reply", "once", "every"} == literals
