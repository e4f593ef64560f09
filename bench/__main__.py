"""What standing in the path costs: prints the table of docs/costs.md, as Markdown on stdout, progress on stderr.

One run, all routes interleaved: each turn measures every route once, in an order that moves on by
one, so that a machine that slows down slows all of them. Exit code 1 where pgtrace misses what it
promises (the bars of table.py): at most 1.1 times the latency that a bare forwarder adds, at least
0.95 of its transactions and of its COPY, at most 16 KiB for an idle connection, and while a TUI
follows at most 1.1 times as long a round trip and at least 0.9 of the transactions.

    python -m bench [--turns N] [--copy-mb N] [--with-tui]      # nine turns, six minutes; wants a quiet machine
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import textwrap
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from bench.measure import (
    CLIENTS,
    IDLE,
    PGBENCH_S,
    ROUND_TRIPS,
    Client,
    copy_out,
    fill_tables,
    idle_kib,
    latency,
    pgbench_version,
    throughput,
)
from bench.routes import PGTRACE, Route, open_routes
from bench.table import Turn, markdown, middle, missed_bars
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.tui.app import NICE

TRUST = "host all all 127.0.0.1/32 trust\n"


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What standing in the path costs.")
    parser.add_argument("--turns", type=int, default=9, metavar="N", help="how often everything is measured (9)")
    parser.add_argument("--copy-mb", type=int, default=1000, metavar="N", help="megabytes of a COPY (1000)")
    parser.add_argument("--with-tui", action="store_true", help="also measure a recorder whose capture a TUI follows")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(settings={"max_connections": str(IDLE + 50)}, hba=TRUST))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgtrace-bench-")))
            directory.chmod(0o755)
            pgbench = pgbench_version()
            if pgbench is not None:
                fill_tables(server.port)
            routes = open_routes(stack, directory, server.port, with_tui=options.with_tui)
            idle = {route.name: kib for route in routes if (kib := idle_kib(route)) is not None}
            copy_mb = options.copy_mb if pgbench is not None else None
            turns = [_turn(number, options.turns, routes, copy_mb) for number in range(options.turns)]
            client = Client(server.port)
            client.close()
    except KeyboardInterrupt:
        return 130
    print(markdown([route.name for route in routes], turns, idle))
    print(f"\n{_facts(client.server_version, pgbench, options.turns, options.copy_mb)}")
    if (watched := middle(turns, Turn.watched_ratio)) is not None:
        tps = middle(turns, Turn.watched_tps_ratio)
        of_tps = f", and {tps:.2f} of the transactions pass" if tps is not None else ""
        print(f"With a TUI following, at nice {NICE}, the median is {watched:.2f} times that without{of_tps}.")
    missed = missed_bars(turns, idle)
    for line in missed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if missed else 0


def _turn(number: int, count: int, routes: list[Route], copy_mb: int | None) -> Turn:
    """Everything once; `copy_mb` is None where pgbench is not installed, whose tables are then not there either."""
    there = [route for route in routes if route.port is not None]
    first = number % len(there)
    order = there[first:] + there[:first]
    turn = Turn(
        {route.name: latency(route) for route in order},
        {route.name: throughput(route) for route in order} if copy_mb else {},
        {route.name: copy_out(route, copy_mb) for route in order} if copy_mb else {},
    )
    tps, copy = turn.tps_ratio(PGTRACE), turn.copy_ratio(PGTRACE)
    more = f", {tps:.2f} of its transactions/s, {copy:.2f} of its COPY" if tps is not None and copy is not None else ""
    print(
        f"turn {number + 1} of {count}: pgtrace adds {turn.added_ratio(PGTRACE):.2f} times what the bare forwarder adds{more}",
        file=sys.stderr,
    )
    return turn


def _facts(server_version: str, pgbench: str | None, turns: int, copy_mb: int) -> str:
    work = f"Each figure is the median of {turns} turns of {ROUND_TRIPS:,} round trips (`SELECT 1`)"
    if pgbench is None:
        work += "; pgbench is not installed, so there is no throughput and no COPY"
    else:
        work += (
            f", {PGBENCH_S} s of `pgbench -S -M prepared -c {CLIENTS} -j 1` ({pgbench}) and a COPY of {copy_mb:,} MB of its "
            f"rows to a client"
        )
    if sys.platform.startswith("linux"):
        work += f"; an idle connection is one of {IDLE:,}"
    machine = (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, uvloop {version('uvloop')}"
    )
    return textwrap.fill(f"{work}. {machine}, PostgreSQL {server_version} on the same machine.", 100)


if __name__ == "__main__":
    sys.exit(main())
