"""What the TUI costs, and how it keeps up, while 20,000 messages pass each second.

Two recorders stand before one server, and a TUI follows the capture of one of them, on a terminal
of 160 x 50 at nice 10. The turns alternate: the same load (pgbench at a fixed rate) and, beside it,
a raw socket that measures round trips go through the recorder that nobody watches, then through the
watched one. So both meet the same machine. Then the watched one has the load without a pause for
`--seconds`, while somebody walks through the panes.

Exit code 1 where the median round trip of the watched recorder is more than 1.05 times the other's,
a tick takes 20 ms or more at the 95th percentile, the screen is more than a second behind, or the
viewer's memory grows by more than 8 MiB from the first half of that time to its end.

    python -m bench.watching [--turns N] [--seconds N] [--filter TEXT]      # three minutes; wants a quiet machine
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.measure import fill_tables
from bench.routes import recording
from bench.steady import MESSAGES, TRUST, load, measured, percentile
from bench.viewer import Viewer, following
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.tui.app import NICE

TURN_S = 6
PANES = "213456"
WATCHED_BAR, TICK_BAR_S, BEHIND_BAR_S, GROWTH_BAR_MIB = 1.05, 0.02, 1.0, 8.0


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of the viewer, or one reading ahead between two, in seconds: when it began, what it
    took, what it took until the terminal had it (0: nothing was drawn), how old the news is."""

    began_s: float
    took_s: float
    painted_s: float
    behind_s: float
    is_tick: bool


@dataclass(frozen=True, slots=True)
class Watching:
    """What was measured: round trips in µs turn by turn, the viewer's ticks, its memory in MiB second by second."""

    alone: list[list[float]]
    watched: list[list[float]]
    ticks: list[Tick]
    resident_mib: list[float]

    @property
    def ratio(self) -> float:
        """The watched median for the other, the median over the turns."""
        pairs = zip(self.watched, self.alone, strict=True)
        return statistics.median(statistics.median(watched) / statistics.median(alone) for watched, alone in pairs)

    def of_ticks(self, share: float) -> tuple[float, float, float, float]:
        """A percentile, in seconds: of ticks, of ticks and their redraws, of what is read ahead between two ticks,
        of how far the screen is behind."""
        took, ahead = ([tick.took_s for tick in self.ticks if tick.is_tick is kind] for kind in (True, False))
        painted = [tick.painted_s for tick in self.ticks if tick.painted_s]
        behind = [tick.behind_s for tick in self.ticks if tick.is_tick]
        return percentile(took, share), percentile(painted, share), percentile(ahead, share), percentile(behind, share)

    def markdown(self) -> str:
        """The tables."""
        lines = ["| round trips | median | p99 |", "|---|---:|---:|"]
        for name, turns in (("nobody watches", self.alone), ("a TUI follows", self.watched)):
            times = [time_us for turn in turns for time_us in turn]
            lines.append(f"| {name} | {statistics.median(times):.0f} µs | {percentile(times, 0.99):.0f} µs |")
        middle, high, most = self.of_ticks(0.5), self.of_ticks(0.95), self.of_ticks(1.0)
        lines += ["", "| the TUI | median | p95 | at most |", "|---|---:|---:|---:|"]
        for number, name in enumerate(("tick", "tick and redraw", "reading between ticks", "age of the latest row")):
            lines.append(f"| {name} | {middle[number] * 1e3:.0f} ms | {high[number] * 1e3:.0f} ms | {most[number] * 1e3:.0f} ms |")
        first, half, last = (self.resident_mib[place] for place in (0, len(self.resident_mib) // 2, -1))
        return "\n".join([
            *lines,
            "",
            f"{MESSAGES:,} messages each second, the TUI at nice {NICE}: the median round trip is {self.ratio:.2f} times that without it.",
            f"{sum(tick.is_tick for tick in self.ticks):,} ticks. "
            f"Memory of its own: {first:.0f} MiB at first, {half:.0f} MiB at half, {last:.0f} MiB at the end.",
        ])  # fmt: skip

    def missed(self) -> list[str]:
        """The bars that were not reached."""
        tick_s, _, _, behind_s = self.of_ticks(0.95)
        grown_mib = self.resident_mib[-1] - self.resident_mib[len(self.resident_mib) // 2]
        told = (
            (self.ratio <= WATCHED_BAR, f"the median with a TUI is {self.ratio:.2f} times that without (at most {WATCHED_BAR})"),
            (tick_s < TICK_BAR_S, f"a tick takes {tick_s * 1e3:.0f} ms at the 95th percentile (below {TICK_BAR_S * 1e3:.0f})"),
            (behind_s <= BEHIND_BAR_S, f"the screen is {behind_s:.1f} s behind at the 95th percentile (at most {BEHIND_BAR_S:.0f})"),
            (grown_mib <= GROWTH_BAR_MIB, f"the TUI's memory grew by {grown_mib:.0f} MiB (at most {GROWTH_BAR_MIB:.0f})"),
        )
        return [line for reached, line in told if not reached]


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description="What the TUI costs at 20,000 messages each second.")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often both recorders are measured (5)")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="how long the load lasts without a pause (60)")
    parser.add_argument("--filter", default="", metavar="TEXT", help="a filter that is in force in every pane (none)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(settings={"max_connections": "60"}, hba=TRUST))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
        fill_tables(server.port)
        alone, watched = free_port(), free_port()
        for port in (alone, watched):
            stack.enter_context(recording(directory, port, server.port))
        log = directory / "ticks"
        program = ("-m", "bench.timed_viewer", str(directory / f"{watched}.pgtrace"), str(log))
        with following(directory / f"{watched}.pgtrace", *program) as viewer:
            times: dict[int, list[list[float]]] = {alone: [], watched: []}
            spans = []
            for turn in range(options.turns):
                for port in (alone, watched) if turn % 2 else (watched, alone):
                    began_s = time.monotonic()
                    times[port].append(measured(port, TURN_S))
                    if port == watched:
                        spans.append((began_s, time.monotonic()))
                print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
            resident = _walked(viewer, watched, options.seconds, spans, options.filter)
        ticks = [Tick(*map(float, numbers), is_tick=is_tick == "1") for *numbers, is_tick in map(str.split, log.read_text().splitlines())]
    ticks = [tick for tick in ticks if any(first + 1.0 <= tick.began_s < last for first, last in spans)]
    found = Watching(times[alone], times[watched], ticks, resident)
    print(found.markdown())
    for line in found.missed():
        print(f"bench: {line}", file=sys.stderr)
    return 1 if found.missed() else 0


def _walked(viewer: Viewer, port: int, seconds: int, spans: list[tuple[float, float]], text: str) -> list[float]:
    """The load without a pause, all panes in turn, under that filter; the viewer's resident memory, in MiB, once a second."""
    resident = []
    loading = threading.Thread(target=load, args=(port, seconds))
    began_s = time.monotonic()
    loading.start()
    if text:
        viewer.press(f"/{text}\r")
    while loading.is_alive():
        second = int(time.monotonic() - began_s)
        viewer.press(PANES[second * len(PANES) // seconds] if second < seconds else "1")
        resident.append(_resident_mib(viewer.pid))
        loading.join(1.0)
    spans.append((began_s, time.monotonic()))
    return resident


def _resident_mib(pid: int) -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.SubprocessError) as error:
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else f"bench: {error}")
