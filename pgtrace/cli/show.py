"""`pgtrace show`: prints the messages of captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter
    from pgtrace.sanitise import Shown


@click.command("show", epilog="Example: pgtrace show --hex checkout.pgtrace | less")
@options.files
@click.option("--hex", "with_hex", is_flag=True, help="Print the bytes of each message below it.")
@click.option("--follow", is_flag=True, help="Follow the recording until it ends or you press Ctrl-C.")
@options.filtered
@options.joining
@options.as_json
@options.words("Print every field below its message, and the evidence for each connection's driver.")
def command(
    files: tuple[Path, ...], with_hex: bool, follow: bool, chosen: Filter | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Print every message, grouped by round trip.

    Each message is one line, below a line for its round trip. --json prints one object per round
    trip. A terminal gets colours and, for long texts, a pager (PGTRACE_PAGER, PAGER).
    """
    from pgtrace.cli import output, terminal
    from pgtrace.cli.progress import Waiting
    from pgtrace.cli.reading import read_with_legs, rows, select, warn_of_losses
    from pgtrace.report import messages
    from pgtrace.report.encoding import as_json as encoded

    lines: Iterator[Shown]
    introduced: set[int] | None = set() if verbose else None
    read = read_with_legs(files, quiet=quiet) if not follow else None
    joins = read[1] if read is not None else None
    with Waiting("reading", quiet=quiet) as waiting:
        for trace, listed in (
            rows(files, follow=follow, quiet=quiet, on_progress=waiting.update) if read is None else [(read[0], range(len(read[0].rows)))]
        ):
            places = listed if chosen is None else select(trace, chosen, listed, joins)
            if as_json:
                lines = (encoded(about) for about in messages.rows_as_json(trace, places, joins))
            else:
                lines = messages.rows_as_text(trace, places, with_hex=with_hex, with_fields=verbose, introduced=introduced, joins=joins)
            shown = waiting.before(lines if as_json else terminal.coloured(lines, terminal.message))
            if not (output.write(shown) if follow or as_json else terminal.write(shown)):
                break
    warn_of_losses(trace)
