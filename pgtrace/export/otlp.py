"""Round trips as OpenTelemetry spans, and counters as metrics: OTLP in JSON, a request per line.

A span is one round trip, set-up included, with the stable attributes of the database conventions
and a few of our own (`pgtrace.*`). Its name is a summary of its statements. Operation and table are
omitted, because they would have to be guessed from the text. If a statement carries a traceparent,
that span is the parent. Ids are hashes of the connection and of the round trip's position in its
streams, so a capture gives the same ids whether it is exported later or while it is recorded. Each
ErrorResponse is an event `exception` at its time. With both sides of a pooler, a span has links to
the spans of the other side.

SQL with parameters is exported as it is. In other SQL, values are replaced by `?` unless you ask
for them, and comments are removed with them.

The JSON is that of OTLP: ids in lower-case hex, 64-bit integers as strings, enums as numbers. Most
spans differ only in times and ids, so the rest is made once per connection, shape and label.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from pgtrace import __version__
from pgtrace.ask.filter import messages
from pgtrace.export import Piece
from pgtrace.inspect import details
from pgtrace.legs import joins as legs
from pgtrace.parameters import LAST_PORT
from pgtrace.protocol.fields import error_fields
from pgtrace.sqltext.summary import summary, without_values
from pgtrace.sqltext.tags import Parent, parents
from pgtrace.trace.connection import Connection
from pgtrace.trace.row import LONGEST_SQL, Label, RowEntry, RowKind, Shape, prepared_earlier
from pgtrace.trace.trace import Trace
from pgtrace.whole import whole_number

SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
SPANS_IN_A_REQUEST: Final = 512
_CLIENT: Final = 3
_ERROR: Final = 2
_CUMULATIVE: Final = 2
_REMOTE_PARENT: Final = 0x300
_KEPT_PARTS: Final = 4096
_RUN: Final = 1
_LINKED: Final = {legs.State.JOINED: "joined", legs.State.ADDED: "added"}
_SPARE_MASK: Final = (1 << 64) - 1


def text(value: str) -> str:
    """Text that JSON and its readers accept: bytes that were not UTF-8 are replaced."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def attributes(values: dict[str, str | int | bool]) -> list[dict[str, Any]]:
    """Attributes in OTLP's form."""
    found = []
    for key, value in values.items():
        if isinstance(value, bool):
            typed: dict[str, Any] = {"boolValue": value}
        elif isinstance(value, int):
            typed = {"intValue": str(value)}
        else:
            typed = {"stringValue": text(value)}
        found.append({"key": key, "value": typed})
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """The user's choice of round trips to export, and of values."""

    ratio: float = 1.0
    """The share of round trips exported that are neither slow nor failed. All round trips of a
    trace are chosen together.
    """
    slow_ns: int | None = None
    """Rows that took at least this long, and rows with an error, are always chosen."""
    literals: bool = False

    def takes(self, trace_id: str, label: Label, shape: Shape, duration_ns: int) -> bool:
        if self.ratio >= 1.0 or shape.errors or label.end or (self.slow_ns is not None and duration_ns >= self.slow_ns):
            return True
        return int(trace_id[16:], 16) < self.ratio * (_SPARE_MASK + 1)


class _Part(NamedTuple):
    """The part of a span that similar rows of a connection share."""

    name: str
    rest: bytes
    """The JSON of the span after its times and its row."""
    parent: Parent | None


class Span(NamedTuple):
    service: str
    """The service name of its resource."""
    json: bytes


