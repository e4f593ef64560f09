"""The keys: one table from which they are bound and the help is written.

Each line binds keys to an action of their owner: the application, the screen, any list, or one
widget. The help shows the words of a line; a line without words belongs to the one above it. A key
means the same in every pane. While a line is typed it gets all keys (widgets/entry.py,
widgets/prompt.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Hints = tuple[tuple[str, str], ...]
"""Keys and what they do, for the footer."""


@dataclass(frozen=True, slots=True)
class Key:
    """Keys, and what they do."""

    owner: str
    keys: str
    """Textual's names, separated by commas."""
    action: str
    shown: str = ""
    meaning: str = ""
    column: str = ""
    """The column of the help: `move`, `look` or `do`."""
    first: bool = False
    """Whether it comes before the keys of the focused widget."""
    name: str = ""
    """The name of its command, if that is not the action's (actions/commands.py)."""


KEYS: Final = (
    Key("list", "j,down", "move(1)", "j k ↓ ↑", "row", "move", name="down"),
    Key("list", "k,up", "move(-1)", name="up"),
    Key("list", "ctrl+d", "page(1, 2)", "ctrl-d u", "half a page", "move", name="half-down"),
    Key("list", "ctrl+u", "page(-1, 2)", name="half-up"),
    Key("list", "pagedown", "page(1)", "pgdn pgup", "page", "move", name="page-down"),
    Key("list", "pageup", "page(-1)", name="page-up"),
    Key("list", "g,home", "first", "g G", "first, last", "move"),
    Key("list", "G,end", "last"),
    Key("list", "l,right", "sideways(1)", "h l ← →", "sideways", "move", name="right"),
    Key("list", "h,left", "sideways(-1)", name="left"),
    Key("screen", "n", "problem(1)", "n N", "problem", "move", name="next-problem"),
    Key("screen", "N", "problem(-1)", name="previous-problem"),
    Key("screen", "greater_than_sign", "slow(1)", "> <", "slow", "move", name="next-slow"),
    Key("screen", "less_than_sign", "slow(-1)", name="previous-slow"),
    Key("screen", "full_stop", "same(1)", ". ,", "same SQL", "move", name="next-same"),
    Key("screen", "comma", "same(-1)", name="previous-same"),
    Key("screen", "at", "time", "@", "go to a time", "move"),
    Key("screen", "r", "related", "r R", "related, back", "move"),
    Key("screen", "R", "related_back"),
    Key("screen", "tab", "app.focus_next", "tab", "next area", "move", name="next-area"),
    Key("screen", "escape", "back", "esc", "one step back", "move"),
    Key("screen", "1", "pane('1')", "1 - 6", "pane", "look", name="timeline"),
    Key("screen", "2", "pane('2')", name="statements"),
    Key("screen", "3", "pane('3')", name="connections"),
    Key("screen", "4", "pane('4')", name="drivers"),
    Key("screen", "5", "pane('5')", name="transactions"),
    Key("screen", "6", "pane('6')", name="findings"),
    Key("timeline", "enter", "open", "enter", "inspect", "look"),
    Key("messages", "enter", "open"),
    Key("drivers", "enter", "open"),
    Key("table", "enter", "open"),
    Key("findings", "enter", "open"),
    Key("table", "s", "sort", "s S", "sort, reverse", "look"),
    Key("table", "S", "reverse"),
    Key("timeline", "x", "fold", "x X", "fold, level", "look"),
    Key("screen", "X", "fold_level"),
    Key("timeline", "w", "waterfall", "w", "waterfall", "look"),
    Key("timeline", "z", "zoom_to_row", "z Z + -", "zoom", "look"),
    Key("timeline", "Z", "unzoom"),
    Key("timeline", "plus", "zoom(1)", name="zoom-in"),
    Key("timeline", "minus", "zoom(-1)", name="zoom-out"),
    Key("timeline", "t", "times", "t", "time column", "look"),
    Key("screen", "d", "driver_rows", "d", "driver rows", "look"),
    Key("drivers", "a", "per_execution", "a", "per execution", "look"),
    Key("statements", "D", "over_all", "D", "drivers as one", "look"),
    Key("screen", "u", "raw", "u", "typed or raw", "look"),
    Key("timeline", "f", "follow", "f", "follow", "do"),
    Key("screen", "c", "only_connection", "c C", "only cn, driver", "look"),
    Key("screen", "C", "only_driver"),
    Key("connections", "c", "open"),
    Key("transactions", "c", "connection"),
    Key("screen", "slash", "filter", "/ \\", "filter, dim", "look"),
    Key("screen", "backslash", "dim"),
    Key("screen", "y", "copy", "y", "copy", "do"),
    Key("screen", "e", "save", "e", "save, export", "do"),
    Key("screen", "m", "mark", "m", "mark", "do"),
    Key("screen", "v", "page", "v", "in the pager", "do", name="pager"),
    Key("screen", "equals_sign", "compare", "=", "pick, compare", "do"),
    Key("screen", "E", "explain", "E", "EXPLAIN", "do"),
    Key("screen", "colon", "command", ":", "any command", "do"),
    Key("screen", "space", "pause", "space", "pause", "do"),
    Key("screen", "question_mark", "help", "?", "this help", "do"),
    Key("app", "T", "theme", "T", "theme", "do"),
    Key("app", "q,ctrl+q", "leave", "q", "quit", "do", name="quit"),
    Key("app", "ctrl+c", "leave", first=True, name="quit"),
    Key("app", "ctrl+z", "suspend_process", "ctrl-z", "suspend", "do", first=True),
)


def told(column: str) -> list[tuple[str, str]]:
    """The keys of one column of the help, and what they do."""
    return [(key.shown, key.meaning) for key in KEYS if key.column == column]
