"""FastAPI under load with each driver: `make evidence-load`.

A table of 500,000 users, an endpoint with a filtered SELECT, a pool of 20, and 10, 100 and 500
clients that each ask again as soon as they have their answer. Every variant runs in turns with the
others, behind pgtrace and directly. What is printed are ratios to the first variant with their
spread, beside the published ones, the BEGIN and COMMIT that explain them, memory, and what pgtrace
added. Times are those of this machine, which client, application, pgtrace and PostgreSQL share.
Afterwards the first capture of each variant is replayed to the same server: executions and errors
have to be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.recorder import Recorder
from pgtrace.report.table import table
from pgtrace.trace.trace import Trace

VARIANTS: Final = (
    "asyncpg",
    "asyncpg transaction",
    "psycopg binary",
    "psycopg binary autocommit",
    "psycopg text",
    "psycopg text autocommit",
)
PUBLISHED: Final = {"asyncpg": (1.2, 3.8, 12.4), "psycopg binary": (1.8, 5.1, 14.2), "psycopg text": (2.1, 6.3, 18.7)}
"""p50 in ms at 10, 100 and 500 users."""
CLIENTS: Final = (10, 100, 500)
REQUEST: Final = b"GET /users HTTP/1.1\r\nHost: load\r\n\r\n"
SCHEMA: Final = """
create table evidence_user (id int4 primary key, name text not null, email text not null, active bool not null,
    created timestamptz not null);
insert into evidence_user select n, 'user ' || n, 'user' || n || '@example.com', n % 3 <> 0,
    timestamptz '2026-01-01' + n * interval '1 minute'
    from generate_series(1, 500000) n;
analyze evidence_user;
"""


class Measured(NamedTuple):
    """One variant with one number of clients, once."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_s: float
    memory_mib: float
    cpu_s: float
    failed: int


