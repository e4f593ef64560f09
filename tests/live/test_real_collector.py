"""A real OpenTelemetry collector takes what pgtrace sends, all of it. `make collector` builds one and runs this (PGTRACE_COLLECTOR)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.export import collector, otlp
from tests import playbook
from tests.export.receiver import Receiver, receiving
from tests.live.test_telemetry import listening, metrics_of
from tests.traces import fully_read

BINARY = os.environ.get("PGTRACE_COLLECTOR", "")
pytestmark = pytest.mark.skipif(not BINARY, reason="a collector takes minutes to build: make collector")
CONFIG = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{port}}}}}}}}}
processors: {{batch: {{timeout: 100ms}}}}
exporters: {{otlphttp: {{endpoint: "{to}", encoding: json}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [otlphttp]}}
    metrics: {{receivers: [otlp], processors: [batch], exporters: [otlphttp]}}
"""


def answers(port: int) -> bool:
    with socket.socket() as one:
        return not one.connect_ex(("127.0.0.1", port))


@contextmanager
def running(tmp_path: Path) -> Iterator[tuple[str, Receiver]]:
    """A collector before the receiver of the tests."""
    with receiving() as receiver:
        port = free_port()
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(port=port, to=receiver.url), encoding="utf-8")
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([BINARY, "--config", config], stdout=log, stderr=log)
            try:
                until = time.monotonic() + 20
                while not answers(port):
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    assert time.monotonic() < until
                yield f"http://127.0.0.1:{port}", receiver
            finally:
                process.terminate()
                process.wait(20)


def test_fifty_thousand_spans_arrive(tmp_path: Path) -> None:
    path = tmp_path / "many.pgtrace"
    query = "F Query select name from item where id = 7\nB CommandComplete SELECT 1 | ReadyForQuery I\n"
    playbook.write(path, query * 50_000 + "end")
    trace = fully_read(path)
    spans = otlp.Spans(trace, otlp.Choice())
    with running(tmp_path) as (url, receiver):
        to = collector.Collector(collector.target(url), {})
        for start in range(0, len(trace.rows), otlp.SPANS_IN_A_REQUEST):
            found = list(spans.of(range(start, min(start + otlp.SPANS_IN_A_REQUEST, len(trace.rows)))))
            to.send(collector.TRACES, spans.request(found), len(found))
        to.close(60)
        receiver.wait_for(lambda: len(receiver.spans()) >= 50_001, 60)
    trace.close()
    assert (to.sent, to.dropped, to.rejected) == (50_001, 0, 0)
    assert len({span.span_id for span in receiver.spans()}) == 50_001


def test_what_is_recorded_arrives(server: EmbeddedServer, tmp_path: Path) -> None:
    with running(tmp_path) as (url, receiver):
        process, port = listening(server, "-q", "-w", str(tmp_path / "x.pgtrace"), "--otlp", url)
        with psycopg.connect(server.url().replace(f":{server.port}", f":{port}"), autocommit=True) as connection:
            for number in range(500):
                connection.execute("select %s::int", (number,))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        trace = fully_read(tmp_path / "x.pgtrace")
        totals = trace.totals()
        trace.close()
        receiver.wait_for(lambda: len(receiver.spans()) >= totals.round_trips + totals.setup_round_trips)
        receiver.wait_for(lambda: any(path == "/v1/metrics" for path, _ in receiver.requests))
    assert "dropped" not in said
    assert len(receiver.spans()) == totals.round_trips + totals.setup_round_trips
    assert metrics_of(receiver)["pgwire.round_trips"] == totals.round_trips
