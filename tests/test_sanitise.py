"""Nothing that a terminal obeys, or a reader cannot see, gets through."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace import sanitise


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
