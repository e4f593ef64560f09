"""What reading costs: prints two tables as Markdown on stdout, progress on stderr.

    python -m bench.reading [--turns N] [--sizes 10,100,1000] [--keep DIRECTORY]      # wants
    pgbench; some minutes, most of them for the largest size

Every command is a process of its own, started as a user would; what counts is its CPU time, user
and system, start-up included. All commands are run in turn, and figures are medians over the turns;
tshark's ratio is that within a turn. The captures are recorded first (traffic.py), the large ones
made from one of them (growing.py). Exit code 1 where pgtrace misses what it promises of prepared
selects, of a reader's memory, or of cost that grows with size.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from bench.growing import grow
from bench.traffic import PREPARED, Recorded, record
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Open
from pgtrace.tui.panes.rowline import FLIGHT_HEAD

MESSAGES_BAR = 400_000
TSHARK_BAR = 0.5
MEMORY_BAR_MIB = 256
GROWTH_BAR = 1.25
"""Of the CPU time for a megabyte: that of the largest capture by that of the one before."""
FIRST_SCREEN_BAR_S = 2.0
PATIENCE_S = 60.0
SHOWN = FLIGHT_HEAD.encode()
"""In the head of the timeline, which is there as soon as it has rows."""

ALONE = """
import sys, time
from pgtrace.trace.trace import Trace
started = time.process_time()
trace = Trace.open(sys.argv[1:], timeline=False)
while trace.update():
    pass
totals = trace.totals()
print(time.process_time() - started, sum(totals.frontend_messages.values()) + sum(totals.backend_messages.values()))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process, started and ended."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    output: str = ""


def cost(*command: str, keep_output: bool = False) -> Cost:
    """Run a command to its end. SystemExit where it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output if keep_output else subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        text = output.read().decode()
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, peak, text)


def stats(path: Path) -> Cost:
    return cost(sys.executable, "-m", "pgtrace", "stats", str(path))


def alone(path: Path) -> tuple[float, int]:
    """CPU seconds of the reading alone, and the messages read."""
    cpu, messages = cost(sys.executable, "-c", ALONE, str(path), keep_output=True).output.split()
    return float(cpu), int(messages)


def tshark(recorded: Recorded) -> tuple[str, ...] | None:
    """The command that prints a line for each packet of the prepared selects; None where it, or the packets, are not there."""
    program = shutil.which("tshark")
    if program is None or not recorded.packets.exists():
        return None
    with CaptureReader(recorded.shapes[PREPARED]) as reader:
        opened = next(one for block in reader.read() for one in block.records if type(one) is Open)
    return program, "-n", "-r", str(recorded.packets), "-d", f"tcp.port=={opened.listener.rpartition(':')[2]},pgsql"


def head_s(path: Path) -> float:
    """Seconds until `show` has printed its first line."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "pgtrace", "show", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = time.perf_counter() - started
        process.terminate()
    return taken


def first_screen_s(path: Path) -> float:
    """Seconds until `open` shows round trips, on a terminal of 120 columns."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if not pid:
        os.environ |= {"TERM": "xterm-256color", "XDG_STATE_HOME": os.devnull}  # as if for the first time
        os.execv(sys.executable, [sys.executable, "-m", "pgtrace", "open", str(path)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    try:
        while SHOWN not in seen:
            if not select.select([terminal], [], [], PATIENCE_S)[0]:
                raise SystemExit(f"bench: `open` shows no round trips: {seen[-200:]!r}")
            seen += os.read(terminal, 65536)
        return time.perf_counter() - started
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(pid, 0)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of traffic in one turn."""

    messages: int
    whole: Cost
    alone_s: float


@dataclass(frozen=True, slots=True)
class Large:
    """One large capture."""

    mib: float
    stats: Cost
    head_s: float
    screen_s: float


def shapes_table(shapes: dict[str, list[Shape]], ratios: list[float]) -> str:
    """Messages a second by shape; `ratios` are pgtrace's CPU time by tshark's."""
    lines = ["| traffic | messages | stats, CPU | messages/s | reading alone, messages/s | peak |", "|---|---:|---:|---:|---:|---:|"]
    for name, turns in shapes.items():
        cpu, read = median(one.whole.cpu_s for one in turns), median(one.alone_s for one in turns)
        messages, peak = turns[0].messages, max(one.whole.peak_mib for one in turns)
        lines.append(f"| {name} | {messages:,} | {cpu:.2f} s | {messages / cpu:,.0f} | {messages / read:,.0f} | {peak:.0f} MiB |")
    if ratios:
        lines += [
            "",
            f"Of the CPU time in which tshark prints a line for each packet of the prepared selects, stats needs {median(ratios):.2f}.",
        ]
    return "\n".join(lines)


