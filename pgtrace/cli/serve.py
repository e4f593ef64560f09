"""`pgtrace serve`: a server that answers drivers from a recording."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtrace.address import Listen, parse_listen
from pgtrace.cli import options, recorder_options
from pgtrace.cli.stopping import Stop
from pgtrace.errors import AddressError, UsageError
from pgtrace.settingsfile import text_of

if TYPE_CHECKING:
    from pgtrace.faults import Rule
    from pgtrace.serve.mismatch import Mismatch
    from pgtrace.serve.recording import Recording
    from pgtrace.serve.scram import Verifier
    from pgtrace.serve.server import Server

PASSWORD = "PGTRACE_SERVE_PASSWORD"  # noqa: S105 (the name of a variable)


class Timing(click.ParamType[float]):
    """How much of the recorded waits to repeat: `none`, `real`, or a factor of speed such as 2x."""

    name = "timing"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value in ("none", "real"):
            return float(value == "real")
        try:
            speed = float(value.removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not (value.endswith("x") and 0 < speed < 1e9):
            self.fail("none, real, or a speed: 2x is twice as fast as recorded, 0.5x half as fast", param, ctx)
        return 1 / speed


@click.command("serve", epilog="Example: pgtrace serve bug.pgtrace :6433, then psql -h 127.0.0.1 -p 6433")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.argument("listen", required=False, default=":6433", metavar="[LISTEN]")
@click.option(
    "--order",
    type=click.Choice(["strict", "any"]),
    default="strict",
    show_default=True,
    help="Answer requests in the recorded order of each connection, or in any order on any connection.",
)
@click.option("--any-values", is_flag=True, help="Do not compare parameters, COPY data and literals in SQL.")
@click.option(
    "--timing", type=Timing(), default="none", show_default=True, help="Repeat the recorded waits: none, real, or at a speed (2x)."
)
@click.option(
    "--password-file",
    type=options.FILE,
    metavar="FILE",
    help=f"Ask for the password in the first line of FILE, by SCRAM-SHA-256. Or set {PASSWORD}. Default: trust.",
)
@click.option("--split", type=click.IntRange(1), metavar="N", help="Send at most N bytes at a time.")
@click.option(
    "--fault",
    "faults",
    metavar="RULE",
    type=recorder_options.Fault(),
    multiple=True,
    help="Delay, cut or close on purpose, as with listen.",
)
@click.option("--allow-others", is_flag=True, help="Serve other machines too.")
@options.importing
@options.as_json
@options.words("Also print which recorded connections are used again.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    listen: str,
    order: str,
    any_values: bool,
    timing: float,
    password_file: Path | None,
    split: int | None,
    faults: tuple[Rule, ...],
    allow_others: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Answer drivers from a recording, without PostgreSQL.

    FILE is a capture, a golden, or lines of JSON, so you can edit a bug report by hand. A driver
    that sends the recorded requests gets the recorded answers. A driver that sends anything else
    gets an error, a line says what was expected, and the exit code is 1.
    """
    from pgtrace import behind
    from pgtrace.cli import output
    from pgtrace.cli.progress import turns
    from pgtrace.faults import parse

    where = parse_listen(listen)
    if where.beyond_loopback and not allow_others:
        raise AddressError(where.display, "other machines could connect and read the recorded data: use --allow-others to allow that")
    verifier = _verifier(password_file)
    recording = _recording(file, any_values=any_values, any_order=order == "any", quiet=quiet)
    turns(recording.step, lambda: recording.progress, "reading", quiet=quiet)
    if recording.torn_bytes:
        output.print_stderr(f"pgtrace: {behind.torn(recording.torn_bytes)}")
    rules = (*faults, *([parse(f"split {split} B")] if split else []))
    stop = Stop()
    ctx.call_on_close(stop.over)
    report = _Report(as_json=as_json, quiet=quiet, verbose=verbose)
    ctx.exit(_run(_serve(recording, where, verifier, timing, rules, report, stop)))


def _verifier(file: Path | None) -> Verifier | None:
    """The verifier for the password, if one is required. Raises UsageError."""
    from pgtrace.serve.scram import Verifier

    password = os.environ.get(PASSWORD)
    if file is not None:
        try:
            password = text_of(file).partition("\n")[0].rstrip("\r")
        except (OSError, ValueError) as error:
            raise UsageError(f"--password-file {file}: {getattr(error, 'strerror', None) or 'is not text'}") from None
        if not password:
            raise UsageError(f"--password-file {file}: its first line is empty")
    return Verifier(password) if password else None


def _recording(file: Path, *, any_values: bool, any_order: bool, quiet: bool) -> Recording:
    """The recording, before it is read. Raises CaptureError."""
    from pgtrace.cli.imports import Imports, ending_on_interrupt
    from pgtrace.cli.progress import turns
    from pgtrace.serve.recording import Recording, is_blanked
    from pgtrace.serve.requests import Options

    with ending_on_interrupt() as begun:
        imports = Imports([file], begun)
        turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
    imports.warn_of_losses()
    blanked = imports.paths != imports.names and is_blanked(os.fspath(file))
    return Recording(imports.paths[0], os.fspath(file), Options(any_values, any_order, blanked))


