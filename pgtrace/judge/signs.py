"""Evidence of a pooler between driver and server: behaviour that a server alone never shows.
Without it, no finding names a pooler.

- BackendKeyData with a process id outside 1..4,194,304, the largest on Linux: poolers make theirs
  up;
- two sessions at once with the same process id;
- an ErrorResponse without any of the fields V, F, L and R; PostgreSQL always sends some of them;
- a notification in a session without LISTEN that ran nothing which could have executed LISTEN
  unseen;
- both sides of a pooler are recorded, and its round trips joined (legs/);
- the server's side of a pooler in the same capture: a client whose statements are called
  PGBOUNCER_<n>, with another upstream than the driver's.

A sign on one connection applies to all connections to the same upstream. A Bind that fails although
its Parse was accepted is a sign, too; findings/statements_gone.py handles it, because it needs to
know more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from pgtrace.identify.drivers import pgbouncer
from pgtrace.judge import texts
from pgtrace.trace.row import Label, RowKind, Shape

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection

MOST_PID: Final = 4_194_304
UPSTREAMS_KEPT: Final = 1_000
PIDS_KEPT: Final = 10_000
_KEPT: Final = 8
_BOTH_SIDES: Final = "both of its sides were recorded, and are joined"
_OTHER_SIDE: Final = "the capture has the pooler's own connections, with statements called PGBOUNCER_<n>"
_OWN_ERRORS: Final = "pgtrace:"
_NOTIFICATION: Final = ord("A")
HIDES: Final = frozenset({"DO", "CALL"})
"""Tags of commands that may change the session in ways that the wire does not show."""


class Row(Protocol):
    """The fields of a row that a sign needs."""

    shape: Shape
    label: Label


class Upstreams:
    """The signs of each upstream of a trace."""

    def __init__(self, fronts: Collection[tuple[int, str]] = ()) -> None:
        """`fronts`: file and leg of each driver's side of a pooler whose two sides are joined."""
        self._fronts = fronts
        self._signs: dict[str, dict[str, None]] = {}
        self._poolers: set[tuple[int, str]] = set()
        """File and upstream of poolers' own connections."""
        self._pids: dict[tuple[str, int], int] = {}
        """(Upstream, process id) -> the index of the latest connection with it."""

    def of(self, upstream: str) -> dict[str, None]:
        """The signs of an upstream, for callers to add to. Beyond the bound, a set that is thrown
        away.
        """
        if upstream not in self._signs and len(self._signs) >= UPSTREAMS_KEPT:
            return {}
        return self._signs.setdefault(upstream, {})

    def pooler(self, connection: Connection) -> None:
        """Record that this is a pooler's own connection to the server."""
        if len(self._poolers) < UPSTREAMS_KEPT:
            self._poolers.add((connection.file, connection.upstream))

    def other_side(self, connection: Connection) -> str:
        """A sign in words if the same recorder saw a pooler's own connections to another upstream,
        else empty.
        """
        if (connection.file, connection.leg) in self._fronts:
            return _BOTH_SIDES
        behind = any(file == connection.file and upstream != connection.upstream for file, upstream in self._poolers)
        return _OTHER_SIDE if behind and (connection.file, connection.upstream) not in self._poolers else ""

    def is_shared(self, connection: Connection, connections: Sequence[Connection]) -> bool:
        """Whether another open session has the same process id."""
        if connection.backend_pid is None:
            return False
        key = (connection.upstream, connection.backend_pid)
        other = self._pids.get(key)
        if len(self._pids) >= PIDS_KEPT:
            self._pids.clear()
        self._pids[key] = connection.index
        if other is None or other == connection.index or connections[other].file != connection.file:
            return False
        ended_ns = connections[other].ended_ns
        return ended_ns is None or ended_ns > connection.opened_ns


def cares(shape: Shape) -> bool:
    """Whether a round trip with that shape may be a sign."""
    return bool(shape.errors) or _NOTIFICATION in shape.received or "LISTEN" in shape.tags or not HIDES.isdisjoint(shape.tags)


class Signs:
    """The signs that apply to one connection."""

    __slots__ = ("_connection", "_connections", "_listened", "_looked", "_upstreams")

    def __init__(self, connection: Connection, upstreams: Upstreams, connections: Sequence[Connection]) -> None:
        """`connections` are those of the trace."""
        self._connection = connection
        self._connections = connections
        self._upstreams = upstreams
        self._looked = False
        self._listened = connection.joined

    def __bool__(self) -> bool:
        return bool(self.words)

    @property
    def words(self) -> str:
        """The signs, in words; empty if there are none."""
        self.check_pid()
        return next(iter(self._shared), "") or self._upstreams.other_side(self._connection)

    @property
    def _shared(self) -> dict[str, None]:
        return self._upstreams.of(self._connection.upstream)

    def take(self, row: Row) -> None:
        """Look for signs in a row of the connection."""
        if row.shape.errors and any(not failure.is_postgres for failure in row.label.failures) and _OWN_ERRORS not in row.label.error:
            self._add("an error without the fields that PostgreSQL always sends")
        if "LISTEN" in row.shape.tags or not HIDES.isdisjoint(row.shape.tags) or (row.shape.depth and texts.calls_unknown(row.label.sql)):
            self._listened = True
        notified = _NOTIFICATION in row.shape.received or (row.shape.kind is RowKind.ASYNCHRONOUS and row.shape.flight == "← A")
        if notified and not self._listened and not self._connection.was_put_aside:
            self._add("a notification without LISTEN")

    def _add(self, words: str) -> None:
        signs = self._shared
        if len(signs) < _KEPT:
            signs[words] = None

    def check_pid(self) -> None:
        """Look for signs in the process id that the server sent at login."""
        pid = self._connection.backend_pid
        if self._looked or pid is None:
            return
        self._looked = True
        if not 1 <= pid <= MOST_PID:
            self._add(f"the process id {pid} is not a server's")
        if self._upstreams.is_shared(self._connection, self._connections):
            self._add(f"two sessions at once have the process id {pid}")
        if self._connection.driver == pgbouncer.NAME:
            self._upstreams.pooler(self._connection)
