"""Record the captures anew: `python -m captures.recording [DRIVER ...]`, from the top of a checkout with the extra `dev`. With `--goldens` nothing is recorded:
the goldens of all captures that are there are written again.

For each driver and scenario a recorder of its own, with a network delay of 10 ms (a driver that sends on without waiting could find its answer there already,
and the counts would depend on the machine's mood). Beside each capture stands what was derived from it, for a test to derive it again from the bytes: the
counters, times left out, and the golden.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import psycopg

from captures.recording.scenarios import SCENARIOS, SCHEMA, Play, Target
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.analysis.trace import Trace
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.export import golden
from pgtrace.recorder import Recorder

DRIVERS = ("asyncpg", "psycopg", "psycopg2", "pg8000", "psql")
HERE = Path(__file__).parents[1]
RTT_NS = 10_000_000
LARGEST = 256 * 1024


def main(drivers: list[str]) -> None:
    """Record every scenario of these drivers."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    with EmbeddedServer() as server:
        for driver in drivers:
            plays: dict[str, Play] = importlib.import_module(f"captures.recording.with_{driver}").PLAYS
            for scenario in SCENARIOS:
                if scenario in plays:
                    counters = record(server, HERE / driver / f"{scenario}.pgtrace", plays[scenario])
                    print(
                        f"{driver:<10} {scenario:<12} {counters['setup_round_trips']:>3} + {counters['round_trips']:>3} round trips",
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
        main(sys.argv[1:] or list(DRIVERS))
