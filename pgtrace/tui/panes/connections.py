"""The Connections pane: one line for each connection, with its driver and its state; below, all
details of the selected one.

Open connections come first, then ended ones, dim. All lines show the same moment; the details below
are computed when they are drawn. `in transaction` for more than a second with nothing under way is
highlighted, because the server waits and holds its locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.strip import Strip

from pgtrace.describe.arguments import counted
from pgtrace.report import about
from pgtrace.trace import security
from pgtrace.trace.connection import Connection
from pgtrace.trace.row import Row
from pgtrace.tui.model import cells, figures, rates, rowtext
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.fields import Field, Runs, number
from pgtrace.tui.model.filtering import of_connection
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.details import labelled
from pgtrace.tui.widgets.table import TablePane

_IDLE_TOO_LONG_NS = 1_000_000_000
_STATEMENTS_LEAST = 3
_OTHER_LINES = 13
"""The number of detail lines without the statements."""
_PORTALS_SHOWN = 8
_NO_NAME = '""'


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state of one connection at one moment."""

    connection: Connection
    name: str
    driver: str
    state: str
    role: str
    setup_round_trips: int
    round_trips: int
    live: int
    errors: int
    age_ns: int
    in_transaction_ns: int
    last_ns: int
    busy: float | None
    """The share of the time after its set-up in which it waited for the server; None if there was
    no such time."""
    served_ns: int

    @property
    def is_open(self) -> bool:
        return self.connection.closed_ns is None

    @property
    def dimmed(self) -> str:
        return "text" if self.is_open else "dim"


def _words(text: str, role: str = "dim") -> Runs:
    return [(text or "–", role if text else "faint")]


def _driver(pane: Connections, item: ConnectionState, width: int) -> Runs:
    layer = item.connection.layer.name
    text = f"{item.driver} +{layer}" if layer else item.driver
    return _words(rowtext.plain(text, width), item.dimmed)


def _tls(item: ConnectionState) -> str:
    """The TLS versions of the driver's leg and of the upstream's: `–/1.3`."""
    facts = item.connection.facts
    return "/".join(facts.get(f"tls.{leg}", "–").removeprefix("TLSv") for leg in ("frontend", "backend"))


def _process(item: ConnectionState) -> str:
    return about.process(item.connection) or item.connection.client


