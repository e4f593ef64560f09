"""What two legs cost: a round trip through a pooler with pgtrace on both of its sides, and reading such a capture.

    python -m bench.legs [--turns N]

Three ways through a PgBouncer of their own, in session mode: alone, between two bare forwarders,
and between two legs of one recorder. All turns are interleaved. Then the capture of the recorder is
read: how long a plain reading takes, and how much longer the joins.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.forwarder import HOST
from bench.measure import Latency, latency
from bench.routes import Route, running
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import MissingProgram, Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.legs.joins import find
from pgtrace.trace.trace import Trace

ALONE, BARE, BOTH = "PgBouncer alone", "a bare forwarder on each side", "pgtrace, both sides in one capture"
TRUST = "host all all 127.0.0.1/32 trust\n"


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.legs", description="What two legs cost.")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="how often everything is measured (5)")
    options = parser.parse_args()
    if find_pgbouncer() is None:
        print(f"bench: {MissingProgram()}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pgtrace-bench-") as scratch:
        capture = Path(scratch) / "both.pgtrace"
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(hba=TRUST))
            routes = ways(stack, server, Path(scratch), capture)
            found: dict[str, list[Latency]] = {route.name: [] for route in routes}
            for turn in range(options.turns):
                for at in range(len(routes)):
                    route = routes[(turn + at) % len(routes)]
                    found[route.name].append(latency(route))
        for line in table(found):
            print(line)
        print()
        print(reading(capture))
    return 0


def ways(stack: ExitStack, server: EmbeddedServer, directory: Path, capture: Path) -> list[Route]:
    """Start each way; `stack` ends them."""

    def process(name: str, port: int, *command: str) -> int:
        return stack.enter_context(running((sys.executable, "-m", *command), port, directory / f"{name}.log"))

    def pooler(port: int, server_port: int) -> None:
        stack.enter_context(Pooler(server, port, server_port, pool_mode="session"))

    alone = free_port()
    pooler(alone, server.port)
    front, between, behind = (free_port() for _ in range(3))
    process("behind", behind, "bench.forwarder", str(behind), str(server.port))
    pooler(between, behind)
    pid = process("front", front, "bench.forwarder", str(front), str(between))
    mine, between_mine, behind_mine = (free_port() for _ in range(3))
    legs = [f"{HOST}:{mine}={HOST}:{between_mine}", f"{HOST}:{behind_mine}={HOST}:{server.port}"]
    recorder = process("recorder", mine, "pgtrace", "listen", *legs, "--no-tui", "-q", "-w", str(capture))
    pooler(between_mine, behind_mine)
    return [Route(ALONE, alone), Route(BARE, front, pid), Route(BOTH, mine, recorder)]


def table(found: dict[str, list[Latency]]) -> list[str]:
    """Lines of Markdown."""
    medians = {name: statistics.median(one.median_us for one in turns) for name, turns in found.items()}
    lines = ["| way | median | added | added / bare | p99 |", "|---|---:|---:|---:|---:|"]
    for name, turns in found.items():
        added, bare = medians[name] - medians[ALONE], medians[BARE] - medians[ALONE]
        ratio = f"{added / bare:.2f}" if name != ALONE else "·"
        p99 = statistics.median(one.p99_us for one in turns)
        lines.append(f"| {name} | {medians[name]:.0f} µs | {f'{added:.0f} µs' if added else '·'} | {ratio} | {p99:.0f} µs |")
    return lines


def reading(capture: Path) -> str:
    """What joining takes, in a sentence."""
    trace = Trace.open([capture])
    begin = time.process_time()
    trace.update()
    read_s = time.process_time() - begin
    joins = find(trace)
    joined_s = time.process_time() - begin - read_s
    assert joins is not None
    (pooler,) = joins.poolers
    found = (
        f"{pooler.joined:,} of {pooler.fronts:,} round trips joined; read in {read_s:.2f} s of CPU, joined in {joined_s:.2f} s: "
        f"{joined_s / max(1, pooler.fronts) * 1e6:.0f} µs for each round trip in front"
    )
    trace.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
