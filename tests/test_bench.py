"""The pieces of the benchmark: its yardstick forwards, its client reads answers, its table says what was measured."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from bench.measure import QUERY, Client, Latency, cpu_ns
from bench.routes import BARE, DIRECT, PGTRACE, Route, free_port, running
from bench.table import Turn, markdown, missed_bars
from pgtrace.demo.embedded import EmbeddedServer

HAPROXY = "HAProxy, TCP mode"


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
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def test_what_does_not_start_says_why(tmp_path):
    command = (sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(SystemExit, match="no such thing"), running(command, free_port(), tmp_path / "log"):
        pass


def turn(factor: float, pgtrace_us: float, pgtrace_tps: float) -> Turn:
    """One turn of a machine that is slower by `factor`; pgtrace's figures are those of a machine at its best."""
    latency = {
        DIRECT: Latency(30 * factor, 60 * factor, None),
        BARE: Latency(110 * factor, 200 * factor, 40 * factor),
        PGTRACE: Latency(pgtrace_us * factor, 210 * factor, 50 * factor),
    }
    return Turn(latency, {DIRECT: 40_000 / factor, BARE: 20_000 / factor, PGTRACE: pgtrace_tps / factor})


def test_ratios_are_those_within_a_turn():
    lines = markdown([DIRECT, BARE, HAPROXY, PGTRACE], [turn(1, 118, 18_000), turn(3, 118, 18_000), turn(2, 118, 18_000)]).splitlines()
    assert lines[2:] == [
        f"| {DIRECT} | 60 µs | · | · | 120 µs | · | 20,000 | 2.00 |",
        f"| {BARE} | 220 µs | 160 µs | 1.00 | 400 µs | 80 µs | 10,000 | 1.00 |",
        f"| {HAPROXY} | not installed |  |  |  |  |  |  |",
        f"| **{PGTRACE}** | 236 µs | 176 µs | 1.10 | 420 µs | 100 µs | 9,000 | 0.90 |",
    ]


@pytest.mark.parametrize(("pgtrace_us", "tps", "missed"), [(133, 17_100, 0), (135, 17_100, 1), (133, 16_900, 1), (135, 16_900, 2)])
def test_the_bars_are_the_promised_ones(pgtrace_us, tps, missed):
    assert len(missed_bars([turn(factor, pgtrace_us, tps) for factor in (1, 3, 2)])) == missed