class Spans:
    """Makes spans from the rows of a trace."""

    def __init__(self, trace: Trace, choice: Choice, joins: legs.Joins | None = None) -> None:
        self._trace = trace
        self._choice = choice
        self.joins = joins
        """What is known about the two sides of a pooler; it may grow."""
        self._parts: dict[tuple[int, int, int, str], _Part] = {}
        self._connections: dict[int, tuple[str, bytes]] = {}
        self._host = trace.headers[0].host if trace.headers else ""

    def of(self, places: Iterable[int]) -> Iterator[Span]:
        """The spans of the complete round trips among the rows at these places."""
        rows = self._trace.rows
        for place in places:
            entry = rows.entry(place)
            if entry.is_open:
                continue
            shape = rows.shape_at(entry.shape)
            if shape.kind > RowKind.SETUP:
                continue
            span = self._span(place, entry, shape)
            if span is not None:
                yield span

    def request(self, spans: Sequence[Span]) -> bytes:
        """The body of one request with these spans."""
        services: dict[str, list[bytes]] = {}
        for span in spans:
            services.setdefault(span.service, []).append(span.json)
        parts = [
            b'{"resource":%b,"scopeSpans":[{"scope":%b,"spans":[%b],"schemaUrl":"%b"}],"schemaUrl":"%b"}'
            % (resource(service, self._host), SCOPE, b",".join(found), SCHEMA.encode(), SCHEMA.encode())
            for service, found in services.items()
        ]
        return b'{"resourceSpans":[' + b",".join(parts) + b"]}"

    def _span(self, place: int, entry: RowEntry, shape: Shape) -> Span | None:
        service, _ = self._connection(entry.connection)
        part = self._part(place, entry, shape)
        parent = part.parent
        trace_id, span_id = self._ids(entry, parent)
        duration_ns = 0 if math.isnan(entry.duration_ms) else round(entry.duration_ms * 1e6)
        if not self._choice.takes(trace_id, self._trace.rows.label_at(entry.label), shape, duration_ns):
            return None
        begun = self._trace.start_ns + entry.opened_ns
        came_from = b""
        if parent is not None:
            came_from = b'"parentSpanId":"%b","flags":%d,' % (parent.span_id.encode(), _REMOTE_PARENT | parent.sampled)
        waited = self._trace.disk_waits_ns and self._trace.waited_for_disk(self._trace.rows[place])
        return Span(
            service,
            b'{"traceId":"%b","spanId":"%b",%b"startTimeUnixNano":"%d","endTimeUnixNano":"%d",%b'
            b'{"key":"pgtrace.row","value":{"intValue":"%d"}}%b]%b%b}'
            % (
                trace_id.encode(),
                span_id.encode(),
                came_from,
                begun,
                begun + duration_ns,
                part.rest,
                place + 1,
                b',{"key":"pgtrace.waited_for_disk","value":{"boolValue":true}}' if waited else b"",
                self._exceptions(place, entry, duration_ns) if shape.errors else b"",
                self._links(place, self.joins) if self.joins is not None else b"",
            ),
        )

    def _ids(self, entry: RowEntry, parent: Parent | None) -> tuple[str, str]:
        """The trace id and the span id of a row."""
        digest = blake2b(self._connection(entry.connection)[1], digest_size=24)
        digest.update(b"%d %d" % entry.offsets)
        ids = digest.hexdigest()
        return parent.trace_id if parent is not None else ids[:32], ids[32:]

    def _exceptions(self, place: int, entry: RowEntry, duration_ns: int) -> bytes:
        """The events for a row's errors. If their bytes are gone, one event at the end, from the
        index.
        """
        label = self._trace.rows.label_at(entry.label)
        begun = self._trace.start_ns + entry.opened_ns
        found = [
            (message.time_ns, error.get("C", ""), error.get("M", ""))
            for message in details.read(self._trace, place, _RUN).messages
            if message.name == "ErrorResponse" and (error := error_fields(message.body))
        ]
        return b',"events":' + msgspec.json.encode(
            [
                {
                    "timeUnixNano": str(begun + time_ns),
                    "name": "exception",
                    "attributes": attributes({"exception.type": sqlstate or "_OTHER", "exception.message": message}),
                }
                for time_ns, sqlstate, message in found or [(duration_ns, label.sqlstate, label.message)]
            ]
        )

    def _links(self, place: int, joins: legs.Joins) -> bytes:
        """Links to the spans of the other side of a pooler."""
        state = _LINKED.get(joins.state(place))
        links = []
        for other in joins.across(place) if state is not None else ():
            entry = self._trace.rows.entry(other)
            part = self._part(other, entry, self._trace.rows.shape_at(entry.shape))
            trace_id, span_id = self._ids(entry, part.parent)
            links.append({"traceId": trace_id, "spanId": span_id, "attributes": attributes({"pgtrace.join": state or ""})})
        return b',"links":' + msgspec.json.encode(links) if links else b""

    def _connection(self, index: int) -> tuple[str, bytes]:
        """The service name of a connection, and the bytes that make its ids unique."""
        found = self._connections.get(index)
        if found is None:
            connection = self._trace.connections[index]
            began = self._trace.start_ns + connection.opened_ns
            ours = f"{began} {connection.number} {connection.client} {connection.upstream} ".encode("utf-8", "surrogateescape")
            found = connection.application_name or "unknown_service", ours
            if len(self._connections) >= _KEPT_PARTS:
                self._connections.clear()
            if connection.application_name:  # it may be set later, by SET
                self._connections[index] = found
        return found

    def _part(self, place: int, entry: RowEntry, shape: Shape) -> _Part:
        rows = self._trace.rows
        label = rows.label_at(entry.label)
        is_whole = is_known(label, shape, rows.label_at(0))
        key = (entry.connection, entry.shape, entry.label, self._trace.connections[entry.connection].driver)
        found = self._parts.get(key)
        if found is None:
            found = self._made(self._trace.connections[entry.connection], label, shape, self._texts(place, label, shape, is_whole=is_whole))
            if is_whole:
                if len(self._parts) >= _KEPT_PARTS:
                    self._parts.clear()
                self._parts[key] = found
        return found

    def _texts(self, place: int, label: Label, shape: Shape, *, is_whole: bool) -> list[str]:
        """The SQL of a row; empty if it was not seen."""
        if is_whole:
            return [label.sql] if shape.statements and label.sql != prepared_earlier(shape.statement) else []
        try:
            return list(messages.read(self._trace, place).sql)
        except details.NotKept:
            return []

    def _made(self, connection: Connection, label: Label, shape: Shape, texts: list[str]) -> _Part:
        name = "; ".join(dict.fromkeys(filter(None, map(summary, texts))))[:255]
        host, port = _split(connection.upstream)
        values: dict[str, str | int | bool] = {"db.system.name": "postgresql", "server.address": host}
        if port:
            values["server.port"] = port
        if connection.database:
            values["db.namespace"] = connection.database
        if texts:
            values["db.query.text"] = "; ".join(texts if self._choice.literals else map(without_values, texts))
        if name:
            values["db.query.summary"] = name
        if shape.executions > 1:
            values["db.operation.batch.size"] = shape.executions
        if shape.errors:
            values |= (
                {"db.response.status_code": label.sqlstate, "error.type": label.sqlstate} if label.sqlstate else {"error.type": "_OTHER"}
            )
        values |= {"pgtrace.connection": connection.name, "pgtrace.driver": connection.driver, "pgtrace.flight": shape.flight}
        if connection.leg:
            values["pgtrace.leg"] = connection.leg
        if shape.kind is RowKind.SETUP:
            values["pgtrace.setup"] = True
        if label.end:
            values["pgtrace.end"] = label.end
        span: dict[str, Any] = {"name": text(name) or ("connect" if shape.kind is RowKind.SETUP else "postgresql"), "kind": _CLIENT}
        if shape.errors or label.end:
            span["status"] = {"code": _ERROR, "message": text(label.message or label.end)}
        span["attributes"] = attributes(values)
        rest = msgspec.json.encode(span)
        found = [parent for one in texts for parent in parents(one)]
        return _Part(name, rest[1:-2] + b",", found[0] if found else None)


