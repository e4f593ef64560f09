"""`show` and `stats` on a terminal: colours and a pager; elsewhere plain text."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import click
import pytest

from pgtrace.cli import terminal
from tests import commands

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests" / "data" / "findings" / "pipeline_error.pgtrace"


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PAGER", "LESS", "PGTRACE_PAGER")}
    process = commands.Command(
        *arguments, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environ | {"TERM": "xterm-256color"} | environment
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:
        pass  # the other side is closed
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def test_show_is_coloured_and_goes_through_the_pager(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    on_terminal("show", str(CAPTURE), PGTRACE_PAGER=f"tee {seen}")
    text = seen.read_text()
    assert "\x1b[31m\x1b[1mErrorResponse" in text
    assert "\x1b[34mF→" in text
    assert click.unstyle(text).count("ErrorResponse") == 1


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager"])
def test_without_a_pager_it_is_written_at_once(pager: str) -> None:
    assert "ErrorResponse" in on_terminal("show", str(CAPTURE), PGTRACE_PAGER=pager, PAGER="false")


def test_no_colour_and_no_terminal_are_plain(tmp_path: Path) -> None:
    assert "\x1b[3" not in on_terminal("show", str(CAPTURE), PGTRACE_PAGER="", NO_COLOR="1")
    piped = commands.call("show", CAPTURE)
    assert "\x1b" not in piped.stdout


def test_stats_has_bold_heads() -> None:
    assert "\x1b[1mdriver" in on_terminal("stats", str(CAPTURE))


def test_colours_change_no_text() -> None:
    piped = commands.call("show", CAPTURE).stdout
    for line in piped.splitlines():
        assert click.unstyle(terminal.message(line)) == line
        assert click.unstyle(terminal.table(line)) == line
