"""Mutants given to readers by the thousand, in processes whose memory and time are bounded: what escapes, hangs or grows is found and kept.

    python -m tests.readers.reader_fuzz --count 250000 --minutes 60 --workers 2 --finds finds

A worker takes each of its mutants in turn: writes it, reads it, asks two views of it (a stride of all of them). 256 MiB of
anonymous memory are the most it gets (40 of them for the interpreter, whatever it was forked from), 10 s the most one input may
take. Whatever ends a reader other than a PgTraceError is a find: the file is kept, one for each kind of fault and place. Where a
worker is gone or does not answer, another one takes over behind the mutant it had.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pgtrace.ask import budget_tables
from pgtrace.ask.filter import parse
from pgtrace.errors import PgTraceError
from pgtrace.trace.trace import Trace
from tests.readers import reader_mutants, reader_views
from tests.traces import fully_read

MOST_BYTES = 256 * 1024 * 1024
OWN_BYTES = 40 * 1024 * 1024
"""Of these, what an interpreter takes that has loaded the readers."""
MOST_S = 10
_LOST_S = 15.0
_STATE = struct.Struct("=QdQQ")
"""Of each worker: the mutant at hand, when it began, how many were done, the most memory."""


class Hang(BaseException):
    """An input took longer than it may."""


@dataclass
class Result:
    """What a run found."""

    inputs: int = 0
    took_s: float = 0.0
    peak_bytes: int = 0
    finds: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.inputs} inputs in {self.took_s:.0f} s, peak {self.peak_bytes >> 20} MiB, {len(self.finds)} finds"


def _alarm(_number: int, _frame: object) -> None:
    raise Hang


def read(mutant: reader_mutants.Mutant, scratch: Path, number: int) -> None:
    """Give one mutant to its reader. Raises whatever escapes it."""
    if mutant.name in ("toml", "filter"):
        ((name, data),) = mutant.files.items()
        with contextlib.suppress(PgTraceError, UnicodeDecodeError):
            if mutant.name == "toml":
                budget_tables.parse(data.decode(), name)
            else:
                chosen = parse(data.decode("utf-8", "surrogateescape"))
                selection = chosen.over(_trace())
                for place in range(len(_trace().rows)):
                    selection.holds(place)
        return
    path = scratch / "input"
    if mutant.name == "segments":
        path.mkdir()
    for name, data in mutant.files.items():
        (path / name if mutant.name == "segments" else path).write_bytes(data)
    names = list(reader_views.VIEWS)
    views = [names[number % len(names)], names[number * 5 // len(names) % len(names)]]
    try:
        reader_views.look(path, scratch, views, timeline=bool(number % 16) or "stats" not in views)
    finally:
        if mutant.name == "segments":
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


_known: list[Trace] = []


def _trace() -> Trace:
    """Something to apply filters to."""
    if not _known:
        trace = fully_read(reader_mutants.ROOT / "captures/psycopg/ten_queries.pgtrace")
        _known.append(trace)
    return _known[0]


def place_of(error: BaseException) -> str:
    """What escaped and where in pgtrace, as a name."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/pgtrace/" in frame.filename]
    where = f"{Path(frames[-1].filename).stem}_{frames[-1].name}" if frames else "outside"
    return re.sub(r"\W", "", type(error).__name__) + "_" + re.sub(r"\W", "", where)


def keep(mutant: reader_mutants.Mutant, finds: Path, what: str, number: int, seed: int, text: str) -> None:
    """Keep the file and the traceback, once for each kind of fault and place."""
    finds.mkdir(parents=True, exist_ok=True)
    if list(finds.glob(f"{mutant.name}-{what}-*")):
        return
    name = f"{mutant.name}-{what}-{seed}-{number}"
    if mutant.name == "segments":
        (finds / name).mkdir()
        for one, data in mutant.files.items():
            (finds / name / one).write_bytes(data)
    else:
        ((one, data),) = mutant.files.items()
        (finds / f"{name}.{one.partition('.')[2]}").write_bytes(data)
    (finds / f"{name}.txt").write_text(text, encoding="utf-8", errors="backslashreplace")


_inherited = [0]
"""What this process had of its parent: a test run has more than a reader may take."""


def _memory_bytes() -> int:
    return _status_bytes("RssAnon") - _inherited[0] + OWN_BYTES


