"""What `listen --otlp` costs the traffic while 20,000 messages pass each second.

Two recorders stand before one server; one sends a span for each round trip to a collector, which
counts them. The turns alternate: the same load and, beside it, a raw socket that measures round
trips go through one recorder, then through the other. Exit code 1 where the median round trip of
the one that sends is more than 1.05 times the other's, or spans were lost.

    python -m bench.exporting [--turns N] [--seconds N]      # four minutes; wants a quiet machine
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.forwarder import HOST
from bench.measure import fill_tables
from bench.routes import recording, running
from bench.steady import MESSAGES, TRUST, measured, percentile
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

BAR = 1.05
SENT_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Exporting:
    """Round trips in µs turn by turn, and what was sent of how many."""

    alone: list[list[float]]
    sending: list[list[float]]
    spans: int
    rows: int

    @property
    def ratio(self) -> float:
        """The median with an export for the other, the median over the turns."""
        pairs = zip(self.sending, self.alone, strict=True)
        return statistics.median(statistics.median(sending) / statistics.median(alone) for sending, alone in pairs)

    def markdown(self) -> str:
        """The table."""
        lines = ["| round trips | median | p99 |", "|---|---:|---:|"]
        for name, turns in (("recorded", self.alone), ("recorded and sent", self.sending)):
            times = [time_us for turn in turns for time_us in turn]
            lines.append(f"| {name} | {statistics.median(times):.0f} µs | {percentile(times, 0.99):.0f} µs |")
        told = f"{MESSAGES:,} messages each second: the median is {self.ratio:.2f} times that without an export."
        return "\n".join([*lines, "", f"{told} {self.spans:,} spans of {self.rows:,} round trips."])

    def missed(self) -> list[str]:
        """The bars that were not reached."""
        told = (
            (self.ratio <= BAR, f"the median with an export is {self.ratio:.2f} times that without (at most {BAR})"),
            (self.spans == self.rows, f"{self.spans:,} spans of {self.rows:,} round trips"),
        )
        return [line for reached, line in told if not reached]


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.exporting", description="What `listen --otlp` costs the traffic.")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often both recorders are measured (5)")
    parser.add_argument("--seconds", type=int, default=20, metavar="N", help="how long each turn lasts (20)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(settings={"max_connections": "60"}, hba=TRUST))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
        fill_tables(server.port)
        alone, sending, collector = free_port(), free_port(), free_port()
        receiver = (sys.executable, "-m", "bench.receiver", str(collector))
        stack.enter_context(running(receiver, collector, directory / "receiver.log"))
        recorders = ExitStack()
        with recorders:
            for port, more in ((alone, ()), (sending, ("--otlp", f"http://{HOST}:{collector}"))):
                recorders.enter_context(recording(directory, port, server.port, *more))
            times: dict[int, list[list[float]]] = {alone: [], sending: []}
            for turn in range(options.turns):
                for port in (alone, sending) if turn % 2 else (sending, alone):
                    times[port].append(measured(port, options.seconds))
                    if port == sending:
                        _sent(collector)
                print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
        found = Exporting(times[alone], times[sending], _sent(collector), _round_trips(directory / f"{sending}.pgtrace"))
    print(found.markdown())
    for line in found.missed():
        print(f"bench: {line}", file=sys.stderr)
    return 1 if found.missed() else 0


def _sent(collector: int) -> int:
    """How many spans have come, once no more do: sending must not run on into the next turn."""
    before, deadline = -1, time.monotonic() + SENT_WITHIN_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://{HOST}:{collector}/", timeout=10) as answer:
            spans = int(answer.read())
        if spans == before:
            break
        before = spans
        time.sleep(1.0)
    return before


def _round_trips(path: Path) -> int:
    """The rows of a capture that are spans."""
    trace = Trace.open([path], still=[str(path)])
    while trace.update():
        pass
    found = sum(row.shape.kind in (RowKind.ROUND_TRIP, RowKind.SETUP) for row in trace.rows)
    trace.close()
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.SubprocessError) as error:
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else f"bench: {error}")
