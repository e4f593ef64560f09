"""Round trips as trace events, for Perfetto (ui.perfetto.dev) and chrome://tracing.

A process is a capture, a thread is a connection, and a round trip is a complete event (`X`), set-up
included. Its arguments are its row, flight, SQL, rows, bytes and error. Events of one thread must
nest; round trips do, because those of a connection never overlap. A round trip without an end lasts
until the end of the capture. Other rows are instants (`i`): marks and gaps of all connections, the
others of their connection.

Times are in µs from the beginning of the capture. Text from the wire passes sanitise.py, because a
web page shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pgtrace import sanitise, sqltext
from pgtrace.export import Piece
from pgtrace.report import filenames
from pgtrace.report.encoding import as_json
from pgtrace.sqltext.summary import summary
from pgtrace.trace.connection import Connection
from pgtrace.trace.row import Row, RowKind, prepared_earlier
from pgtrace.trace.trace import Trace

_AT_ONCE: Final = 500
_NAME_WIDTH: Final = 100
_OF_ALL: Final = (RowKind.MARK, RowKind.GAP)
"""Kinds of rows that belong to no connection."""
_CATEGORIES: Final = {RowKind.ROUND_TRIP: "round trip", RowKind.SETUP: "set-up"}


def export(trace: Trace, *, places: Sequence[int] | None = None) -> Iterator[Piece]:
    """One JSON object, one event per line."""
    wanted = range(len(trace.rows)) if places is None else places
    events = _Events(trace)
    head = {"pgtrace": {"files": list(map(sanitise.text, filenames.all_of(trace))), "start_ns": str(trace.start_ns)}}
    before = f'{{"displayTimeUnit":"ms","otherData":{as_json(head)},"traceEvents":[\n'
    for start in range(0, len(wanted), _AT_ONCE):
        lines = [as_json(event) for place in wanted[start : start + _AT_ONCE] for event in events.of(place)]
        yield Piece(before + ",\n".join(lines), min(1.0, (start + _AT_ONCE) / len(wanted)))
        before = ",\n"
    yield Piece(f"{'' if len(wanted) else before}\n]}}\n", 1.0)


class _Events:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._threads: set[int] = set()
        self._processes: set[int] = set()

    def of(self, place: int) -> Iterator[dict[str, Any]]:
        """The event of a row, preceded by the names of its process and thread when they are new."""
        row = self._trace.rows[place]
        if row.shape.kind in _OF_ALL:
            yield {"ph": "i", "s": "g", "name": _words(row), "cat": "capture", "ts": row.opened_ns / 1e3, "pid": 1, "tid": 0}
            return
        connection = self._trace.connections[row.connection]
        process = connection.file + 1
        if process not in self._processes:
            self._processes.add(process)
            yield _about("process_name", process, 0, name=sanitise.text(filenames.sent(self._trace.files[connection.file])))
        thread = row.connection + 1
        if thread not in self._threads:
            self._threads.add(thread)
            yield _about("thread_name", process, thread, name=_thread(connection))
            yield _about("thread_sort_index", process, thread, sort_index=row.connection)
        event = {
            "name": _words(row),
            "cat": _CATEGORIES.get(row.shape.kind, "other"),
            "ts": row.opened_ns / 1e3,
            "pid": process,
            "tid": thread,
        }
        if row.is_round_trip:
            took_ns = max(0, self._trace.duration_ns - row.opened_ns) if row.duration_ns is None else row.duration_ns
            yield {"ph": "X", **event, "dur": took_ns / 1e3, "args": self._arguments(row)}
        else:
            yield {"ph": "i", "s": "t", **event}

    def _arguments(self, row: Row) -> dict[str, str | int | bool]:
        found: dict[str, str | int | bool] = {"row": row.number, "flight": sanitise.text(row.shape.flight)}
        if row.label.sql:
            found["sql"] = sanitise.text(row.label.sql, newline="\n")
        found |= {"rows": row.rows, "sent_bytes": row.sent_bytes, "received_bytes": row.received_bytes}
        if row.first_ns is not None:
            found["first_byte_us"] = row.first_ns // 1000
        if row.shape.errors:
            found["error"] = sanitise.text(row.label.error) or "error"
        if row.label.end:
            found["end"] = sanitise.text(row.label.end)
        if row.is_open:
            found["open"] = True
        if self._trace.waited_for_disk(row):
            found["waited_for_disk"] = True
        sites = self._trace.call_sites.at(row.number - 1)
        if sites:
            found["code"] = sanitise.text("; ".join(site.words for site in sites))
        return found


def _words(row: Row) -> str:
    """The name of an event: a summary of its statements, else its text or its flight."""
    seen = row.shape.statements and row.label.sql != prepared_earlier(row.shape.statement)
    words = (summary(row.label.sql) if seen else "") or row.label.sql or row.shape.flight
    return sanitise.text(sqltext.shorten(words, _NAME_WIDTH))


def _thread(connection: Connection) -> str:
    about = connection.application_name
    return sanitise.text("  ".join(part for part in (connection.name, connection.driver, about[:_NAME_WIDTH]) if part))


def _about(what: str, process: int, thread: int, **arguments: str | int) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "ts": 0, "args": arguments}
