"""What `y` can copy, and where it goes.

A copy goes to the terminal's clipboard (OSC 52), and since a terminal may refuse that without a word, always to a file too, in a private directory that lives
as long as the screen. Text from the wire is made safe like everything that is shown, but keeps its line breaks and tabs: it is pasted into shells.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pgtrace import sanitise
from pgtrace.analysis.trace import Trace
from pgtrace.report.messages import round_trip_line
from pgtrace.tui import rowtext
from pgtrace.tui.fields import Fields
from pgtrace.tui.listing import Item


class Offer(NamedTuple):
    """Something that can be copied."""

    key: str
    name: str
    text: Callable[[], str]


def of_row(trace: Trace, item: Item) -> list[Offer]:
    """A line of the timeline."""
    flight = "\n".join(rowtext.in_words(row) for row in item.rows)
    found = [Offer("r", "row", lambda: "\n".join(round_trip_line(trace, row) for row in item.rows))]
    if item.row.is_round_trip:
        found.append(Offer("f", "flight in words", lambda: safe(flight)))
        if item.row.label.sql and not item.folded:
            found.append(Offer("s", "SQL", lambda: safe(item.row.label.sql)))
    if item.row.label.error:
        found.append(Offer("e", "error", lambda: safe(item.row.label.error)))
    return found


def of_message(shown: Fields, *, field_chosen: bool) -> list[Offer]:
    """The message in the inspector: the value of its selected field, and bytes of the field or of all of it."""
    field, raw = shown.field, shown.raw
    if field is None:
        return []
    chosen = raw[field.start : field.end] if field_chosen else raw
    return [
        Offer("v", "value", lambda: safe(shown.value(field))),
        Offer("h", "hex" if field_chosen else "hex of the message", chosen.hex),
    ]


def safe(text: str) -> str:
    """Text from the wire without anything that a terminal would obey."""
    return "\t".join(sanitise.text(part, "\n") for part in text.replace("\r\n", "\n").split("\t"))


class CopyFile:
    """The file that holds the latest copy."""

    def __init__(self) -> None:
        self._directory: str | None = None

    def write(self, text: str) -> Path:
        """Its path; raises OSError."""
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="pgtrace-")
        path = Path(self._directory, "copied")
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def close(self) -> None:
        """Remove it."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
