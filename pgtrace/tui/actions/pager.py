"""Shows rows as `show --hex` prints them, in the user's pager, which gets the terminal meanwhile.

While the pager has the terminal this process waits; the recorder is another one, and the traffic
continues. ctrl-c belongs to the pager.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterable
from typing import Final

from textual.app import SuspendNotSupported

from pgtrace.errors import PgTraceError
from pgtrace.report.messages import rows_as_text
from pgtrace.tui.areas import Areas

DEFAULT: Final = "less -R"


def show_row(areas: Areas) -> None:
    """Show the row under the cursor in the pager."""
    item = areas.timeline.item
    if item is None:
        return
    pen = areas.view.pen
    text = (pen.text(line) for line in rows_as_text(areas.view.trace, item.places, with_hex=True))
    refused = ""
    try:
        with areas.screen.app.suspend():
            try:
                page(text)
            # Textual takes the screen back only at the end of the block
            except PgTraceError as error:
                refused = str(error)
    except SuspendNotSupported:
        refused = "this terminal cannot run a pager"
    if refused:
        # after the work that was under way when the pager got the terminal
        areas.screen.call_later(areas.show_notice, refused)


def page(lines: Iterable[str]) -> None:
    """Show lines in the pager until it ends. Raises PgTraceError if it cannot be started, or
    fails."""
    named = os.environ.get("PAGER", "").strip() or DEFAULT
    name = os.path.basename(named.split()[0])
    try:
        pager = subprocess.Popen(shlex.split(named), stdin=subprocess.PIPE)
    except (ValueError, OSError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error).lower()
        raise PgTraceError(f"pager {name} cannot be started: {reason}; set PAGER to use another one") from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pager:
            if pager.stdin is not None:
                for line in lines:
                    pager.stdin.write(f"{line}\n".encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        pass  # the pager was closed early
    finally:
        signal.signal(signal.SIGINT, before)
    if pager.returncode:
        raise PgTraceError(f"pager {name} ended with code {pager.returncode}; set PAGER to use another one")
