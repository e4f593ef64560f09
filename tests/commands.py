"""Commands of pgtrace, each in a process of its own that has imported the package already.

A fresh Python takes ten times as long to import what `stats` needs as `stats` takes to read a small
capture. So each process of tests has one Python that has imported everything and forks for each
command. A command sees what it always sees: its arguments, variables, directory and streams.

`call()` needs no process at all: it is for what a command says, and not about how it starts, waits
or ends.

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
import tempfile
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn, Self

from pgtrace import control

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


def call(*arguments: object, text: bool = True, input: str | bytes | None = None, **place: Any) -> subprocess.CompletedProcess[Any]:
    """The same in this process, with pipes for streams too: a third of the time. `place` is `cwd` and `env`."""
    from pgtrace import cli

    given = input.encode() if isinstance(input, str) else input or b""
    with _in(**place), _traces_closed(), _Given(given), _Taken("stdout", 1) as out, _Taken("stderr", 2) as err:
        cli.output.prepare()
        code = cli._run(cli.root, list(map(str, arguments)))
    told = [one.data.decode() if text else one.data for one in (out, err)]
    return subprocess.CompletedProcess(["pgtrace", *map(str, arguments)], code, *told)


@contextlib.contextmanager
def _in(cwd: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """There, with these variables alone."""
    directory, variables = os.getcwd(), dict(os.environ)
    os.chdir(cwd or directory)
    if env is not None:
        _set_variables(env)
    try:
        yield
    finally:
        os.chdir(directory)
        _set_variables(variables)


def _set_variables(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})


@contextlib.contextmanager
def _traces_closed() -> Iterator[None]:
    """What is open at the end of a process is closed by that."""
    from pgtrace.trace.trace import Trace

    opened: list[Trace] = []
    make = Trace.__init__

    def noted(trace: Trace, *arguments: Any, **options: Any) -> None:
        make(trace, *arguments, **options)
        opened.append(trace)

    Trace.__init__ = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trace.__init__ = make  # type: ignore[method-assign]
        for trace in opened:
            trace.close()


class _Piped:
    """A pipe in place of one of this process's streams, with a thread at the other end."""

    def __init__(self, name: str, number: int, mode: str) -> None:
        self._name, self._number = name, number
        self._before, self._stream_before = os.dup(number), getattr(sys, name)
        ends = os.pipe()
        ours, self.other_end = ends if mode == "r" else reversed(ends)
        os.dup2(ours, number)
        os.close(ours)
        self._stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 (closed in __exit__)
        setattr(sys, name, self._stream)
        self._thread = threading.Thread(target=self.work)
        self._thread.start()

    def work(self) -> None:
        """What the thread does with the other end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        setattr(sys, self._name, self._stream_before)
        os.dup2(self._before, self._number)
        os.close(self._before)
        self._thread.join()


class _Taken(_Piped):
    """What is written there."""

    def __init__(self, name: str, number: int) -> None:
        self.data = b""
        super().__init__(name, number, "w")

    def work(self) -> None:
        with open(self.other_end, "rb") as reading:
            self.data = reading.read()


class _Given(_Piped):
    """What is read from standard input."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        super().__init__("stdin", 0, "r")

    def work(self) -> None:
        with contextlib.suppress(BrokenPipeError), open(self.other_end, "wb", buffering=0) as writing:
            writing.write(self._data)


class Forked(subprocess.Popen):  # type: ignore[type-arg]
    """`main()` of a module in a process of its own. It is the child of another process, which tells
    how it ended. `before` is Python that it runs first."""

    IMPORTED: ClassVar[tuple[str, ...]] = ()
    """What it has imported, where that is not what all commands need."""

    def __init__(self, module: str, arguments: Sequence[str], *, before: str = "", **options: Any) -> None:
        self._module, self._before = module, before
        super().__init__(arguments, **options)

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        about, streams = _order(self._module, args, rest)
        about |= {"before": self._before, "recorder": isinstance(self, Command)}
        self._told, telling = socket.socketpair()
        with telling:
            descriptors = [telling.fileno(), *streams, *about["kept"]]
            socket.send_fds(ready(*self.IMPORTED), [json.dumps(about).encode() + b"\n"], descriptors)
        self._close_pipe_fds(*rest[9:15])
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


