"""What a terminal sends, as keys: Escape and the key after it are two, and nothing else has changed."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser

from pgtrace.tui import keyboard
from tests.tui.multiplexer import THERE, Multiplexer
from tests.tui.test_tui_differences import recorded


@pytest.fixture(scope="module")
def kept() -> Iterator[None]:
    """Keys as the application reads them."""
    before = XTermParser._sequence_to_key_events
    keyboard.keep_escape()
    yield
    XTermParser._sequence_to_key_events = before  # type: ignore[method-assign]


def keys(*texts: str) -> list[tuple[str, str | None]]:
    """The keys of what arrives, text by text, and after a while of silence."""
    parser = XTermParser()
    found = [event for text in (*filter(None, texts), "") for event in parser.feed(text)]
    return [(event.key, event.character) for event in found if isinstance(event, events.Key)]


BOUND = string.digits + string.ascii_letters.replace("b", "").replace("f", "").replace("O", "").replace("P", "") + "/?:.,<>=@+-\\ "


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("character", BOUND)
def test_escape_and_a_key_are_what_both_are_alone(character: str) -> None:
    assert keys(f"\x1b{character}") == [("escape", "\x1b"), *keys(character)]


@pytest.mark.usefixtures("kept")
@given(st.text(st.sampled_from("\x1b" + BOUND), max_size=8))
def test_keys_that_arrive_together_are_what_each_is(text: str) -> None:
    assert keys(text) == [key for character in text for key in keys(character)]


def test_other_sequences_are_as_they_were(kept: None) -> None:
    sequences = [one for one in ANSI_SEQUENCES_KEYS if not (len(one) == 2 and one[0] == "\x1b" and one[1].isprintable())]
    told = {one: keys(one) for one in (*sequences, "\x1bf", "\x1bb", "\x1b[49;3u", "\x1b[27u", "\x1b[97;5u")}
    keyboard_of_toolkit = keyboard._toolkits
    now, XTermParser._sequence_to_key_events = XTermParser._sequence_to_key_events, keyboard_of_toolkit  # type: ignore[method-assign]
    try:
        assert told == {one: keys(one) for one in told}
    finally:
        XTermParser._sequence_to_key_events = now  # type: ignore[method-assign]


@pytest.mark.skipif(not THERE, reason="needs tmux")
def test_escape_and_a_digit_in_one_go_in_a_real_terminal(tmp_path: Path) -> None:
    with Multiplexer(tmp_path, "open", str(recorded("asyncpg", "failure"))) as window:
        window.wait_for("fold set-up")
        window.press("Enter")
        window.wait_for("esc closes")
        window.press("Escape", "2")
        lines = window.wait_for("its round trips")
        assert not any("esc closes" in line or "does nothing here" in line for line in lines)
        window.press("Escape", "1")
        assert not any("esc closes" in line for line in window.wait_for("enter inspect"))
