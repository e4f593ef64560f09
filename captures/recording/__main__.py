"""Record the captures anew: `python -m captures.recording [NAME ...]`, from the top of a checkout with the extra `dev`. With `--goldens`
nothing is recorded: the goldens of all captures that are there are written again.

A name is a driver, `asyncpg`, or a layer above one with its driver, `sqlalchemy+asyncpg`; captures of it are in the directory of that name.

For each name and scenario a recorder of its own, with a network delay of 10 ms (a driver that sends
on without waiting could find its answer there already, and the counts would depend on the machine's
mood). Beside each capture stands what was derived from it, for a test to derive it again from the
bytes: the counters, times left out, and the golden.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from captures.recording.scenarios import SCENARIOS, SCHEMA, Play, Target, Unavailable
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.export import golden
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace

DRIVERS = (
    "asyncpg", "psycopg", "psycopg2", "pg8000", "psql",
    "pgjdbc", "r2dbc-postgresql", "node-postgres", "postgres.js", "ruby-pg", "pdo_pgsql",
    "pgx", "pq", "tokio-postgres", "psqlpy", "sqlx",
)  # fmt: skip
LAYERS = (
    "sqlalchemy+asyncpg", "sqlalchemy+psycopg", "sqlalchemy+psycopg2", "sqlalchemy+pg8000",
    "django+psycopg", "django+psycopg2",
    "tortoise+asyncpg", "tortoise+psycopg",
    "databases+asyncpg",
    "aiopg+psycopg2",
    "hibernate+pgjdbc", "rails+ruby-pg",
)  # fmt: skip
HERE = Path(__file__).parents[1]
RTT_NS = 10_000_000
LARGEST = 256 * 1024


def main(names: list[str]) -> None:
    """Record every scenario of these drivers, and layers above one."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    with EmbeddedServer() as server:
        for name in names:
            try:
                record_all(server, name)
            except Unavailable as reason:
                print(f"{name:<20} not recorded: {reason}", flush=True)


def one_by_one(module: str, main: Callable[[list[str]], int | None], names: list[str]) -> int:
    """Each name in a process of its own, as a layer above a driver keeps settings as long as its process lives; the worst exit code."""
    if len(names) == 1:
        return main(names) or 0
    return max([subprocess.run([sys.executable, "-m", module, name], check=False).returncode for name in names])


def record_all(server: EmbeddedServer, name: str) -> None:
    """Record every scenario that this driver, or layer above one, can play."""
    plays = plays_of(name)
    for scenario in SCENARIOS:
        if scenario in plays:
            counters = record(server, HERE / name / f"{scenario}.pgtrace", plays[scenario])
            print(f"{name:<20} {scenario:<12} {counters['setup_round_trips']:>3} + {counters['round_trips']:>3} round trips", flush=True)


def plays_of(name: str) -> dict[str, Play]:
    """What a driver, or a layer above a driver, plays: its module has PLAYS by scenario, a layer's by driver before that."""
    module, _, driver = name.partition("+")
    plays = importlib.import_module(f"captures.recording.with_{module.replace('-', '_').replace('.', '_')}").PLAYS
    return plays[driver] if driver else plays


def record(server: EmbeddedServer, path: Path, play: Play) -> dict[str, object]:
    """Play one scenario through a recorder; the capture's counters, which are written beside it."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with tempfile.TemporaryDirectory() as directory:  # the capture that is there stays until there is a new one
        new = Path(directory) / path.name
        with Recorder(parse_listen("127.0.0.1:0"), upstream, write=new, rtt_ns=RTT_NS) as recorder:
            play(Target(recorder.host, recorder.port, server.user, server.password, server.database))
            trace = Trace.open([new])
            if not recorder.quiet(trace, timeout_s=10):
                raise SystemExit(f"{path.name}: not quiet")
            trace.close()
        size = new.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{path.name}: {size} bytes are too many for a repository")
        path.parent.mkdir(exist_ok=True)
        shutil.move(new, path)
    write_golden(path)
    counters = counters_of(path)
    path.with_suffix(".json").write_text(json.dumps(counters, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return counters


def write_golden(path: Path) -> None:
    """Write a capture's golden beside it."""
    trace = read(path)
    path.with_suffix(".trace").write_bytes(golden.text(trace).encode("utf-8", "surrogateescape"))
    trace.close()


def counters_of(path: Path) -> dict[str, object]:
    """The totals of a capture without times."""
    trace = read(path)
    totals = trace.totals().as_dict()
    trace.close()
    return {key: value for key, value in totals.items() if not key.endswith("_ns")}


def read(path: Path) -> Trace:
    """All of a capture."""
    trace = Trace.open([path])
    while trace.update():
        pass
    return trace


if __name__ == "__main__":
    if "--goldens" in sys.argv[1:]:
        for path in sorted(HERE.glob("*/*.pgtrace")):
            write_golden(path)
    else:
        sys.exit(one_by_one("captures.recording", main, sys.argv[1:] or [*DRIVERS, *LAYERS]))
