"""Shown instead of rows: where to point a driver while there is no traffic yet, ready to be copied;
or a note that the screen is too small.

Unknown settings are left out: user and database are then the driver's own defaults, as without
pgtrace.
"""

from __future__ import annotations

import shlex
import textwrap
from typing import ClassVar
from urllib.parse import quote

from textual.strip import Strip

from pgtrace import sanitise
from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.bands import SMALLEST
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.source import Source
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where to connect when a recorder listens on all interfaces


def instructions(source: Source) -> list[str]:
    """Lines for a shell: environment variables, a URL, and psql, for the first address; empty if
    nothing listens.
    """
    if not source.addresses:
        return []
    known = dict(source.environment)
    user, password, database = (known.get(name, "") for name in ("PGUSER", "PGPASSWORD", "PGDATABASE"))
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    place, _, port = source.addresses[0].rpartition(":")
    place = _ANYWHERE.get(place, place)
    if place == "unix":
        host, _, name = port.rpartition("/")
        port = name.rpartition(".")[2]
        url = f"postgresql://{login}{'@' if login else ''}/{quote(database, safe='')}?host={quote(host)}&port={port}"
        exports = [f"PGHOST={shlex.quote(host)}", f"PGPORT={port}"]
    else:
        host = place.strip("[]")
        url = f"postgresql://{login}{'@' if login else ''}{place}:{port}/{quote(database, safe='')}"
        exports = [f"PGHOST={host}", f"PGPORT={port}", "PGSSLMODE=disable"]
    psql = ["psql", "-h", host, "-p", port, *(["-U", user] if user else []), *([database] if database else [])]
    return [
        f"export {' '.join(exports)}",
        *([f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in known.items())}"] if known else []),
        f"export DATABASE_URL={shlex.quote(url)}",
        shlex.join(psql),
    ]


def _wrapped(text: str, width: int) -> list[str]:
    """The text wrapped in full, because a command that is cut off cannot be typed."""
    return [text[start : start + width] for start in range(0, len(text), width)]


class Empty(LineWidget, can_focus=True):
    """The body without rows."""

    HINTS: ClassVar[Hints] = (("y", "copy"), ("1 - 6", "panes"), ("q", "quit"), ("?", "help"))

    def build(self, width: int, height: int) -> list[Strip]:
        view, source = self.view, self.view.source
        lines: list[tuple[str, str]] = []
        if source.warning:
            lines += [(rowtext.plain(source.warning, width), "error"), ("", "text")]
        commands = instructions(source)
        if commands:
            lines.append(("Point a driver here:", "strong"))
            lines += [(f"  {part}", "text") for command in commands for part in _wrapped(sanitise.text(command), width - 4)]
            lines += [(f"  also on {address}", "dim") for address in source.addresses[1:]]
            for note in source.notes:
                lines += [("", "text"), *((line, "dim") for line in textwrap.wrap(sanitise.text(note), width - 4))]
        else:
            lines.append(("nothing in this capture yet" if source.live and not view.trace.ended else "nothing in this capture", "dim"))
        longest = max(cells.width(text) for text, _ in lines)
        left = max(0, min(width // 8, (width - longest) // 2))
        above = max(0, (height - len(lines)) // 2 - 1)
        drawn = [Line(view.pen, width).strip() for _ in range(above)]
        return drawn + [Line(view.pen, width).to(left).add(text, role).strip() for text, role in lines]


class TooSmall(LineWidget):
    """The note on a screen below the smallest size."""

    def build(self, width: int, height: int) -> list[Strip]:
        return [Line(self.view.pen, width).add(f"needs {SMALLEST[0]}x{SMALLEST[1]}", "attention").strip()]