async def client(port: int, until_s: float, took: list[float]) -> int:
    """Ask again and again. Returns how many answers were none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    failed = 0
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        took.append(time.monotonic() - began_s)
        failed += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return failed


async def pressed(port: int, clients: int, seconds: float) -> tuple[list[float], int]:
    took: list[float] = []
    until_s = time.monotonic() + seconds
    failed = await asyncio.gather(*(client(port, until_s, took) for _ in range(clients)))
    return sorted(took), sum(failed)


def run(python: str, url: str, variant: str, clients: tuple[int, ...], seconds: float) -> list[Measured]:
    """Start the application, press it with each number of clients, end it."""
    port = free_port()
    process = subprocess.Popen(
        [os.path.abspath(python), "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "error", "--no-access-log"],
        cwd=Path(__file__).parent,
        env={**os.environ, "DATABASE_URL": url, "VARIANT": variant, "PGSSLMODE": "disable"},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{variant}: the application does not start") from None
                time.sleep(0.05)
        asyncio.run(pressed(port, 10, 0.5))  # everything is loaded and prepared then
        found = []
        for number in clients:
            cpu_s = _cpu_s(process.pid)
            took, failed = asyncio.run(pressed(port, number, seconds))
            at = [took[min(len(took) - 1, int(len(took) * part))] * 1000 for part in (0.5, 0.95, 0.99)]
            found.append(Measured(*at, len(took) / seconds, _memory_mib(process.pid), _cpu_s(process.pid) - cpu_s, failed))
        return found
    finally:
        process.terminate()
        process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def counted(path: Path) -> dict[str, float]:
    """What a request costs on the wire."""
    trace = Trace.open([path], timeline=False)
    while trace.update():
        pass
    totals = trace.totals()
    requests = sum(view.group.executions for view in trace.statements() if "evidence_user" in view.group.sql)
    found = {"requests": requests, "round trips": totals.round_trips, "transactions": totals.transactions}
    found["wait part"] = totals.wait_ns / max(1, totals.wait_ns + totals.client_ns)
    trace.close()
    return found


def replayed(path: Path, url: str) -> dict[str, Any]:
    """What came of the same statements once more, without a clock."""
    command = [sys.executable, "-m", "pgtrace", "replay", path, "--to", url, "--speed", "max", "-q", "--json"]
    return cast(dict[str, Any], json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout))


def ratios(values: list[float], base: list[float]) -> str:
    """The median of the ratios in the same turns, with the lowest and the highest."""
    found = [one / other for one, other in zip(values, base, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--python", default=sys.executable, help="the Python that has FastAPI, uvicorn and the drivers")
    asked.add_argument("--turns", type=int, default=3)
    asked.add_argument("--seconds", type=float, default=3.0)
    asked.add_argument("--clients", type=int, nargs="*", default=list(CLIENTS))
    asked.add_argument("--into", type=Path, default=Path("load"))
    said = asked.parse_args()
    clients = tuple(said.clients)
    said.into.mkdir(parents=True, exist_ok=True)
    through: dict[str, list[list[Measured]]] = {variant: [] for variant in VARIANTS}
    directly: dict[str, list[list[Measured]]] = {variant: [] for variant in VARIANTS}
    wire: dict[str, dict[str, float]] = {}
    with EmbeddedServer(settings={"shared_buffers": "256MB"}) as server:
        import psycopg

        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(SCHEMA)
        for turn in range(said.turns):
            for variant in VARIANTS[turn % len(VARIANTS) :] + VARIANTS[: turn % len(VARIANTS)]:
                print(f"turn {turn + 1} of {said.turns}: {variant}", file=sys.stderr, flush=True)
                path = said.into / f"{variant.replace(' ', '-')}.{turn + 1}.pgtrace"
                path.unlink(missing_ok=True)
                with Recorder("127.0.0.1:0", f"{server.host}:{server.port}", write=path, label=variant, when_behind="wait") as recorder:
                    url = recorder.url(user=server.user, password=server.password, database=server.database)
                    through[variant].append(run(said.python, url, variant, clients, said.seconds))
                directly[variant].append(run(said.python, server.url(), variant, clients, said.seconds))
                wire.setdefault(variant, counted(path))
        again = {variant: replayed(said.into / f"{variant.replace(' ', '-')}.1.pgtrace", server.url()) for variant in VARIANTS}
    for line in lines(clients, through, directly, wire):
        print(line)
    told: dict[str, Any] = {
        variant: {
            "through": [[one._asdict() for one in turn] for turn in through[variant]],
            "directly": [[one._asdict() for one in turn] for turn in directly[variant]],
            "wire": wire[variant],
            "replay": {key: again[variant][key] for key in ("executions", "errors", "new_errors")},
        }
        for variant in VARIANTS
    }
    (said.into / "load.json").write_text(json.dumps(told, indent=2) + "\n")
    failed = sum(one.failed for turns in (*through.values(), *directly.values()) for turn in turns for one in turn)
    print(f"{failed} requests failed")
    print()
    rows = [
        [variant, *(str(again[variant][key][side]) for key in ("executions", "errors") for side in ("before", "after"))]
        for variant in VARIANTS
    ]
    for line in ["replayed", *table(["", "executions", "now", "errors", "now"], rows)]:
        print(line)
    differ = any(one[key]["before"] != one[key]["after"] for one in again.values() for key in ("executions", "errors"))
    return 1 if failed or differ else 0


def lines(
    clients: tuple[int, ...],
    through: dict[str, list[list[Measured]]],
    directly: dict[str, list[list[Measured]]],
    wire: dict[str, dict[str, float]],
) -> list[str]:
    """The tables."""
    out: list[str] = []
    for place, number in enumerate(clients):
        base = [turn[place].p50_ms for turn in directly[VARIANTS[0]]]
        rows = []
        for variant in VARIANTS:
            direct = [turn[place] for turn in directly[variant]]
            behind = [turn[place] for turn in through[variant]]
            known = PUBLISHED.get(variant)
            published = (
                f"{known[CLIENTS.index(number)] / PUBLISHED['asyncpg'][CLIENTS.index(number)]:.2f}" if known and number in CLIENTS else ""
            )
            rows.append(
                [
                    variant,
                    f"{statistics.median(one.p50_ms for one in direct):.2f}",
                    f"{statistics.median(one.p95_ms for one in direct):.2f}",
                    f"{statistics.median(one.p99_ms for one in direct):.2f}",
                    f"{statistics.median(one.per_s for one in direct):.0f}",
                    ratios([one.p50_ms for one in direct], base),
                    published,
                    ratios([one.p50_ms for one in behind], [one.p50_ms for one in direct]),
                    f"{1e3 * statistics.median(one.cpu_s / max(1, one.per_s) for one in direct):.2f}",
                    f"{statistics.median(one.memory_mib for one in direct):.0f}",
                ]
            )
        head = ["", "p50 ms", "p95 ms", "p99 ms", "req/s", "p50, to asyncpg", "published", "through pgtrace", "CPU s/k req/s", "MiB"]
        out += [f"{number} clients", *table(head, rows), ""]
    head = ["", "round trips/request", "transactions/request", "waiting for the server"]
    rows = []
    for variant in VARIANTS:
        one = wire[variant]
        requests = max(1, one["requests"])
        rows.append([variant, f"{one['round trips'] / requests:.2f}", f"{one['transactions'] / requests:.2f}", f"{one['wait part']:.0%}"])
    return [*out, "on the wire", *table(head, rows)]


if __name__ == "__main__":
    sys.exit(main())
