"""`pgtrace check`: checks whether captures meet their budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import budgets, options

if TYPE_CHECKING:
    from pgtrace.ask.budgets import About
    from pgtrace.ask.filter import Filter

_FORMATS = ("text", "json", "junit", "github", "markdown")


@click.command("check", epilog="Example: pgtrace check --max round_trips=4 --max errors=0 checkout.pgtrace")
@options.files
@budgets.limits
@click.option(
    "--by",
    "about",
    type=click.Choice(["capture", "driver", "mark", "statement"]),
    default="capture",
    show_default=True,
    help="What --max applies to: the whole capture, or each of these.",
)
@options.filtered
@options.joining
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True, help="The format of the result.")
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
@options.words("Also print the budgets that are met.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    limits: tuple[str, ...],
    config: Path | None,
    about: About,
    chosen: Filter | None,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Check a capture against budgets: upper limits on counts. The exit code is 1 if a budget is
    exceeded, or if the capture is incomplete, because its counts are then lower bounds.

    Without --max and --config, the budgets are those of [tool.pgtrace.budgets] in the nearest
    pyproject.toml.
    """
    from pgtrace.ask.budgets import evaluate
    from pgtrace.cli.output import write
    from pgtrace.cli.reading import count, is_whole, read_joined
    from pgtrace.report import budgets as report
    from pgtrace.report.encoding import as_json as encoded

    asked = budgets.of_options(limits, config, about) if limits or config is not None else budgets.of_project()
    if not asked:
        raise click.UsageError("no budgets: use --max COUNTER=N, --config FILE, or [tool.pgtrace.budgets] in a pyproject.toml")
    trace, _ = read_joined(files, quiet=quiet)
    if chosen is not None:
        trace = count(trace, chosen, quiet=quiet)
    results = evaluate(trace, asked)
    if form == "json":
        write([encoded(report.as_dict(results), indent=2)])
    elif form == "text":
        write(report.as_text(results, everything=verbose))
    else:
        write(report.FORMATS[form](results))
    complete = is_whole(trace)
    ctx.exit(0 if complete and all(result.is_kept for result in results) else 1)