def _run(work: Any) -> int:
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(work))
    return int(uvloop.run(work))


async def _serve(
    recording: Recording, where: Listen, verifier: Verifier | None, timing: float, rules: tuple[Rule, ...], report: _Report, stop: Stop
) -> int:
    """Serve until a signal stops the command. Returns the exit code. Raises ListenError,
    AddressError.
    """
    from pgtrace.serve.server import Server

    loop = asyncio.get_running_loop()
    server = Server(
        recording,
        verifier=verifier,
        timing=timing,
        on_mismatch=report.print_mismatch,
        on_repeat=report.print_repeat,
        on_refused=report.print_wrong_password,
    )
    recorder = None
    try:
        await server.listen(where if not rules else Listen(("127.0.0.1",), 0))
        if rules:
            from pgtrace.address import parse_upstream
            from pgtrace.recorder import Recorder

            # its relay applies the faults
            recorder = Recorder(where, parse_upstream(f"127.0.0.1:{server.port}", {}), faults=rules, allow_others=True)
            await loop.run_in_executor(None, recorder.start)
        report.print_listening(recorder.addresses if recorder is not None else server.addresses, recording)
        while not await loop.run_in_executor(None, stop.wait, 60.0):
            pass
    finally:
        if recorder is not None:
            await loop.run_in_executor(None, recorder.stop)
        await server.close()
        recording.close()
    report.print_summary(server)
    return 1 if server.mismatches else stop.exit_code


class _Report:
    """Prints what happens: mismatches on stdout, all else on stderr; with --json everything on
    stdout, one object per line.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._verbose = verbose
        self._repeat_reported = False

    def print_listening(self, addresses: list[str], recording: Recording) -> None:
        """Report that drivers can connect now."""
        from pgtrace.cli import output

        if self._as_json:
            first = dict(recording.scripts[0].parameters)
            self._write_json(
                {
                    "listening": addresses,
                    "user": first.get("user", ""),
                    "database": first.get("database") or first.get("user", ""),
                    "recorded_connections": len(recording.scripts),
                    "not_served": dict(recording.unserved),
                }
            )
            return
        if not self._quiet:
            number = len(recording.scripts)
            output.print_stderr(f"pgtrace: {', '.join(addresses)} serves {_counted(number, 'recorded connection')} of {recording.name}")
        for why, times in recording.unserved.items():
            output.print_stderr(f"pgtrace: {_counted(times, 'recorded connection')} cannot be served: {why}")

    def print_mismatch(self, mismatch: Mismatch) -> None:
        """Report a request that differs from the recorded one."""
        from pgtrace import sanitise
        from pgtrace.cli import output

        if self._as_json:
            self._write_json(
                {"mismatch": {"where": mismatch.where, "expected": mismatch.expected, "got": mismatch.got, "detail": mismatch.detail}}
            )
        else:
            output.write([sanitise.line(line) for line in mismatch.lines()])

    def print_repeat(self, number: int, recorded: int) -> None:
        """Report that a recorded connection is used again."""
        from pgtrace.cli import output

        if self._as_json or self._quiet:
            return
        if self._verbose:
            output.print_stderr(f"pgtrace: connection {number} gets recorded connection {recorded}, which was used before")
        elif not self._repeat_reported:
            self._repeat_reported = True
            output.print_stderr("pgtrace: more connections than were recorded: from now on recorded ones are used again (-v prints which)")

    @staticmethod
    def print_wrong_password(number: int, user: str) -> None:
        """Report a driver with a wrong password."""
        from pgtrace import sanitise
        from pgtrace.cli import output

        output.print_stderr(sanitise.line(f"pgtrace: connection {number}: the password of {user or 'a driver without a user'} is wrong"))

    def print_summary(self, server: Server) -> None:
        """Print the summary after the server has ended."""
        from pgtrace.cli import output

        left = server.choice.left
        if self._as_json:
            self._write_json(
                {
                    "connections": server.connections,
                    "mismatches": server.mismatches,
                    "taken_again": server.choice.repeated,
                    "recorded_connections_left": left,
                    "recorded_requests_left": server.unrequested,
                }
            )
            return
        if self._quiet:
            return
        mismatches = f"{server.mismatches} mismatches" if server.mismatches != 1 else "1 mismatch"
        output.print_stderr(f"pgtrace: {_counted(server.connections, 'connection')}, {mismatches}")
        if server.unstarted:
            output.print_stderr(f"pgtrace: {_counted(server.unstarted, 'connection')} ended before a start-up")
        unrequested = server.unrequested
        if left or unrequested:
            output.print_stderr(
                f"pgtrace: never requested: {_counted(left, 'recorded connection')}, {_counted(unrequested, 'recorded request')}"
            )

    @staticmethod
    def _write_json(value: dict[str, Any]) -> None:
        from pgtrace.cli import output
        from pgtrace.report.encoding import as_json

        output.write([as_json(value)])


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
