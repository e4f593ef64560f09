"""Sends OTLP requests to a collector, in the background and with bounded memory.

Requests wait in a queue of QUEUE_BYTES; requests that do not fit are dropped and counted. A thread
sends them one after the other, with gzip, over one connection. After the answers 429, 502, 503 and
504, or no answer, it tries again: after the time in Retry-After, otherwise after a pause that
doubles each time. After any other error the request is dropped. Items that the collector rejects in
a request it took (partialSuccess) are counted.
"""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pgtrace.errors import UsageError

TRACES: Final = "/v1/traces"
METRICS: Final = "/v1/metrics"
QUEUE_BYTES: Final = 16 * 1024 * 1024
ATTEMPTS: Final = 6
_LATER: Final = frozenset({429, 502, 503, 504})
_TIMEOUT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_ANSWER_BYTES: Final = 64 * 1024
_GZIP_LEVEL: Final = 1


class Target(NamedTuple):
    """The address of a collector."""

    secure: bool
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"


def target(url: str) -> Target:
    """Parse an address such as http://collector:4318. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 4318)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("not the address of a collector: use http://host:4318")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the address of a collector has no user, query or fragment; headers are in OTEL_EXPORTER_OTLP_HEADERS")
    return Target(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """The headers in OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`, percent-encoded. Raises
    UsageError, without the value in its message.
    """
    found = {}
    for pair in filter(None, environment.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")):
        name, is_pair, value = pair.partition("=")
        value = unquote(value.strip())
        if not is_pair or not name.strip().isascii() or not name.strip() or any(ord(sign) < 0x20 for sign in value):
            raise UsageError("OTEL_EXPORTER_OTLP_HEADERS is not name=value,name=value")
        found[unquote(name.strip())] = value
    return found


class _Request(NamedTuple):
    path: str
    body: bytes
    items: int


class Collector:
    """A collector, with the queue and the thread that send to it."""

    def __init__(self, where: Target, more: Mapping[str, str], queue_bytes: int = QUEUE_BYTES) -> None:
        self._where = where
        self._headers = {**more, "Content-Type": "application/json", "Content-Encoding": "gzip", "User-Agent": "pgtrace"}
        self._queue_bytes = queue_bytes
        self._queue: deque[_Request] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._until = 0.0
        self.sent = 0
        """Items that the collector has accepted."""
        self.dropped = 0
        """Items that did not fit into the queue, or could not be delivered."""
        self.rejected = 0
        """Items that the collector has rejected."""
        self.error = ""
        """The latest reason why something was dropped or rejected."""
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._thread.start()

    def send(self, path: str, body: bytes, items: int) -> None:
        """Queue a request with that many spans or points."""
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        with self._changed:
            if self._waiting_bytes + len(packed) > self._queue_bytes:
                self.dropped += items
                self.error = self.error or "the collector is too slow"
                return
            self._queue.append(_Request(path, packed, items))
            self._waiting_bytes += len(packed)
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Send the queue for at most that long; the rest is dropped."""
        with self._changed:
            self._closing = True
            self._until = time.monotonic() + within_s
            self._changed.notify()
        self._thread.join(within_s + _TIMEOUT_S)
        with self._changed:
            self.dropped += sum(request.items for request in self._queue)
            self._queue.clear()

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while (request := self._next()) is not None:
            for attempt in range(ATTEMPTS):
                connection = connection or self._connection()
                pause_s = self._deliver(connection, request)
                if pause_s is None:
                    break
                connection.close()
                connection = None
                pause_s = pause_s or min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * random.uniform(0.8, 1.2)  # noqa: S311
                if attempt + 1 == ATTEMPTS or not self._pause(pause_s):
                    self.dropped += request.items
                    break
            with self._changed:
                self._waiting_bytes -= len(request.body)
        if connection is not None:
            connection.close()

    def _next(self) -> _Request | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            if self._closing and time.monotonic() > self._until:
                return None
            return self._queue.popleft()

    def _pause(self, seconds: float) -> bool:
        """Wait; False if there is no time left for another attempt."""
        end = time.monotonic() + seconds
        with self._changed:
            while (left := end - time.monotonic()) > 0:
                if self._closing and end > self._until:
                    return False
                self._changed.wait(left)
        return True

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._where.secure else http.client.HTTPConnection
        return kind(self._where.host, self._where.port, timeout=_TIMEOUT_S)

    def _deliver(self, connection: http.client.HTTPConnection, request: _Request) -> float | None:
        """Send a request. Returns None if it is finished; otherwise how many seconds to wait before
        the next attempt, 0 if the collector does not say.
        """
        try:
            connection.request("POST", self._where.path + request.path, request.body, self._headers)
            answer = connection.getresponse()
            body = answer.read(_ANSWER_BYTES)
            answer.close()
        except (OSError, http.client.HTTPException) as error:
            self.error = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            return 0.0
        if answer.status in _LATER:
            self.error = f"HTTP {answer.status}"
            return _retry_after_s(answer.headers.get("Retry-After"))
        if answer.status // 100 != 2:
            self.error = f"HTTP {answer.status}"
            self.dropped += request.items
            return None
        rejected, why = _rejected(body)
        rejected = min(rejected, request.items)
        self.rejected += rejected
        self.sent += request.items - rejected
        self.error = why or self.error if rejected else self.error
        return None


def _retry_after_s(value: str | None) -> float:
    """The value of Retry-After, seconds or a date, in seconds; at most an hour."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return min(3600.0, float(value))
    try:
        return max(0.0, min(3600.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()))
    except ValueError:
        return 0.0


def _rejected(answer: bytes) -> tuple[int, str]:
    """How many items a collector has rejected, and why."""
    try:
        partial: Any = json.loads(answer).get("partialSuccess") or {}
        number = int(partial.get("rejectedSpans") or partial.get("rejectedDataPoints") or 0)
        return max(0, number), str(partial.get("errorMessage") or "")[:200]
    except (ValueError, AttributeError, TypeError):
        return 0, ""
