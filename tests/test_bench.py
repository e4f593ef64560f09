"""The pieces of the benchmark: its yardstick forwards, its client reads answers, its table says what was measured."""

from __future__ import annotations

import gzip
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.exporting import Exporting
from bench.measure import QUERY, Client, Latency, cpu_ns
from bench.reading import PATIENCE_S, first_screen_s
from bench.routes import BARE, DIRECT, PGTRACE, WATCHED, Route, running
from bench.table import Turn, markdown, missed_bars
from bench.watching import Tick, Watching
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port

HAPROXY = "HAProxy, TCP mode"


@pytest.mark.live
def test_the_bare_forwarder_stands_before_a_real_server(tmp_path):
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(hba="host all all 127.0.0.1/32 trust\n"))
        port = free_port()
        command = (sys.executable, "-m", "bench.forwarder", str(port), str(server.port))
        pid = stack.enter_context(running(command, port, tmp_path / "log"))
        client = Client(port)
        assert client.server_version.startswith("18")
        assert client.round_trip(QUERY).startswith(b"T")
        client.close()
        if sys.platform.startswith("linux"):
            assert cpu_ns(Route(BARE, port, pid)) > 0
        client = Client(port)
        assert client.drain("select repeat('x', 3000000)") > 3_000_000  # more than one buffer, and to its end:
        assert client.round_trip(QUERY).startswith(b"T")
        client.close()
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def test_what_does_not_start_says_why(tmp_path):
    command = (sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(SystemExit, match="no such thing"), running(command, free_port(), tmp_path / "log"):
        pass


def turn(
    factor: float, pgtrace_us: float = 118, share: float = 0.97, copy: float = 0.98, watched_us: float = 120, watched_share: float = 0.91
) -> Turn:
    """One turn of a machine that is slower by `factor`; pgtrace's figures are those of a machine at its best."""
    latency = {
        DIRECT: Latency(30 * factor, 60 * factor, None),
        BARE: Latency(110 * factor, 200 * factor, 40 * factor),
        PGTRACE: Latency(pgtrace_us * factor, 210 * factor, 50 * factor),
        WATCHED: Latency(watched_us * factor, 300 * factor, 50 * factor),
    }
    tps = {
        DIRECT: 40_000 / factor,
        BARE: 20_000 / factor,
        PGTRACE: 20_000 * share / factor,
        WATCHED: 20_000 * share * watched_share / factor,
    }
    return Turn(latency, tps, {DIRECT: 400 / factor, BARE: 300 / factor, PGTRACE: 300 * copy / factor, WATCHED: 240 / factor})


IDLE = {BARE: 3.0, PGTRACE: 9.26}


def test_ratios_are_those_within_a_turn():
    lines = markdown([DIRECT, BARE, HAPROXY, PGTRACE], [turn(1), turn(3), turn(2)], IDLE).splitlines()
    assert lines[2:] == [
        f"| {DIRECT} | 60 µs | · | · | 120 µs | · | 20,000 | 2.00 | 200 MB/s | 1.33 | · |",
        f"| {BARE} | 220 µs | 160 µs | 1.00 | 400 µs | 80 µs | 10,000 | 1.00 | 150 MB/s | 1.00 | 3.0 KiB |",
        f"| {HAPROXY} | not installed |  |  |  |  |  |  |  |  |  |",
        f"| **{PGTRACE}** | 236 µs | 176 µs | 1.10 | 420 µs | 100 µs | 9,700 | 0.97 | 147 MB/s | 0.98 | 9.3 KiB |",
    ]


@pytest.mark.parametrize(
    ("figures", "idle_kib", "missed"),
    [
        ({"pgtrace_us": 117}, 15.9, []),
        ({"pgtrace_us": 119}, 15.9, ["adds 1.11"]),
        ({"pgtrace_us": 117, "share": 0.96, "copy": 0.96}, 15.9, []),
        ({"pgtrace_us": 117, "share": 0.94, "copy": 0.96}, 15.9, ["0.940 of the bare forwarder's transactions"]),
        ({"pgtrace_us": 117, "share": 0.96, "copy": 0.94}, 15.9, ["0.940 of the bare forwarder's speed"]),
        ({"pgtrace_us": 117}, 16.1, ["16.1 KiB"]),
        ({"pgtrace_us": 117, "watched_us": 130}, 15.9, ["1.111 times as long"]),
        ({"pgtrace_us": 117, "watched_share": 0.89}, 15.9, ["0.890 of the transactions pass"]),
        (
            {"pgtrace_us": 130, "share": 0.9, "copy": 0.9, "watched_us": 150, "watched_share": 0.8},
            20,
            ["adds", "transactions", "COPY", "KiB", "as long while a TUI", "pass while a TUI"],
        ),
    ],
)
def test_the_bars_are_the_promised_ones(figures, idle_kib, missed):
    found = missed_bars([turn(factor, **figures) for factor in (1, 3, 2)], {PGTRACE: idle_kib})
    assert len(found) == len(missed)
    assert all(part in line for part, line in zip(missed, found, strict=True))


def test_without_pgbench_there_is_no_throughput_to_miss():
    alone = [Turn(turn(1).latency, {}, {})]
    assert missed_bars(alone, {}) == []
    assert markdown([PGTRACE], alone, {}).splitlines()[2].endswith("| · | · | · | · | · |")


@pytest.mark.parametrize(
    ("factor", "tick_s", "behind_s", "last_mib", "missed"),
    [
        (1.04, 0.019, 0.9, 47, []),
        (1.06, 0.019, 0.9, 47, ["the median with a TUI is 1.06 times"]),
        (1.04, 0.021, 0.9, 47, ["a tick takes 21 ms"]),
        (1.04, 0.019, 1.1, 47, ["the screen is 1.1 s behind"]),
        (1.04, 0.019, 0.9, 49, ["grew by 9 MiB"]),
    ],
)
def test_the_bars_of_a_tui_that_follows(factor, tick_s, behind_s, last_mib, missed):
    alone = [[100.0 * slow, 101.0 * slow, 900.0 * slow] for slow in (1, 3, 2)]
    ticks = (
        [Tick(0.0, 0.01, 0.02, 0.05, True)] * 18 + [Tick(0.0, tick_s, 0.0, behind_s, True)] * 2 + [Tick(0.0, 0.004, 0.0, 2.0, False)] * 50
    )
    found = Watching(alone, [[time_us * factor for time_us in turn] for turn in alone], ticks, [30, 40, last_mib])
    assert len(found.missed()) == len(missed)
    assert all(part in line for part, line in zip(missed, found.missed(), strict=True))
    table = found.markdown()
    assert "| nobody watches | 300 µs | 2700 µs |" in table
    assert f"| tick | 10 ms | {tick_s * 1e3:.0f} ms | {tick_s * 1e3:.0f} ms |" in table
    assert "| tick and redraw | 20 ms | 20 ms | 20 ms |" in table
    assert "| reading between ticks | 4 ms | 4 ms | 4 ms |" in table
    assert "\n20 ticks." in table


@pytest.mark.parametrize(
    ("factor", "spans", "missed"), [(1.05, 50, []), (1.06, 50, ["median with an export is 1.06 times"]), (1.0, 49, ["49 spans of 50"])]
)
def test_the_bars_of_an_export(factor, spans, missed):
    alone = [[100.0 * slow, 101.0 * slow, 900.0 * slow] for slow in (1, 3, 2)]
    found = Exporting(alone, [[time_us * factor for time_us in turn] for turn in alone], spans, 50)
    assert len(found.missed()) == len(missed)
    assert all(part in line for part, line in zip(missed, found.missed(), strict=True))
    assert "| recorded | 300 µs | 2700 µs |" in found.markdown()


def test_a_receiver_counts_spans(tmp_path):
    port = free_port()
    with running((sys.executable, "-m", "bench.receiver", str(port)), port, tmp_path / "log"):
        url = f"http://127.0.0.1:{port}/v1/traces"
        urllib.request.urlopen(urllib.request.Request(url, gzip.compress(b'{"spanId":"a"},{"spanId":"b"}'))).close()
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"2"


def test_a_screen_is_seen_when_it_shows_round_trips():
    capture = next(Path(__file__).parents[1].joinpath("captures/asyncpg").glob("*.pgtrace"))
    assert 0 < first_screen_s(capture) < PATIENCE_S
