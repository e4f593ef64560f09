"""`pgtrace open`: the live view's screen over captures."""

from __future__ import annotations

from pathlib import Path

import click

from pgtrace.cli import options
from pgtrace.errors import UsageError


@click.command("open", epilog="Example: pgtrace open checkout.pgtrace")
@options.files
def command(files: tuple[Path, ...]) -> None:
    """Look at captures round trip by round trip, message by message. A capture that still grows is followed."""
    import sys

    from pgtrace.analysis.trace import Trace

    if not sys.stderr.isatty() or not sys.stdin.isatty():
        raise UsageError("`open` needs a terminal: use `pgtrace show` or `pgtrace stats` for text")
    trace = Trace.open(files)
    from pgtrace.tui.app import run_app
    from pgtrace.tui.source import Source

    run_app(trace, source=Source(files=tuple(str(file) for file in files), live=True))
