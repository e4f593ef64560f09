"""A collector in a few lines: it takes OTLP requests in JSON, and holds them to the protocol.

What a request is, is said by OpenTelemetry's own protobuf classes: an unknown field, an enum by its
name, a number in the wrong form fails. OTLP writes ids in hex where protobuf's JSON has base64, so
they are looked at and turned first.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}
IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
INT64 = {"startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "intValue", "asInt"}
ENUMS = {"kind", "code", "aggregationTemporality", "flags"}


def parsed(path: str, text: bytes) -> Any:
    """A request as protobuf's message. Fails if it is not one."""
    return json_format.Parse(json.dumps(checked(json.loads(text))), KINDS[path]())


def checked(value: Any) -> Any:
    """The rules that protobuf's parser does not mind, and ids as it takes them."""
    if isinstance(value, list):
        return [checked(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, one in value.items():
        assert re.fullmatch(r"[a-z]+(?:[A-Z][a-z]+)*", key), key
        if key in IDS:
            assert re.fullmatch(rf"[0-9a-f]{{{IDS[key]}}}", one), one
            assert one.strip("0")
            found[key] = base64.b64encode(bytes.fromhex(one)).decode()
            continue
        assert not (key in INT64 and not isinstance(one, str)), (key, one)
        assert not (key in ENUMS and not isinstance(one, int)), (key, one)
        found[key] = checked(one)
    return found


class Receiver:
    """What has arrived, and how to answer."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.wrong: list[str] = []
        self.answers: Iterator[tuple[int, dict[str, str], Any]] = iter(())
        """Status, headers and body of the next answers; then 200 with an empty object."""
        self.arrived = threading.Condition()

    def spans(self) -> list[Any]:
        return [
            span
            for path, request in self.requests
            if path == "/v1/traces"
            for part in request.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, there: Callable[[], bool], timeout_s: float = 20.0) -> None:
        with self.arrived:
            assert self.arrived.wait_for(there, timeout_s)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, more, said = next(receiver.answers, (200, {}, {}))
            with receiver.arrived:
                receiver.headers.append(dict(self.headers))
                if status == 200:
                    try:
                        assert self.headers["Content-Type"] == "application/json"
                        receiver.requests.append((self.path, parsed(self.path, gzip.decompress(body))))
                    except Exception as error:  # whatever is wrong with it
                        receiver.wrong.append(repr(error))
                receiver.arrived.notify_all()
            content = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
    assert receiver.wrong == []
