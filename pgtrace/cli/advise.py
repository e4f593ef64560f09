"""`pgtrace advise`: what costs round trips or will fail, and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter


@click.command("advise", epilog="Example: pgtrace advise checkout.pgtrace")
@options.files
@options.filtered
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="Print only data and errors.")
def command(files: tuple[Path, ...], chosen: Filter | None, as_json: bool, quiet: bool) -> None:
    """Find what costs round trips or fails, and the remedy.

    Failures come first, then the most costly. Each finding has its evidence, and a remedy in the
    driver's own settings.
    """
    from pgtrace.cli.output import write
    from pgtrace.cli.reading import read, warn_of_losses, warn_of_undecided
    from pgtrace.judge.advice import Advice
    from pgtrace.report import advice
    from pgtrace.report.encoding import as_json as encoded

    trace = read(files, quiet=quiet)
    selection = chosen.over(trace) if chosen is not None else None
    found = Advice(trace, selection.selects if selection is not None else None)
    found.update()
    if selection is not None:
        warn_of_undecided(selection)
    findings, left = found.findings(), found.unexplained()
    if as_json:
        write([encoded(advice.as_dict(trace, findings, left, chosen.text if chosen is not None else None), indent=2)])
    else:
        write(advice.lines(trace, findings, left))
    warn_of_losses(trace)
