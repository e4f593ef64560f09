"""`pgtrace listen`: the proxy, and its traffic, live."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from pgtrace import behind
from pgtrace.address import Upstream
from pgtrace.cli import options, output, recording
from pgtrace.cli.stopping import Stop
from pgtrace.conninfo import Address
from pgtrace.errors import UpstreamError
from pgtrace.recorder import Recorder

_TURN_S = 0.1


@click.command("listen", epilog="Example: pgtrace listen :6433 --upstream db:5432, then psql -h 127.0.0.1 -p 6433")
@click.argument("listen", required=False, metavar="[LISTEN]")
@options.upstream
@options.label
@options.recording
@options.when_behind(behind.DROP)
@options.explaining
@options.allow_others
@click.option("--dial-first", is_flag=True, help="Connect to PostgreSQL before answering a driver; reset the driver if that fails.")
@click.option("--no-tui", is_flag=True, help="Print one line for each round trip. The default without a terminal.")
@options.words("Also print the recorder's messages, at the end.")
@click.pass_context
def command(
    ctx: click.Context,
    listen: str | None,
    upstream: Address | str | None,
    write: Path | None,
    dial_first: bool,
    no_tui: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Forward traffic to PostgreSQL and show live what drivers do.

    LISTEN defaults to :6433, loopback only. You can also give `*:6433`, `host:port`, `unix:/dir` or
    `:0` (any free port). If pgtrace proves its identity to the server (over a Unix socket, or with
    a client certificate), the default is a private socket, and a port serves only your own user,
    where the system can tell.
    """
    recorded = options.recorded()
    stop = Stop() if no_tui or not output.has_screen() else None
    if stop is not None:
        ctx.call_on_close(stop.over)
    with (
        recording.upstream_for(upstream, quiet=quiet) as (target, environment),
        Recorder(
            recording.place(listen, target, ":6433", allow_others=recorded["allow_others"]),
            target,
            dial_first=dial_first,
            **recorded,
        ) as recorder,
    ):
        if stop is not None:
            ctx.exit(_as_lines(recorder, target, environment, write, stop, quiet=quiet, verbose=verbose))
        _as_screen(recorder, target, environment, write)
        recording.say_what_was_lost(recorder, verbose=verbose)
    recording.written(write, quiet)


def _as_lines(
    recorder: Recorder, target: Upstream, environment: dict[str, str], write: Path | None, stop: Stop, *, quiet: bool, verbose: bool
) -> int:
    """Print round trips until a signal says stop."""
    output.tell(recording.connect_hint(recorder, target))
    for name, value in environment.items():
        if name not in ("PGHOST", "PGPORT", "DATABASE_URL"):
            output.tell(f"export {name}={value}")
    recording.warn_if_unreachable(target)
    for line in (
        *recording.about_others(recorder),
        *recording.about_tls(recorder, target),
        *recording.about_files(recorder),
        *([] if quiet else recording.about_passwords(recorder)),
    ):
        output.tell(f"pgtrace: {line}")
    if quiet and write is not None:
        while not stop.wait(_TURN_S) and recorder.alive:
            pass
    else:
        from pgtrace.cli.follow import follow

        follow(recorder, stop)
        verbose = False  # the recorder's messages have been printed
    if not recorder.alive:
        output.tell("pgtrace: the recorder has ended unexpectedly")
        return 1
    recording.say_what_was_lost(recorder, verbose=verbose)
    recorder.stop()
    recording.written(write, quiet)
    return stop.exit_code


def _as_screen(recorder: Recorder, target: Upstream, environment: dict[str, str], write: Path | None) -> None:
    from pgtrace.probe import probe
    from pgtrace.trace.trace import Trace
    from pgtrace.tui.app import run_app
    from pgtrace.tui.model.source import LOGIN, Source

    warning = ""
    try:
        probe(target)
    except UpstreamError as error:
        warning = str(error)
    named = environment or {name: os.environ[name] for name in ("PGUSER", "PGDATABASE") if os.environ.get(name)}
    source = Source(
        listener=f":{recorder.port}" if recorder.listen.unix is None and recorder.listen.port == 0 else recorder.listen.display,
        upstream=target.display,
        live=True,
        addresses=tuple(recorder.addresses),
        environment=tuple((name, named[name]) for name in LOGIN if name in named),
        warning=warning,
        notes=(
            *recording.about_others(recorder),
            *recording.about_tls(recorder, target),
            *recording.about_files(recorder),
            *recording.about_passwords(recorder),
        ),
        temporary=write is None,
        unsaved=write is None,
        **options.explained_on(environment.get("DATABASE_URL", "")),
    )
    try:
        run_app(Trace.open([recorder.capture]), source=source, recorder=recorder)
    except SystemExit as ended:
        if ended.code != 128 + signal.SIGTERM:  # SIGTERM is how a service is stopped, not a failure
            raise
