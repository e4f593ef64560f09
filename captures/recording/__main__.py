"""Record the captures anew: `python -m captures.recording [DRIVER ...]`, from the top of a checkout with the extra `dev`.

For each driver and scenario a recorder of its own, with a network delay of 10 ms (a driver that sends on without waiting could find its answer there already,
and the counts would depend on the machine's mood). Beside each capture stand the counters that were derived from it, times left out: a test derives them
again from the bytes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import psycopg

from captures.recording.scenarios import SCENARIOS, SCHEMA, Play, Target, Unavailable
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.analysis.trace import Trace
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder

DRIVERS = ("asyncpg", "psycopg", "psycopg2", "pg8000", "psql", "pgx", "pq", "tokio-postgres", "psqlpy", "sqlx")
HERE = Path(__file__).parents[1]
RTT_NS = 10_000_000
LARGEST = 256 * 1024


def main(drivers: list[str]) -> None:
    """Record every scenario of these drivers."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    with EmbeddedServer() as server:
        for driver in drivers:
            try:
                record_driver(server, driver)
            except Unavailable as reason:
                print(f"{driver:<14} not recorded: {reason}", flush=True)


def record_driver(server: EmbeddedServer, driver: str) -> None:
    """Record every scenario that this driver can play."""
    plays: dict[str, Play] = importlib.import_module(f"captures.recording.with_{driver.replace('-', '_')}").PLAYS
    for scenario in SCENARIOS:
        if scenario in plays:
            counters = record(server, HERE / driver / f"{scenario}.pgtrace", plays[scenario])
            print(
                f"{driver:<14} {scenario:<12} {counters['setup_round_trips']:>3} + {counters['round_trips']:>3} round trips",
                flush=True,
            )


def record(server: EmbeddedServer, path: Path, play: Play) -> dict[str, object]:
    """Play one scenario through a recorder; the capture's counters, which are written beside it."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=path, rtt_ns=RTT_NS) as recorder:
        play(Target(recorder.host, recorder.port, server.user, server.password, server.database))
        trace = Trace.open([path])
        if not recorder.quiet(trace, timeout_s=10):
            raise SystemExit(f"{path.name}: not quiet")
        trace.close()
    size = path.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{path.name}: {size} bytes are too many for a repository")
    counters = counters_of(path)
    path.with_suffix(".json").write_text(json.dumps(counters, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return counters


def counters_of(path: Path) -> dict[str, object]:
    """The totals of a capture without times."""
    trace = Trace.open([path])
    while trace.update():
        pass
    totals = trace.totals().as_dict()
    trace.close()
    return {key: value for key, value in totals.items() if not key.endswith("_ns")}


if __name__ == "__main__":
    main(sys.argv[1:] or list(DRIVERS))
