"""See every scenario twice: `python -m captures.recording.twice [DRIVER ...]`, or `make captures-check`.

Each is played once through a recorder, as for its capture, while tcpdump listens on the driver's
leg before it. What the recorder's capture counts and what the packets count, imported, has to be
the same: totals, and connection by connection; times are left out. One line for each scenario, exit
code 1 where something differs. Nothing is written into the checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import psycopg

from captures.recording.__main__ import DRIVERS, LAYERS, RTT_NS, one_by_one, plays_of
from captures.recording.packets import tcpdump
from captures.recording.scenarios import SCHEMA, Play, Target, Unavailable
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.importing import Import
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace

CLOSES_WITHIN_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.01


def main(drivers: list[str]) -> int:
    """Check these drivers; the exit code."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    wrong = 0
    with EmbeddedServer() as server:
        for driver in drivers:
            for scenario, play in plays_of(driver).items():
                try:
                    with tempfile.TemporaryDirectory() as scratch:
                        recorded, packets = seen_twice(server, [play], Path(scratch))
                except Unavailable as reason:
                    print(f"{driver:<16} not played: {reason}", flush=True)
                    break
                found = differences(recorded, packets)
                wrong += bool(found)
                about = f"{recorded['connections']} connections, {recorded['messages']} messages"
                print(f"{driver:<16} {scenario:<12} {about}: {'; '.join(found) or 'equal'}", flush=True)
    return int(wrong > 0)


def seen_twice(server: EmbeddedServer, plays: Iterable[Play], directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a recorder counts of scenarios, and what the packets before it count. Raises Unavailable."""
    capture, pcap, imported = directory / "recorded", directory / "packets", directory / "imported"
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=capture, rtt_ns=RTT_NS) as recorder, tcpdump(pcap, recorder.port):
        for play in plays:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(SCHEMA)
            play(Target(recorder.host, recorder.port, server.user, server.password, server.database))
        deadline = time.monotonic() + CLOSES_WITHIN_S
        while recorder.stats()["connections"]:
            if time.monotonic() > deadline:
                raise RuntimeError("the driver leaves a connection open")
            time.sleep(_LOOK_AGAIN_S)
    with Import(str(pcap), str(imported)) as one:
        while one.step():
            continue
    return counted(capture), counted(imported)


def counted(path: Path) -> dict[str, Any]:
    """What a capture counts: of all, and of each connection by its client's address."""
    trace = Trace.open([path])
    while trace.update():
        continue
    now_ns = trace.duration_ns
    counters = {one.client: one.counters(now_ns).as_dict() | {"driver": one.driver, "kind": one.kind} for one in trace.connections}
    counters["all"] = trace.totals().as_dict() | {"complete": trace.complete}
    messages = sum(sum(counters["all"][f"{side}_messages"].values()) for side in ("frontend", "backend"))
    trace.close()
    return {"connections": len(counters) - 1, "messages": messages, "counters": counters}


def differences(recorded: dict[str, Any], packets: dict[str, Any]) -> list[str]:
    """What the two do not agree on, in words; times aside."""
    found = []
    for client in sorted(recorded["counters"].keys() | packets["counters"].keys()):
        one, other = (seen["counters"].get(client, {}) for seen in (recorded, packets))
        for name in sorted(one.keys() | other.keys()):
            if not name.endswith("_ns") and one.get(name) != other.get(name):
                found.append(f"{client} {name}: {one.get(name)} recorded, {other.get(name)} in packets")
    return found


if __name__ == "__main__":
    sys.exit(one_by_one("captures.recording.twice", main, sys.argv[1:] or [*DRIVERS, *LAYERS]))
