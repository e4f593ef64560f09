"""`pgtrace diff`: shows the differences between two captures."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from pgtrace.capture.inputs import STDIN
from pgtrace.cli import options

_STYLES: Final[dict[str, dict[str, Any]]] = {"-": {"fg": "red"}, "+": {"fg": "green"}, "@": {"fg": "cyan"}, "head": {"bold": True}}


@click.command("diff", epilog="Example: pgtrace diff before.pgtrace after.pgtrace")
@click.argument("before", type=options.FILE, metavar="A")
@click.argument("after", type=options.FILE, metavar="B")
@options.importing
@options.as_json
@options.words("Print every step, including those that are the same.")
@click.pass_context
def command(ctx: click.Context, before: Path, after: Path, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Compare the wire behaviour of two captures.

    The differences come first in words, costliest first, then round trip by round trip. Times,
    values, and the names that drivers give to statements do not count as differences. The exit code
    is 1 if there is a difference, or if a capture is incomplete.
    """
    from pgtrace.cli.output import print_stderr, styled, write
    from pgtrace.cli.reading import is_whole, read_as
    from pgtrace.compare.behaviour import STEPS_KEPT, Behaviour
    from pgtrace.compare.diff import CONTEXT, compare
    from pgtrace.report import diff as report
    from pgtrace.report.encoding import as_json as encoded

    if STDIN == os.fspath(before) == os.fspath(after):
        raise click.UsageError("only one of the two can be standard input")
    read_both = [read_as(Behaviour, [file], quiet=quiet) for file in (before, after)]
    compared = compare(*read_both, context=None if verbose else CONTEXT)
    names = [os.fspath(file) for file in (before, after)]
    if as_json:
        write([encoded(report.as_dict(compared, names), indent=2)])
    else:
        coloured = sys.stdout.isatty() and ctx.color is not False
        write(styled(text, **_STYLES.get(kind, {})) if coloured else text for kind, text in report.lines(compared, names))
    whole = [is_whole(trace) for trace in read_both]
    for trace in read_both:
        if trace.is_cut:
            print_stderr(f"pgtrace: {trace.files[0]}: more than {STEPS_KEPT} different round trips: the rest are treated as the same")
    ctx.exit(0 if compared.same and all(whole) else 1)
