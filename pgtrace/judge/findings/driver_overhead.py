"""driver-overhead: a pool or a layer adds round trips around the work: pings, resets, savepoints
around one statement, BEGIN inside a transaction.

Pings and resets are recognised by their contents: a Sync alone, unless it ends a query that a Flush
has answered (pg-cursor); a Query that is answered by EmptyQueryResponse; a block that holds only an
empty statement (SQLAlchemy's pool_pre_ping with asyncpg); outside a block, `SELECT 1`, or a
statement that resets the session and does nothing else (DISCARD ALL, RESET ALL, UNLISTEN *). A
savepoint around one statement that is then released costs two round trips, unless that statement
fails in its savepoint at some other time. A BEGIN directly after a BEGIN costs one.

Reported from TIMES of one kind on one connection, if there is at least one for every MOST_WORK
round trips that do work. Next to a ping, BEGIN and COMMIT do not count as work, because a reset
after each transaction follows a unit of work. Not reported: a connection that does nothing but
check, and a heartbeat (more than PINGS_TOGETHER pings in a row, or pings with PAUSE_NS before and
PAUSED_NS after them).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.kind import PAUSE_NS, PAUSED_NS, ROUND_TRIPS, Kind, Note, Seen, Step, Watch
from pgtrace.trace.row import Shape

TIMES: Final = 3
MOST_WORK: Final = 3
"""The most round trips that do work, per check."""
PINGS_TOGETHER: Final = 2
"""A pool may check a connection when it is returned, and again when it is taken."""
_CHECKS_KEPT: Final = 1_000
AROUND: Final = frozenset({"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"})
"""Tags of commands that begin or end a block."""
_IN_BLOCK: Final = "an empty statement in a transaction of its own"
_SYNC: Final = "a Sync alone"
_EMPTY: Final = "an empty Query"
_SELECT_1: Final = "SELECT 1"
_PINGS: Final = (_SYNC, _EMPTY, _SELECT_1)
_SAVEPOINTS: Final = "a savepoint around one statement"
_NESTED: Final = "BEGIN directly after BEGIN"
_IN_PROGRESS: Final = "25001"
RESETS: Final = frozenset({"DISCARD ALL", "RESET", "UNLISTEN", "CLOSE CURSOR ALL", "DISCARD"})
_BESIDE_RESETS: Final = frozenset({"SELECT", "SET"})
_CHECKS: Final = frozenset({"SELECT $1", "SELECT $1;"})
_LONGEST: Final = 10


def is_reset(step: Step) -> bool:
    """Whether the statement resets the whole session, or all state of one kind, and does nothing
    else.
    """
    tags = step.shape.tags
    if RESETS.isdisjoint(tags) or not (RESETS | _BESIDE_RESETS).issuperset(tags) or step.rows > 1:
        return False
    sql = step.label.sql
    return "DISCARD ALL" in tags or texts.has(sql, "RESET", "ALL") or texts.has(sql, "UNLISTEN", "?")


def may_be_check(key: str) -> bool:
    """Whether a statement with that key may be a check that the connection is alive."""
    return len(key) <= _LONGEST and key.upper() in _CHECKS


def only_ends(step: Step, before: Step | None) -> bool:
    """Whether it is the Sync of a query that a Flush has answered already, before it."""
    return step.shape.sent == b"S" and before is not None and not before.is_whole


def is_ping(step: Step, before: Step | None) -> bool:
    """Whether the round trip only checks that the connection is alive; `before` is the one before
    it."""
    if step.shape.sent == b"S":
        return not only_ends(step, before)
    empty = step.shape.sent == b"Q" and step.shape.received == b"IZ"
    return empty or (step.shape.depth == 1 and step.rows == 1 and may_be_check(step.key) and texts.is_select_1(step.label.sql))


def may_be_ping(shape: Shape) -> bool:
    """Whether a round trip with that shape may be a check that the connection is alive."""
    # a row limit leaves the portal suspended
    asks = shape.tags == ("SELECT",) or (not shape.tags and b"s" in shape.received)
    return shape.sent == b"S" or b"I" in shape.received or (asks and shape.statements == 1 and b"D" in shape.received)


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._checked = 0
        """The number of checks so far; all other round trips do work."""
        self._around = 0
        """The number of other round trips that only begin or end a block."""
        self._checks: dict[str, list[tuple[int, bool]]] = {}
        self._uses: Counter[str] = Counter()
        self._notes: dict[str, Note] = {}
        self._block: list[Step] = []
        """The transaction so far, if it may be a check."""
        self._savepoint: list[Step] = []
        """A savepoint, and the one statement in it."""
        self._saved: dict[str, list[tuple[int, bool]]] = {}
        """SQL of a statement -> the savepoints around it alone."""
        self._fails: set[str] = set()
        """Statements that failed in a savepoint around them alone."""
        self._begun = False
        """Whether the previous round trip only began a block."""
        self._pings: list[Step] = []
        """The latest pings in a row, at most as many as matter."""
        self._pinged = 0
        """The number of the round trip with the latest ping."""

    def row(self, step: Step) -> None:
        words = "" if only_ends(step, self.seen.before) else self._words(step)
        if self._pings and (words not in _PINGS or self.seen.round_trips > self._pinged + 1):
            self._end_pings()
        self._around += _is_around(step)
        self._nested(step)
        if words in _PINGS:
            self._checked += 1
            self._pinged = self.seen.round_trips
            if len(self._pings) <= PINGS_TOGETHER:
                self._pings.append(step)
        elif words:
            self._check(words, step)
        elif not self._is_in_check(step):
            self._block = []
        elif step.shape.status == "I":
            self._check(_IN_BLOCK, *self._block, step)
            self._block = []
        else:
            self._block.append(step)

    def rests(self, step: Step) -> bool:
        shape = step.shape
        is_apart = shape.status_before == shape.status == "I" and not self._block and not self._savepoint
        return is_apart and RESETS.isdisjoint(shape.tags) and not may_be_check(step.key) and not self._words(step)

    def lost(self) -> None:
        self._block, self._savepoint, self._begun, self._pings = [], [], False, []

    def paused(self, before: Step, place: int, pause_ns: int, words: str, *, counts: bool) -> None:
        if self._pings and before is self._pings[-1] and pause_ns >= PAUSED_NS:
            pause = self._pings[0].pause_ns
            if pause is None or pause > PAUSE_NS:
                self._pings = []

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        self._end_pings()

    def _end_pings(self) -> None:
        """Something else follows the pings: decide whether they were a pool's checks or a
        heartbeat.
        """
        pings, self._pings = self._pings, []
        if len(pings) <= PINGS_TOGETHER:
            for ping in pings:
                self._check(self._words(ping), ping)

    def _nested(self, step: Step) -> None:
        """Recognise savepoints around one statement, and BEGIN after BEGIN."""
        shape = step.shape
        if self._begun and shape.status_before == "T" and _IN_PROGRESS in shape.warnings:
            self._check(_NESTED, step)
        self._begun = shape.block_began and shape.depth == 1 and shape.status == "T" and not step.rows
        if shape.tags == ("SAVEPOINT",) and shape.depth == 1:
            self._savepoint = [step]
        elif self._savepoint and shape.errors:
            if len(self._savepoint) == 1:
                self._is_needed(step.key)
            self._savepoint = []
        elif len(self._savepoint) == 1 and shape.depth == 1 and shape.tags != ("RELEASE",):
            self._savepoint.append(step)
        elif len(self._savepoint) == 2 and shape.tags == ("RELEASE",) and shape.depth == 1:
            self._spare(self._savepoint[1].key, self._savepoint[0], step)
            self._savepoint = []
        elif shape.depth:
            self._savepoint = []

    def _spare(self, key: str, *steps: Step) -> None:
        """Note a savepoint around a statement that has not failed so far."""
        if key in self._fails:
            return
        if len(self._saved) >= _CHECKS_KEPT:
            self._saved.clear()
        saved = self._saved.setdefault(key, [])
        saved += [(step.place, step.counts) for step in steps]
        del saved[:-_CHECKS_KEPT]
        self._check(_SAVEPOINTS, *steps)

    def _is_needed(self, key: str) -> None:
        """The statement has failed, so its savepoints are needed: do not count them, nor the
        earlier ones.
        """
        if len(self._fails) >= _CHECKS_KEPT:
            return
        self._fails.add(key)
        places = set(self._saved.pop(key, ()))
        if not places:
            return
        self._uses[_SAVEPOINTS] -= len(places) // 2
        self._checked -= len(places)
        waiting = self._checks.get(_SAVEPOINTS, [])
        reported = places.difference(waiting)
        waiting[:] = [one for one in waiting if one not in places]
        note = self._notes.get(_SAVEPOINTS)
        if note is not None:
            counted = {place for place, counts in reported if counts}
            note.cost = max(0, note.cost - len(counted))
            note.times = max(0, note.times - len(counted))
            note.evidence = [one for one in note.evidence if one.place not in counted]

    def _is_in_check(self, step: Step) -> bool:
        """Whether the step may be part of a check in a block: BEGIN, an empty statement, the end of
        the block.
        """
        shape, block = step.shape, self._block
        if shape.errors or shape.depth > 1 or (shape.depth == 0 and not step.only_prepares):
            return False
        if not block:
            return shape.status_before == "I" and shape.status == "T" and not step.rows and shape.depth == 1
        if step.is_empty or step.only_prepares:
            return shape.status == "T" and not any(one.is_empty for one in block)
        return shape.status == "I" and block[-1].is_empty

    def _check(self, words: str, *steps: Step) -> None:
        self._uses[words] += 1
        checks = self._checks.setdefault(words, [])
        checks += [(step.place, step.counts) for step in steps]
        if words in _PINGS:  # they are counted already, and something came after them
            work = self._pinged + 1 - self._checked - self._around
        else:
            self._checked += len(steps)
            self._around -= sum(map(_is_around, steps))
            work = self.seen.round_trips + 1 - self._checked
        if words not in self._notes and (self._uses[words] < TIMES or not TIMES <= work <= MOST_WORK * len(checks)):
            del checks[:-_CHECKS_KEPT]
            return
        note = self._notes.setdefault(words, self.seen.note(KIND, words))
        note.fact(words)
        for place, counts in checks:
            if counts:
                self.seen.row_of(place, KIND)
                note.cost += 1
                note.times += 1
                note.show(place, words)
        for step in steps:
            note.absorb("re-parse", step.key)
        checks.clear()

    def _words(self, step: Step) -> str:
        if step.shape.status != "I" or step.shape.status_before != "I" or step.shape.errors:
            return ""
        if step.shape.sent == b"S":
            return _SYNC
        if step.shape.sent == b"Q" and step.shape.received == b"IZ":
            return _EMPTY
        if is_reset(step):
            return "the session is reset"
        return _SELECT_1 if is_ping(step, None) else ""


def _is_around(step: Step) -> bool:
    """Whether the step only begins or ends a block."""
    return step.shape.depth == 1 and bool(step.shape.tags) and AROUND.issuperset(step.shape.tags)


def _cares(shape: Shape) -> bool:
    if shape.sent == b"S" or "T" in (shape.status_before, shape.status) or not RESETS.isdisjoint(shape.tags):
        return True
    return may_be_ping(shape)


def _what(note: Note) -> str:
    return f"{note.subject}: {note.times} round trips between those that do work"


KIND: Final = Kind(
    name="driver-overhead",
    unit=ROUND_TRIPS,
    why="Pools and layers check, reset or nest each time a connection is used. Hold it for a whole unit of work, and you pay only once.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    remedies=(
        Remedy(
            "do not put a savepoint around a statement that cannot fail; or put one around several statements",
            needs=(_SAVEPOINTS,),
            tried="no-savepoint",
            clients=DEMO,
        ),
        Remedy(
            "send one BEGIN per transaction, from the driver or from the application, not from both",
            needs=(_NESTED,),
            tried="one-begin",
            clients=DEMO,
        ),
        Remedy(
            "hold one connection for a unit of work; let the pool check a connection only after it was idle, not at each use",
            unless=(_SAVEPOINTS, _NESTED),
            tried="checked-once",
            clients=("psycopg", "psycopg2", "pg8000", "sqlalchemy"),
        ),
    ),
)
