"""`listen --otlp`: what a driver does arrives as spans while it is recorded, joined with the application's own trace."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.export import otlp
from tests.export.receiver import Receiver, receiving
from tests.traces import fully_read

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def listening(server: EmbeddedServer, *options: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "pgtrace", "listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", "--no-tui", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = re.search(r"127\.0\.0\.1:(\d+) ->", process.stderr.readline())
    assert found
    return process, int(found[1])


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_round_trips_arrive(stop: int, server: EmbeddedServer, tmp_path: Path) -> None:
    capture = tmp_path / "x.pgtrace"
    with receiving() as receiver:
        process, port = listening(server, "-q", "-w", str(capture), "--otlp", receiver.url)
        url = server.url().replace(f":{server.port}", f":{port}")
        with psycopg.connect(url, autocommit=True, application_name="shop") as connection:
            connection.execute("create temporary table item (id int)")
            for number in range(10):
                connection.execute("select * from item where id = %s", (number,))
            connection.execute(f"select 'secret' from item /*traceparent='{PARENT}'*/")
        receiver.wait_for(lambda: len(receiver.spans()) >= 12)
        process.send_signal(stop)
        _, said = process.communicate(timeout=30)
    trace = fully_read(capture)
    totals = trace.totals()
    trace.close()
    spans = receiver.spans()
    assert len(spans) == totals.round_trips + totals.setup_round_trips
    assert process.returncode == (130 if stop == signal.SIGINT else 0)
    assert re.search(rf"[\d,]+ spans and points sent to {re.escape(receiver.url)}\n", said), said
    assert "secret" not in str(receiver.requests)
    (joined,) = [span for span in spans if span.parent_span_id]
    assert joined.trace_id.hex() == PARENT[3:35]
    assert metrics_of(receiver)["pgwire.round_trips"] == totals.round_trips
    services = {
        one.value.string_value
        for _, request in receiver.requests
        if _ == "/v1/traces"
        for part in request.resource_spans
        for one in part.resource.attributes
    }
    assert "shop" in services


def metrics_of(receiver: Receiver) -> dict[str, int]:
    request = [request for path, request in receiver.requests if path == "/v1/metrics"][-1]
    found = [metric for part in request.resource_metrics for scope in part.scope_metrics for metric in scope.metrics]
    return {metric.name: sum(point.as_int for point in metric.sum.data_points) for metric in found}


def test_a_collector_that_is_not_there_costs_no_traffic(server: EmbeddedServer) -> None:
    process, port = listening(server, "--otlp", "http://127.0.0.1:1")
    with psycopg.connect(server.url().replace(f":{server.port}", f":{port}")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert re.search(r"0 spans and points sent to http://127.0.0.1:1, \d+ dropped \(Connection refused\)", said), said


def test_the_sender_ends_with_its_listener(server: EmbeddedServer) -> None:
    """Killed, it closes nothing in order; its pipe closes all the same."""
    with receiving() as receiver:
        process, port = listening(server, "--otlp", receiver.url)
        with psycopg.connect(server.url().replace(f":{server.port}", f":{port}")) as connection:
            connection.execute("select 1")
        receiver.wait_for(lambda: bool(receiver.spans()))  # it runs
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list a process's children")
        senders = [
            int(pid) for pid in children.read_text().split() if b"pgtrace.cli.telemetry" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(senders) == 1
        gone = os.pidfd_open(senders[0])
        process.kill()
        process.communicate(timeout=30)
        assert select.select([gone], [], [], 20)[0]
        os.close(gone)


@pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")
def test_both_sides_of_a_pooler_are_linked_while_they_are_recorded(server: EmbeddedServer, tmp_path: Path) -> None:
    """The links are those that an export of the capture has."""
    port, back = free_port(), free_port()
    capture = tmp_path / "x.pgtrace"
    legs = [f"127.0.0.1:0=127.0.0.1:{port}", f"127.0.0.1:{back}=127.0.0.1:{server.port}"]
    with receiving() as receiver:
        command = [sys.executable, "-m", "pgtrace", "listen", *legs, "--no-tui", "-q", "-w", str(capture), "--otlp", receiver.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"127\.0\.0\.1:(\d+) ->", said)
        assert found, said
        with Pooler(server, port, back):
            with psycopg.connect(server.url().replace(f":{server.port}", f":{found[1]}"), autocommit=True) as connection:
                for number in range(20):
                    connection.execute("select %s::int", (number,))
            receiver.wait_for(lambda: any(span.links for span in receiver.spans()))  # before the end
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    with closing(fully_read(capture)) as trace:
        lines = [str(piece.content) for piece in otlp.export(trace)]
    exported = {span["spanId"]: links_of(span) for line in lines if line.strip() for span in spans_in(json.loads(line))}
    assert sum(map(bool, exported.values())) >= 40
    assert {span.span_id.hex(): {link.span_id.hex() for link in span.links} for span in receiver.spans()} == exported


def spans_in(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for part in request["resourceSpans"] for scope in part["scopeSpans"] for span in scope["spans"]]


def links_of(span: dict[str, Any]) -> set[str]:
    return {link["spanId"] for link in span.get("links", ())}
