"""`pgtrace stats`: prints the counters of captures."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from pgtrace.cli import options

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter


_BY: Final = ("driver", "connection", "statement", "mark", "label", "file", "leg", "callsite")


class _By(click.ParamType[str]):
    """One of the groupings, or tag.KEY."""

    name = "by"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in _BY:
            return value
        from pgtrace.ask.filter.words import TAG

        if not value.startswith(TAG) or value == TAG:
            self.fail(f"{value!r} is not one of {', '.join(_BY)}, tag.KEY", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from pgtrace.ask.filter.words import TAG

        return [CompletionItem(word) for word in (*_BY, TAG) if word.startswith(incomplete)]


@click.command("stats", epilog="Example: pgtrace stats --by statement checkout.pgtrace")
@options.files
@click.option(
    "--by",
    type=_By(),
    metavar="|".join([*_BY, "tag.KEY"]),
    default="driver",
    show_default=True,
    help="Print one line for each of these.",
)
@options.filtered
@options.joining
@options.as_json
@options.words("Also print times, formats, sizes, and messages per type.")
def command(files: tuple[Path, ...], by: str, chosen: Filter | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Count round trips, messages, statements and more, exactly. --json gives every counter."""
    from pgtrace.cli.output import columns, write
    from pgtrace.cli.reading import count, count_rows, read_joined, warn_of_losses, warn_of_undecided
    from pgtrace.cli.terminal import coloured, table
    from pgtrace.report import grouping, stats

    group = grouping.grouping(by)
    # The counters of a filter's rows are sums over these rows, without tables of statements.
    more_than_rows = group is not None or as_json or verbose or by == "mark"
    trace, joins = read_joined(
        files,
        timeline=more_than_rows or chosen is not None,
        statements=more_than_rows or chosen is None or by not in stats.OF_ROWS,
        quiet=quiet,
    )
    if group is not None:
        from pgtrace.ask.filter import parse  # other tables do not need it

        selection = (chosen or parse("")).over(trace)
        if as_json:
            from pgtrace.report.encoding import as_json as encoded  # tables do not need it

            write([encoded(grouping.as_dict(selection, group), indent=2)])
        else:
            write(coloured(grouping.as_text(selection, group), table))
        warn_of_undecided(selection)
        warn_of_losses(trace)
        return
    selected = None
    if chosen is not None:
        selected = count_rows(trace, chosen, quiet=quiet) if by in stats.OF_ROWS and not as_json else None
        if selected is None:
            trace = count(trace, chosen, quiet=quiet)
    if as_json:
        write(stats.as_json(trace, joins), end="")
    else:
        more = stats.more(trace, by, selected, joins) if verbose else []
        lines = stats.as_text(trace, by, selected=selected, joins=joins, columns=columns(sys.stdout))
        write(coloured(chain(lines, more), table))
        if joins is not None:
            from pgtrace.report.joins import joins_as_text  # most captures have one side

            write(joins_as_text(joins))
    warn_of_losses(trace)
