"""The screen says what its signs mean: the selected row's marks in words, letters by name, an example that explains."""

from __future__ import annotations

import re

import pytest

from pgtrace.protocol.codes import BACKEND_NAMES, FRONTEND_NAMES
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.widgets.fields import Fields
from pgtrace.tui.widgets.footer import _that_fit
from pgtrace.tui.widgets.messages import Messages
from pgtrace.tui.widgets.sheet import Sheet
from tests.tui.driving import Drive
from tests.wire_recording import Recording

HINTS = [widget.HINTS for widget in (Messages, Fields, Sheet)]
_SIGNS = {"✗": "✗ error", "+": "+ prepares", "=": "= reuses", "t": "t text", "b": "b binary"}


@pytest.mark.parametrize("hints", HINTS)
def test_the_way_back_is_told_however_little_room_there_is(hints: Hints) -> None:
    for width in range(30, 200):
        fit = _that_fit(hints, width)
        assert {("esc", "back"), hints[-1]} <= set(fit)
        assert sum(len(key) + len(meaning) + 3 for key, meaning in fit) <= width
        assert fit == [hint for hint in hints if hint in fit]


@pytest.mark.parametrize("size", [(60, 12), (80, 24), (120, 40), (200, 60)])
async def test_the_selected_row_says_its_marks_in_words(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    """Of every row: what is marked below `!+f` is in the line of words, as far as there is room, and
    nothing else. They take nothing from the flight: one that is cut has no marks beside it."""
    shop.end()
    async with drive(shop, size) as driven:
        lines = await driven.press("g")
        column = next(line for line in lines if "!+f" in line).index("!+f")
        met = set()
        for _ in range(driven.areas.timeline.count()):
            row = next(line for line in lines if line.startswith("▌"))
            signs, words = row[column : column + 3], lines[-2].rstrip()
            assert "…  " not in words
            assert len(words) <= size[0]
            if "─" not in signs and " × " not in row:
                said = [text for sign, text in _SIGNS.items() if sign in signs]
                told = re.findall(r"  ([✗+=tb] (?:error|prepares|reuses|text|binary))", words)
                assert told == [text for text in said if text in told]
                assert told == said or len(words) + len("  + prepares") > size[0], (row, words)
                met |= set(signs)
            lines = await driven.press("j")
        assert {"✗", "+", "=", "b"} <= met


async def test_a_finding_is_named_where_its_row_is_marked(shop: Recording, drive: Drive) -> None:
    shop.end()
    async with drive(shop, (200, 60)) as driven:
        lines = await driven.press("6", "enter")
        assert "! pipeline-error" in lines[-2]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_help_names_letters_and_explains_a_row(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    """Also where the cursor is on a fold or a mark, which would explain little."""
    shop.end()
    async with drive(shop, size) as driven:
        await driven.type("g", "question_mark")
        text = [strip.text.rstrip() for strip in driven.areas.help_screen._text]
        whole = "\n".join(text)
        for names, letters in ((FRONTEND_NAMES, "PBDESHCQX"), (BACKEND_NAMES, "123tTnDCsEZ")):
            for letter in letters:
                assert re.search(rf"  {letter} {names[ord(letter)]}( |$)", whole, re.MULTILINE), letter
        heads = next(number for number, line in enumerate(text) if "sent → back" in line)
        flight = re.search(r"c\d.? +(?:\w+ +)?([A-Z×0-9]+) → ", text[heads + 1])
        assert flight is not None
        assert text[heads + 2].count(" ") > 3
        assert " → " in text[heads + 2]


async def test_an_empty_timeline_has_no_example(recording: Recording, drive: Drive) -> None:
    recording.flush()
    async with drive(recording, live=True) as driven:
        lines = await driven.press("question_mark")
        assert any("what a row says" in line for line in lines)
        assert not any("sent → back" in line for line in lines)


@pytest.mark.parametrize("width", [80, 120, 200])
async def test_the_help_names_every_letter_that_a_row_may_have(shop: Recording, drive: Drive, width: int) -> None:
    """Both are of protocol/codes.py: a message that is new there has its letter in rows and in the help."""
    async with drive(shop, (width, 80)) as driven:
        told = "\n".join(await driven.press("question_mark")).partition("F→ the driver sends:")[2]
    sent, _, received = told.partition("B← the server sends:")
    for letters, names in ((sent, FRONTEND_NAMES), (received, BACKEND_NAMES)):
        for code, name in names.items():
            if code < 256:
                called = "AuthenticationResponse" if name == "PasswordMessage" else name  # as rows in words do
                assert re.search(rf"  {re.escape(chr(code))} {called}\b", letters), name
