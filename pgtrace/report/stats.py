"""The counters of a trace as one JSON object, and as tables to read.

The JSON is a contract (`pgtrace.stats/1`): keys may be added, but none changes. The tables show the
same numbers in the columns of the live view.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgtrace import sanitise
from pgtrace.report import about, times
from pgtrace.report.table import NOTHING, count, long_table, ms, ratio, size, table
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.trace import security
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.times import Times
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.ask.filter.rowcounting import RowCounts
    from pgtrace.legs.joins import Joins
    from pgtrace.legs.sums import Leg

SCHEMA = "pgtrace.stats/1"
_FILTERED = "filtered"
_VARIANTS_SHOWN = 3
"""The most statements for which the number of comment variants is printed."""
HEAD: Final = ["set-up", "round trips", "exec", "rt/ex", "pipelined", "prepared", "reused", "errors", "rows", "sent", "recv", "wait ms"]
"""The columns of cells()."""


def as_dict(trace: Trace, joins: Joins | None = None) -> dict[str, Any]:
    """The object of `stats --json`."""
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in _parts(trace, joins)}


def as_json(trace: Trace, joins: Joins | None = None) -> Iterator[Shown]:
    """That object as indented text, in pieces, so that many connections are never in memory at
    once.
    """
    before = "{"
    for key, value in _parts(trace, joins):
        yield Shown(f'{before}\n  "{key}": ')
        if isinstance(value, Iterator):
            opening = "["
            for one in value:
                yield Shown(f"{opening}\n    {_indented(one, 4)}")
                opening = ","
            yield Shown("[]" if opening == "[" else "\n  ]")
        else:
            yield _indented(value, 2)
        before = ","
    yield Shown("\n}\n")


def _parts(trace: Trace, joins: Joins | None) -> Iterator[tuple[str, Any]]:
    """The keys and values of that object; lists are iterators."""
    from pgtrace.legs.sums import legs  # tables do not need it

    yield "schema", SCHEMA
    if trace.filter is not None:
        yield "filter", trace.filter
    yield (
        "capture",
        {
            "files": trace.files,
            "duration_ns": trace.duration_ns,
            "connections": len(trace.connections),
            "complete": trace.complete,
            "gaps": trace.gaps,
            "dropped_bytes": trace.dropped_bytes,
            **({"disk_waits_ns": trace.disk_waits_ns} if trace.disk_waits_ns else {}),
            **({"put_aside": trace.put_aside} if trace.put_aside else {}),
            **({"times_back": trace.times_back} if trace.times_back else {}),
        },
    )
    timed = times.of(trace)
    yield "totals", trace.totals().as_dict()
    if timed:
        yield "times", timed["all"].get(None, Times()).as_dict()
    yield (
        "drivers",
        (
            {"driver": driver, "connections": number, **_timed(timed, "driver", driver), **counters.as_dict()}
            for driver, number, counters in trace.drivers()
        ),
    )
    yield (
        "connections",
        (
            _connection(trace, connection, joins) | _timed(timed, "connection", connection.index)
            for connection in trace.counted_connections()
        ),
    )
    yield "statements", (view.group.as_dict(view.driver) for view in trace.statements())
    yield (
        "labels",
        (
            {"label": label, "connections": number, **_timed(timed, "label", label), **counters.as_dict()}
            for label, number, counters in trace.label_counters()
            if label
        ),
    )
    yield "legs", (_leg(trace, one) | _timed(timed, "leg", one.side) for one in legs(trace, joins) if one.letter)
    yield "joins", joins.as_dict() if joins is not None else None
    yield "marks", ({"mark": name, **_timed(timed, "mark", name), **counters.as_dict()} for name, counters in mark_counters(trace).items())


def _timed(timed: times.Found, by: str, key: Hashable) -> dict[str, Any]:
    """A dict with the key `times` for that group; empty if its times are not known."""
    found = timed.get(by, {}).get(key)
    return {"times": found.as_dict()} if found is not None else {}


def _indented(value: object, columns: int) -> Shown:
    from pgtrace.report import encoding  # tables do not need it

    return Shown(encoding.as_json(value, indent=2).replace("\n", "\n" + " " * columns))


def as_text(
    trace: Trace,
    by: str,
    title: str = "",
    took_s: float | None = None,
    selected: RowCounts | None = None,
    joins: Joins | None = None,
    columns: int | None = None,
) -> Iterator[Shown]:
    """Lines of a table: one for all, then one for each driver, connection, statement, mark, label,
    file or leg.

    `title` replaces the names of the files, `took_s` the time they span. With `selected`, the
    counters are those of selected rows; it has none for statements and marks. `joins` are those of
    the trace. `columns` is the width of the terminal, if there is one. Many connections are never
    in memory at once.
    """
    sums = selected or trace
    yield heading(trace, title, trace.duration_ns / 1e9 if took_s is None else took_s, sums.filter)
    yield EMPTY
    if by == "statement":
        yield from _statements(trace)
    elif by == "connection":
        head = [by, "driver", "layer", "process", "kind"]
        yield from long_table([*head, *HEAD], _connections(trace, sums), left=frozenset(range(len(head))), columns=columns)
    elif by == "mark":
        marks = mark_counters(trace)
        if marks:
            yield from table([by, *HEAD], [[name, *cells(counters)] for name, counters in marks.items()], columns=columns)
        else:
            yield sanitise.line("no marks: set them in the program with pgtrace.mark(), or around it with `pgtrace mark begin NAME`")
    elif by == "leg" and not trace.has_legs and joins is None:
        yield sanitise.line("one leg: `pgtrace listen LISTEN=UPSTREAM LISTEN=UPSTREAM` records several, a pooler's two sides for instance")
    else:
        counted = _COUNTED_BY[by](trace, sums, joins)
        rows = [(_everything(sums), sums.counted, sums.totals()), *((group.name, group.number, group.counters) for group in counted)]
        lines = [[name, count(number), *cells(counters)] for name, number, counters in rows]
        yield from table([by, "conn", *HEAD], lines, columns=columns)
        if by == "leg" and joins is not None:
            yield EMPTY
            yield sanitise.line(f"Round trips behind a pooler count once: in `{rows[0][0]}` it is on the drivers' side.")


class _Group(NamedTuple):
    """One line of such a table: its key in the times, its name, its connections and counters."""

    key: Hashable
    name: str
    number: int
    counters: Counters


def _legs(trace: Trace, sums: Trace | RowCounts, joins: Joins | None) -> Iterator[_Group]:
    from pgtrace.legs.sums import legs  # other tables do not need it

    found = legs(trace, joins, sums.connection_counters())
    letters = [leg.letter for leg in found]
    for leg in found:
        name = f"{leg.letter} {leg.listeners[0]} → {leg.upstreams[0]}" if leg.letter else "(no leg)"
        if letters.count(leg.letter) > 1:
            name = f"{trace.files[leg.side[0]]}: {name}"
        yield _Group(leg.side, name, leg.connections, leg.counters)


_COUNTED_BY: Final[dict[str, Callable[[Trace, Trace | RowCounts, Joins | None], list[_Group]]]] = {
    "driver": lambda trace, sums, joins: [_Group(driver, driver, number, counters) for driver, number, counters in sums.drivers()],
    "file": lambda trace, sums, joins: [_Group(file, *one) for file, one in enumerate(sums.file_counters())],
    "label": lambda trace, sums, joins: [
        _Group(label, label or "(no label)", number, counters) for label, number, counters in sums.label_counters()
    ],
    "leg": lambda trace, sums, joins: [*_legs(trace, sums, joins)],
}
OF_ROWS: Final = frozenset({*_COUNTED_BY, "connection"})
"""The groupings for which counters of selected rows are known."""


def more(trace: Trace, by: str, selected: RowCounts | None = None, joins: Joins | None = None) -> Iterator[Shown]:
    """Lines of two tables: times, formats and sizes by that grouping (for statements only sizes),
    then messages per type.
    """
    if by == "statement":
        yield EMPTY
        yield from _sizes(trace)
    timed = times.of(selected or trace)
    if timed and by != "statement":
        yield EMPTY
        yield from times.as_text(by, _groups(trace, selected or trace, by, timed, joins), trace.call_sites.units if by == "mark" else ())
    yield EMPTY
    yield from messages(trace, by, selected, joins)


def _groups(
    trace: Trace, sums: Trace | RowCounts, by: str, timed: times.Found, joins: Joins | None
) -> Iterator[tuple[str, Times | None, Counters]]:
    yield _everything(sums), timed["all"].get(None), sums.totals()
    if by == "connection":
        for connection, counters in sums.connection_counters():
            yield trace.name_of(connection), timed[by].get(connection.index), counters
    elif by == "mark":
        for name, counters in mark_counters(trace).items():
            yield name, timed[by].get(name), counters
    else:
        for group in _COUNTED_BY[by](trace, sums, joins):
            yield group.name, timed[by].get(group.key), group.counters


def _connections(trace: Trace, sums: Trace | RowCounts) -> Iterator[list[str]]:
    """The rows of the table by connection."""
    yield [_everything(sums), "", "", "", "", *cells(sums.totals())]
    for connection, counters in sums.connection_counters():
        who = [connection.driver, connection.layer.name or NOTHING, about.process(connection) or NOTHING, connection.kind]
        yield [trace.name_of(connection), *who, *cells(counters)]


def messages(trace: Trace, by: str, selected: RowCounts | None = None, joins: Joins | None = None) -> list[Shown]:
    """Lines of a table: messages per type, with one column for all and one for each driver, mark,
    label, file or leg.
    """
    if by == "mark":
        columns = mark_counters(trace)
    else:
        sums = selected or trace
        counted = _COUNTED_BY.get(by, _COUNTED_BY["driver"])(trace, sums, joins)
        columns = {_everything(sums): sums.totals()} | {group.name: group.counters for group in counted}
    lines = []
    for side, key in (("F", "frontend_messages"), ("B", "backend_messages")):
        names = sorted({name for counters in columns.values() for name in getattr(counters, key)})
        lines += [[f"{side} {name}", *(count(getattr(counters, key).get(name, 0)) for counters in columns.values())] for name in names]
    return table(["messages", *columns], lines)


def _everything(sums: Trace | RowCounts) -> str:
    return "all" if sums.filter is None else _FILTERED


def heading(trace: Trace, title: str, took_s: float, chosen: str | None) -> Shown:
    """The first line of a table: its captures, their length, their gaps, the filter."""
    connections = len(trace.connections)
    parts = [f"{took_s:.3f} s", f"{connections} connection{'' if connections == 1 else 's'}"]
    if trace.gaps:
        parts.append(f"{trace.gaps} gap{'' if trace.gaps == 1 else 's'}, {trace.dropped_bytes} bytes not recorded")
    if trace.disk_waits_ns:
        parts.append(f"waited {trace.disk_waits_ns / 1e9:.1f} s for the capture's disk, included in the times")
    if chosen is not None:
        parts.append(f"filter: {chosen}")
    if not title and not trace.complete:
        parts.append("not complete")
    return sanitise.line(f"{title or ', '.join(trace.files)}: {', '.join(parts)}")


def cells(counters: Counters) -> list[str]:
    """The line of these counters under HEAD."""
    return [
        count(counters.setup_round_trips),
        count(counters.round_trips),
        count(counters.executions),
        ratio(counters.round_trips, counters.executions),
        count(counters.pipelined_executions),
        count(counters.parses_named),
        count(counters.statements_reused),
        count(counters.errors),
        count(counters.rows),
        size(counters.frontend_bytes),
        size(counters.backend_bytes),
        ms(counters.wait_ns),
    ]


def _statements(trace: Trace) -> list[Shown]:
    head = ["driver", "rt", "exec", "rt/ex", "parse", "reused", "live", "fmt", "rows", "p50 ms", "p95 ms", "all ms", "err", "SQL"]
    rows = []
    views = trace.statements()
    for view in views:
        group = view.group
        formats = (
            "m" if group.values_text and group.values_binary else "b" if group.values_binary else "t" if group.values_text else NOTHING
        )
        wait = group.wait
        rows.append(
            [
                view.driver,
                count(group.round_trips),
                count(group.executions),
                ratio(group.round_trips, group.executions),
                count(group.parses),
                count(group.reused),
                count(group.live),
                formats,
                count(group.rows),
                *(ms(part) if wait.count else NOTHING for part in (wait.percentile(50), wait.percentile(95), wait.total)),
                count(group.errors),
                " ".join(group.sql.split()),
            ]
        )
    lines = table(head, rows, left=frozenset({0, len(head) - 1}))
    notes = []
    if any(view.group.round_trips > view.group.round_trips_alone for view in views):
        notes.append("A round trip shared by several statements counts for each.")
    for view in sorted(views, key=lambda view: -view.group.comment_variants)[:_VARIANTS_SHOWN]:
        if view.group.comment_variants:
            notes.append(f"{count(view.group.comment_variants)} texts differ only in comments: {' '.join(view.group.sql.split())}")
    return [*lines, EMPTY, *map(sanitise.line, notes)] if notes else lines


def _sizes(trace: Trace) -> list[Shown]:
    """The bytes of each statement, and of each execution of it."""
    rows = []
    for view in trace.statements():
        group = view.group
        each = group.bytes_per_execution
        shown = [size(round(number)) for number in each] if each is not None else [NOTHING, NOTHING]
        sql = " ".join(group.sql.split())
        rows.append([view.driver, count(group.executions), size(group.frontend_bytes), size(group.backend_bytes), *shown, sql])
    return table(["driver", "exec", "sent", "recv", "sent/ex", "recv/ex", "SQL"], rows, left=frozenset({0, 6}))


def _leg(trace: Trace, leg: Leg) -> dict[str, Any]:
    return {
        "leg": leg.letter,
        "file": trace.files[leg.side[0]],
        "listeners": leg.listeners,
        "upstreams": leg.upstreams,
        "connections": leg.connections,
        **leg.counters.as_dict(),
    }


def _connection(trace: Trace, connection: Connection, joins: Joins | None) -> dict[str, Any]:
    connection.refresh()
    process = connection.peer_process
    target = trace.connections[connection.cancels].number if connection.cancels is not None else None
    return {
        "file": trace.files[connection.file],
        "connection": connection.number,
        "kind": connection.kind,
        "driver": connection.driver,
        "driver_evidence": list(connection.driver_evidence),
        "layer": connection.layer.name or None,
        "layer_evidence": list(connection.layer.evidence),
        "peer_process": process._asdict() if process is not None else None,
        "application_name": connection.application_name,
        "user": connection.user,
        "database": connection.database,
        "client": connection.client,
        "upstream": connection.upstream,
        "leg": connection.leg or (joins.leg(connection.index) if joins is not None else "") or None,
        "protocol": connection.protocol,
        "protocol_requested": connection.protocol_requested,
        "unrecognized_options": list(connection.unrecognized_options),
        "server_version": connection.server_version,
        "backend_pid": connection.backend_pid,
        "startup_parameters": dict(connection.startup_parameters),
        "tls": {"frontend": connection.facts.get("tls.frontend"), "backend": connection.facts.get("tls.backend")},
        "tls_details": security.tls(connection.facts),
        "authentication": connection.authentication,
        "cancels": target,
        "end": connection.end or None,
        "ends": [{"by": end.by, "how": end.how, "time_ns": end.time_ns} for end in connection.ends],
        "left_open": connection.left_open or None,
        "closed_ns": connection.closed_ns,
        **connection.counters(trace.duration_ns).as_dict(),
    }
