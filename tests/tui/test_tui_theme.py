"""Every role can be read in every palette, and ASCII is ASCII."""

from __future__ import annotations

import pytest
from rich.style import Style

from pgtrace.tui.model.theme import ANSI, ANSI_LIGHT, DARK, GROUNDS, LIGHT, MONO, ROLES, Palette, Pen, choose_palette, only_ascii

GLYPHS = "▌→←●■▪▸▾▴▼✗╭│╰┊━─╸╺╾╌┄╱▁▂▃▄▅▆▇█×·…≥↵❚"


def luminance(color: tuple[int, int, int]) -> float:
    parts = [value / 255 for value in color]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(style: Style) -> float:
    assert style.color is not None
    assert style.bgcolor is not None
    values = sorted((luminance(tuple(style.color.get_truecolor())), luminance(tuple(style.bgcolor.get_truecolor()))))
    return (values[1] + 0.05) / (values[0] + 0.05)


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=lambda palette: palette.name)
@pytest.mark.parametrize("ground", ["background", "selected"])
def test_every_role_but_faint_has_contrast(palette: Palette, ground: str) -> None:
    pen = Pen(palette)
    for role in set(ROLES) - {"faint"}:
        assert contrast(pen.on(ground)[role]) >= 4.5, (role, ground)


@pytest.mark.parametrize("palette", [DARK, LIGHT, ANSI, ANSI_LIGHT, MONO], ids=lambda palette: palette.name)
def test_every_role_has_a_style_on_every_ground(palette: Palette) -> None:
    pen = Pen(palette)
    assert set(palette.roles) == set(ROLES)
    assert set(palette.grounds) == set(GROUNDS)
    for ground in GROUNDS:
        for role in ROLES:
            assert isinstance(pen.on(ground)[role], Style)


def test_without_colour_there_is_bold_underline_and_reverse_alone() -> None:
    pen = Pen(MONO)
    for ground in GROUNDS:
        for role in ROLES:
            style = pen.on(ground)[role]
            assert style.color is None
            assert style.bgcolor is None
    assert pen.on("selected")["text"].reverse
    assert pen.on("background")["error"].bold
    assert pen.on("background")["inverted"].reverse


def test_every_glyph_has_a_replacement() -> None:
    pen = Pen(ascii_only=True)
    for glyph in GLYPHS:
        assert pen.text(glyph).isascii(), glyph
        assert "\\" not in pen.text(glyph) or glyph == "╰", glyph
    assert pen.text("PDH → 1tT …") == "PDH -> 1tT .."
    assert pen.text("漢") == "\\u6f22"


def test_glyphs_stay_where_they_can_be_shown() -> None:
    assert Pen().text(GLYPHS) == GLYPHS


def test_the_environment_chooses() -> None:
    assert choose_palette({"NO_COLOR": "1", "COLORFGBG": "0;15"}) is MONO
    assert choose_palette({"NO_COLOR": "", "COLORFGBG": "0;15"}) is LIGHT
    assert choose_palette({}) is DARK
    assert choose_palette({"COLORFGBG": "15;0"}) is DARK
    assert choose_palette({"TERM": "linux"}) is ANSI
    assert choose_palette({"TERM": "linux", "COLORFGBG": "0;15"}) is ANSI_LIGHT


@pytest.mark.parametrize(
    ("environ", "encoding", "ascii_only"),
    [
        ({"LANG": "C.UTF-8"}, "utf-8", False),
        ({}, "utf-8", False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LC_ALL": "C"}, "utf-8", True),
        ({"LC_ALL": "POSIX"}, "utf-8", True),
        ({"LANG": "de_DE.ISO8859-1"}, "iso8859-1", True),
        ({}, "ANSI_X3.4-1968", True),
    ],
)
def test_the_locale_decides_on_ascii(environ: dict[str, str], encoding: str, *, ascii_only: bool) -> None:
    assert only_ascii(environ, encoding) is ascii_only


TERMINALS = {
    # background; black red green yellow blue magenta cyan white: what terminals come with
    "xterm": ("000000", "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"),
    "xterm light": ("ffffff", "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"),
    "VGA": ("000000", "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa"),
    "gnome": ("1e1e1e", "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc"),
    "gnome light": ("ffffff", "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc"),
    "campbell": ("0c0c0c", "0c0c0c c50f1f 13a10e c19c00 0037da 881798 3a96dd cccccc"),
    "solarized": ("002b36", "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5"),
    "solarized light": ("fdf6e3", "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5"),
    "macOS": ("000000", "000000 c23621 25bc24 adad27 492ee1 d338d3 33bbc8 cbcccd"),
    "macOS light": ("ffffff", "000000 c23621 25bc24 adad27 492ee1 d338d3 33bbc8 cbcccd"),
}
NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


@pytest.mark.parametrize("terminal", TERMINALS)
def test_ansi_can_be_read_with_the_palettes_that_terminals_come_with(terminal: str) -> None:
    """A role is at least 2.4:1, the worst of a terminal's own red; a default colour is the
    terminal's affair. Bold is often the bright, lighter form."""
    background, colours = TERMINALS[terminal]
    ground = luminance(tuple(bytes.fromhex(background)))
    palette = ANSI_LIGHT if ground > 0.5 else ANSI
    known = dict(zip(NAMES, colours.split(), strict=True))
    for role, style in palette.roles.items():
        for colour in (known[word] for word in style.split() if word in known):
            values = sorted((ground, luminance(tuple(bytes.fromhex(colour)))))
            assert (values[1] + 0.05) / (values[0] + 0.05) >= 2.4, (role, style)
