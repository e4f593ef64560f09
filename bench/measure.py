"""One route, measured once: the time of a round trip, what the forwarder's process spends on it,
the throughput of eight clients, of a COPY, and idle memory.

- Latency: a blocking socket sends Query `SELECT 1` and reads to ReadyForQuery. No driver, so nothing but the path and the server is in it.
- CPU: user and system time of the forwarder's process and its children over the same round trips,
  with a pause at the end for what it puts off (pgtrace writes its capture every 50 ms). Linux only.
- Throughput: `pgbench -S -M prepared` over a table of 100,000 rows.
- COPY: the same rows again and again, out, as fast as a client takes them that throws them away.
- Memory: resident memory of the forwarder's process and its children, with and without IDLE
  connections that have logged in and ask nothing. Linux only; measured before everything else, for
  memory that was given back once hides what the next connection takes.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.forwarder import HOST
from bench.routes import Route

ROUND_TRIPS = 3000
WARM_UP = 200
SETTLE_S = 0.15
PGBENCH_S = 3
CLIENTS = 8
IDLE = 1000
CHUNK = 1 << 20

PASS_MEGABYTES = 10
"""Of one pass over the rows of pgbench_accounts, in text."""

STARTUP = b"user\0postgres\0database\0postgres\0\0"
QUERY = b"Q\0\0\0\x0dSELECT 1\0"
TERMINATE = b"X\0\0\0\x04"
READY = b"Z\0\0\0\x05I"


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the round trips of one turn; `cpu_us` is None where there is no process or no way to know."""

    median_us: float
    p99_us: float
    cpu_us: float | None


class Client:
    """A connection of the raw-socket client."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), 20.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)
        greeting = self.round_trip(struct.pack(">II", len(STARTUP) + 8, 3 << 16) + STARTUP)
        version = re.search(rb"server_version\0([^\0 ]+)", greeting)
        self.server_version = version.group(1).decode() if version else "?"

    def round_trip(self, request: bytes) -> bytes:
        """Send, and wait for ReadyForQuery."""
        self._socket.sendall(request)
        answer = self._socket.recv(65536)
        while not answer.endswith(READY):
            more = self._socket.recv(65536)
            if not more:
                raise SystemExit(f"bench: the connection was closed: {answer!r}")
            answer += more
        return answer

    def drain(self, query: str) -> int:
        """The size of the answer, which is thrown away."""
        text = query.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack(">I", len(text) + 4) + text)
        buffer = bytearray(CHUNK)
        size = 0
        tail = b""
        while not tail.endswith(READY):
            count = self._socket.recv_into(buffer)
            if not count:
                raise SystemExit("bench: the connection was closed")
            size += count
            tail = (tail + buffer[max(count - len(READY), 0) : count])[-len(READY) :]
        return size

    def close(self) -> None:
        """Terminate."""
        self._socket.sendall(TERMINATE)
        self._socket.close()


def latency(route: Route) -> Latency:
    """ROUND_TRIPS round trips on a connection of their own."""
    assert route.port is not None
    client = Client(route.port)
    for _ in range(WARM_UP):
        client.round_trip(QUERY)
    time.sleep(SETTLE_S)
    times = []
    before_ns = cpu_ns(route)
    for _ in range(ROUND_TRIPS):
        begin_ns = time.perf_counter_ns()
        client.round_trip(QUERY)
        times.append(time.perf_counter_ns() - begin_ns)
    time.sleep(SETTLE_S)
    after_ns = cpu_ns(route)
    client.close()
    times.sort()
    cpu_us = (after_ns - before_ns) / 1000 / ROUND_TRIPS if before_ns is not None and after_ns is not None else None
    return Latency(statistics.median(times) / 1000, times[len(times) * 99 // 100] / 1000, cpu_us)


def cpu_ns(route: Route) -> int | None:
    """What the route's process and its children have used so far, user and system together."""
    if route.pid is None or not sys.platform.startswith("linux"):
        return None
    return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in processes(route))  # clock_getcpuclockid(3)


def processes(route: Route) -> list[int]:
    """The route's process and its children."""
    assert route.pid is not None
    return [route.pid, *map(int, Path(f"/proc/{route.pid}/task/{route.pid}/children").read_text().split())]


def copy_out(route: Route, megabytes: int) -> float:
    """Megabytes per second of a COPY of so many out of the server."""
    assert route.port is not None
    client = Client(route.port)
    begin_ns = time.perf_counter_ns()
    size = client.drain(f"copy (select a.* from pgbench_accounts a, generate_series(1, {max(megabytes // PASS_MEGABYTES, 1)})) to stdout")
    took_ns = time.perf_counter_ns() - begin_ns
    client.close()
    time.sleep(SETTLE_S)
    return size * 1000 / took_ns


def idle_kib(route: Route) -> float | None:
    """What one idle connection costs the route's process."""
    if route.pid is None or route.port is None or not sys.platform.startswith("linux"):
        return None
    Client(route.port).close()
    time.sleep(SETTLE_S)
    before = _resident_kib(route)
    clients = [Client(route.port) for _ in range(IDLE)]
    time.sleep(SETTLE_S)
    after = _resident_kib(route)
    for client in clients:
        client.close()
    return (after - before) / IDLE


def _resident_kib(route: Route) -> int:
    status = [Path(f"/proc/{pid}/status").read_text() for pid in processes(route)]
    return sum(int(found.group(1)) for text in status if (found := re.search(r"VmRSS:\s+(\d+)", text)))


def pgbench_version() -> str | None:
    """None where it is not installed."""
    if shutil.which("pgbench") is None:
        return None
    return subprocess.run(["pgbench", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]


def fill_tables(port: int) -> None:
    """What pgbench works on."""
    pgbench(port, "-i", "-q")


def throughput(route: Route) -> float:
    """Transactions per second of CLIENTS clients in PGBENCH_S seconds."""
    assert route.port is not None
    output = pgbench(route.port, *f"-n -S -M prepared -c {CLIENTS} -j 1 -T {PGBENCH_S}".split())
    tps = re.search(r"tps = ([\d.]+)", output)
    if tps is None:
        raise SystemExit(f"bench: pgbench said: {output}")
    return float(tps.group(1))


def pgbench(port: int, *options: str) -> str:
    """Its output; plain TCP, and none of the user's own settings for libpq."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": "postgres", "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    done = subprocess.run(["pgbench", *options, "postgres"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: pgbench: {done.stderr.strip()}")
    return done.stdout
