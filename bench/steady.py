"""A load of 20,000 messages each second, and round trips that are measured beside it."""

from __future__ import annotations

import re
import sys
import threading
import time

from bench.measure import QUERY, WARM_UP, Client, pgbench

MESSAGES = 20_000
"""Each second: Bind, Execute, Sync, and four answers for each transaction of `pgbench -S -M prepared`."""
RATE = -(-MESSAGES // 7)
CLIENTS = 8
PAUSE_S = 0.002
"""Between two measured round trips, so that measuring is no load of its own."""
TRUST = "host all all 127.0.0.1/32 trust\n"


def measured(port: int, seconds: int) -> list[float]:
    """The round trips, in µs, of one connection beside the load."""
    ended = threading.Event()
    times: list[float] = []

    def measure() -> None:
        client = Client(port)
        for _ in range(WARM_UP):
            client.round_trip(QUERY)
        while not ended.is_set():
            begin_ns = time.perf_counter_ns()
            client.round_trip(QUERY)
            times.append((time.perf_counter_ns() - begin_ns) / 1000)
            time.sleep(PAUSE_S)
        client.close()

    thread = threading.Thread(target=measure)
    thread.start()
    load(port, seconds)
    ended.set()
    thread.join()
    return times


def load(port: int, seconds: int) -> None:
    output = pgbench(port, *f"-n -S -M prepared -c {CLIENTS} -j 1 -R {RATE} -T {seconds}".split())
    tps = re.search(r"tps = ([\d.]+)", output)
    assert tps is not None, output
    if float(tps.group(1)) < 0.95 * RATE:
        print(f"bench: only {7 * float(tps.group(1)):,.0f} messages each second", file=sys.stderr)


def percentile(values: list[float], share: float) -> float:
    """A percentile."""
    rising = sorted(values)
    return rising[min(len(rising) - 1, int(len(rising) * share))]
