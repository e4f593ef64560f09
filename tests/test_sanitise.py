"""Nothing that a terminal obeys, or a reader cannot see, gets through."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace import sanitise
from pgtrace.errors import AddressError, CaptureError, FilterError, UpstreamError, UsageError
from pgtrace.report.encoding import as_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("select 'SKU-1', é, 値, 👍 from t", "select 'SKU-1', é, 値, 👍 from t"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;aGk=\x1b\\", "\\x1b]52;c;aGk=\\x1b\\"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("a\nb\tc\rd", "a↵b\\tc\\rd"),
        ("user\u202etxt.exe\u2066\u200b\ufeff", "user\\u202etxt.exe\\u2066\\u200b\\ufeff"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        (b"caf\xe9\xff".decode("utf-8", "surrogateescape"), "caf\\xe9\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("[bold]no markup[/]", "[bold]no markup[/]"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert sanitise.text(text) == shown


def test_line_breaks_can_be_kept() -> None:
    assert sanitise.text("a\n\x1b", newline="\n") == "a\n\\x1b"


def test_every_character_of_the_dangerous_categories_is_escaped() -> None:
    """Controls, formats, surrogates, separators of lines and paragraphs: as this Python's Unicode knows them."""
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            shown = sanitise.text(chr(code))
            assert shown == "↵" or shown.startswith("\\"), hex(code)


@given(st.text())
def test_safe_text_is_left_alone_and_the_rest_is_safe(text: str) -> None:
    shown = sanitise.text(text)
    assert sanitise.text(shown) == shown
    shown.encode("utf-8")
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::no", "\\x3a:error::no"),
        (" \t::set-output name=x::y", " \\t::set-output name=x::y"),
        ("  ::error::no", "  \\x3a:error::no"),
        ("::1", "::1"),
        ("select 1::text", "select 1::text"),
        ("a ##[error]no", "a #\\x23[error]no"),
        ("##vso[task.x]", "#\\x23vso[task.x]"),
        ("## heading", "## heading"),
        ("p ## lseg", "p ## lseg"),
        ("a\n::error::no", "a↵::error::no"),
    ],
)
def test_a_line_is_no_command_of_a_log(text: str, shown: str) -> None:
    assert sanitise.line(text) == shown
    assert sanitise.commands(text) == ("::error" in text or "::set" in text or "##[" in text or "##vso[" in text)


MARKED = st.text(st.characters() | st.sampled_from("::##[]e\n\r\t \x9b\u202e\ud800"))


@given(MARKED)
def test_any_line_is_safe_and_stays_as_it_is(text: str) -> None:
    shown = sanitise.line(text)
    assert not sanitise.commands(shown)
    assert sanitise.line(shown) == shown == sanitise.text(shown)


@given(
    st.recursive(MARKED | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(MARKED, inner)),
    st.sampled_from([None, 2]),
)
def test_json_is_safe_and_has_the_same_values(value: object, indent: int | None) -> None:
    shown = as_json(value, indent=indent)
    assert json.loads(shown) == value
    assert sanitise.text(shown, "\n") == shown
    assert not sanitise.commands(shown)


@given(MARKED, MARKED)
def test_an_error_is_safe(path: str, reason: str) -> None:
    """Of whatever it is made: each class of the family takes texts."""
    for error in (
        CaptureError(path, reason),
        AddressError(path, reason),
        UsageError(reason),
        UpstreamError(path, reason),
        FilterError(path, 0, 1, reason),
    ):
        lines = str(error).split("\n")
        assert len(lines) == (3 if isinstance(error, FilterError) else 1)
        assert all(sanitise.line(line) == line for line in lines)
