"""`pgtrace listen`: runs the proxy and shows its traffic live."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from pgtrace import behind
from pgtrace.cli import options, output, recorder_options, recording, telemetry
from pgtrace.cli.stopping import Stop
from pgtrace.conninfo import Address
from pgtrace.errors import UpstreamError
from pgtrace.recorder import Recorder

_TURN_S = 0.1


@click.command("listen", epilog="Example: pgtrace listen :6433 --upstream db:5432, then psql -h 127.0.0.1 -p 6433")
@click.argument("listen", nargs=-1, type=recorder_options.LegPlace(), metavar="[LISTEN | LISTEN=UPSTREAM...]")
@recorder_options.upstream
@recorder_options.label
@recorder_options.recording
@recorder_options.when_behind(behind.DROP)
@options.explaining
@recorder_options.allow_others
@click.option("--dial-first", is_flag=True, help="Connect to PostgreSQL before answering a driver; reset the driver if that fails.")
@telemetry.exporting
@click.option("--no-tui", is_flag=True, help="Print one line for each round trip. The default without a terminal.")
@options.words("Also print the recorder's messages, at the end.")
@click.pass_context
def command(
    ctx: click.Context,
    listen: tuple[recorder_options.LegAsked, ...],
    upstream: Address | str | None,
    write: Path | None,
    dial_first: bool,
    otlp: str | None,
    otlp_ratio: float,
    otlp_slow: int | None,
    otlp_literals: bool,
    no_tui: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Forward traffic to PostgreSQL and show live what drivers do.

    LISTEN defaults to :6433, loopback only. You can also give `*:6433`, `host:port`, `unix:/dir` or
    `:0` (any free port). If pgtrace proves its identity to the server (over a Unix socket, or with
    a client certificate), the default is a private socket, and a port serves only your own user,
    where the system can tell.

    Give several LISTEN=UPSTREAM to record both sides of a pooler in one capture, on one clock:
    `listen :6433=pooler:6432 :6434=db:5432`, where the pooler connects to :6434. Options apply to
    every leg. UPSTREAM also says how to encrypt that leg, as in --upstream.
    """
    _check(listen, upstream)
    first = listen[0] if listen else None
    recorded = recorder_options.recorded()
    stop = Stop() if no_tui or not output.has_screen() else None
    if stop is not None:
        ctx.call_on_close(stop.over)
    with (
        recording.upstream_for((first and first.upstream) or upstream, quiet=quiet) as (target, environment),
        recording.further_legs(listen[1:], quiet=quiet) as (more_legs, throwaways),
        Recorder(
            recording.place(first and first.listen, target, ":6433", allow_others=recorded["allow_others"]),
            target,
            dial_first=dial_first,
            more_legs=more_legs,
            takes_marks=True,
            **recorded,
        ) as recorder,
        telemetry.sending(recorder, otlp, ratio=otlp_ratio, slow_ns=otlp_slow, literals=otlp_literals) as sent,
    ):
        if stop is not None:
            ctx.exit(_as_lines(recorder, [environment, *throwaways], write, stop, sent, quiet=quiet, verbose=verbose))
        _as_screen(recorder, [environment, *throwaways], write)
        recording.report_losses(recorder, verbose=verbose)
    recording.report_capture(write, quiet)


def _check(listen: Sequence[recorder_options.LegAsked], upstream: Address | str | None) -> None:
    """Raises click.UsageError if the arguments and `--upstream` do not go together."""
    if len(listen) > 1:
        for one in listen:
            if one.upstream is None:
                raise click.UsageError(f"{one.listen.display} names no upstream: several legs are written LISTEN=UPSTREAM LISTEN=UPSTREAM")
    if upstream is not None and any(one.upstream is not None for one in listen):
        raise click.UsageError("LISTEN=UPSTREAM and --upstream cannot be combined: each leg names its own upstream")


def _listeners(recorder: Recorder) -> list[str]:
    """The listener of each leg in its short form; for port 0, with the port that was chosen."""
    return [
        f":{addresses[0].rpartition(':')[2]}" if leg.listen.unix is None and leg.listen.port == 0 else leg.listen.display
        for leg, addresses in zip(recorder.legs, recorder.addresses_of_legs, strict=True)
    ]


def _as_lines(
    recorder: Recorder,
    environments: Sequence[dict[str, str]],
    write: Path | None,
    stop: Stop,
    sent: Callable[[], None],
    *,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print round trips until a signal stops the command. `environments` are those of the legs."""
    output.print_stderr(*recording.connect_hints(recorder))
    for name, value in environments[0].items():
        if name not in ("PGHOST", "PGPORT", "DATABASE_URL"):
            output.print_stderr(f"export {name}={value}")
    output.print_stderr(*(f"pgtrace: {line}" for line in recording.about_throwaways(recorder, environments[1:])))
    for leg in recorder.legs:
        recording.warn_if_unreachable(leg.upstream)
    for line in (
        *recording.about_others(recorder),
        *recording.about_tls(recorder),
        *recording.about_files(recorder),
        *([] if quiet else recording.about_passwords(recorder)),
    ):
        output.print_stderr(f"pgtrace: {line}")
    if quiet and write is not None:
        while not stop.wait(_TURN_S) and recorder.alive:
            pass
    else:
        from pgtrace.cli.follow import follow

        follow(recorder, stop)
        verbose = False  # the recorder's messages have been printed
    if not recorder.alive:
        output.print_stderr("pgtrace: the recorder has ended unexpectedly")
        return 1
    recording.report_losses(recorder, verbose=verbose)
    recorder.flush()
    sent()
    recorder.stop()
    recording.report_capture(write, quiet)
    return stop.exit_code


def _as_screen(recorder: Recorder, environments: Sequence[dict[str, str]], write: Path | None) -> None:
    from pgtrace.probe import probe
    from pgtrace.trace.trace import Trace
    from pgtrace.tui.app import run_app
    from pgtrace.tui.model.source import LOGIN, Source

    warning = ""
    for leg in recorder.legs:
        try:
            probe(leg.upstream)
        except UpstreamError as error:
            warning = warning or str(error)
    named = environments[0] or {name: os.environ[name] for name in ("PGUSER", "PGDATABASE") if os.environ.get(name)}
    source = Source(
        listener=", ".join(_listeners(recorder)),
        upstream=", ".join(leg.upstream.display for leg in recorder.legs),
        live=True,
        addresses=tuple(recorder.addresses),
        environment=tuple((name, named[name]) for name in LOGIN if name in named),
        warning=warning,
        notes=(
            *recording.further_places(recorder),
            *recording.about_throwaways(recorder, environments[1:]),
            *recording.about_others(recorder),
            *recording.about_tls(recorder),
            *recording.about_files(recorder),
            *recording.about_passwords(recorder),
        ),
        temporary=write is None,
        unsaved=write is None,
        **options.explained_on(next((one["DATABASE_URL"] for one in environments if one), "")),
    )
    try:
        run_app(Trace.open([recorder.capture]), source=source, recorder=recorder)
    except SystemExit as ended:
        if ended.code != 128 + signal.SIGTERM:  # SIGTERM is how a service is stopped, not a failure
            raise