def sizes_table(sizes: list[Large]) -> str:
    """What large captures cost."""
    lines = ["| capture | stats, CPU | CPU per MiB | peak | first line of show | first screen of open |", "|---|---:|---:|---:|---:|---:|"]
    for one in sizes:
        lines.append(
            f"| {one.mib:,.0f} MiB | {one.stats.cpu_s:.1f} s | {1000 * one.stats.cpu_s / one.mib:.0f} ms | {one.stats.peak_mib:.0f} MiB "
            f"| {one.head_s:.1f} s | {one.screen_s:.1f} s |"
        )
    return "\n".join(lines)


def missed_bars(shapes: dict[str, list[Shape]], ratios: list[float], sizes: list[Large]) -> list[str]:
    """What pgtrace promises and this run did not show."""
    missed = []
    rate = median(one.messages / one.whole.cpu_s for one in shapes[PREPARED])
    if rate < MESSAGES_BAR:
        missed.append(f"stats reads {rate:,.0f} messages/s of prepared selects; at least {MESSAGES_BAR:,} are promised")
    if ratios and (ratio := median(ratios)) > TSHARK_BAR:
        missed.append(f"stats needs {ratio:.2f} of tshark's CPU time; at most {TSHARK_BAR} is promised")
    for one in sizes:
        if one.stats.peak_mib > MEMORY_BAR_MIB:
            missed.append(f"stats of {one.mib:,.0f} MiB holds {one.stats.peak_mib:.0f} MiB; at most {MEMORY_BAR_MIB} are promised")
        if one.screen_s > FIRST_SCREEN_BAR_S:
            missed.append(f"open of {one.mib:,.0f} MiB shows nothing for {one.screen_s:.1f} s; at most {FIRST_SCREEN_BAR_S} are promised")
    for smaller, larger in pairwise(sizes):
        growth = (larger.stats.cpu_s / larger.mib) / (smaller.stats.cpu_s / smaller.mib)
        if growth > GROWTH_BAR:
            missed.append(
                f"a megabyte of {larger.mib:,.0f} MiB costs {growth:.2f} times one of {smaller.mib:,.0f} MiB; at most {GROWTH_BAR}"
            )
    return missed


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.reading", description="What reading costs.")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often the shapes are measured (5)")
    parser.add_argument("--sizes", default="10,100,1000", metavar="MIB,...", help="large captures to make and read (10,100,1000)")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="where the recorded captures stay, and are taken from the next time")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
        directory.mkdir(exist_ok=True)
        recorded = record(directory)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: no user compiles the modules at each start
        stats(recorded.shapes[PREPARED])
        shapes: dict[str, list[Shape]] = {name: [] for name in recorded.shapes}
        ratios: list[float] = []
        packets = tshark(recorded)
        for turn in range(options.turns):
            for name, path in recorded.shapes.items():
                alone_s, messages = alone(path)
                shapes[name].append(Shape(messages, stats(path), alone_s))
                if packets is not None and name == PREPARED:
                    ratios.append(shapes[name][-1].whole.cpu_s / cost(*packets).cpu_s)
            print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
        sizes = []
        for mib in map(int, filter(None, options.sizes.split(","))):
            path = directory / "large.pgtrace"
            grow(recorded.everything, path, mib << 20)
            sizes.append(Large(path.stat().st_size / (1 << 20), stats(path), head_s(path), first_screen_s(path)))
            path.unlink()
            print(f"{mib} MiB", file=sys.stderr)
    print(shapes_table(shapes, ratios), sizes_table(sizes), facts(options.turns), sep="\n\n")
    missed = missed_bars(shapes, ratios, sizes)
    for line in missed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if missed else 0


def facts(turns: int) -> str:
    """Of which machine the figures are."""
    return (
        f"Medians of {turns} turns. {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    sys.exit(main())
