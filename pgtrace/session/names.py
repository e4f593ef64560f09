"""The prepared statement or portal that a name refers to, and whether a transaction block is open.

Names are kept twice. `live` is the server's view: it changes when the reply arrives (ParseComplete,
BindComplete, CloseComplete, a command tag). `sending` is the driver's view: it changes when the
message is sent, so it gives the statement of a Bind before the reply arrives. After an error the
server's view decides, plus what is still owed.

SQL-level PREPARE, DEALLOCATE and DISCARD ALL are recognised by command tags and the statement's
text; so are DECLARE and CLOSE of a cursor, which is a portal. A transaction block begins with the
tag BEGIN or START TRANSACTION outside a block. It lasts until COMMIT, PREPARE TRANSACTION, a whole
ROLLBACK (ROLLBACK TO has the same tag but a different text), or a ReadyForQuery `I`.

The memory for names is bounded (Room, shared by the sessions of a reading). Beyond the bound the
older half is forgotten. A forgotten statement still counts as alive; if it is bound again it counts
as prepared earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from pgtrace import sqltext
from pgtrace.session import owed
from pgtrace.session.events import Observer
from pgtrace.session.hashes import Hashes
from pgtrace.session.roundtrips import RoundTrips
from pgtrace.session.statements import Portal, Statement

NAMES_BYTES: Final = 40 * 1024 * 1024
"""The memory for the statements and portals of all sessions of a reading."""
FORGOTTEN_KEPT: Final = 500_000
"""The most forgotten names of a session that are distinguished from new ones."""
_OVERHEAD: Final = 500
"""The approximate bytes that a name takes in addition to its texts."""


class Room:
    """The memory that the sessions of a reading use for statements and portals."""

    __slots__ = ("bytes", "crowded")

    def __init__(self) -> None:
        self.bytes = 0
        self.crowded = False
        """Whether the sessions together use too much, so the caller should drop some."""


class Names:
    """The names and the transaction block of one session."""

    __slots__ = (
        "_bytes",
        "_forgotten",
        "_room",
        "_round_trips",
        "in_block",
        "live",
        "live_portals",
        "observer",
        "sending",
        "sending_portals",
        "suspended",
        "version",
    )

    def __init__(self, observer: Observer, round_trips: RoundTrips, room: Room) -> None:
        self.observer = observer
        self._round_trips = round_trips
        self._room = room
        self._bytes = 0
        self._forgotten = Hashes()
        """Hashes of forgotten names whose statements are alive."""
        self.live: dict[str, Statement] = {}
        self.live_portals: dict[str, Portal] = {}
        self.sending: dict[str, Statement] = {}
        self.sending_portals: dict[str, Portal] = {}
        self.suspended: set[str] = set()
        """Portals whose last Execute ended in PortalSuspended."""
        self.in_block = False
        self.version = 0
        """Changes whenever the name of a statement refers to another statement."""

    @property
    def live_named(self) -> int:
        """The number of named statements that are alive."""
        return len(self.live) - ("" in self.live) + len(self._forgotten)

    # Memory, and forgetting.

    def weigh(self, size: int) -> None:
        """Account for `size` more bytes."""
        self._bytes += size
        self._room.bytes += size
        if self._room.bytes > NAMES_BYTES:
            self._bound()

    def release(self) -> None:
        """Release the memory of this session."""
        self._room.bytes -= self._bytes
        self._bytes = 0

    def _bound(self) -> None:
        """Recount the names that still exist. If they take too much memory, forget the older
        half."""
        self._recount()
        if self._room.bytes <= NAMES_BYTES * 3 // 4:
            return
        if self._bytes < NAMES_BYTES // 8:
            self._room.crowded = True
            return
        for name in list(islice(self.live, len(self.live) // 2)):
            statement = self.live.pop(name)
            if name and len(self._forgotten) < FORGOTTEN_KEPT:
                self._forgotten.add(hash(name))
                if (run := self._round_trips.about()) is not None:
                    run.part(statement).forgotten = True
        for known in (self.sending, self.live_portals, self.sending_portals):
            for name in list(islice(known, len(known) // 2)):
                del known[name]
        self.suspended.intersection_update(self.live_portals)
        self.version += 1
        self._recount()

    def _recount(self) -> None:
        known = {id(one): one for one in (*self.live.values(), *self.sending.values())}
        size = sum(_OVERHEAD + len(one.name) + len(one.sql or "") + len(one.columns) for one in known.values())
        size += _OVERHEAD * len(self.live_portals) + sum(_OVERHEAD + len(name) for name in self.sending_portals)
        self._room.bytes += size - self._bytes
        self._bytes = size

    def _remembered(self, name: str) -> None:
        """Note that a name is known again, so it is not a forgotten one."""
        if self._forgotten:
            self._forgotten.discard(hash(name))

    # The driver's view: a message was sent.

    def parse(self, name: str, sql: str, parameter_types: tuple[int, ...]) -> Statement:
        known = self.sending.get(name)
        if known is not None and known.sql == sql and known.sent_types == parameter_types and not name:
            # The unnamed statement again: what is known of its columns stays valid.
            statement = known
        else:
            statement = self.sending[name] = Statement(name, sql, parameter_types)
            self.version += 1
            self.observer.named("S", name, statement)
            if name:
                self.weigh(_OVERHEAD + len(name) + len(sql))
        return statement

    def bind(self, portal_name: str, statement_name: str, result_formats: tuple[int, ...]) -> Portal:
        known = self.sending_portals.get(portal_name)
        statement = self.statement(statement_name)
        if known is not None and known.statement is statement and known.result_formats == result_formats:
            portal = known
        else:
            portal = self.sending_portals[portal_name] = Portal(portal_name, statement, result_formats)
            self.observer.named("P", portal_name, portal)
            if portal_name:
                self.weigh(2 * _OVERHEAD + len(portal_name))
        return portal

    def statement(self, name: str) -> Statement:
        """The statement that the driver means. It has no SQL if its Parse was not seen."""
        statement = self.sending.get(name)
        if statement is None:
            statement = self.sending[name] = self.live.get(name) or Statement(name, None)
            self.version += 1
            self.weigh(_OVERHEAD + len(name))
        return statement

    def portal(self, name: str) -> Portal:
        """The portal that the driver means, or a new one without SQL."""
        portal = self.sending_portals.get(name)
        if portal is None:
            portal = self.sending_portals[name] = Portal(name, Statement("", None), ())
        return portal

    def close(self, kind: str, name: str) -> None:
        if kind == "S":
            self.sending.pop(name, None)
        else:
            self.sending_portals.pop(name, None)

    def lose(self) -> None:
        """Bytes are missing. Named statements are assumed to be alive; the unnamed one and portals
        are not."""
        self.live.pop("", None)
        self.live_portals.clear()
        self.suspended.clear()
        self.restore(())

    # The server's view: a reply came.

    def parsed(self, statement: Statement) -> None:
        statement.accepted = True
        if self.live.get(statement.name) is not statement:
            self.live[statement.name] = statement
            self._remembered(statement.name)
            self.version += 1

    def bound(self, item: owed.Owed, times: int = 1) -> None:
        statement = self.live.get(item.name) or item.statement
        if statement is None:
            return
        if item.name not in self.live:
            self.live[item.name] = statement
            self._remembered(item.name)
            self.version += 1
        portal = self.sending_portals.get(item.portal)
        if portal is None or portal.statement is not statement or portal.result_formats != item.result_formats:
            portal = Portal(item.portal, statement, item.result_formats)
        self.live_portals[item.portal] = portal
        self.suspended.discard(item.portal)
        reused = times if statement.binds else times - 1
        statement.binds += times
        if statement.name and reused:
            self._round_trips.counting.statements_reused += reused
            if (run := self._round_trips.about()) is not None:
                run.part(statement).reused += reused

    def closed(self, kind: str, name: str) -> None:
        self.version += 1
        if kind == "S":
            self._drop(name, "Close")
        else:
            self.live_portals.pop(name, None)
            self.suspended.discard(name)

    def _drop(self, name: str, how: str) -> None:
        statement = self.live.pop(name, None)
        self._remembered(name)
        if statement is not None and name and (run := self._round_trips.about()) is not None:
            run.part(statement).dropped = how

    def failed(self, dropped: Iterable[owed.Owed], still_owed: Iterable[owed.Owed]) -> None:
        """An error made the backend discard messages."""
        if not any(item.kind in (owed.PARSE, owed.BIND, owed.CLOSE) for item in dropped):
            return
        self.restore(still_owed)

    def restore(self, still_owed: Iterable[owed.Owed]) -> None:
        """Reset the driver's view to the server's, plus what is still owed."""
        self.version += 1
        for name, statement in self.live.items():
            if self.sending.get(name) is not statement:
                self.observer.named("S", name, statement)
        self.sending = dict(self.live)
        self.sending_portals = dict(self.live_portals)
        for item in still_owed:
            if item.kind == owed.PARSE and item.statement is not None:
                self.sending[item.statement.name] = item.statement
            elif item.kind == owed.BIND and item.statement is not None:
                self.sending_portals[item.portal] = Portal(item.portal, item.statement, item.result_formats)
            elif item.kind == owed.CLOSE:
                self.close(item.portal, item.name)

    def completed(self, tag: str, statement: Statement) -> None:
        """A command tag arrived: update the transaction block, and the statements and portals that
        SQL creates or drops."""
        if tag in ("BEGIN", "START TRANSACTION"):
            if not self.in_block:
                self.in_block = True
                self._round_trips.counting.transactions += 1
        elif tag in ("COMMIT", "PREPARE TRANSACTION"):
            self.in_block = False
        elif tag == "ROLLBACK":
            if "TO" not in sqltext.words(statement.sql or "", 3):
                self.in_block = False
        elif tag in ("DISCARD ALL", "DEALLOCATE ALL"):
            self.version += 1
            for name in list(self.live):
                self._drop(name, tag)
            self._forgotten.clear()
            self.sending.clear()
        elif tag == "DEALLOCATE":
            self.version += 1
            # DEALLOCATE [PREPARE] name
            for name in sqltext.identifiers(statement.sql or "", 3)[1:][-1:]:
                self._drop(name, tag)
                self.sending.pop(name, None)
        elif tag == "PREPARE":
            self.version += 1
            for name in sqltext.identifiers(statement.sql or "", 2)[1:]:
                made = Statement(name, statement.sql)
                made.accepted = True
                self.live[name] = self.sending[name] = made
                self._remembered(name)
                self.observer.named("S", name, made)
                self.weigh(_OVERHEAD + len(name) + len(made.sql or ""))
        elif tag == "DECLARE CURSOR":
            for name in sqltext.identifiers(statement.sql or "", 2)[1:]:
                self._declared(name, statement.sql)
        elif tag == "CLOSE CURSOR":
            for name in sqltext.identifiers(statement.sql or "", 2)[1:]:
                self.closed("P", name)
                self.sending_portals.pop(name, None)

    def _declared(self, name: str, sql: str | None) -> None:
        """DECLARE made a cursor. It is a portal, so protocol messages can name it."""
        known = self.live_portals.get(name)
        if known is not None and known.statement.sql == sql:
            return  # the same again: what is known of its columns stays valid
        self.version += 1
        portal = self.live_portals[name] = self.sending_portals[name] = Portal(name, Statement("", sql), ())
        self.observer.named("P", name, portal)
        self.weigh(2 * _OVERHEAD + len(name) + len(sql or ""))