class Connections(TablePane[ConnectionState]):
    """The table of connections."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("connections")
    FIELDS = (
        Field("cn", 5, lambda p, s, w: _words(s.name, s.dimmed), gap=0, right=False, key=lambda p, s: -s.connection.index, rising=True),
        Field("driver", 12, _driver, right=False),
        Field(
            "user@database",
            17,
            lambda p, s, w: _words(rowtext.plain(f"{s.connection.user}@{s.connection.database}", w) if s.connection.user else "", s.dimmed),
            rank=1,
            right=False,
        ),
        Field("application", 12, lambda p, s, w: _words(rowtext.plain(s.connection.application_name, w)), rank=5, right=False),
        Field("client", 16, lambda p, s, w: _words(rowtext.plain(_process(s), w)), rank=2, right=False),
        Field("tls F/B", 8, lambda p, s, w: _words(rowtext.plain(_tls(s), w)), rank=3, right=False),
        Field("login", 14, lambda p, s, w: _words(rowtext.plain(_login(s.connection), w)), rank=8, right=False),
        Field("state", 0, lambda p, s, w: _words(rowtext.plain(s.state, w), s.role), right=False),
        Field("set-up", 6, lambda p, s, w: number(s.setup_round_trips, w), rank=3, key=lambda p, s: s.setup_round_trips),
        Field("rt", 6, lambda p, s, w: number(s.round_trips, w, "strong"), key=lambda p, s: s.round_trips),
        Field("live", 4, lambda p, s, w: number(s.live, w), key=lambda p, s: s.live),
        Field("err", 3, lambda p, s, w: number(s.errors, w, "error"), key=lambda p, s: s.errors),
        Field("in tx", 10, lambda p, s, w: _since(s.in_transaction_ns), rank=7, key=lambda p, s: s.in_transaction_ns),
        Field("age", 10, lambda p, s, w: _since(s.age_ns), rank=6, key=lambda p, s: s.age_ns),
        Field("last", 9, lambda p, s, w: _words(figures.seconds(s.last_ns)), rank=9, key=lambda p, s: s.last_ns),
        Field(
            "busy",
            5,
            lambda p, s, w: [(f"{100 * s.busy:.0f}%" if s.busy is not None else "·", "dim")],
            rank=6,
            key=lambda p, s: s.busy or 0,
        ),
        Field("activity", 12, lambda p, s, w: p.band(s, w), rank=4, right=False, title="busy, idle ┄"),
    )
    SORTS = ("cn", "rt", "live", "err", "set-up", "busy", "age", "in tx", "last")
    now_ns = 0
    LEAST = 18
    NOTHING = "no connections"

    def gather(self) -> Iterator[list[ConnectionState] | None]:
        view = self.view
        now_ns = view.reading.now_ns
        under_way = {row.connection: row for row in map(view.trace.rows.__getitem__, view.survey.open)}
        since = {one.connection: one.opened_ns for one in view.survey.transactions if one.is_open}
        found = []
        sums = view.counted.sums
        for connection in list(view.trace.connections):
            if view.is_filtered and (sums is None or connection.index not in sums.by_connection):
                yield None
                continue
            found.append(self._connection_state(connection, under_way.get(connection.index), since.get(connection.index)))
            yield None
        self.now_ns = now_ns
        yield found

    def band(self, item: ConnectionState, width: int) -> Runs:
        """The capture's time up to the moment of the table in equal parts: a block for the share of
        it that the connection was in round trips, `┄` where it was open and idle."""
        connection, until_ns = item.connection, max(1, self.now_ns)
        blocks = rates.shares(self.view.survey.activity.of(connection.index, until_ns, width))
        first = connection.opened_ns * width // until_ns
        last = (until_ns if connection.ended_ns is None else connection.ended_ns) * width // until_ns
        runs: Runs = []
        for part, block in enumerate(blocks):
            text, role = (block, "bar") if block != " " else ("┄" if first <= part <= last else " ", "faint")
            if runs and runs[-1][1] == role:
                runs[-1] = (runs[-1][0] + text, role)
            else:
                runs.append((text, role))
        return runs

    def identity(self, item: ConnectionState) -> object:
        return item.connection.index

    def first(self, item: ConnectionState) -> bool:
        return item.is_open

    def filter(self, item: ConnectionState) -> str:
        return of_connection(item.name)

    def offers(self) -> list[Offer]:
        item = self.item
        return [] if item is None else [Offer("r", "its details", lambda: safe("\n".join(about.lines(self.view.trace, item.connection))))]

    def note(self) -> str:
        if self.view.is_filtered:
            return "round trips and errors are those that the filter selects" if self.items else ""
        at_once = self.view.survey.at_once
        return f"at most {counted(at_once.most, 'round trip')} at once, first at {figures.seconds(at_once.at_ns)} s" if at_once.most else ""

    def title(self, item: ConnectionState) -> str:
        return " ".join((item.name, rowtext.plain(item.driver, 20)))

    def details(self, item: ConnectionState, width: int) -> Iterator[Strip]:
        connection, pen = item.connection, self.view.pen

        def line(label: str, *runs: tuple[str, str]) -> Strip:
            return labelled(pen, width, label, *((rowtext.plain(text, width), role) for text, role in runs))

        for label, name, evidence in (
            ("driver", item.driver, connection.driver_evidence),
            ("layer", connection.layer.name, connection.layer.evidence),
        ):
            if name:
                yield line(label, (name, "text"), (f", because {'; '.join(evidence)}" if evidence else ", without evidence", "dim"))
        yield line("life", *_life(item))
        yield line("server", (_server(connection), "text"))
        if item.busy is not None:
            yield line(
                "busy",
                (f"{figures.milliseconds(item.served_ns)} ms", "text"),
                (f" for the server, {100 * item.busy:.1f} % of its time after set-up", "dim"),
            )
        yield labelled(pen, width, "", *self.band(item, max(1, width - 14)))
        yield from self._cancels(connection, line)
        yield from self._prepared(item, width, line)
        portals = [f"{one.name or _NO_NAME} of {one.statement.name or _NO_NAME}" for one in connection.portals]
        yield line("portals", ("   ".join(portals[:_PORTALS_SHOWN]) or "none open", "text" if portals else "dim"))
        for label, words in security.in_words(connection.facts, connection.authentication):
            yield line(label, (words, "attention" if label == "dead end" else "text"))
        if not security.tls(connection.facts) and connection.kind != "opaque":
            yield line("TLS", ("none on either side", "dim"))
        parameters = "  ".join(f"{name}={value}" for name, value in connection.startup_parameters)
        yield line("start-up", (parameters or "not seen", "text" if parameters else "dim"))
        process = about.process(connection)
        yield line("between", (f"{connection.client} → {connection.upstream}", "text"), (f"   process {process}" if process else "", "dim"))

    def _prepared(self, item: ConnectionState, width: int, line: Callable[..., Strip]) -> Iterator[Strip]:
        """The statements that are alive, those with the most Binds first, as many as fit above the
        other lines.
        """
        connection, pen = item.connection, self.view.pen
        counters = connection.counters(self.view.reading.now_ns)
        yield line(
            "prepared",
            (f"{counters.statements_live} live{'' if item.is_open else ' at its end'}", "text"),
            (f", {counters.statements_reused} reused, {counters.parses_named} in all", "dim"),
        )
        named = sorted(connection.last_statements, key=lambda one: -one.binds)
        for statement in named[: max(_STATEMENTS_LEAST, self.details_lines - _OTHER_LINES)]:
            name = rowtext.plain(rowtext.statement_name(statement.name, item.driver), 14)
            reused = f"  reused {max(0, statement.binds - 1)}"
            sql = rowtext.sql(statement.sql or "prepared earlier", max(10, width - 28 - len(reused)))
            yield labelled(pen, width, "", (cells.pad(name, 15), "dim"), (sql, "text"), (reused, "dim"))

    def _cancels(self, connection: Connection, line: Callable[..., Strip]) -> Iterator[Strip]:
        trace = self.view.trace
        if connection.cancels is not None:
            yield line(
                "cancels", (f"{trace.name_of(trace.connections[connection.cancels])} at {figures.seconds(connection.opened_ns)}", "text")
            )
        by = [one for one in trace.connections if one.cancels == connection.index]
        if by:
            cancels = "  ".join(f"{trace.name_of(one)} at {figures.seconds(one.opened_ns)}" for one in by[:8])
            yield line("cancelled", (f"{counted(len(by), 'time')}, by {cancels}", "text"))

    def _connection_state(self, connection: Connection, under_way: Row | None, since_ns: int | None) -> ConnectionState:
        view = self.view
        connection.refresh()
        counters = connection.counters(view.reading.now_ns)
        sums = view.counted.sums
        shown = sums.by_connection.get(connection.index, counters) if view.is_filtered and sums is not None else counters
        session_ns = counters.wait_ns + counters.client_ns
        end_ns = view.reading.now_ns if connection.ended_ns is None else connection.ended_ns
        in_transaction_ns = max(0, end_ns - since_ns) if since_ns is not None else 0
        state, role = self._state(connection, under_way)
        return ConnectionState(
            connection=connection,
            name=view.connection_name(connection.index),
            driver=view.driver(connection.index),
            state=state,
            role=role,
            setup_round_trips=shown.setup_round_trips,
            round_trips=shown.round_trips,
            live=counters.statements_live,
            errors=shown.errors,
            age_ns=max(0, end_ns - connection.opened_ns),
            in_transaction_ns=in_transaction_ns,
            last_ns=connection.last_ns,
            busy=counters.wait_ns / session_ns if session_ns else None,
            served_ns=counters.wait_ns,
        )

    def _state(self, connection: Connection, under_way: Row | None) -> tuple[str, str]:
        """The state of a connection in words, and their role."""
        trace = self.view.trace
        if connection.cancels is not None:
            return f"cancels {trace.name_of(trace.connections[connection.cancels])}", "text"
        if connection.closed_ns is not None:
            if connection.terminated and (not connection.ends or connection.end.startswith("closed by the driver")):
                return "closed by driver", "dim"
            if connection.ends:
                return connection.end, "dim"
            return f"closed by {connection.closed_by}{', no Terminate' if connection.kind == 'session' else ''}", "dim"
        if connection.ends:
            return connection.end, "attention"
        if connection.asked_to_end:
            return "sent Terminate", "dim"
        if connection.kind == "opaque":
            return "opaque", "dim"
        now_ns = self.view.reading.now_ns
        if under_way is not None:
            wait = self.view.wait_of(connection, under_way.opened_ns)
            text = rowtext.waiting(wait, now_ns) if wait is not None else f"waits {figures.span(max(0, now_ns - under_way.opened_ns))}"
            return text, "attention" if wait is not None else "strong"
        quiet_ns = max(0, now_ns - connection.last_ns)
        idle = figures.span(quiet_ns)
        if connection.transaction_status == "E":
            return f"failed transaction {idle}", "error"
        if connection.transaction_status == "T":
            return f"in transaction {idle}", "attention" if quiet_ns > _IDLE_TOO_LONG_NS else "text"
        return f"idle {idle}", "dim"


def _since(duration_ns: int) -> Runs:
    return [(figures.span(duration_ns), "dim")] if duration_ns else [("·", "faint")]


def _life(item: ConnectionState) -> Runs:
    """When a connection began and ended, and who ended it."""
    connection = item.connection
    began = "joined" if connection.joined else "opened"
    runs = [(f"{began} {figures.seconds(connection.opened_ns)}", "text")]
    if connection.closed_ns is not None:
        runs.append(
            (
                f"   {item.state.partition(',')[0] if connection.cancels is None else 'closed'} {figures.seconds(connection.closed_ns)}",
                "text",
            )
        )
        if connection.kind == "session" and connection.cancels is None:
            runs.append((" with Terminate" if connection.terminated else " without Terminate", "dim"))
    elif connection.ends:
        runs.append((f"   {connection.end}", "text"))
    runs += [(f"   {end}", "dim") for end in about.ends(connection)]
    lasted = "" if connection.closed_ns is not None else "open for "
    return [*runs, (f"   {lasted}{figures.span(item.age_ns)}", "dim")]


def _login(connection: Connection) -> str:
    return connection.authentication.get("mechanism") or connection.authentication.get("request", "").removeprefix("Authentication")


def _server(connection: Connection) -> str:
    parts = [
        f"PostgreSQL {connection.server_version}" if connection.server_version else "",
        f"pid {connection.backend_pid}" if connection.backend_pid else "",
        f"protocol {connection.protocol}" if connection.protocol else "",
    ]
    return "   ".join(filter(None, parts)) or "not seen"
