"""Commands of pgtrace, each in a process of its own that has imported the package already.

A fresh Python takes ten times as long to import what `stats` needs as `stats` takes to read a small
capture. So each process of tests has one Python that has imported everything and forks for each
command. A command sees what it always sees: its arguments, variables, directory and streams.

What a fresh start alone shows needs one, `FRESH`: what is imported, what Python makes of closed
streams and of its own variables (PYTHON*, LC_*).
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
FRESH = [sys.executable, "-m", "pgtrace"]
NOT_FOR_COMMANDS = ("pgtrace.__main__", "pgtrace.callsites.program", "pgtrace.demo", "pgtrace.proxy", "pgtrace.testing", "pgtrace.tui")
"""What is imported by other programs, or by none of the commands that tests run this way."""
STREAMS = (0, 1, 2)


def run(*arguments: object, text: bool = True, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[Any]:
    """The command with these arguments, waited for; the options are those of subprocess.run()."""
    given = options.pop("input", None)
    streams = {"stdin": subprocess.DEVNULL if given is None else subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Command(*arguments, text=text, **{**streams, **options}) as command:
        try:
            out, err = command.communicate(given, timeout)
        except BaseException:
            command.kill()
            raise
    return subprocess.CompletedProcess(command.args, command.returncode, out, err)


class Command(subprocess.Popen):  # type: ignore[type-arg]
    """A command that goes on beside the test. It is the child of another process, which tells how it
    ended. `before` is Python that its process runs first."""

    def __init__(self, *arguments: object, before: str = "", **options: Any) -> None:
        self._before = before
        super().__init__(["pgtrace", *map(str, arguments)], **options)

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        directory, variables, given = rest[4], rest[5], rest[9:15]
        reading, _, _, writing, _, errors = given
        streams = [own if stream == -1 else stream for own, stream in zip(STREAMS, (reading, writing, errors), strict=True)]
        about = {
            "before": self._before,
            "arguments": args,
            "directory": os.fspath(directory or os.getcwd()),
            "variables": dict(variables or os.environ),
        }
        self._told, telling = socket.socketpair()
        with telling:
            socket.send_fds(ready(), [json.dumps(about).encode() + b"\n"], [*streams, telling.fileno()])
        self._close_pipe_fds(*given)
        self.pid = self._next_number()

    def _next_number(self) -> int:
        (number,) = array.array("i", self._told.recv(4, socket.MSG_WAITALL))
        return number

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._next_number()
            self._told.close()
        return self.returncode

    def _internal_poll(self, *_: Any) -> int | None:
        try:
            return self._wait(0)
        except subprocess.TimeoutExpired:
            return None


@functools.cache
def ready() -> socket.socket:
    """The way to the process that forks, once it has imported all; it ends when nobody has this end any more."""
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands", str(its.fileno())],
            env=os.environ | {"PYTHONUTF8": "1"}, cwd=ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    ours.recv(1)
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _import_all() -> None:
    import pgtrace

    for module in pkgutil.walk_packages(pgtrace.__path__, "pgtrace."):
        if not module.name.startswith(NOT_FOR_COMMANDS):
            importlib.import_module(module.name)


def _fork_for_each(channel: socket.socket) -> bool:
    """Whether this process is now one that has to run a command; if not, nobody will ask for one any more."""
    children: set[int] = set()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, 1 << 20, len(STREAMS) + 1)
        children -= {child for child in children if os.waitpid(child, 0 if not asked else os.WNOHANG)[0]}
        if not asked:
            return False
        while not asked.endswith(b"\n"):
            asked += channel.recv(1 << 20)
        child = os.fork()
        if child == 0:
            channel.close()
            return _became_a_command(json.loads(asked), *descriptors)
        children.add(child)
        for descriptor in descriptors:
            os.close(descriptor)


def _became_a_command(about: dict[str, Any], reading: int, writing: int, errors: int, telling: int) -> bool:
    command = os.fork()
    if command != 0:
        for descriptor in (reading, writing, errors):
            os.close(descriptor)
        os.write(telling, array.array("i", [command]))
        status = os.waitpid(command, 0)[1]
        os.write(telling, array.array("i", [os.waitstatus_to_exitcode(status)]))
        os._exit(0)
    os.close(telling)
    for own, stream in zip(STREAMS, (reading, writing, errors), strict=True):
        os.dup2(stream, own)
    for stream in {reading, writing, errors}.difference(STREAMS):
        os.close(stream)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        old = getattr(sys, name)
        new = open(number, mode, 1 if name == "stderr" else -1, old.encoding, old.errors, closefd=False)  # noqa: SIM115 (as long as the process)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.chdir(about["directory"])
    os.environ.clear()
    os.environ.update(about["variables"])
    sys.argv = about["arguments"]
    exec(about["before"], {})
    return True


def _run_it() -> NoReturn:
    """Run the command and end as Python would, without taking apart what was imported: that takes longer than most commands."""
    from pgtrace.cli import main

    try:
        main()
    except SystemExit as ended:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(ended.code)  # type: ignore[arg-type]


if __name__ == "__main__":
    _import_all()
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    asking.send(b"1")
    if _fork_for_each(asking):
        _run_it()
