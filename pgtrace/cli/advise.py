"""`pgtrace advise`: finds what costs round trips or fails, with remedies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pgtrace.cli import options

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter

_FORMATS: Final = ("text", "json", "sarif", "junit", "github")


def _kinds(_ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> frozenset[str] | None:
    """The kinds named by --fail-on; None without it."""
    from difflib import get_close_matches

    from pgtrace.judge.baseline import UNEXPLAINED
    from pgtrace.judge.findings import FORMER, NAMES

    asked = [name.strip() for text in value for name in text.split(",") if name.strip()]
    known = [*NAMES, *FORMER, UNEXPLAINED]
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise click.BadParameter(
                f"unknown finding {name!r}{f'; did you mean {near[0]}?' if near else '; docs/findings.md lists them all'}"
            )
    return frozenset(FORMER.get(name, name) for name in asked) if value else None


@click.command("advise", epilog="Example: pgtrace advise --fail-on n+1,unexplained checkout.pgtrace")
@options.files
@options.filtered
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True, help="The format of the result.")
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
@click.option(
    "--fail-on", "kinds", metavar="KIND,...", multiple=True, callback=_kinds, help="Exit with 1 on these findings; `unexplained` is one."
)
@options.joining
@click.option(
    "--baseline", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Exit with 1 on findings that are not in FILE."
)
@click.option("--update-baseline", "update", is_flag=True, help="Write what is found to the --baseline FILE.")
@options.words(options.WHAT_WAS_READ)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    chosen: Filter | None,
    form: str,
    kinds: frozenset[str] | None,
    baseline: Path | None,
    update: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Find what costs round trips or fails, and the remedy.

    Failures come first, then the costliest findings. Each has its evidence, and a remedy in the
    driver's own settings. The exit code is 0, or 1 for findings that --fail-on names or that are
    not in the --baseline.
    """
    from pgtrace.cli.output import print_stderr, write
    from pgtrace.cli.reading import print_sizes, read_joined, warn_of_losses, warn_of_undecided
    from pgtrace.judge.advice import Advice
    from pgtrace.judge.baseline import NOTHING, Baseline, verdict
    from pgtrace.judge.lines import with_lines
    from pgtrace.report import advice, advice_formats
    from pgtrace.report.encoding import as_json as encoded

    if update and baseline is None:
        raise click.UsageError("--update-baseline needs --baseline FILE")
    known = Baseline.read(baseline) if baseline is not None and not update else NOTHING
    trace, joins = read_joined(files, quiet=quiet)
    selection = chosen.over(trace) if chosen is not None else None
    found = Advice(trace, selection.selects if selection is not None else None, joins=joins)
    found.update()
    if selection is not None:
        warn_of_undecided(selection)
    findings, left = with_lines(found, found.findings()), found.unexplained()
    if update and baseline is not None:
        known = Baseline.of(findings, left)
        known.write(baseline)
    judged = verdict(findings, left, kinds, known) if kinds is not None or baseline is not None else None
    if form == "json":
        write([encoded(advice.as_dict(trace, findings, left, chosen.text if chosen is not None else None, judged), indent=2)])
    elif form == "text":
        write(advice.lines(trace, findings, left))
    else:
        write(advice_formats.FORMATS[form](trace, findings, left, judged))
    warn_of_losses(trace)
    if verbose:
        print_sizes(trace)
    if quiet:
        pass
    elif judged:
        print_stderr(advice.failing(judged, by_baseline=baseline is not None))
    elif update:
        print_stderr(f"pgtrace: written to {baseline}")
    elif baseline is not None and kinds is None and (findings or left):
        print_stderr("pgtrace: all of this is in the baseline")
    ctx.exit(1 if judged else 0)
