"""`pgtrace stats`: counters of captures."""

from __future__ import annotations

from pathlib import Path

import click

from pgtrace.cli import options


@click.command("stats", epilog="Example: pgtrace stats --by statement checkout.pgtrace")
@options.files
@click.option(
    "--by",
    type=click.Choice(["driver", "connection", "statement", "mark"]),
    default="driver",
    show_default=True,
    help="One line for each of these.",
)
@options.as_json
@options.words("Messages per type as well.")
def command(files: tuple[Path, ...], by: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Count round trips, messages, statements and more, exactly; --json gives every counter."""
    import msgspec

    from pgtrace.cli.output import write
    from pgtrace.cli.reading import read, warn_of_losses
    from pgtrace.report import stats

    trace = read(files, timeline=False, quiet=quiet)
    if as_json:
        write([msgspec.json.format(msgspec.json.encode(stats.as_dict(trace)), indent=2).decode()])
    else:
        write([*stats.as_text(trace, by), *(["", *stats.messages(trace, by)] if verbose else [])])
    warn_of_losses(trace)
