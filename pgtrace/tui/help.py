"""The help screen: the keys in three columns, then what a row says, then the two definitions everything rests on."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.strip import Strip

from pgtrace.tui.lines import Line
from pgtrace.tui.widgets import Hints, LineWidget

_MOVE: Final = (
    ("j k ↓ ↑", "row"),
    ("ctrl-d u", "half a page"),
    ("pgdn pgup", "page"),
    ("g G", "first / last"),
    ("n N", "problem"),
    ("tab", "next area"),
    ("esc", "one step back"),
)
_LOOK: Final = (
    ("enter", "inspect"),
    ("1 4", "pane"),
    ("x X", "fold, level"),
    ("t", "time column"),
    ("d", "driver rows"),
    ("a", "per execution"),
    ("h l", "sideways"),
)
_DO: Final = (
    ("c", "one connection"),
    ("C", "one driver"),
    ("f", "follow"),
    ("space", "pause"),
    ("?", "this help"),
    ("q", "quit"),
)
_ROW: Final = (
    ("PBDES → 12TDCZ", "type bytes out and back; a run of rows is one D"),
    ("BDE×100 S", "100 executions behind one Sync: pipelined"),
    ("▸ SSL · Start · p", "folded: the set-up round trips of one connection"),
    ("╭ │ ╰ ┊", "transaction opens, goes on, closes, has failed"),
    ("✗ ╱╱ ≥", "error; gap in the capture; at least"),
    ("+ =  b t m", "prepares, reuses a named statement; binary, text, mixed"),
    ("━ ╌", "waiting for the server; idle time cut out of the axis"),
)
_WORDS: Final = (
    "F frontend (driver)   B backend (server)",
    "round trip = the driver had to wait for the network once",
)


class Help(LineWidget, can_focus=True):
    """One screen of help."""

    HINTS: ClassVar[Hints] = (("esc", "back"), ("q", "quit"))

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        third = min(34, (width - 1) // 3)
        drawn = [Line(pen, width, "head").add(" ").add("move", "dim", third).add("look", "dim", third).add("do", "dim").strip()]
        for number in range(max(len(_MOVE), len(_LOOK), len(_DO))):
            line = Line(pen, width).add(" ")
            for column, entries in enumerate((_MOVE, _LOOK, _DO)):
                line.to(1 + column * third)
                if number < len(entries):
                    keys, meaning = entries[number]
                    line.add(keys, "you", 10).add(meaning, "text", third - 10)
            drawn.append(line.strip())
        if height >= 20:
            drawn.append(Line(pen, width).strip())
        drawn.append(Line(pen, width, "head").add(" ").add("what a row says", "dim").strip())
        drawn += [Line(pen, width).add(" ").add(sign, "text", 18).add(meaning, "dim").strip() for sign, meaning in _ROW]
        if height >= 20:
            drawn.append(Line(pen, width).strip())
        return drawn + [Line(pen, width).add(f" {words}", "dim").strip() for words in _WORDS]
