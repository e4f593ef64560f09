"""A collector that is slow, full, choosy or gone: requests wait within a bound, and what does not arrive is counted."""

from __future__ import annotations

import email.utils
import socket
import time
from itertools import repeat
from pathlib import Path

import pytest

from pgtrace.errors import UsageError
from pgtrace.export import collector, otlp
from pgtrace.export.collector import METRICS, TRACES, Collector
from tests.export.receiver import receiving
from tests.traces import fully_read

CAPTURE = Path(__file__).parents[2] / "captures" / "psycopg" / "ten_queries.pgtrace"


@pytest.fixture(scope="module")
def request_() -> bytes:
    trace = fully_read(CAPTURE)
    spans = otlp.Spans(trace, otlp.Choice())
    made = spans.request(list(spans.of(range(len(trace.rows)))))
    trace.close()
    return made


def test_it_arrives(request_: bytes) -> None:
    with receiving() as receiver:
        to = Collector(collector.target(receiver.url), {"authorization": "Bearer x"})
        to.send(TRACES, request_, 15)
        to.send(TRACES, request_, 15)
        to.close(5)
    assert (to.sent, to.dropped, to.rejected, to.error) == (30, 0, 0, "")
    assert len(receiver.spans()) == 30
    assert [headers["authorization"] for headers in receiver.headers] == ["Bearer x"] * 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("after", ["1", "date"])
def test_later_means_later(status: int, after: str, request_: bytes) -> None:
    with receiving() as receiver:
        when = after if after == "1" else email.utils.formatdate(time.time() + 1, usegmt=True)
        receiver.answers = iter([(status, {"Retry-After": when}, {})])
        begun = time.monotonic()
        to = Collector(collector.target(receiver.url), {})
        to.send(TRACES, request_, 15)
        to.close(10)
    assert (to.sent, to.dropped) == (15, 0)
    assert time.monotonic() - begun > (0.9 if after == "1" else 0.0)


def test_no_means_no(request_: bytes) -> None:
    with receiving() as receiver:
        receiver.answers = iter([(400, {}, {"message": "no"})])
        to = Collector(collector.target(receiver.url), {})
        to.send(TRACES, request_, 15)
        to.send(TRACES, request_, 15)
        to.close(5)
    assert (to.sent, to.dropped, to.error) == (15, 15, "HTTP 400")


@pytest.mark.parametrize(
    ("answer", "rejected", "why"),
    [
        ({"partialSuccess": {"rejectedSpans": "4", "errorMessage": "too old"}}, 4, "too old"),
        ({"partialSuccess": {"rejectedDataPoints": 99}}, 15, ""),
        ({"partialSuccess": {"errorMessage": "a warning"}}, 0, ""),
        ([], 0, ""),
        ({"partialSuccess": {"rejectedSpans": "x"}}, 0, ""),
    ],
)
def test_what_is_rejected_is_counted(answer: object, rejected: int, why: str, request_: bytes) -> None:
    with receiving() as receiver:
        receiver.answers = iter([(200, {}, answer)])
        to = Collector(collector.target(receiver.url), {})
        to.send(TRACES, request_, 15)
        to.close(5)
    assert (to.sent, to.rejected, to.dropped, to.error) == (15 - rejected, rejected, 0, why)


def test_the_queue_has_a_bound(request_: bytes) -> None:
    with receiving() as receiver:
        receiver.answers = repeat((503, {"Retry-After": "3600"}, {}))
        to = Collector(collector.target(receiver.url), {}, queue_bytes=10_000)
        for _ in range(100):
            to.send(METRICS, request_, 1)
        to.close(0.1)
    assert (to.sent, to.dropped) == (0, 100)


def test_nobody_is_there(request_: bytes) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    to = Collector(collector.target(f"http://127.0.0.1:{port}"), {})
    to.send(TRACES, request_, 15)
    to.close(0.1)
    assert (to.sent, to.dropped, to.error) == (0, 15, "Connection refused")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://collector", "http://collector:4318"),
        ("https://[::1]/otlp/", "https://[::1]:443/otlp"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
    ],
)
def test_the_address(url: str, said: str) -> None:
    assert str(collector.target(url)) == said


@pytest.mark.parametrize(
    "url", ["collector:4318", "ftp://x", "http://", "http://x:99999", "http://u:p@x", "http://x/?a=b", "", "http://[x"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        collector.target(url)
    assert "u:p" not in str(raised.value)


def test_headers_come_from_the_environment() -> None:
    assert collector.headers({"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, x=y=z"}) == {"api-key": "a b", "x": "y=z"}
    assert collector.headers({}) == {}
    for wrong in ("secret", "a=b%0d%0ac", "=x"):
        with pytest.raises(UsageError) as raised:
            collector.headers({"OTEL_EXPORTER_OTLP_HEADERS": wrong})
        assert wrong not in str(raised.value) or wrong == "=x"
