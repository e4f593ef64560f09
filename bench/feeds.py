"""What the screen does with each row besides reading it, and what a filter costs: prints a table as
Markdown on stdout, progress on stderr.

    python -m bench.feeds [--turns N] [--keep DIRECTORY]      # wants pgbench; some minutes

All that looks at rows does so once over 80,000 prepared selects, as the screen has it do, a budget at
a time. `stats` with a filter and without run in turn, as processes; what counts is their CPU time.
Over a large capture, made of the same traffic, a filter is typed into a screen that nobody draws: how
long until its totals are there, and the longest tick meanwhile, for which a key would wait. Exit code
1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.growing import grow
from bench.reading import cost
from bench.traffic import PREPARED, record
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.reading import TICK_S
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View

FEEDS_BAR_US = 5.0
FILTER_BAR = 1.3
TOTALS_BAR_S = 2.0
TICK_BAR_S = 0.1
LARGE_MIB = 145
"""850,000 rows."""
FILTER = "ms > 0.01"


def read(path: Path) -> tuple[View, float]:
    """A screen over a capture that has been read and not looked at, and the CPU time of reading it."""
    trace = Trace.open([path], still=[str(path)])
    started = time.process_time()
    while trace.update():
        pass
    took_s = time.process_time() - started
    return View(trace, Source(files=(str(path),)), Pen(DARK)), took_s


def feeds_us(path: Path) -> tuple[float, float]:
    """CPU time for a row, in microseconds: of reading it, and of everything that looks at it."""
    view, reading_s = read(path)
    started = time.process_time()
    while view.reading.sync() or view.listing.behind:
        pass
    rows = len(view.trace.rows)
    found = 1e6 * reading_s / rows, 1e6 * (time.process_time() - started) / rows
    view.trace.close()
    return found


def filter_ratio(path: Path) -> float:
    """CPU time of `stats` with a filter by that without."""
    command = (sys.executable, "-m", "pgtrace", "stats", str(path))
    return cost(*command, "--filter", FILTER).cpu_s / cost(*command).cpu_s


def totals_s(path: Path) -> tuple[int, float, float]:
    """Rows; seconds from the choice of a filter to its totals, in ticks as the screen has them; the longest tick."""
    view, _ = read(path)
    view.trace.update()
    while view.reading.sync() or view.listing.behind:
        pass
    view.reading.tick(0.0)
    view.listing.choose(FILTER)
    began = time.perf_counter()
    longest_s = 0.0
    while view.counted.sums is None:
        started = time.perf_counter()
        view.reading.tick(started - began)
        took_s = time.perf_counter() - started
        longest_s = max(longest_s, took_s)
        if view.counted.sums is None:
            time.sleep(max(0.0, TICK_S - took_s))
    found = len(view.trace.rows), time.perf_counter() - began, longest_s
    view.trace.close()
    return found


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures."""

    reading_us: float
    looking_us: float
    filter_ratio: float
    large_rows: int
    totals_s: float
    tick_s: float

    def markdown(self) -> str:
        """The table."""
        return "\n".join([
            "| what | cost | at most |",
            "|---|---:|---:|",
            f"| reading a row | {self.reading_us:.2f} µs | |",
            f"| everything on the screen that looks at it | {self.looking_us:.2f} µs | {FEEDS_BAR_US} µs |",
            f"| `stats --filter '{FILTER}'` by `stats` | {self.filter_ratio:.2f} | {FILTER_BAR} |",
            f"| totals of a new filter over {self.large_rows:,} rows | {self.totals_s:.2f} s | {TOTALS_BAR_S} s |",
            f"| the longest tick until then | {self.tick_s * 1e3:.0f} ms | {TICK_BAR_S * 1e3:.0f} ms |",
        ])  # fmt: skip

    def missed(self) -> list[str]:
        """The bars that were not reached."""
        told = (
            (self.looking_us <= FEEDS_BAR_US, f"looking at a row takes {self.looking_us:.2f} µs (at most {FEEDS_BAR_US})"),
            (self.filter_ratio <= FILTER_BAR, f"stats with a filter takes {self.filter_ratio:.2f} times stats (at most {FILTER_BAR})"),
            (self.totals_s <= TOTALS_BAR_S, f"the totals of a new filter take {self.totals_s:.2f} s (at most {TOTALS_BAR_S})"),
            (self.tick_s <= TICK_BAR_S, f"a tick takes {self.tick_s * 1e3:.0f} ms (at most {TICK_BAR_S * 1e3:.0f})"),
        )
        return [line for reached, line in told if not reached]


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.feeds", description="What the screen does with each row, and what a filter costs."
    )
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often each is measured (5)")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="where the recorded captures stay, and are taken from the next time")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
        directory.mkdir(exist_ok=True)
        prepared, large = record(directory).shapes[PREPARED], directory / "large.pgtrace"
        turns = [feeds_us(prepared) for _ in range(options.turns)]
        print("rows", file=sys.stderr)
        ratio = median(filter_ratio(prepared) for _ in range(options.turns))
        print("stats", file=sys.stderr)
        grow(prepared, large, LARGE_MIB << 20)
        found = Measured(median(turn[0] for turn in turns), median(turn[1] for turn in turns), ratio, *totals_s(large))
        large.unlink()
    print(found.markdown())
    missed = found.missed()
    for line in missed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
