"""The keys: one table from which they are bound and the help is written.

Each line binds keys to an action of their owner: the application, the screen, any list, or one
widget. The help shows the words of a line; a line without words belongs to the one above it. A key
means the same in every pane. While a line is typed it gets all keys (widgets/entry.py,
widgets/prompt.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

NO_EXPLAIN: Final = "needs --explain-dsn"
"""The help's note on `E` if there is no connection for it."""

Hints = tuple[tuple[str, str], ...]
"""Keys and what they do, for the footer."""


@dataclass(frozen=True, slots=True)
class Key:
    """One or several keys, and their action."""

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
    does: str = ""
    """The description of its command, if one word of the help covers several keys."""
    name: str = ""
    """The name of its command, if it differs from the action's (actions/commands.py)."""

    @property
    def own(self) -> str:
        """Its first key, as labelled on the keyboard."""
        key = self.keys.partition(",")[0]
        return _SIGNS.get(key, key.replace("+", "-"))


KEYS: Final = (
    Key("list", "j,down", "move(1)", "j k ↓ ↑", "row", "move", name="down", does="one row down"),
    Key("list", "k,up", "move(-1)", name="up", does="one row up"),
    Key("list", "ctrl+d", "page(1, 2)", "ctrl-d u", "half a page", "move", name="half-down", does="half a page down"),
    Key("list", "ctrl+u", "page(-1, 2)", name="half-up", does="half a page up"),
    Key("list", "pagedown", "page(1)", "pgdn pgup", "page", "move", name="page-down", does="one page down"),
    Key("list", "pageup", "page(-1)", name="page-up", does="one page up"),
    Key("list", "g,home", "first", "g G", "first, last", "move", does="first row"),
    Key("list", "G,end", "last", does="last row"),
    Key("list", "l,right", "sideways(1)", "h l ← →", "sideways", "move", name="right", does="scroll right"),
    Key("list", "h,left", "sideways(-1)", name="left", does="scroll left"),
    Key("screen", "n", "problem(1)", "n N", "next problem", "move", name="next-problem", does="next problem"),
    Key("screen", "N", "problem(-1)", name="previous-problem", does="previous problem"),
    Key("screen", "greater_than_sign", "slow(1)", "> <", "next slow one", "move", name="next-slow", does="next slow round trip"),
    Key("screen", "less_than_sign", "slow(-1)", name="previous-slow", does="previous slow round trip"),
    Key("screen", "full_stop", "same(1)", ". ,", "same SQL again", "move", name="next-same", does="same SQL, next"),
    Key("screen", "comma", "same(-1)", name="previous-same", does="same SQL, before"),
    Key("screen", "at", "time", "@", "go to a time", "move"),
    Key("screen", "r", "related", "r R", "to its cause", "move", does="go to the related row"),
    Key("screen", "R", "related_back", does="back from the related row"),
    Key("screen", "tab", "app.focus_next", "tab", "next area", "move", name="next-area"),
    Key("screen", "escape", "back", "esc", "one step back", "move"),
    Key("screen", "1", "pane('1')", "1 - 7", "pane", "look", name="timeline", does="pane: timeline"),
    Key("screen", "2", "pane('2')", name="statements", does="pane: statements"),
    Key("screen", "3", "pane('3')", name="connections", does="pane: connections"),
    Key("screen", "4", "pane('4')", name="drivers", does="pane: drivers"),
    Key("screen", "5", "pane('5')", name="transactions", does="pane: transactions"),
    Key("screen", "6", "pane('6')", name="findings", does="pane: findings"),
    Key("screen", "7", "pane('7')", name="differences", does="pane: two captures compared"),
    Key("timeline", "enter", "open", "enter", "inspect", "look", does="inspect the row"),
    Key("messages", "enter", "open", does="open a run of messages"),
    Key("drivers", "enter", "open", does="its round trips"),
    Key("table", "enter", "open", does="its round trips"),
    Key("findings", "enter", "open", does="its evidence"),
    Key("differences", "enter", "open", does="the messages of both"),
    Key("table", "s", "sort", "s S", "sort, reverse", "look", does="sort by the next column"),
    Key("table", "S", "reverse", does="sort the other way"),
    Key("timeline", "x", "fold", "x X", "fold this, all", "look", does="fold or unfold the row"),
    Key("screen", "X", "fold_level", does="next fold level"),
    Key("timeline", "w", "waterfall", "w", "waterfall", "look"),
    Key("timeline", "z", "zoom_to_row", "z Z + -", "zoom", "look", does="zoom to the row"),
    Key("timeline", "Z", "unzoom", does="zoom out to all rows"),
    Key("timeline", "plus", "zoom(1)", name="zoom-in", does="zoom in"),
    Key("timeline", "minus", "zoom(-1)", name="zoom-out", does="zoom out"),
    Key("timeline", "t", "times", "t", "time column", "look", does="what the time column shows"),
    Key("screen", "d", "driver_rows", "d", "driver rows", "look", does="show or hide driver rows"),
    Key("drivers", "a", "per_execution", "a", "per execution", "look", does="totals or per execution"),
    Key("statements", "D", "over_all", "D", "join drivers", "look", does="join or split drivers"),
    Key("screen", "u", "raw", "u", "value or bytes", "look", does="values by type or as bytes"),
    Key("screen", "p", "values", "p S", "values, all SQL", "look", name="values", does="values in the SQL, or parameters"),
    Key("screen", "S", "whole_sql", name="whole-sql", does="the SQL as it was written"),
    Key("timeline", "f", "follow", "f", "follow", "do", does="follow the newest row"),
    Key("screen", "c", "only_connection", "c C", "only cn, driver", "look", does="only this connection"),
    Key("screen", "C", "only_driver", does="only this driver"),
    Key("connections", "c", "open", does="its round trips"),
    Key("transactions", "c", "connection", does="all of its connection"),
    Key("screen", "slash", "filter", "/ \\", "filter, dim", "look", does="filter the rows"),
    Key("screen", "backslash", "dim", does="dim what does not match"),
    Key("screen", "y", "copy", "y", "copy", "do", does="copy"),
    Key("screen", "e", "save", "e", "save, export", "do", does="save or export"),
    Key("screen", "m", "mark", "m", "mark", "do", does="begin or end a mark"),
    Key("screen", "v", "page", "v", "in the pager", "do", name="pager", does="show the row in the pager"),
    Key("screen", "equals_sign", "compare", "=", "pick, compare", "do", does="pick a row, compare another"),
    Key("screen", "E", "explain", "E", "EXPLAIN", "do", does="EXPLAIN the statement"),
    Key("screen", "colon", "command", ":", "any command", "do"),
    Key("screen", "space", "pause", "space", "pause", "do", does="pause the screen"),
    Key("screen", "question_mark", "help", "?", "this help", "do", does="help"),
    Key("app", "T", "theme", "T", "theme", "do", does="next theme"),
    Key("app", "q,ctrl+q", "leave", "q", "quit", "do", name="quit"),
    Key("app", "ctrl+c", "leave", first=True, name="quit", does="quit"),
    Key("app", "ctrl+z", "suspend_process", "ctrl-z", "suspend", "do", first=True),
)


def help_lines(column: str, *, compares: bool = True, explains: bool = True) -> list[tuple[str, str]]:
    """The keys of one column of the help, and what they do: with the pane of two captures and
    EXPLAIN only if they are available.
    """
    instead = {} if compares else {"pane('1')": ("1 - 6", "pane")}
    if not explains:
        instead["explain"] = ("E", NO_EXPLAIN)
    return [instead.get(key.action, (key.shown, key.meaning)) for key in KEYS if key.column == column]


_SIGNS: Final = {
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "full_stop": ".",
    "comma": ",",
    "at": "@",
    "equals_sign": "=",
    "colon": ":",
    "question_mark": "?",
    "slash": "/",
    "backslash": "\\",
    "plus": "+",
    "minus": "-",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
}
"""Textual's name of a key -> its label on the keyboard."""
_NAMES: Final = {"esc": "escape", "?": "question_mark", "/": "slash", "\\": "backslash", "+": "plus", "-": "minus"}


def usable(hints: Hints, bound: Collection[str]) -> Hints:
    """The hints with a key that has a use now; `bound` has Textual's names."""
    return tuple(hint for hint in hints if any(_NAMES.get(key, key) in bound for key in hint[0].split()))
