"""What standing in the path costs: prints the README's table, as Markdown on stdout, progress on stderr.

One run, all routes interleaved: each turn measures every route once, in an order that moves on by one, so that a machine that slows down slows all of them.
Exit code 1 where pgtrace misses what it promises: at most 1.3 times the latency that a bare forwarder adds, at least 0.85 of its throughput.

    python -m bench [--turns N]      # nine turns, three minutes; wants a quiet machine
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from bench.measure import CLIENTS, PGBENCH_S, ROUND_TRIPS, Client, fill_tables, latency, pgbench_version, throughput
from bench.routes import PGTRACE, Route, open_routes
from bench.table import Turn, markdown, missed_bars
from pgtrace.demo.embedded import EmbeddedServer

TRUST = "host all all 127.0.0.1/32 trust\n"


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What standing in the path costs.")
    parser.add_argument("--turns", type=int, default=9, metavar="N", help="how often everything is measured (9)")
    count: int = parser.parse_args().turns
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(hba=TRUST))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
            directory.chmod(0o755)
            pgbench = pgbench_version()
            if pgbench is not None:
                fill_tables(server.port)
            routes = open_routes(stack, directory, server.port)
            turns = [_turn(number, count, routes, pgbench is not None) for number in range(count)]
            client = Client(server.port)
            client.close()
    except KeyboardInterrupt:
        return 130
    print(markdown([route.name for route in routes], turns))
    print(f"\n{_facts(client.server_version, pgbench, count)}")
    missed = missed_bars(turns)
    for line in missed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if missed else 0


def _turn(number: int, count: int, routes: list[Route], pgbench: bool) -> Turn:
    there = [route for route in routes if route.port is not None]
    first = number % len(there)
    order = there[first:] + there[:first]
    turn = Turn({route.name: latency(route) for route in order}, {route.name: throughput(route) for route in order} if pgbench else {})
    tps = f", {turn.tps_ratio(PGTRACE):.2f} of its transactions/s" if pgbench else ""
    print(
        f"turn {number + 1} of {count}: pgtrace adds {turn.added_ratio(PGTRACE):.2f} times what the bare forwarder adds{tps}",
        file=sys.stderr,
    )
    return turn


def _facts(server_version: str, pgbench: str | None, turns: int) -> str:
    work = f"Each figure is the median of {turns} turns of {ROUND_TRIPS:,} round trips (`SELECT 1`)"
    if pgbench is None:
        work += "; pgbench is not installed, so there is no throughput"
    else:
        work += f" and {PGBENCH_S} s of `pgbench -S -M prepared -c {CLIENTS} -j 1` ({pgbench})"
    machine = (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, uvloop {version('uvloop')}"
    )
    return f"{work}. {machine}, PostgreSQL {server_version} on the same machine."


if __name__ == "__main__":
    sys.exit(main())
