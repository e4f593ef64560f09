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
import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

ROOT = Path(__file__).parents[1]
FRESH = [sys.executable, "-m", "pgtrace"]
NOT_IMPORTED = ("pgtrace.__main__", "pgtrace.callsites.program", "pgtrace.demo", "pgtrace.testing", "pgtrace.tui")
"""What no process needs that is started this way."""
STREAMS = (0, 1, 2)
MOST_DESCRIPTORS = 16


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


class Forked(subprocess.Popen):  # type: ignore[type-arg]
    """`main()` of a module in a process of its own. It is the child of another process, which tells
    how it ended. `before` is Python that it runs first."""

    IMPORTED: ClassVar[tuple[str, ...]] = ()
    """What it has imported, where that is not what all commands need."""

    def __init__(self, module: str, arguments: Sequence[str], *, before: str = "", **options: Any) -> None:
        self._module, self._before = module, before
        super().__init__(arguments, **options)

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        (kept, directory, variables), given, in_session = rest[3:6], rest[9:15], rest[20]
        reading, _, _, writing, _, errors = given
        streams = [own if stream == -1 else stream for own, stream in zip(STREAMS, (reading, writing, errors), strict=True)]
        about = {
            "module": self._module,
            "before": self._before,
            "arguments": args,
            "directory": os.fspath(directory or os.getcwd()),
            "variables": dict(variables or os.environ),
            "kept": list(kept),
            "in_session": in_session,
        }
        self._told, telling = socket.socketpair()
        with telling:
            socket.send_fds(ready(*self.IMPORTED), [json.dumps(about).encode() + b"\n"], [telling.fileno(), *streams, *kept])
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


class Command(Forked):
    """A command that goes on beside the test."""

    def __init__(self, *arguments: object, **options: Any) -> None:
        super().__init__("pgtrace.cli", ["pgtrace", *map(str, arguments)], **options)


def recorder(command: list[str], **options: Any) -> Forked:
    """The process of a recorder, started as control.py starts it."""
    assert command == [sys.executable, "-m", "pgtrace.proxy"]
    return Forked("pgtrace.proxy.__main__", command, **options)


@functools.cache
def ready(*modules: str) -> socket.socket:
    """The way to the process that forks, once it has imported these modules, or all; it ends when
    nobody has this end any more."""
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands", str(its.fileno()), *modules],
            env=os.environ | {"PYTHONUTF8": "1"}, cwd=ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    ours.recv(1)
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _import_all() -> None:
    import uvloop

    import pgtrace

    for module in pkgutil.walk_packages(pgtrace.__path__, "pgtrace."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    importlib.import_module("pgtrace.protocol.registry").warm()

    async def nothing() -> None:
        """The first loop of a process takes three times as long as the next."""

    uvloop.run(nothing())


def _fork_for_each(channel: socket.socket) -> str | None:
    """The module whose main() this process is to run; none if nobody will ask any more."""
    tell: dict[int, int] = {}  # by child: where it is told how it ended
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable = select.select([channel, woken], [], [])[0]
        if woken in readable:
            woken.recv(1 << 16)
            _tell_ends(tell)
        if channel not in readable:
            continue
        asked, descriptors, _, _ = socket.recv_fds(channel, 1 << 20, MOST_DESCRIPTORS)
        if not asked:
            for child in tell:
                os.waitpid(child, 0)
            return None
        while not asked.endswith(b"\n"):
            asked += channel.recv(1 << 20)
        telling, *given = descriptors
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ours in (channel, woken, waking):
                ours.close()
            for other in (telling, *tell.values()):
                os.close(other)
            return _became(json.loads(asked), given)
        tell[child] = telling
        _tell(telling, child)
        for descriptor in given:
            os.close(descriptor)


def _tell_ends(tell: dict[int, int]) -> None:
    """Tell of each child that has ended how it did."""
    while tell:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        telling = tell.pop(child)
        _tell(telling, os.waitstatus_to_exitcode(status))
        os.close(telling)


def _tell(telling: int, number: int) -> None:
    with contextlib.suppress(OSError):  # nobody wants to know
        os.write(telling, array.array("i", [number]))


def _became(about: dict[str, Any], given: list[int]) -> str:
    if about["in_session"]:
        os.setsid()
    numbers = (*STREAMS, *about["kept"])
    above = max(*numbers, *given) + 1  # out of the way of all of them
    for number, descriptor in zip(numbers, [fcntl.fcntl(one, fcntl.F_DUPFD, above) for one in given], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for descriptor in set(given).difference(numbers):
        os.close(descriptor)
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
    return str(about["module"])


def _run(module: str) -> NoReturn:
    """Run it and end as Python would, without taking apart what was imported: that takes longer than most commands."""
    try:
        importlib.import_module(module).main()
    except SystemExit as ended:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(ended.code)  # type: ignore[arg-type]


if __name__ == "__main__":
    for module in sys.argv[2:]:
        importlib.import_module(module)
    if not sys.argv[2:]:
        _import_all()
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    asking.send(b"1")
    if (module := _fork_for_each(asking)) is not None:
        _run(module)
