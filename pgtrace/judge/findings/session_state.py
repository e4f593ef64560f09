"""session-state: a session keeps state beyond its transaction: settings, LISTEN, advisory locks,
temporary tables, cursors WITH HOLD, SQL-level PREPARE.

Behind a pooler in transaction mode, the next transaction may find another session's state, or none.
Without a pooler nothing is wrong. Recognised by command tags, so only for successful commands, and
by the text (judge/texts.py), once something else runs after it. LISTEN behind a pooler counts once
the session ends.

Not counted are: SET LOCAL; state that the same transaction undoes by ROLLBACK, RESET, CLOSE or DROP
(advisory locks and PREPARE outlast a ROLLBACK); a lock that was tried but not granted; without a
pooler, state that a reset drops before anything else runs; settings that poolers track (_TRACKED);
settings for a driver's own look-up of types. Without evidence of a pooler (judge/signs.py),
reported from TIMES of them, and never for LISTEN: a connection that listens is separate on purpose.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from pgtrace import sqltext
from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.inspect import details
from pgtrace.inspect.walk import NotKept
from pgtrace.judge import texts
from pgtrace.judge.findings.driver_overhead import is_reset
from pgtrace.judge.findings.introspection import is_own
from pgtrace.judge.findings.kind import ByWords, Kind, Note, Seen, Step, Watch, times
from pgtrace.protocol.codes import BACKEND
from pgtrace.trace.row import Shape

_DATA_ROW: Final = ord("D")
_FALSE: Final = ([b"\0\1\0\0\0\1f"], [b"\0\1\0\0\0\1\0"])
"""One column that is false, as text and in binary."""
_ANSWER_BYTES: Final = 64
_WORDS: Final = frozenset(
    {"SET_CONFIG", "LISTEN", "PREPARE", "DECLARE", "TEMP", "TEMPORARY", "PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK",
     "PG_ADVISORY_LOCK_SHARED", "PG_TRY_ADVISORY_LOCK_SHARED"}
)  # fmt: skip
TIMES: Final = 3
"""How many are needed without evidence of a pooler."""
_LISTEN: Final = "LISTEN"
_SETTING: Final = "a setting (SET)"
_OF_TRANSACTIONS: Final = "a setting of later transactions"
"""A fact: SET LOCAL has no effect on the setting, because the transaction has begun."""
_TRANSACTIONS: Final = ("DEFAULT_TRANSACTION_", "CHARACTERISTICS")
"""The first letters of the names of such settings."""
_PREPARED: Final = "a statement by SQL-level PREPARE"
_CURSOR: Final = "a cursor WITH HOLD"
_LOCK: Final = "an advisory lock"
_TEMPORARY: Final = "a temporary table"
_OUTLASTS_ROLLBACK: Final = frozenset({_LOCK, _PREPARED})
_MAKES_TABLES: Final = frozenset({"CREATE TABLE", "CREATE TABLE AS", "SELECT", "SELECT INTO", "CREATE VIEW"})
_UNLOCKS: Final = frozenset({"PG_ADVISORY_UNLOCK", "PG_ADVISORY_UNLOCK_SHARED"})
_UNLOCKS_ALL: Final = "PG_ADVISORY_UNLOCK_ALL"
_TRACKED: Final = frozenset(
    {"CLIENT_ENCODING", "NAMES", "DATESTYLE", "TIMEZONE", "TIME", "STANDARD_CONFORMING_STRINGS", "APPLICATION_NAME", "INTERVALSTYLE",
     "EXTRA_FLOAT_DIGITS"}
)  # fmt: skip
"""Settings that poolers carry from one server connection to the next, or that drivers set to the
same value on all connections.
"""
_GIVEN_UP: Final = {
    "RESET": _SETTING,
    "UNLISTEN": _LISTEN,
    "CLOSE CURSOR": _CURSOR,
    "CLOSE CURSOR ALL": _CURSOR,
    "DEALLOCATE": _PREPARED,
    "DEALLOCATE ALL": _PREPARED,
    "DROP TABLE": _TEMPORARY,
    "DROP VIEW": _TEMPORARY,
    "DISCARD TEMP": _TEMPORARY,
}
_ALL: Final = frozenset({"ALL", "TEMP", "?"})
"""Words for every name; `?` is `*`, or a quoted name."""


@ByWords
def _may_keep(sql: str) -> bool:
    """Whether the text sets any such state."""
    return not _WORDS.isdisjoint(texts.words(sql)) or any(one[0] == "SET" for one in texts.statements(sql))


class _Held(NamedTuple):
    """Something that the session keeps."""

    step: Step
    what: str
    name: str


def _state(tags: tuple[str, ...], sql: str) -> str:
    """The kind of state that a statement makes the session keep; empty if none."""
    if "LISTEN" in tags:
        return _LISTEN
    if "PREPARE" in tags:
        return _PREPARED
    if "DECLARE CURSOR" in tags and texts.declares_with_hold(sql):
        return _CURSOR
    if any(not lock.startswith(("PG_ADVISORY_XACT", "PG_TRY_ADVISORY_XACT")) for lock in texts.advisory_locks(sql)):
        return _LOCK
    if ("SET" in tags or "SELECT" in tags) and texts.sets_for_session(sql, _TRACKED):
        return _SETTING
    if not _MAKES_TABLES.isdisjoint(tags) and texts.makes_temporary(sql):
        return _TEMPORARY
    return ""


def _name(what: str, sql: str) -> str:
    """The name of the state, as far as the text shows it."""
    found = texts.words(sql)
    if what == _LOCK:
        return ""
    if what == _TEMPORARY:
        for before, word in pairwise(found):
            if before in ("TABLE", "VIEW", "EXISTS", "TEMP", "TEMPORARY") and word not in ("TABLE", "VIEW", "IF"):
                return word
        return ""
    return next((word for word in found[1:] if word not in ("SESSION", "(")), "")


def _parts(step: Step) -> list[tuple[tuple[str, ...], str]]:
    """Each statement of the step, with the tags that it may have; a single part if the tags cannot
    be assigned to statements.
    """
    tags, sql = step.shape.tags, step.label.sql
    statements = sqltext.split(sql) if step.shape.sent == b"Q" and not step.shape.errors else [sql]
    if len(statements) == 1:
        return [(tags, sql)]
    return [(tuple(tag for tag in tags if tag.startswith("".join(sqltext.words(one, 1)))) or tags, one) for one in statements]


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._held: list[_Held] = []
        """State set since the latest ReadyForQuery(I)."""
        self._savepoints: dict[str, int] = {}
        """Savepoint -> how much state was held when it was set."""
        self._kept: list[_Held] = []
        """State that outlived its transaction, while nothing else has run yet."""

    def row(self, step: Step) -> None:
        shape = step.shape
        if not (self._kept or self._held) and not _may_keep(step):
            return
        resets = is_reset(step)
        if self._kept and shape.status_before == "I" and shape.depth:
            if not resets:
                for kept in self._kept:
                    self._report(kept, step.place)
            if not resets or not self.seen.signs:
                self._kept.clear()
        if shape.depth:
            self._take(step, is_own=resets or is_own(self.seen, step.label.sql))
        if shape.block_end == "ROLLBACK":
            self._roll_back(0)
        if shape.status == "I":
            self._kept += self._held
            del self._kept[:-8]
            self._held.clear()
            self._savepoints.clear()

    def rests(self, step: Step) -> bool:
        return not (self._kept or self._held or _may_keep(step))

    def _take(self, step: Step, *, is_own: bool) -> None:
        for tags, sql in _parts(step):
            if self._held:
                self._give_up(tags, sql)
            what = "" if is_own or step.shape.errors else _state(tags, sql)
            if what and not (what == _LOCK and self._is_refused(step, sql)):
                self._held.append(_Held(step, what, _name(what, sql)))
                del self._held[:-8]

    def _give_up(self, tags: tuple[str, ...], sql: str) -> None:
        """Remove the state that the statement gives up."""
        found = texts.words(sql)
        if "SAVEPOINT" in tags:
            self._savepoints["".join(found[1:2])] = len(self._held)
        elif "ROLLBACK" in tags and "TO" in found:
            self._roll_back(self._savepoints.get(found[-1], 0))
        called = texts.called(sql)
        if _UNLOCKS_ALL in called:
            self._held = [one for one in self._held if one.what != _LOCK]
        for _ in _UNLOCKS.intersection(called):
            latest = next((place for place in range(len(self._held) - 1, -1, -1) if self._held[place].what == _LOCK), None)
            if latest is not None:
                del self._held[latest]
        if "SET" in tags and found[-1:] == ("DEFAULT",):
            self._held = [one for one in self._held if one.what != _SETTING or one.name not in found]
        for given_up in {_GIVEN_UP[tag] for tag in tags if tag in _GIVEN_UP}:
            names = {*found, ""} if _ALL.isdisjoint(found) else None
            self._held = [one for one in self._held if one.what != given_up or (names is not None and one.name not in names)]

    def _roll_back(self, to: int) -> None:
        self._held[to:] = [one for one in self._held[to:] if one.what in _OUTLASTS_ROLLBACK]

    def _is_refused(self, step: Step, sql: str) -> bool:
        """Whether the statement tried to take a lock and failed: its answer is false."""
        if step.rows != 1 or not all(name.startswith("PG_TRY_") for name in texts.advisory_locks(sql)):
            return False
        try:
            views = details.scan(self.seen.trace, step.place, _ANSWER_BYTES)
            bodies = [view.body for view in views if view.side == BACKEND and view.code == _DATA_ROW]
        except NotKept:
            return False
        return bodies in _FALSE

    def lost(self) -> None:
        self._held.clear()
        self._kept.clear()
        self._savepoints.clear()

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        """A session that listens may run nothing more, and behind a pooler gets no notification."""
        if self.seen.signs:
            for kept in self._kept:
                if kept.what == _LISTEN:
                    self._report(kept, place, "behind the pooler the server connection may have been another's by then")
            self._kept.clear()

    def _report(self, kept: _Held, after: int, words: str = "the next transaction may get another server connection") -> None:
        step, what = kept.step, kept.what
        if not step.counts:
            return
        note = self.seen.note(KIND, what)
        note.times += 1
        note.fact(_OF_TRANSACTIONS if what == _SETTING and kept.name.startswith(_TRANSACTIONS) else what)
        if self.seen.signs:
            note.fact("pooler")
        note.show(step.place, f"{what} stays with the session")
        note.show(after, words)
        self.seen.row_of(step.place, KIND)


def _cares(shape: Shape) -> bool:
    return bool(shape.depth)


def _what(note: Note) -> str:
    at_risk = "at risk: there is a pooler" if note.facts["pooler"] else "at risk behind a pooler in transaction mode"
    return f"{note.subject}, {times(note.times)}, outlives its transaction: {at_risk}"


KIND: Final = Kind(
    name="session-state",
    unit="at risk",
    why="Behind a pooler in transaction mode, the next transaction may run in another session, with another client's state. "
    "Without a pooler, it is safe.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: bool(note.facts["pooler"]) or (note.times >= TIMES and note.subject != _LISTEN),
    number=lambda note: note.times,
    cares=_cares,
    remedies=(
        Remedy(
            "use SET LOCAL in the transaction that needs it; otherwise use session pooling",
            needs=(_SETTING,),
            tried="state-of-transaction",
            clients=DEMO,
        ),
        Remedy(
            "begin the transaction with its options: BEGIN READ ONLY, BEGIN ISOLATION LEVEL ...; otherwise use session pooling",
            needs=(_OF_TRANSACTIONS,),
            tried="option-of-transaction",
            clients=DEMO,
        ),
        Remedy(
            "use pg_advisory_xact_lock() in the transaction that needs it; otherwise use session pooling",
            needs=(_LOCK,),
            tried="state-of-transaction",
            clients=DEMO,
        ),
        Remedy(
            "create the table ON COMMIT DROP, and use it in that transaction; otherwise use session pooling",
            needs=(_TEMPORARY,),
            tried="state-of-transaction",
            clients=DEMO,
        ),
        Remedy(
            "read the cursor in the transaction that declares it, without WITH HOLD; otherwise use session pooling",
            needs=(_CURSOR,),
            tried="state-of-transaction",
            clients=DEMO,
        ),
        Remedy(
            "run the statement itself, without PREPARE; a driver that prepares needs PgBouncer 1.21 or later with "
            "max_prepared_statements > 0",
            needs=(_PREPARED,),
            tried="no-prepare",
            clients=DEMO,
        ),
        Remedy("use a connection for LISTEN that does not go through the pooler", needs=(_LISTEN,), tried="listens-directly", clients=DEMO),
    ),
)
