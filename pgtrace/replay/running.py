"""A replay in one loop: connections open, send and close as they were recorded.

- libpq logs in (`psycopg.pq`), with its services, passwords and SCRAM, one step whenever its socket
  is ready. Then its socket is taken over, and recorded bytes are written to it. libpq connects to
  the Recorder, so it needs no TLS.
- With a speed, everything is sent at its recorded time divided by the speed, or as soon as the
  answer that it waits for arrives. At `max` there is no clock; a connection opens when those that
  had closed before it have closed.
- libpq sends recorded CancelRequests again, as long after the statement as when recorded.

A connection that cannot be opened, or that the server ends, does not end the others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pgtrace.errors import LoginsFailed, MissingExtra
from pgtrace.replay.connection import Connection
from pgtrace.replay.loop import READ, WRITE, Loop
from pgtrace.replay.plan import Plan

_LOGINS: Final = 32
"""The most logins at once."""
_CANCELS_WITHOUT_WAITING: Final = 170_000
"""The first libpq that cancels without blocking."""
_CANCEL_AT_MAX_NS: Final = 100_000_000
_OURS: Final = frozenset({"user", "database", "options", "replication", "application_name", "client_encoding"})
_FAILURES_KEPT: Final = 100


class Replay:
    """Plays plans against the server at a conninfo string."""

    def __init__(self, plans: list[Plan], login: str, *, speed: float = 1.0, read_only: bool = False) -> None:
        """`login` is libpq's conninfo string: the recorder's address, and the user's own login.
        Raises MissingExtra.
        """
        try:
            from psycopg import Error, conninfo, pq
        except ImportError:
            raise MissingExtra("replay", "replay") from None
        self._pq: Any = pq
        self._error = Error
        self._make = conninfo.make_conninfo
        self._plans = sorted(plans, key=lambda plan: plan.script.opened_ns)
        self._login = login
        self._read_only = read_only
        self.units = sum(plan.units for plan in plans)
        self.failures: list[str] = []
        """Why connections could not be opened, or ended early."""
        self.failed = 0
        self.lost = 0
        """Connections that the server ended before everything was sent."""
        self.cancels = 0
        self.stopped = False
        self._played = 0
        self._open: set[Connection] = set()
        self._begun = 0
        self._ended = 0
        self._closed: set[int] = set()
        self._closes = sorted((plan.script.ended_ns, index) for index, plan in enumerate(self._plans))
        self._prefix = 0
        self._loop = Loop(speed, min((plan.script.opened_ns for plan in plans), default=0))
        self._logins = 0
        self._driven: set[Any] = set()

    @property
    def progress(self) -> float:
        """The progress from 0 to 1, by recorded time or by bytes sent, whichever is less."""
        return min(self.sent, self._loop.passed(self._closes[-1][0]) if self._closes else 1.0)

    @property
    def sent(self) -> float:
        """The share of units that were sent, from 0 to 1."""
        now = sum(connection.player.sent for connection in list(self._open))
        return (self._played + now) / max(1, self.units)

    def stop(self) -> None:
        """Make run() return soon. Any thread may call this."""
        self.stopped = True

    def run(self) -> None:
        """Play everything. Raises LoginsFailed if no connection could be opened."""
        with self._loop as loop:
            while self._ended < len(self._plans) and not self.stopped:
                loop.turn(self._begin_due() if self._begun < len(self._plans) else None)
            for connection in list(self._open):
                connection.leave()
        for libpq in self._driven:
            libpq.finish()
        if self.failed and self.failed == len(self._plans):
            raise LoginsFailed(self.failures[0])

    def _begin_due(self) -> int | None:
        """Begin the logins that are due. Returns the time of the next one, or None if another login
        must end first.
        """
        while self._begun < len(self._plans) and self._logins < _LOGINS:
            plan = self._plans[self._begun]
            if not self._is_due(plan):
                return plan.script.opened_ns
            self._begun += 1
            self._log_in(self._begun - 1)
        return None

    def _is_due(self, plan: Plan) -> bool:
        opened_ns = plan.script.opened_ns
        if not self._loop.is_at_max:
            return opened_ns <= self._loop.until_ns()
        return self._have_closed(bisect_left(self._closes, (opened_ns, -1)))

    def _have_closed(self, number: int) -> bool:
        while self._prefix < len(self._closes) and self._closes[self._prefix][1] in self._closed:
            self._closed.discard(self._closes[self._prefix][1])
            self._prefix += 1
        return self._prefix >= number

    def _has_closed(self, index: int) -> None:
        self._ended += 1
        self._closed.add(index)

    def _log_in(self, index: int) -> None:
        """Begin the login of that connection."""
        try:
            pgconn = self._pq.PGconn.connect_start(self._conninfo(self._plans[index]))
        except ValueError as error:
            self._has_failed(index, str(error))
            return
        self._logins += 1
        self._drive(pgconn, pgconn.connect_poll, partial(self._play, index, pgconn))

    def _drive(self, libpq: Any, poll: Callable[[], int], then: Callable[[], object]) -> None:
        """Let libpq continue a login or a cancel until it has ended."""
        status = poll()
        if status not in (self._pq.PollingStatus.READING, self._pq.PollingStatus.WRITING):
            self._driven.discard(libpq)
            then()
            return
        self._driven.add(libpq)
        file = libpq.socket  # each step may change it

        def go_on(_: int) -> None:
            self._loop.unwatch(file)
            self._drive(libpq, poll, then)

        self._loop.watch(file, READ if status == self._pq.PollingStatus.READING else WRITE, go_on)

    def _play(self, index: int, pgconn: Any) -> None:
        """Take over the socket after the login."""
        self._logins -= 1
        if pgconn.status != self._pq.ConnStatus.OK:
            why = pgconn.error_message.decode("utf-8", "replace").strip()
            pgconn.finish()
            self._has_failed(index, why)
            return
        connection = Connection(
            self._loop, self._plans[index], pgconn, cancel=self._cancel_later, has_ended=partial(self._has_ended, index)
        )
        self._open.add(connection)
        connection.start()

    def _has_ended(self, index: int, connection: Connection) -> None:
        self._open.discard(connection)
        self._played += connection.player.sent
        if connection.lost:
            self.lost += 1
            self._fails(self._plans[index], "the server ended it before everything was sent")
        self._has_closed(index)

    def _cancel_later(self, pgconn: Any, after_ns: int) -> None:
        """Cancel a statement as long after it was sent as it was recorded."""
        self.cancels += 1
        waits = self._pq.version() < _CANCELS_WITHOUT_WAITING
        cancel = pgconn.get_cancel() if waits else pgconn.cancel_conn()
        self._loop.after(after_ns, _CANCEL_AT_MAX_NS, partial(self._cancel, cancel, waits=waits))

    def _cancel(self, cancel: Any, *, waits: bool) -> None:
        """Send a CancelRequest. If it cannot be sent, the statement continues."""
        with suppress(self._error):
            if waits:
                cancel.cancel()
            else:
                cancel.start()
                self._drive(cancel, cancel.poll, cancel.finish)

    def _has_failed(self, index: int, why: str) -> None:
        self.failed += 1
        self._fails(self._plans[index], why)
        self._has_closed(index)

    def _fails(self, plan: Plan, why: str) -> None:
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(f"recorded connection {plan.script.number}: {why}")

    def _conninfo(self, plan: Plan) -> bytes:
        """The conninfo string for a login: the recorded settings with the user's own login."""
        recorded = dict(plan.script.parameters)
        options = [recorded["options"]] if recorded.get("options") else []
        options += [
            f"-c {name}={_escaped(value)}" for name, value in recorded.items() if name not in _OURS and not name.startswith("_pq_.")
        ]
        options += ["-c default_transaction_read_only=on"] if self._read_only else []
        settings: dict[str, Any] = {"sslmode": "disable", "gssencmode": "disable"}
        if options:
            settings["options"] = " ".join(options)
        if recorded.get("application_name"):
            settings["application_name"] = recorded["application_name"]
        if encoding := recorded.get("client_encoding", "").strip("'"):
            settings["client_encoding"] = encoding
        return self._make(self._login, **settings).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
