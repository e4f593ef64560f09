"""What stands in place of the rows: where to point a driver while nothing has come yet, ready to be copied; or that the screen is too small."""

from __future__ import annotations

from textual.strip import Strip

from pgtrace.tui import rowtext
from pgtrace.tui.bands import SMALLEST
from pgtrace.tui.lines import Line, cells
from pgtrace.tui.source import Source
from pgtrace.tui.widgets import LineWidget


def instructions(source: Source) -> list[str]:
    """Lines to copy: environment variables, a URL, and psql, for the first address."""
    if not source.addresses:
        return []
    user, database = source.user or "postgres", source.database or source.user or "postgres"
    address = source.addresses[0]
    more = [f"export {name}={value}" for name, value in source.environment]
    if address.startswith("/"):
        directory, _, name = address.rpartition("/")
        port = name.rpartition(".")[2]
        return [
            f"export PGHOST={directory} PGPORT={port}",
            f"export DATABASE_URL=postgresql://{user}@/{database}?host={directory}&port={port}",
            *more,
            f"psql -h {directory} -p {port} -U {user} {database}",
        ]
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    return [
        f"export PGHOST={bare} PGPORT={port} PGSSLMODE=disable",
        f"export DATABASE_URL=postgresql://{user}@{host}:{port}/{database}",
        *more,
        f"psql -h {bare} -p {port} -U {user} {database}",
    ]


class Empty(LineWidget):
    """The body without rows."""

    def build(self, width: int, height: int) -> list[Strip]:
        view, source = self.view, self.view.source
        said: list[tuple[str, str]] = []
        if source.warning:
            said += [(rowtext.plain(source.warning, width), "error"), ("", "text")]
        commands = instructions(source)
        if source.live and commands:
            said.append(("Point a driver here:", "strong"))
            said += [(rowtext.plain(f"  {command}", width), "text") for command in commands]
            said += [(f"  also on {address}", "dim") for address in source.addresses[1:]]
        elif source.live:
            said.append(("nothing has come yet", "dim"))
        else:
            said.append(("nothing in this capture" if view.trace.ended else "nothing in this capture yet", "dim"))
        longest = max(cells(text) for text, _ in said)
        left = max(1, (width - longest) // 2)
        above = max(0, (height - len(said)) // 2 - 1)
        drawn = [Line(view.pen, width).strip() for _ in range(above)]
        return drawn + [Line(view.pen, width).to(left).add(text, role).strip() for text, role in said]


class TooSmall(LineWidget):
    """What a screen below the smallest size shows."""

    def build(self, width: int, height: int) -> list[Strip]:
        return [Line(self.view.pen, width).add(f"needs {SMALLEST[0]}x{SMALLEST[1]}", "attention").strip()]
