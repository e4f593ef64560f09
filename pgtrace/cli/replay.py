"""`pgtrace replay`: sends the drivers' side of a recording to a real server again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtrace.cli import INTERRUPTED, options

if TYPE_CHECKING:
    from pgtrace.recorder import Recorder
    from pgtrace.replay.outcome import Outcome
    from pgtrace.replay.running import Replay
    from pgtrace.serve.recording import Recording
    from pgtrace.trace.trace import Trace

_TURN_S = 0.1
_ENDS_S = 1.0
_LOOK_S = 0.01


class Speed(click.ParamType[float]):
    """`real`, `max`, or a factor such as 2x. The value of `max` is 0."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value in ("real", "max"):
            return float(value == "real")
        try:
            speed = float(value.removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not (value.endswith("x") and 0 < speed < 1e6):
            self.fail("real, max, or a factor: 2x is twice as fast as recorded", param, ctx)
        return speed


@click.command("replay", epilog="Example: pgtrace replay monday.pgtrace --to postgresql://bench@db18/shop --speed max -w on18.pgtrace")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option("--to", "to", metavar="ADDR", required=True, help="PostgreSQL, with your login: postgresql://user@host/db, or service=name.")
@click.option(
    "--speed",
    type=Speed(),
    default="real",
    show_default=True,
    help="Speed: as recorded (real), faster or slower (2x), or without waiting (max).",
)
@click.option(
    "--read-only", is_flag=True, help="Make the server refuse writes (default_transaction_read_only); refused statements are counted."
)
@click.option("-w", "write", metavar="FILE", type=options.FILE, help="Write the replay's capture to this new file.")
@options.importing
@options.as_json
@options.words("Also print why connections failed.")
@click.pass_context
def command(
    ctx: click.Context, file: Path, to: str, speed: float, read_only: bool, write: Path | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Send recorded traffic again, to another server, and compare.

    Statements run as recorded, writes included. Connections open and overlap as they did. The
    result is a second capture, and a table of statements by latency, before and after. New errors
    come first; if there are any, the exit code is 1.

    Values that came from earlier answers (sequences, generated keys) are sent as recorded.
    """
    from pgtrace.cli import output
    from pgtrace.cli.progress import turns
    from pgtrace.cli.recording import report_losses
    from pgtrace.replay.outcome import as_dict, lines
    from pgtrace.report.encoding import as_json as encoded
    from pgtrace.temporary import PrivateDirectory

    capture, recording = _read(file, quiet=quiet)
    plans = _plans(recording, quiet=quiet)
    with PrivateDirectory() as private:
        again = write or Path(private) / "again"
        with _recorder(to, again, private) as (recorder, login):
            replay = _replay(plans, login, speed, read_only)
            worker = _Worker(replay)
            interrupted = False
            try:
                worker.start()
                turns(worker.step, lambda: replay.progress, "replaying", quiet=quiet)
            except KeyboardInterrupt:
                interrupted = True
                replay.stop()
                worker.wait()
            if worker.error is not None:
                raise worker.error
            _wait_for_ends(recorder)
            complete = report_losses(recorder, verbose=verbose)
        recording.close()
        found = _outcome(capture, os.fspath(again), quiet=quiet)
    if as_json:
        output.write([encoded(as_dict(found), indent=2)])
    else:
        output.write(lines(found))
    _report(replay, write, interrupted=interrupted, quiet=quiet, verbose=verbose)
    ctx.exit(INTERRUPTED if interrupted else 1 if found.errors or replay.failed or replay.lost or not complete else 0)


def _read(file: Path, *, quiet: bool) -> tuple[str, Recording]:
    """The capture to compare with, and the recording. Raises CaptureError."""
    from pgtrace import behind
    from pgtrace.cli import output
    from pgtrace.cli.imports import Imports, ending_on_interrupt
    from pgtrace.cli.progress import turns
    from pgtrace.serve.recording import Recording
    from pgtrace.serve.requests import Options

    with ending_on_interrupt() as begun:
        imports = Imports([file], begun)
        turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
    imports.warn_of_losses()
    recording = Recording(imports.paths[0], os.fspath(file), Options())
    turns(recording.step, lambda: recording.progress, "reading", quiet=quiet)
    if recording.torn_bytes:
        output.print_stderr(f"pgtrace: {behind.torn(recording.torn_bytes)}")
    return imports.paths[0], recording


def _plans(recording: Recording, *, quiet: bool) -> list[Any]:
    """The plans to play. Reports connections that cannot be played."""
    from pgtrace.cli import output
    from pgtrace.replay.plan import Plan, is_playable

    playable = [script for script in recording.scripts if is_playable(script)]
    if (left := len(recording.scripts) - len(playable)) and not quiet:
        output.print_stderr(f"pgtrace: {_counted(left, 'recorded connection')} left out: refused at start-up, or replication")
    for why, times in recording.unserved.items():
        output.print_stderr(f"pgtrace: {_counted(times, 'recorded connection')} left out: {why}")
    return [Plan(recording.store, script) for script in playable]


@contextmanager
def _recorder(to: str, write: Path, private: str) -> Iterator[tuple[Recorder, str]]:
    """A recorder in front of the server, and the conninfo string for libpq. Raises the same errors
    as Recorder.
    """
    from pgtrace import conninfo, environment
    from pgtrace.behind import WAIT
    from pgtrace.probe import probe
    from pgtrace.recorder import Recorder

    asked = conninfo.read(to)
    upstream = environment.upstream_of(asked.without_drivers_secrets(), os.environ, ())
    probe(upstream)
    with Recorder(None, upstream, url=conninfo.as_url(to, asked), write=write, when_behind=WAIT) as recorder:
        variables = environment.redirected(dict(os.environ), recorder.host, recorder.port, ())
        environment.give_passwords(variables, recorder.upstream, recorder.host, recorder.port, private)
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        yield recorder, recorder.url()


def _replay(plans: list[Any], login: str, speed: float, read_only: bool) -> Replay:
    from pgtrace.replay.running import Replay

    return Replay(plans, login, speed=speed, read_only=read_only)


class _Worker:
    """Runs the replay's loop in a separate thread, while the main thread shows progress and handles
    Ctrl-C.
    """

    def __init__(self, replay: Replay) -> None:
        self.error: BaseException | None = None
        self._replay = replay
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread, with Ctrl-C held back meanwhile."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def step(self) -> bool:
        """Wait a moment. Returns False when the replay has ended."""
        self._thread.join(_TURN_S)
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the end of the thread, if it was started."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._replay.run()
        except BaseException as error:
            self.error = error


def _wait_for_ends(recorder: Recorder) -> None:
    """Wait until the server has ended its side of each connection too, or a moment has passed."""
    deadline_s = time.monotonic() + _ENDS_S
    while recorder.stats()["connections"] and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)


def _outcome(capture: str, again: str, *, quiet: bool) -> Outcome:
    """Both captures, read and compared. Raises CaptureError."""
    from pgtrace.compare.behaviour import Behaviour
    from pgtrace.replay.outcome import outcome
    from pgtrace.trace.trace import Trace

    was, now = Trace([capture], timeline=False), Trace([again], timeline=False)
    did, does = Behaviour([capture]), Behaviour([again])
    for trace in (was, now, did, does):
        _read_all(trace, quiet=quiet)
    found = outcome(was, now, did, does)
    for trace in (was, now, did, does):
        trace.close()
    return found


def _read_all(trace: Trace, *, quiet: bool) -> None:
    from pgtrace.cli.progress import turns

    turns(lambda: trace.update(_TURN_S), lambda: trace.read_bytes / max(1, trace.size_bytes), "comparing", quiet=quiet)


def _report(replay: Replay, write: Path | None, *, interrupted: bool, quiet: bool, verbose: bool) -> None:
    from pgtrace.cli import output

    if replay.failed or replay.lost:
        more = "" if verbose else "; -v says why"
        output.print_stderr(f"pgtrace: {_counted(replay.failed, 'connection')} could not be opened, {replay.lost} ended early{more}")
    if verbose:
        output.print_stderr(*(f"pgtrace: {failure}" for failure in replay.failures))
    if interrupted:
        output.print_stderr(f"pgtrace: interrupted after {replay.sent:.0%}: the comparison above covers both sides up to there")
    if write is not None and not quiet:
        output.print_stderr(f"pgtrace: capture written to {write}; look at it with: pgtrace open {write}")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
