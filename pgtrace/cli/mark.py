"""`pgtrace mark`: sets a mark in a running `pgtrace listen`."""

from __future__ import annotations

import click

from pgtrace.cli import options, output


@click.command("mark", epilog="Example: pgtrace mark begin checkout && ./checkout.sh; pgtrace mark end checkout")
@click.argument("what", type=click.Choice(["begin", "end"]), metavar="begin|end")
@click.argument("name")
@click.option("--to", metavar="ADDR", help="The recorder's listening address, such as :6433. Needed if several are running.")
@options.words("Also print the number of the mark in the recording.", "Print only errors.")
def command(what: str, name: str, to: str | None, quiet: bool, verbose: bool) -> int:
    """Set a mark in a running `pgtrace listen`.

    A mark is a named interval; `pgtrace listen` runs in another shell, as the same user.

    Everything that has already reached the recorder comes before the mark. The command returns once
    the mark is in the capture.
    """
    from pgtrace import marking

    if not name.strip() or len(name) > marking.LONGEST_NAME:
        raise click.UsageError("a mark needs a name of at most 4096 characters")
    chosen = marking.choose(to)
    number = marking.ask(chosen.path, begin=what == "begin", name=name)
    if not quiet:
        output.print_stderr(f"pgtrace: mark {name!r} {'begins' if what == 'begin' else 'ends'} at {', '.join(chosen.addresses)}")
    if verbose:
        output.print_stderr(f"pgtrace: mark {number} of that recording")
    return 0
