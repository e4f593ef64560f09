"""`show` says how far it is while it prints nothing, where somebody can see it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from tests import commands

CAPTURE = Path(__file__).parents[2] / "captures" / "psycopg" / "cancel.pgtrace"
AT_ONCE = "import pgtrace.cli.progress as progress; progress._PATIENCE_S = -1"
TOLD = b"\rreading  100%"


def show(*args: str, terminal: bool = True) -> tuple[bytes, bytes]:
    """What it writes to stdout and to stderr."""
    main, side = pty.openpty()
    errors_to = side if terminal else subprocess.PIPE
    run = commands.Command("show", CAPTURE, *args, before=AT_ONCE, stdout=subprocess.PIPE, stderr=errors_to)
    os.close(side)
    out, errors = run.communicate()
    told = errors or b""
    try:
        while data := os.read(main, 65536):
            told += data
    except OSError:  # the end of a terminal
        pass
    os.close(main)
    assert run.returncode == 0
    return out, told


def test_a_filter_that_finds_nothing() -> None:
    out, told = show("--filter", "user = nobody")
    assert not out
    assert told.startswith(TOLD)
    assert told.endswith(b"\r" + b" " * len(TOLD[1:]) + b"\r")


def test_it_is_gone_before_a_line_is_printed() -> None:
    out, told = show()
    assert out
    assert told.replace(b" ", b"").endswith(b"%\r\r")


def test_nobody_is_there_to_see_it() -> None:
    assert show("--filter", "user = nobody", terminal=False) == (b"", b"")


def test_nobody_wants_to_see_it() -> None:
    assert show("--filter", "user = nobody", "-q") == (b"", b"")
