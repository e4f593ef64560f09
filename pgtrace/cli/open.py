"""`pgtrace open`: shows captures on the screen of the live view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options, output
from pgtrace.errors import CaptureError, UsageError

if TYPE_CHECKING:
    from pgtrace.cli.streamed import Streamed
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.trace import Trace


@click.command("open", epilog="Example: pgtrace open checkout.pgtrace")
@options.files
@click.option("--web", is_flag=True, help="Serve the screen to a browser on this machine, read only (pip install 'pgtrace[web]').")
@options.joining
@options.explaining
@options.words("At the end, also print what was read.", "Print only errors.")
def command(files: tuple[Path, ...], web: bool, quiet: bool, verbose: bool) -> None:
    """Browse captures round trip by round trip, message by message. A capture that is still growing
    is followed. Two captures are compared in two columns; the two sides of a pooler are joined.
    """
    import os
    import sys

    from pgtrace.capture.inputs import STDIN
    from pgtrace.cli.imports import Imports, ending_on_interrupt
    from pgtrace.cli.progress import turns
    from pgtrace.cli.reading import joined_at_once
    from pgtrace.cli.streamed import imported_stdin
    from pgtrace.trace.trace import Trace

    names = [os.fspath(file) for file in files]
    missing = next((name for name in names if name != STDIN and not os.path.exists(name)), None)
    if missing is not None:  # checked first: a terminal would not help
        raise CaptureError(missing, "no such file")
    if web:
        _serve(names, quiet=quiet)
        return
    if output.is_dumb():
        raise UsageError("`open` needs a terminal with a screen (TERM is dumb): use `pgtrace show` or `pgtrace stats` for text")
    if not sys.stderr.isatty() or not (sys.stdin.isatty() or STDIN in names):
        raise UsageError("`open` needs a terminal: use `pgtrace show` or `pgtrace stats` for text")
    if names == [STDIN]:
        with imported_stdin() as stream:
            _run(Trace.open([stream.path], names=names), names, stream, verbose=verbose)
        return
    with ending_on_interrupt() as begun:
        imports = Imports(names, begun)
        turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
    imports.warn_of_losses()
    joins = joined_at_once(imports.paths, imports.names, quiet=quiet)
    trace = Trace(imports.paths, names=imports.names, apart=joins.connections if joins is not None else ())
    if joins is not None:
        joins.use_trace(trace)
    _run(trace, imports.names, joins=joins, verbose=verbose)


def _serve(names: list[str], *, quiet: bool) -> None:
    """Serve the screen until Ctrl-C."""
    import asyncio
    import os
    import signal

    from pgtrace.capture.inputs import STDIN
    from pgtrace.cli.imports import Imports, ending_on_interrupt
    from pgtrace.cli.progress import turns

    try:
        from pgtrace.tui.web.server import WebServer
    except ImportError as error:
        raise UsageError("`open --web` needs textual-serve: pip install 'pgtrace[web]'") from error
    if STDIN in names:
        raise UsageError("`open --web` does not read standard input: each visitor reads the captures itself")
    if options.explained_on()["explain_dsn"]:
        raise UsageError("`open --web` is read only: --explain-dsn has no use with it")
    with ending_on_interrupt() as begun:
        imports = Imports(names, begun)
        turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
    imports.warn_of_losses()

    async def serve() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        title = f"pgtrace {os.path.basename(names[0])}"
        server = WebServer(imports.paths, imports.names, title, joins_sides=not options.in_context("no_join", False))
        output.print_stderr(f"open {server.address}")
        output.print_stderr("for at most 4 visitors, read only; Ctrl-C ends it")
        await server.serve(stopped)

    asyncio.run(serve())


def _run(trace: Trace, names: list[str], stream: Streamed | None = None, joins: Joins | None = None, *, verbose: bool) -> None:
    from pgtrace.cli.reading import print_sizes
    from pgtrace.tui.app import run_app
    from pgtrace.tui.model.source import Source

    joins_sides = not options.in_context("no_join", False)
    source = Source(files=tuple(names), live=True, temporary=stream is not None, joins_sides=joins_sides, **options.explained_on())
    run_app(trace, source=source, recorder=stream, joins=joins)
    if verbose:
        print_sizes(trace)
