"""Programs recorded in turns, for `compare`: one recorder and one capture for each turn."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Unpack

from pgtrace import environment, masking, variant
from pgtrace.address import Leg, Upstream, parse_listen, parse_upstream
from pgtrace.cli import output, recording
from pgtrace.cli.children import Children, check_exists
from pgtrace.conninfo import Address
from pgtrace.demo.pooler import RunningPooler, led_elsewhere
from pgtrace.demo.ports import free_port
from pgtrace.errors import UsageError
from pgtrace.recorder import Recorder, Recording
from pgtrace.report.comparison.sections import duration
from pgtrace.settingsfile import text_of
from pgtrace.temporary import PrivateDirectory

_PLAIN = ("disable", "allow", "prefer")


class Program(NamedTuple):
    """One variant: its label, and the program to run for it."""

    label: str
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Program:
        """`LABEL=CMD`. Raises UsageError, ProgramError."""
        label, equals, command = text.partition("=")
        if not equals or not command.strip():
            raise UsageError(f"{masking.argument(text)!r} is neither a capture nor LABEL=CMD")
        try:
            arguments = tuple(shlex.split(command))
        except ValueError as error:
            raise UsageError(f"{label}: {str(error).lower()}") from None
        check_exists(arguments[0])
        return cls(variant.checked(label), arguments)


class Done(NamedTuple):
    """A recorded turn."""

    path: Path
    rtt_ns: int
    took_ns: int
    code: int
    lost: str
    """What the recorder could not record, in words."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed while a program ran."""


class Turns:
    """Runs programs, through a recorder and directly."""

    def __init__(
        self,
        asked: Address | str | None,
        target: Upstream,
        extra: Mapping[str, str],
        names: tuple[str, ...],
        copies: int,
        shows_output: bool,
        ini: Path | None = None,
        **how: Unpack[Recording],
    ) -> None:
        """`asked` is the value of --upstream, `target` the upstream found for it, `extra` the
        environment variables for an embedded server; `names` are variables with a URL. With
        `shows_output`, the programs' output goes to stderr. With `ini`, a PgBouncer runs in
        between.
        """
        self._asked = asked
        self._target = target
        self._extra = extra
        self._names = names
        self._copies = copies
        self._output = 2 if shows_output else subprocess.DEVNULL
        self._ini = ini
        self._how = how

    def record(self, program: Program, rtt_ns: int, path: Path) -> Done:
        """Run the program through a recorder. Raises Interrupted."""
        how: Recording = {**self._how, "write": path, "rtt_ns": rtt_ns, "label": program.label}
        place = recording.place(None, self._target, "127.0.0.1:0", allow_others=False)
        target, legs, pooler = self._target, [], None
        if self._ini is not None:
            behind = free_port()
            legs = [Leg(parse_listen(f"127.0.0.1:{behind}"), self._target)]
            pooler = self._pooler("127.0.0.1", behind)
            target = parse_upstream(f"postgresql://127.0.0.1:{pooler.port}/?sslmode=disable", {})
        with PrivateDirectory() as private, ExitStack() as stack:
            recorder = stack.enter_context(Recorder(place, target, marks=True, more_legs=legs, **how))
            if pooler is not None:
                stack.enter_context(pooler)
            tls = None if recorder.tls.mode == "refuse" else str(recorder.authority or "")
            variables = environment.redirected({**os.environ, **self._extra}, recorder.host, recorder.port, self._names, tls=tls)
            variables |= recorder.call_site_variables(variables)
            environment.give_passwords(variables, recorder.upstream, recorder.host, recorder.port, private)
            took_ns, code = self._run(program, variables)
            recorder.flush()
            lost = recording.losses(recorder)
        return Done(path, rtt_ns, took_ns, code, lost)

    def through(self, program: Program) -> tuple[int, int]:
        """Run the program through a recorder that adds no distance, and keep no capture. Returns
        the same as direct(). Raises Interrupted.
        """
        with PrivateDirectory() as scratch:
            done = self.record(program, 0, Path(scratch) / "through")
        return done.took_ns, done.code

    def direct(self, program: Program) -> tuple[int, int]:
        """Run the program without pgtrace in the path. Returns how many ns it ran, and its exit
        code. Raises Interrupted.
        """
        variables = {**os.environ, **self._extra}
        if self._ini is not None:
            host = self._target.hosts[0]
            with self._pooler(host.unix or host.hostaddr or host.name, host.port) as pooler:
                return self._run(program, environment.redirected(variables, pooler.host, pooler.port, self._names))
        if isinstance(self._asked, Address):
            host = self._target.hosts[0]
            variables = environment.redirected(variables, host.unix or host.hostaddr or host.name, host.port, self._names)
        return self._run(program, variables)

    @property
    def no_control(self) -> str:
        """Why a program cannot be run directly; empty if it can."""
        if isinstance(self._asked, Address) and self._target.sslmode not in _PLAIN:
            return "no control run: a program that connects directly would not use the TLS settings of --upstream"
        return ""

    def _pooler(self, host: str, port: int) -> RunningPooler:
        """A PgBouncer whose databases point to that address; it is not started yet."""
        assert self._ini is not None
        listens = free_port()
        login = f"user={self._extra['PGUSER']} password={self._extra['PGPASSWORD']}" if "PGPASSWORD" in self._extra else ""
        text = text_of(self._ini, "surrogateescape")
        return RunningPooler(led_elsewhere(text, listens, host, port, login), listens, directory=self._ini.absolute().parent)

    def _run(self, program: Program, variables: Mapping[str, str]) -> tuple[int, int]:
        began_ns = time.monotonic_ns()
        children = Children(program.arguments, variables, self._copies, self._output)
        code = children.wait()
        if children.interrupted:
            raise Interrupted
        return time.monotonic_ns() - began_ns, code


def names(programs: Sequence[Program], distances: Sequence[int], repeat: int) -> dict[tuple[str, int, int], str]:
    """The file name of each turn: by label, distance and number. Raises UsageError if two would
    have the same."""
    found: dict[tuple[str, int, int], str] = {}
    for program in programs:
        stem = variant.file_name(program.label).removesuffix(variant.SUFFIX)
        for rtt_ns in distances:
            for number in range(1, repeat + 1):
                parts = [stem, *([duration(rtt_ns)] if len(distances) > 1 else []), *([str(number)] if repeat > 1 else [])]
                found[program.label, rtt_ns, number] = ".".join(parts) + variant.SUFFIX
    if len(set(found.values())) < len(found):
        raise UsageError("two labels would have the same file name: choose labels that differ in letters or digits")
    return found


def report_failure(program: Program, code: int, what: str) -> str:
    """Report on stderr that a program failed. Returns the message."""
    words = f"{what} ended with exit code {code}"
    output.print_stderr(f"pgtrace: {program.label}: {words}")
    return words
