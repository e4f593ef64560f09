"""`pgtrace export`: captures in the formats of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtrace.cli import options
from pgtrace.export import FORMATS
from pgtrace.recorder import REDACTIONS

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter

_OPTIONS = {"places": "filter", "rules": "normalise"}
"""Parameter -> its option's name, if that differs."""
_LIST = "\n".join(f"{one.name:<10}{one.what}" for one in FORMATS.values())


@click.command(
    "export",
    help=f"Write captures in the format of another program.\n\n\b\n{_LIST}",
    epilog="Example: pgtrace export --to pcapng checkout.pgtrace -o checkout.pcapng",
)
@options.files
@click.option("--to", "to", type=click.Choice(list(FORMATS)), required=True, help="The format.")
@click.option("-o", "out", metavar="OUT", type=options.FILE, default="-", help="Write to this new file. Default, or `-`: stdout.")
@options.filtered
@click.option(
    "--redact",
    multiple=True,
    type=click.Choice(REDACTIONS),
    help="Blank parameters, rows, or literals in SQL (including passwords) in the output. May be repeated.",
)
@click.option("--keep-port", is_flag=True, help="pcapng: keep the server's port instead of 5432, by which Wireshark recognises PostgreSQL.")
@click.option("--metrics", is_flag=True, help="otlp: write counters by driver and application instead of spans.")
@click.option("--literals", is_flag=True, help="otlp: keep the values in SQL text without parameters.")
@click.option("--mark", metavar="NAME", help="pqtrace: write only round trips that began while this mark was open.")
@click.option(
    "--order",
    type=click.Choice(["opened", "content"]),
    help="pqtrace: order by connection, as they opened (default), or by content, whichever connection had it.",
)
@click.option(
    "--normalise",
    "rules",
    metavar="s/REGEX/TEXT/",
    multiple=True,
    help="pqtrace: replace texts that differ from run to run; also `rules` in [tool.pgtrace.golden] of pyproject.toml. May be repeated.",
)
@click.option("--plain", is_flag=True, help="pqtrace: keep numbers and bytes that differ from run to run.")
@click.option("--everything", is_flag=True, help="pqtrace: add AuthenticationOk, which libpq leaves out.")
@options.words(options.WHAT_WAS_READ, "Print only losses and errors.")
def command(
    files: tuple[Path, ...], to: str, out: Path, chosen: Filter | None, redact: tuple[str, ...], quiet: bool, verbose: bool, **given: Any
) -> None:
    from pgtrace.cli.output import Output
    from pgtrace.cli.progress import turns
    from pgtrace.cli.reading import count, print_sizes, read, select, warn_of_losses
    from pgtrace.errors import UsageError
    from pgtrace.export import Piece, rules

    wanted = FORMATS[to]
    given = {name: value for name, value in {"places": chosen, **given}.items() if value}
    for name in given.keys() - set(wanted.options):
        raise UsageError(f"--to {to} has no option --{_OPTIONS.get(name, name.replace('_', '-'))}")
    if "rules" in wanted.options:
        given["rules"] = (*rules.configured(os.curdir), *rules.parse(given.get("rules", ())))
    with Output(os.fspath(out), binary=wanted.binary) as file:
        trace = read(files, redact=redact, quiet=quiet)
        if chosen is not None:
            given["places"] = select(trace, chosen, range(len(trace.rows)))
            if "counted" in wanted.options:
                given["counted"] = count(trace, chosen, quiet=quiet)
        pieces = wanted.load()(trace, **given)
        latest = Piece("", 0.0)

        def step() -> bool:
            nonlocal latest
            if (piece := next(pieces, None)) is None:
                return False
            latest = piece
            return not piece.content or file.write(piece.content)

        turns(step, lambda: latest.done, lambda: latest.stage, quiet=quiet)
    warn_of_losses(trace)
    if verbose:
        print_sizes(trace)
