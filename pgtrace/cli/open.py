"""`pgtrace open`: the live view's screen for captures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options, output
from pgtrace.errors import CaptureError, UsageError

if TYPE_CHECKING:
    from pgtrace.cli.streamed import Streamed
    from pgtrace.trace.trace import Trace


@click.command("open", epilog="Example: pgtrace open checkout.pgtrace")
@options.files
@options.explaining
def command(files: tuple[Path, ...]) -> None:
    """Look at captures round trip by round trip, message by message. A capture that is still
    growing is followed."""
    import os
    import sys

    from pgtrace.capture.inputs import STDIN
    from pgtrace.cli.imports import Imports, ending_on_interrupt
    from pgtrace.cli.progress import turns
    from pgtrace.cli.streamed import imported_stdin
    from pgtrace.trace.trace import Trace

    names = [os.fspath(file) for file in files]
    missing = next((name for name in names if name != STDIN and not os.path.exists(name)), None)
    if missing is not None:  # said first: no terminal would change it
        raise CaptureError(missing, "no such file")
    if output.is_dumb():
        raise UsageError("`open` needs a terminal with a screen (TERM is dumb): use `pgtrace show` or `pgtrace stats` for text")
    if not sys.stderr.isatty() or not (sys.stdin.isatty() or STDIN in names):
        raise UsageError("`open` needs a terminal: use `pgtrace show` or `pgtrace stats` for text")
    if names == [STDIN]:
        with imported_stdin() as stream:
            _run(Trace.open([stream.path], names=names), names, stream)
        return
    with ending_on_interrupt() as begun:
        imports = Imports(names, begun)
        turns(imports.step, lambda: imports.progress, "importing")
    imports.tell()
    _run(Trace.open(imports.paths, names=imports.names), imports.names)


def _run(trace: Trace, names: list[str], stream: Streamed | None = None) -> None:
    from pgtrace.tui.app import run_app
    from pgtrace.tui.model.source import Source

    source = Source(files=tuple(names), live=True, temporary=stream is not None, **options.explained_on())
    run_app(trace, source=source, recorder=stream)