def _order(module: str, arguments: list[str], options: Sequence[Any]) -> tuple[dict[str, Any], list[int]]:
    """What Popen tells its _execute_child(), as a process needs it, and its streams."""
    (kept, directory, variables), given, in_session = options[3:6], options[9:15], options[20]
    reading, _, _, writing, _, errors = given
    about = {
        "module": module,
        "before": "",
        "recorder": False,
        "arguments": arguments,
        "directory": os.fspath(directory or os.getcwd()),
        "variables": dict(variables or os.environ),
        "kept": list(kept),
        "in_session": in_session,
    }
    return about, [own if stream == -1 else stream for own, stream in zip(STREAMS, (reading, writing, errors), strict=True)]


class Command(Forked):
    """A command that goes on beside the test."""

    def __init__(self, *arguments: object, **options: Any) -> None:
        super().__init__("pgtrace.cli", ["pgtrace", *map(str, arguments)], **options)


class Recorder(Forked):
    """The process of a recorder, started as control.py starts it."""

    IMPORTED = ("uvloop", "pgtrace.proxy.__main__", "pgtrace.capture.hiding", "pgtrace.capture.segments", "pgtrace.capture.writer")

    def __init__(self, command: list[str], **options: Any) -> None:
        assert command == RECORDER
        super().__init__(RECORDER_MODULE, command, **options)


class OwnRecorder(subprocess.Popen):  # type: ignore[type-arg]
    """The same for a Command: its child, with its limits and rights."""

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        assert args == RECORDER
        about, streams = _order(RECORDER_MODULE, args, rest)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _, to_it, from_it, _, its_errors, _ = rest[9:15]
                ours = [end for end in (to_it, from_it, its_errors) if end != -1]
                _run(_became(about, [*streams, *about["kept"]], ours))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        self._close_pipe_fds(*rest[9:15])


RECORDER = [sys.executable, "-m", "pgtrace.proxy"]
RECORDER_MODULE = "pgtrace.proxy.__main__"


@contextlib.contextmanager
def recorders(kind: type = Recorder) -> Iterator[None]:
    """Within this, a recorder need not import the package first; tests/test_recorder.py starts fresh ones."""
    control.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": kind})  # type: ignore[assignment]
    try:
        yield
    finally:
        control.subprocess = subprocess


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
    import uvloop  # noqa: F401 (recorders import it late)

    import pgtrace

    for module in pkgutil.walk_packages(pgtrace.__path__, "pgtrace."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)


def _run_all_once() -> None:
    """What Python runs for the first time costs it twice as much as later, and what it imports late
    it imports for each child."""
    import encodings.idna  # noqa: F401 (for the names of hosts)

    from tests.proxy import inside

    with tempfile.TemporaryDirectory() as directory:
        inside.run(inside.session(Path(directory) / "once.pgtrace"))
    tempfile.tempdir = None  # each child looks for its own


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
            ours = [one.detach() for one in (channel, woken, waking)]
            return _became(json.loads(asked), given, [*ours, telling, *tell.values()])
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


def _became(about: dict[str, Any], given: list[int], others: Iterable[int]) -> str:
    """With what it was given, and without what belongs to others: uvloop has descriptors of its own."""
    if about["in_session"]:
        os.setsid()
    numbers = (*STREAMS, *about["kept"])
    above = max(*numbers, *given) + 1  # out of the way of all of them
    for number, descriptor in zip(numbers, [fcntl.fcntl(one, fcntl.F_DUPFD, above) for one in given], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for descriptor in {*given, *others}.difference(numbers):
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
    if about["recorder"]:
        control.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": OwnRecorder})  # type: ignore[assignment]
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
    if "uvloop" in sys.modules:
        _run_all_once()
    if sys.argv[2:] != [*Recorder.IMPORTED]:
        importlib.import_module("pgtrace.protocol.registry").warm()
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    asking.send(b"1")
    if (module := _fork_for_each(asking)) is not None:
        _run(module)
