"""Colours and glyphs: how each role of the screen looks, in colour, without colour, and in plain
ASCII.

- A role says what a piece of text is (`frontend`, `error`, `dim`), never how it looks. Colour only
  repeats what a glyph or a word already says.
- Five palettes: dark and light in true colour; `ansi` and `ansi-light` in those of the sixteen
  colours that the default palettes of terminals make readable on a dark or a light background;
  `mono` for NO_COLOR with bold, underline and reverse alone. Every role but `faint` has a contrast
  of at least 4.5:1 on the background.
- A ground is what a line is drawn on: the background, the selected row, or a head.
- In a locale with ASCII only, every glyph of ours has a replacement and any other character is
  written as an escape, so that the terminal prints what was measured.

A Pen holds one palette and one alphabet; everything is drawn with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rich.style import Style

ROLES: Final = (
    "text",
    "strong",
    "dim",
    "faint",
    "frontend",
    "backend",
    "error",
    "attention",
    "bar",
    "you",
    "inverted",
    "caret",
    "wrong",
    "keyword",
    "literal",
    "parameter",
)
GROUNDS: Final = ("background", "selected", "head")


@dataclass(frozen=True, slots=True)
class Palette:
    """The style of each role and of each ground, in rich's notation."""

    name: str
    roles: dict[str, str]
    grounds: dict[str, str]
    selected_roles: dict[str, str] = field(default_factory=dict)
    """Roles that need another colour on the selected row to be readable."""


DARK: Final = Palette(
    "dark",
    {
        "text": "#d3d8e0",
        "strong": "bold #ffffff",
        "dim": "#8a94a3",
        "faint": "#3d4652",
        "frontend": "#7fb4f5",
        "backend": "#8fc9a3",
        "error": "#ff7b72",
        "attention": "#e0b050",
        "bar": "#7d93b2",
        "you": "#c9a3f5",
        "inverted": "#12161c on #e0b050",
        "caret": "#12161c on #8a94a3",
        "wrong": "underline #ff7b72",
        "keyword": "bold #b9c6da",
        "literal": "#d9b98c",
        "parameter": "#7fd0d0",
    },
    {"background": "on #12161c", "selected": "on #222c3a", "head": "on #181e26"},
    {"bar": "#8299b8"},
)
LIGHT: Final = Palette(
    "light",
    {
        "text": "#24292f",
        "strong": "bold #000000",
        "dim": "#646c76",
        "faint": "#c6cbd1",
        "frontend": "#0b57b0",
        "backend": "#17733f",
        "error": "#bf1f2a",
        "attention": "#8a5a00",
        "bar": "#5c7394",
        "you": "#7a3fb8",
        "inverted": "#fbfaf7 on #8a5a00",
        "caret": "#fbfaf7 on #646c76",
        "wrong": "underline #bf1f2a",
        "keyword": "bold #3d4c63",
        "literal": "#86501a",
        "parameter": "#0a6570",
    },
    {"background": "on #fbfaf7", "selected": "on #dde8f6", "head": "on #f1f0ea"},
    {"dim": "#57606a", "bar": "#4a607f"},
)
_PLAIN: Final = {
    "text": "",
    "strong": "bold",
    "dim": "dim",
    "faint": "dim",
    "error": "bold red",
    "inverted": "reverse",
    "caret": "reverse",
    "wrong": "bold underline red",
    "keyword": "bold",
}
_SELECTED: Final = dict.fromkeys(ROLES, "") | {"error": "bold", "strong": "bold", "keyword": "bold"}
ANSI: Final = Palette(
    "ansi",
    _PLAIN
    | {"frontend": "cyan", "backend": "green", "attention": "yellow", "bar": "cyan", "you": "magenta"}
    | {"literal": "yellow", "parameter": "cyan"},
    {"background": "", "selected": "reverse", "head": "underline"},
    _SELECTED,
)
ANSI_LIGHT: Final = Palette(
    "ansi-light",
    _PLAIN
    | {"frontend": "blue", "backend": "", "attention": "bold magenta", "bar": "blue", "you": "magenta"}
    | {"literal": "magenta", "parameter": "blue"},
    {"background": "", "selected": "reverse", "head": "underline"},
    _SELECTED,
)
MONO: Final = Palette(
    "mono",
    dict.fromkeys(ROLES, "")
    | {"strong": "bold", "error": "bold", "attention": "bold", "you": "bold", "inverted": "reverse", "caret": "reverse"}
    | {"wrong": "bold underline", "keyword": "bold", "parameter": "underline"},
    {"background": "", "selected": "reverse", "head": "underline"},
)