def _status_bytes(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def contained(action: Callable[[Path], object], most_s: float = MOST_S) -> str:
    """Do it in a process of its own, with an empty directory, the memory and the time that a reader has; what escaped it, or nothing."""
    with tempfile.TemporaryDirectory(prefix="pgtrace-contained-") as directory:
        told = Path(directory) / "told"
        process = os.fork()
        if process == 0:
            text = "it ended"
            try:
                (scratch := Path(directory) / "scratch").mkdir()
                _limit()
                signal.setitimer(signal.ITIMER_REAL, most_s)
                action(scratch)
                text = ""
            except BaseException as error:  # whatever it is
                signal.setitimer(signal.ITIMER_REAL, 0)
                text = "".join(traceback.format_exception(error))
            finally:
                told.write_text(text, encoding="utf-8", errors="backslashreplace")
                os._exit(0)
        os.waitpid(process, 0)
        return told.read_text(encoding="utf-8") if told.exists() else "it was killed"


def _limit() -> None:
    """The bounds of this process from here on."""
    most = _status_bytes("VmData") + MOST_BYTES - OWN_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    _inherited[0] = _status_bytes("RssAnon")
    signal.signal(signal.SIGALRM, _alarm)


def _work(state: mmap.mmap, place: int, first: int, step: int, end: int, seed: int, finds: Path, until: float, kind: str) -> None:
    """A worker's life."""
    scratch = Path(tempfile.mkdtemp(prefix="pgtrace-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    tempfile.tempdir = str(scratch)
    _limit()
    done, peak = 0, 0
    try:
        for number in range(first, end, step):
            now = time.monotonic()
            if now > until:
                break
            _STATE.pack_into(state, place, number, now, done, peak)
            mutant = reader_mutants.mutant(seed, number, kind)
            signal.setitimer(signal.ITIMER_REAL, MOST_S)
            try:
                read(mutant, scratch, number)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever it is: that is the question
                signal.setitimer(signal.ITIMER_REAL, 0)
                keep(mutant, finds, place_of(error), number, seed, "".join(traceback.format_exception(error)))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            done += 1
            if not done % 50:
                peak = max(peak, _memory_bytes())
        _STATE.pack_into(state, place, end, 0.0, done, max(peak, _memory_bytes()))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(count: int, *, seed: int, seconds: float, finds: Path, workers: int = 1, first: int = 0, kind: str = "") -> Result:
    """Read that many mutants, or as many as the time is enough for once they can be made."""
    end = first + count
    result = Result()
    reader_mutants.captures(), reader_mutants.json_lines(), reader_mutants.goldens(), reader_mutants.packets(), _trace()
    for message in reader_mutants.registry.MESSAGES:
        message.parse(message.EXAMPLE)
    began = time.monotonic()
    until = began + seconds
    state = mmap.mmap(-1, _STATE.size * workers)
    running: dict[int, int] = {}  # process -> worker

    def start(worker: int, number: int) -> None:
        process = os.fork()
        if process == 0:
            code = 1
            try:
                with open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                _work(state, worker * _STATE.size, number, workers, end, seed, finds, until, kind)
                code = 0
            finally:
                os._exit(code)
        running[process] = worker

    for worker in range(workers):
        _STATE.pack_into(state, worker * _STATE.size, first + worker, time.monotonic(), 0, 0)
        start(worker, first + worker)
    while running:
        for process, worker in list(running.items()):
            number, since, done, peak = _STATE.unpack_from(state, worker * _STATE.size)
            ended, status = os.waitpid(process, os.WNOHANG)
            hangs = not ended and since and time.monotonic() - since > _LOST_S
            if hangs:
                os.kill(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0)
            if not ended:
                continue
            del running[process]
            result.inputs += done
            result.peak_bytes = max(result.peak_bytes, peak)
            if status or hangs:
                what = "hang" if hangs else f"ended_{status}"
                keep(reader_mutants.mutant(seed, number, kind), finds, what, number, seed, what)
                result.inputs += 1
                if number + workers < end and time.monotonic() < until:
                    _STATE.pack_into(state, worker * _STATE.size, number + workers, time.monotonic(), 0, 0)
                    start(worker, number + workers)
        time.sleep(0.02)
    result.took_s = time.monotonic() - began
    result.finds = sorted(path for path in finds.glob("*") if path.suffix != ".txt") if finds.exists() else []
    return result


def main() -> Iterator[str]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--finds", type=Path, required=True)
    given = parser.parse_args()
    yield f"seed {given.seed}"
    yield str(run(given.count, seed=given.seed, seconds=60 * given.minutes, finds=given.finds, workers=given.workers, first=given.first))


if __name__ == "__main__":
    for line in main():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
