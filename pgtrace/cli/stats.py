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
    type=click.Choice(["driver", "connection", "statement", "mark", "callsite"]),
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
    from pgtrace.report.encoding import as_json as encoded
    from pgtrace.sanitise import EMPTY

    trace = read(files, timeline=chosen is not None or by == "callsite", quiet=quiet)
    if by == "callsite":
        selection = chosen.over(trace) if chosen is not None else None
        places = [place for place in range(len(trace.rows)) if selection is None or selection.selects(place)]
        if as_json:
            write([encoded(stats.call_sites_as_dict(trace, places), indent=2)])
        else:
            write(stats.call_sites_as_text(trace, places, chosen.text if chosen is not None else None))
        warn_of_losses(trace)
        return
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
