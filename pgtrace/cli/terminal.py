"""Output on a terminal: in colour, and long texts through a pager, as git does.

Pipes, files, dumb terminals and NO_COLOR get plain text. The pager is PGTRACE_PAGER, else PAGER,
else less, which ends at once if everything fits the screen. `cat` or an empty value switches it
off.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Final

import click

from pgtrace.cli import output
from pgtrace.sanitise import Shown

_LESS: Final = "FRX"
"""Options of less, as git sets them: end if the text fits on one screen, keep colours, leave the
text on the screen.
"""
_MESSAGE: Final = re.compile(r"( +)(F→|B←|F->|B<-)( +[\d.]+)( +\d+)?( +)(\S)( )(\w+)(.*)", re.DOTALL)
_ROW: Final = re.compile(r"( *\d[\d.]*  )(\S+ +\S+ +)(.*)", re.DOTALL)
_FAILED: Final = " ✗"


def is_coloured() -> bool:
    """Whether stdout is a terminal that shows colours, and colours are wanted."""
    context = click.get_current_context(silent=True)
    return sys.stdout.isatty() and not output.is_dumb() and (context is None or context.color is not False)


def coloured(lines: Iterable[Shown], colour: Callable[[str], str]) -> Iterable[Shown]:
    """The lines in colour, if stdout shows any."""
    return (Shown(colour(line)) for line in lines) if is_coloured() else lines


def message(line: str) -> str:
    """A line of `show` in colour: sides apart, errors red, times dim."""
    found = _MESSAGE.fullmatch(line)
    if found is not None:
        indent, side, time, execution, gap, code, blank, name, rest = found.groups()
        role = "blue" if side[0] == "F" else "green"
        if name == "ErrorResponse":
            name, rest = click.style(name, fg="red", bold=True), click.style(rest, fg="red")
        elif "skipped by the server" in rest:
            name, rest = click.style(name, dim=True), click.style(rest, dim=True)
        start = click.style(side, fg=role) + click.style(time, dim=True) + (execution or "")
        return indent + start + gap + click.style(code, fg=role, bold=True) + blank + name + rest
    row = _ROW.fullmatch(line)
    if row is None:
        return line
    time, who, rest = row.groups()
    good, failed, bad = rest.partition(_FAILED)
    return click.style(time, dim=True) + who + click.style(good, bold=True) + (click.style(failed + bad, fg="red") if failed else "")


def table(line: str) -> str:
    """A line of `stats` in colour: heads bold, zeros dim."""
    if re.match(r"\S+ +(conn|round trips|rt)\b", line) or line.startswith("all "):
        return click.style(line, bold=True)
    return re.sub(r"(?<= )·(?= |$)", click.style("·", dim=True), line)


def write(lines: Iterable[Shown]) -> bool:
    """Print the lines, on a terminal through the pager. Returns False if the reader has closed
    stdout.
    """
    program = _pager() if sys.stdout.isatty() and sys.stdin.isatty() and not output.is_dumb() else []
    if not program:
        return output.write(lines)
    import subprocess  # most output goes elsewhere

    try:
        pager = subprocess.Popen(program, stdin=subprocess.PIPE, env={"LESS": _LESS, "LV": "-c"} | os.environ)
    except OSError:
        return output.write(lines)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c belongs to the pager
    try:
        with pager:
            if pager.stdin is not None:
                for line in lines:
                    pager.stdin.write(f"{line}\n".encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def _pager() -> list[str]:
    """The command line of the pager; empty for none."""
    named = os.environ.get("PGTRACE_PAGER", os.environ.get("PAGER", "less")).strip()
    try:
        program = shlex.split(named)
    except ValueError:
        return []
    return program if program and program[0] != "cat" and shutil.which(program[0]) else []