THEMES: Final = {palette.name: palette for palette in (DARK, LIGHT, ANSI, ANSI_LIGHT)}
"""The themes that users can choose, in the order of the key."""


def choose_palette(environ: Mapping[str, str], chosen: str = "") -> Palette:
    """The palette for an environment: NO_COLOR, a terminal of sixteen colours, a light background.
    The user's choice takes precedence over the background.
    """
    if environ.get("NO_COLOR"):
        return MONO
    is_light = environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
    if environ.get("TERM", "") in ("linux", "ansi", "vt100", "vt220"):
        return ANSI_LIGHT if is_light else ANSI
    if chosen in THEMES:
        return THEMES[chosen]
    return LIGHT if is_light else DARK


def only_ascii(environ: Mapping[str, str], encoding: str) -> bool:
    """Whether the locale has only ASCII. Python treats a C locale as UTF-8, which is mostly right
    for terminals without a locale; LC_ALL=C is taken literally.
    """
    return "utf" not in encoding.lower() or environ.get("LC_ALL") in ("C", "POSIX")


_ASCII_GLYPHS: Final = str.maketrans(
    {
        "▌": ">",
        "→": "->",
        "←": "<-",
        "⇒": "=>",
        "⇐": "<=",
        "⇔": "<=>",
        "●": "*",
        "■": "#",
        "▪": "#",
        "▸": ">",
        "▾": "v",
        "▴": "^",
        "▼": "v",
        "✗": "x",
        "╭": "/",
        "│": "|",
        "╰": "\\",
        "┊": ":",
        "━": "=",
        "─": "-",
        "╸": "=",
        "╺": "=",
        "╾": "=",
        "╼": "=",
        "╴": "-",
        "╶": "-",
        "╌": ".",
        "╍": "%",
        "┄": ".",
        "░": ":",
        "╱": "/",
        "❚": "|",
        "≥": ">",
        "↵": "$",
        "×": "x",
        "·": ".",
        "…": "..",
        "↓": "v",
        "↑": "^",
        **{block: str(number) for number, block in enumerate("▁▂▃▄▅▆▇█", 1)},
    }
)


class Pen:
    """One palette and one alphabet."""

    def __init__(self, palette: Palette = DARK, *, ascii_only: bool = False) -> None:
        self.palette = palette
        self.ascii_only = ascii_only
        self.ellipsis = ".." if ascii_only else "…"
        self._grounds: dict[str, Styles] = {}

    def take(self, palette: Palette) -> None:
        """Draw with another palette from now on."""
        self.palette = palette
        self._grounds.clear()

    def text(self, text: str) -> str:
        """The text in this pen's alphabet."""
        if not self.ascii_only or text.isascii():
            return text
        return text.translate(_ASCII_GLYPHS).encode("ascii", "backslashreplace").decode("ascii")

    def on(self, ground: str) -> Styles:
        """The styles of the roles on a ground."""
        styles = self._grounds.get(ground)
        if styles is None:
            styles = self._grounds[ground] = Styles(self.palette, ground)
        return styles


class Styles(dict[str, Style]):
    """How each role looks on one ground of a palette, made when it is first asked for."""

    def __init__(self, palette: Palette, ground: str) -> None:
        super().__init__()
        self._palette = palette
        self._ground = ground

    def __missing__(self, role: str) -> Style:
        palette = self._palette
        own = palette.selected_roles.get(role, palette.roles[role]) if self._ground == "selected" else palette.roles[role]
        style = self[role] = Style.parse(palette.grounds[self._ground] or "none") + Style.parse(own or "none")
        return style
