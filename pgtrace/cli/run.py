"""`pgtrace run`: runs a program behind the proxy and prints what it cost."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pgtrace import behind, environment, last, masking
from pgtrace.address import Upstream
from pgtrace.cli import budgets, options, output, recorder_options, recording
from pgtrace.cli.children import Children, check_exists
from pgtrace.conninfo import Address
from pgtrace.recorder import Recorder
from pgtrace.temporary import PrivateDirectory

if TYPE_CHECKING:
    from pgtrace.ask.budgets import Budget


_LONGEST_ARGUMENT: Final = 60


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: pgtrace run -w tests.pgtrace -- pytest tests",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] CMD...")
@recorder_options.upstream
@click.option(
    "--listen",
    metavar="LISTEN",
    help="Address for the program to connect to: `127.0.0.1:0` for a driver without Unix sockets. Default: a port, or a private socket if "
    "that is safer.",
)
@recorder_options.allow_others
@recorder_options.label
@recorder_options.recording
@recorder_options.when_behind(behind.WAIT)
@recorder_options.env_urls
@budgets.limits
@click.option("--no-last", is_flag=True, help="Do not keep the capture for `--last`; otherwise it is kept until the next run.")
@click.option("--call-sites", is_flag=True, help="Record which line of a Python program sends each statement.")
@options.as_json
@options.words("Also print messages per type, and the recorder's messages.")
@click.pass_context
def command(
    ctx: click.Context,
    arguments: tuple[str, ...],
    upstream: Address | str | None,
    listen: str | None,
    write: Path | None,
    env_urls: tuple[str, ...],
    limits: tuple[str, ...],
    config: Path | None,
    no_last: bool,
    call_sites: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a program against the proxy and print what it cost.

    The summary goes to stderr and ends with what costs most. With --json the counters go to stdout,
    after the program's own output. The exit code is the program's, or 1 if that is 0 and a budget
    is exceeded or something was not recorded.

    PGHOST, PGPORT and DATABASE_URL point the program at the proxy. If its settings require TLS, the
    proxy uses TLS to PostgreSQL.
    """
    asked = budgets.of_options(limits, config)
    if arguments[0].startswith("-"):
        raise click.NoSuchOption(arguments[0])
    check_exists(arguments[0])
    names = ("DATABASE_URL", *env_urls)
    recorded = recorder_options.recorded()
    found = None if isinstance(upstream, str) else environment.upstream_of(upstream, os.environ, names)
    with recording.upstream_for(upstream, found, quiet=quiet) as (target, extra):
        recording.reach(target, upstream)
        kept_in = last.directory() if write is None and not no_last else None
        with (
            PrivateDirectory() as private,
            Recorder(
                recording.place(listen, target, "127.0.0.1:0", allow_others=recorded["allow_others"]),
                target,
                directory=kept_in,
                call_sites=call_sites,
                marks=True,
                **recorded,
            ) as recorder,
        ):
            about = [*recording.about_others(recorder), *recording.about_files(recorder), *recording.about_channel_binding(recorder)]
            if not isinstance(upstream, str):
                about += environment.about_upstream(upstream, target, os.environ, names)
            for line in [] if quiet else about:
                output.print_stderr(f"pgtrace: {line}")
            tls = None if recorded["tls"].mode == "refuse" else str(recorder.authority or "")
            variables = environment.redirected({**os.environ, **extra}, recorder.host, recorder.port, names, tls=tls)
            variables |= recorder.call_site_variables(variables)
            environment.give_passwords(variables, recorder.upstream, recorder.host, recorder.port, private)
            began_s = time.monotonic()
            code = Children(arguments, variables).wait()
            title, took_s = _title(arguments), time.monotonic() - began_s
            kept = _summary(recorder, target, title, took_s, code, asked, as_json=as_json, quiet=quiet, verbose=verbose)
            if call_sites and not recorder.noting_processes and not quiet:
                output.print_stderr(
                    "pgtrace: no process noted call sites: the program imported no known Python driver, or Python runs with -I, -E or -S"
                )
            latest = _keep(recorder, kept_in is not None)
            if write is not None and not no_last:
                _remember(recorder.capture)
    if latest and not quiet:
        output.print_stderr("pgtrace: look at it with: pgtrace open --last, pgtrace advise --last")
    recording.report_capture(write, quiet)
    ctx.exit(code or (0 if kept else 1))


def _title(arguments: tuple[str, ...]) -> str:
    """The command line as a heading: a program given as one argument shows its beginning."""
    return " ".join(textwrap.shorten(one, _LONGEST_ARGUMENT, placeholder="...") for one in masking.arguments(arguments))


def _keep(recorder: Recorder, wanted: bool) -> bool:
    """Keep the capture for `--last`, if wanted and possible. Returns whether it was kept."""
    if not wanted:
        return False
    try:
        recorder.stop(keep_as=last.place())
    except OSError as error:
        output.print_stderr(f"pgtrace: the capture is not kept: {error.strerror}")
        return False
    return True


def _remember(written: Path) -> None:
    """Make the file of -w the one that `--last` reads, if possible."""
    try:
        last.remember(written)
    except OSError as error:
        output.print_stderr(f"pgtrace: --last will not find this run: {error.strerror}")


def _summary(
    recorder: Recorder,
    target: Upstream,
    title: str,
    took_s: float,
    code: int,
    asked: list[Budget],
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> bool:
    """Print the summary. Returns whether everything was recorded and every budget met."""
    from pgtrace.ask.budgets import evaluate
    from pgtrace.judge.advice import Advice
    from pgtrace.judge.lines import with_lines
    from pgtrace.report import answer, stats
    from pgtrace.report import budgets as report
    from pgtrace.report.encoding import as_json as encoded
    from pgtrace.trace import reconnects
    from pgtrace.trace.trace import Trace

    trace = Trace.open([recorder.capture], timeline=bool(asked) or not (as_json or quiet))
    complete = recorder.quiet(trace)
    if as_json:
        output.write([encoded(stats.as_dict(trace), indent=2)])
    elif not quiet:
        columns = output.columns(sys.stderr)
        output.print_stderr("")
        output.print_stderr(*stats.as_text(trace, "driver", title, took_s, columns=columns))
        if verbose:
            output.print_stderr("", *stats.messages(trace, "driver"))
        advice = Advice(trace)
        advice.update()
        output.print_stderr(*answer.lines(trace, with_lines(advice, advice.findings()), advice.unexplained(), columns))
        output.print_stderr(*(f"pgtrace: {line}" for line in reconnects.lines(trace)))
        if not complete:
            output.print_stderr("pgtrace: the traffic did not stop within 1 s; the counts are those up to now")
    left = recorder.stats()["drivers"] if recorder.alive else 0
    if left and not quiet:
        connections = "a connection is" if left == 1 else f"{left} connections are"
        output.print_stderr(
            f"pgtrace: {connections} still open, from a process that outlives the program: pgtrace ends now and closes them"
        )
    results = evaluate(trace, asked)
    kept = all(result.is_kept for result in results)
    if asked and not (quiet and kept):
        output.print_stderr("", *report.as_text(results, everything=verbose))
    if not trace.connections:
        if code:
            output.print_stderr(f"pgtrace: the program ended with exit code {code}, maybe before it connected")
        for line in environment.how_to_point(recorder.host, recorder.port, target):
            output.print_stderr(f"pgtrace: {line}")
    return recording.report_losses(recorder, verbose=verbose) and kept
