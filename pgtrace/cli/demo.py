"""`pgtrace demo`: a throw-away PostgreSQL or your own, real drivers, and what they do on the
wire."""

from __future__ import annotations

import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from pgtrace import behind
from pgtrace.address import parse_listen
from pgtrace.cli import options, output, recorder_options, recording
from pgtrace.conninfo import Address

if TYPE_CHECKING:
    from pgtrace.demo.scene import Scene
    from pgtrace.trace.trace import Trace

POOLER = "pooler"
_PAUSE_S = 0.4
_LAST_ROUND_S = 10.0


@click.command("demo", epilog="Example: pgtrace demo --rtt 5ms")
@click.argument("what", nargs=-1, metavar="[pooler] [LISTEN]")
@click.option(
    "--upstream",
    metavar="ADDR",
    type=recorder_options.Server(logs_in=True),
    help="Work on this server, in a schema that is dropped at the end: postgresql://user@host/db. Default: a throw-away PostgreSQL.",
)
@recorder_options.allow_others
@recorder_options.recording
@recorder_options.when_behind(behind.WAIT)
@options.explaining
@click.option("--no-tui", is_flag=True, help="Do the work once and print a table. The default without a terminal.")
@options.words("Also print the recorder's messages, at the end.")
def command(
    what: tuple[str, ...],
    upstream: Address | str | None,
    write: Path | None,
    no_tui: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Do the same work with several drivers on a throw-away PostgreSQL.

    On a terminal you watch it live until you quit; otherwise it is done once, and you get a table.
    `pgtrace demo pooler` runs clients through a PgBouncer, if that is installed, and shows both of
    its sides.

    With --upstream the work is done on your server. The drivers log in as libpq would, with what
    the address, PGUSER and its like, and the password file say. The role needs the right to create
    a schema in that database (CREATE on it), no more.
    """

    pooled = what[:1] == (POOLER,)
    listen = what[pooled:]
    if len(listen) > 1:
        raise click.UsageError(f"one LISTEN is enough: {' '.join(listen)}")
    if listen and listen[0].isidentifier() and listen[0] != "localhost":
        near = difflib.get_close_matches(listen[0], [POOLER] * (not pooled))
        meant = f"; did you mean {near[0]!r}?" if near else ", such as :6433. The demo always runs all its drivers"
        raise click.UsageError(f"{listen[0]!r} is not an address to listen on{meant}")

    def progress(text: str) -> None:
        if not quiet:
            output.print_stderr(f"pgtrace: {text}")

    no_tui = no_tui or not output.has_screen()
    own = upstream if isinstance(upstream, Address) else None
    if pooled and own is not None:
        raise click.UsageError("--upstream: `demo pooler` is about its own PgBouncer, in front of a throw-away PostgreSQL")
    with _ends_in_order(), _scene(listen[0] if listen else None, own, pooled=pooled, progress=progress) as scene:
        for line in recording.about_files(scene.recorder):
            progress(line)
        if no_tui:
            _as_table(scene, progress)
        else:
            _as_screen(scene, write)
        recording.report_losses(scene.recorder, verbose=verbose)
    recording.report_capture(write, quiet)


@contextmanager
def _scene(listen: str | None, own: Address | None, *, pooled: bool, progress: Callable[[str], None]) -> Iterator[Scene]:
    """What the work is done on: the user's own server, or a throw-away one. Both are as they were
    afterwards."""
    from pgtrace.demo import scene
    from pgtrace.environment import upstream_of

    how = recorder_options.recorded()
    if own is None:
        open_it = scene.open_pooler_scene if pooled else scene.open_scene
        with open_it(parse_listen(listen or ":0"), on_progress=progress, **how) as opened:
            yield opened
        return
    target = upstream_of(own, os.environ, ())
    recording.reach(target, own)
    place = recording.place(listen, target, ":0", allow_others=how["allow_others"])
    with scene.open_guest_scene(place, target, own, on_progress=progress, **how) as opened:
        for line in [*recording.about_others(opened.recorder), *recording.about_channel_binding(opened.recorder)]:
            progress(line)
        yield opened


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """Have the signals that would kill the process end it in order: what is on a server goes."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_table(scene: Scene, progress: Callable[[str], None]) -> None:
    """Do the work once, then print the counters of each variant."""
    from pgtrace.report import stats
    from pgtrace.trace.trace import Trace

    progress("doing the work once; on a terminal it is repeated in a live view until you quit")
    scene.play(on_progress=progress)
    pooled = len(scene.recorder.legs) > 1
    trace = Trace.open([scene.recorder.capture], timeline=pooled)
    scene.recorder.quiet(trace)
    if pooled:
        _as_sides(trace)
        return
    output.write(stats.as_text(trace, "mark", "the same work under each driver", columns=output.columns(sys.stdout)))


def _as_sides(trace: Trace) -> None:
    """Print the counters of each variant, and what the pooler did."""
    from pgtrace.legs.joins import find
    from pgtrace.report import stats
    from pgtrace.report.joins import joins_as_text

    joins = find(trace)
    if joins is not None:
        counted = trace.once_more(joins.connections)
        counted.update()
        joins.use_trace(counted)
        trace = counted
    title = "four clients on the two server connections of a PgBouncer"
    output.write([*stats.as_text(trace, "mark", title, columns=output.columns(sys.stdout))])
    if joins is not None:
        output.write(joins_as_text(joins))


def _as_screen(scene: Scene, write: Path | None) -> None:
    """Repeat the work, slowly enough to watch, until the user leaves the screen."""
    from pgtrace.trace.trace import Trace
    from pgtrace.tui.app import run_app
    from pgtrace.tui.model.source import LOGIN, Source

    stop = threading.Event()
    failures: list[Exception] = []

    def work() -> None:
        try:
            scene.play(None, pause_s=_PAUSE_S, stop=stop)
        except Exception as error:
            failures.append(error)

    recorder = scene.recorder
    target = scene.target
    login = {"PGUSER": target.user, "PGPASSWORD": target.password if scene.throwaway_url else "", "PGDATABASE": target.database}
    source = Source(
        listener=recorder.listen.display if recorder.listen.port else f":{recorder.port}",
        upstream=", ".join(leg.upstream.display for leg in recorder.legs),
        live=True,
        addresses=tuple(recorder.addresses),
        environment=tuple((name, login[name]) for name in LOGIN if login[name]),
        greeting="the same work is repeated until you quit: q",
        temporary=write is None,
        **options.explained_on(scene.throwaway_url),
    )
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        run_app(Trace.open([recorder.capture]), source=source, recorder=recorder)
    finally:
        stop.set()
        worker.join(_LAST_ROUND_S)
    for error in failures:
        output.print_stderr(f"pgtrace: the work ended early: {error}")
