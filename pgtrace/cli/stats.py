"""`pgtrace stats`: counters of captures."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter


@click.command("stats", epilog="Example: pgtrace stats --by statement checkout.pgtrace")
@options.files
@click.option(
    "--by",
    type=click.Choice(["driver", "connection", "statement", "mark"]),
    default="driver",
    show_default=True,
    help="Print one line for each of these.",
)
@options.filtered
@options.as_json
@options.words("Also print messages per type.")
def command(files: tuple[Path, ...], by: str, chosen: Filter | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Count round trips, messages, statements and more, exactly. --json gives every counter."""
    from pgtrace.cli.output import write
    from pgtrace.cli.reading import count, count_rows, read, warn_of_losses
    from pgtrace.report import stats
    from pgtrace.sanitise import EMPTY

    trace = read(files, timeline=chosen is not None, quiet=quiet)
    if chosen is not None:
        selected = count_rows(trace, chosen, quiet=quiet) if by == "driver" and not as_json else None
        if selected is not None:
            write(stats.selected_as_text(trace, selected, with_messages=verbose))
            warn_of_losses(trace)
            return
        trace = count(trace, chosen, quiet=quiet)
    if as_json:
        write(stats.as_json(trace), end="")
    else:
        write(chain(stats.as_text(trace, by), [EMPTY, *stats.messages(trace, by)] if verbose else []))
    warn_of_losses(trace)
