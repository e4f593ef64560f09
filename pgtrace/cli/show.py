"""`pgtrace show`: the messages of captures as text."""

from __future__ import annotations

from pathlib import Path

import click

from pgtrace.cli import options


@click.command("show", epilog="Example: pgtrace show --hex checkout.pgtrace | less")
@options.files
@click.option("--hex", "with_hex", is_flag=True, help="The bytes of each message below it.")
@options.as_json
@options.words("Every field of each message below it.")
def command(files: tuple[Path, ...], with_hex: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print every message, one line each, under a line for its round trip. --json prints one object for each round trip."""
    import msgspec

    from pgtrace.cli.output import write
    from pgtrace.cli.reading import read, warn_of_losses
    from pgtrace.report import messages

    trace = read(files, quiet=quiet)
    if as_json:
        encoder = msgspec.json.Encoder()
        write(encoder.encode(about).decode() for about in messages.rows_as_json(trace))
    else:
        write(messages.rows_as_text(trace, with_hex=with_hex, with_fields=verbose))
    warn_of_losses(trace)