def is_known(label: Label, shape: Shape, not_kept: Label) -> bool:
    """Whether the index has all of a row's SQL: a single statement that is not too long and was
    kept.
    """
    return shape.statements < 2 and label is not not_kept and len(label.sql) < LONGEST_SQL


def _split(address: str) -> tuple[str, int]:
    """Host and port of an address; a Unix socket has no port."""
    host, _, port = address.rpartition(":")
    number = whole_number(port, LAST_PORT)
    if address.startswith(("/", "unix:")) or number is None:
        return address or "unknown", 0
    return host.strip("[]"), number


def resource(service: str, host: str) -> bytes:
    values: dict[str, str | int | bool] = {"service.name": service}
    if host:
        values["host.name"] = host
    return msgspec.json.encode({"attributes": attributes(values)})


SCOPE: Final = msgspec.json.encode({"name": "pgtrace", "version": __version__})


class Sums:
    """The sums for the metrics, by driver, application and leg. Other projects have metrics with
    names in pgtrace, so these have another prefix.
    """

    NAMES: Final = {
        "round_trips": ("pgwire.round_trips", "{round_trip}", "Times the driver waited for the network."),
        "setup_round_trips": ("pgwire.setup_round_trips", "{round_trip}", "The same while connecting."),
        "executions": ("pgwire.executions", "{execution}", "Statements run."),
        "parses": ("pgwire.parses", "{message}", "Statements parsed."),
        "reused": ("pgwire.reused", "{message}", "Binds to a prepared statement after the first."),
        "errors": ("pgwire.errors", "{error}", "ErrorResponses."),
        "rows": ("pgwire.rows", "{row}", "Rows returned."),
    }
    WAIT: Final = ("pgwire.wait", "s", "Time spent waiting for answers.")
    IO: Final = ("pgwire.io", "By", "Bytes of the protocol.")
    GAP: Final = ("pgwire.gap", "By", "Bytes that passed and were not recorded.")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._sums: dict[tuple[str, str, str], dict[str, int]] = {}

    @property
    def points(self) -> int:
        """The number of points in a request."""
        return len(self._sums) * (len(self.NAMES) + 3) + 1

    def add(self, places: Iterable[int]) -> None:
        """Add the complete round trips among the rows at these places."""
        rows = self._trace.rows
        for place in places:
            entry = rows.entry(place)
            shape = rows.shape_at(entry.shape)
            if entry.is_open or shape.kind > RowKind.SETUP:
                continue
            connection = self._trace.connections[entry.connection]
            key = connection.driver, connection.application_name, connection.leg
            found = self._sums.setdefault(key, dict.fromkeys((*self.NAMES, "wait", "sent", "received"), 0))
            shares = rows.label_at(entry.label).shares
            found["setup_round_trips" if shape.kind is RowKind.SETUP else "round_trips"] += 1
            found["executions"] += shape.executions
            found["parses"] += sum(share.parses for share in shares)
            found["reused"] += sum(share.reused for share in shares)
            found["errors"] += shape.errors
            found["rows"] += entry.rows
            found["wait"] += entry.wait_ns
            found["sent"] += entry.sent_bytes
            found["received"] += entry.received_bytes

    def request(self) -> bytes:
        """The body of a request with the sums since the beginning of the capture."""
        times = {"startTimeUnixNano": str(self._trace.start_ns), "timeUnixNano": str(self._trace.end_ns)}
        points: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

        def point(metric: tuple[str, str, str], value: int | float, **more: str) -> None:
            number = {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
            points.setdefault(metric, []).append({"attributes": attributes({**about, **more}), **times, **number})

        about: dict[str, str | int | bool] = {}
        for (driver, application, leg), sums in sorted(self._sums.items()):
            about = {"pgtrace.driver": driver, "pgtrace.application": application, **({"pgtrace.leg": leg} if leg else {})}
            for key, metric in self.NAMES.items():
                point(metric, sums[key])
            point(self.WAIT, sums["wait"] / 1e9)
            point(self.IO, sums["sent"], **{"network.io.direction": "transmit"})
            point(self.IO, sums["received"], **{"network.io.direction": "receive"})
        about = {}
        point(self.GAP, self._trace.dropped_bytes)
        metrics = [
            {
                "name": name,
                "unit": unit,
                "description": what,
                "sum": {"dataPoints": found, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True},
            }
            for (name, unit, what), found in points.items()
        ]
        host = self._trace.headers[0].host if self._trace.headers else ""
        scope = b'{"scope":%b,"metrics":%b}' % (SCOPE, msgspec.json.encode(metrics))
        return b'{"resourceMetrics":[{"resource":%b,"scopeMetrics":[%b]}]}' % (resource("pgtrace", host), scope)


def export(trace: Trace, *, places: Sequence[int] | None = None, metrics: bool = False, literals: bool = False) -> Iterator[Piece]:
    """Lines, each a request that a collector accepts: spans, or with `metrics` one line of sums."""
    wanted = range(len(trace.rows)) if places is None else places
    if metrics:
        sums = Sums(trace)
        sums.add(wanted)
        yield Piece(sums.request().decode() + "\n", 1.0)
        return
    spans = Spans(trace, Choice(literals=literals), legs.find(trace))
    for start in range(0, len(wanted), SPANS_IN_A_REQUEST):
        found = list(spans.of(wanted[start : start + SPANS_IN_A_REQUEST]))
        done = min(1.0, (start + SPANS_IN_A_REQUEST) / len(wanted))
        yield Piece(spans.request(found).decode() + "\n" if found else "", done)
