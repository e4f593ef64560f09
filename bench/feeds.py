"""What the screen does with each row besides reading it, and what a filter costs: prints a table as Markdown.

    python -m bench.feeds PREPARED [LARGE]      # captures: prepared selects, as `python -m bench.reading --keep` leaves them; a large one (bench.growing)

All views of the rows look at PREPARED once, as the screen has them do it, a budget at a time. `stats` with a filter and without run in turn, as processes; what
counts is their CPU time. Over LARGE a filter is typed into a screen that nobody draws: how long until its totals are there, and the longest tick meanwhile, for
which a key would wait. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

from bench.reading import cost
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import TICK_S, View

FEEDS_BAR_US = 5.0
FILTER_BAR = 1.3
TOTALS_BAR_S = 2.0
TICK_BAR_S = 0.1
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
    while view.sync() or view.listing.behind:
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
    while view.sync() or view.listing.behind:
        pass
    view.tick(0.0)
    view.listing.choose(FILTER)
    began = time.perf_counter()
    longest_s = 0.0
    while view.counted.sums is None:
        started = time.perf_counter()
        view.tick(started - began)
        took_s = time.perf_counter() - started
        longest_s = max(longest_s, took_s)
        if view.counted.sums is None:
            time.sleep(max(0.0, TICK_S - took_s))
    found = len(view.trace.rows), time.perf_counter() - began, longest_s
    view.trace.close()
    return found


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.feeds", description="What the screen does with each row, and what a filter costs."
    )
    parser.add_argument("prepared", type=Path, metavar="PREPARED")
    parser.add_argument("large", type=Path, nargs="?", metavar="LARGE")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often each is measured (5)")
    options = parser.parse_args()
    turns = [feeds_us(options.prepared) for _ in range(options.turns)]
    reading_us, looking_us = median(turn[0] for turn in turns), median(turn[1] for turn in turns)
    ratio = median(filter_ratio(options.prepared) for _ in range(options.turns))
    lines = [
        "| what | cost | at most |",
        "|---|---:|---:|",
        f"| reading a row | {reading_us:.2f} µs | |",
        f"| everything on the screen that looks at it | {looking_us:.2f} µs | {FEEDS_BAR_US} µs |",
        f"| `stats --filter '{FILTER}'` by `stats` | {ratio:.2f} | {FILTER_BAR} |",
    ]
    missed = [looking_us > FEEDS_BAR_US, ratio > FILTER_BAR]
    if options.large is not None:
        rows, until_s, longest_s = totals_s(options.large)
        lines += [
            f"| totals of a new filter over {rows:,} rows | {until_s:.2f} s | {TOTALS_BAR_S} s |",
            f"| the longest tick until then | {longest_s * 1e3:.0f} ms | {TICK_BAR_S * 1e3:.0f} ms |",
        ]
        missed += [until_s > TOTALS_BAR_S, longest_s > TICK_BAR_S]
    print("\n".join(lines))
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
