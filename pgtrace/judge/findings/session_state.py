"""session-state: what a session keeps beyond its transaction: settings, LISTEN, advisory locks,
temporary tables, cursors WITH HOLD, SQL-level PREPARE.

Behind a pooler in transaction mode, the next transaction may find another session's state, or none;
without a pooler nothing is wrong. Recognised by command tags, so only for successful commands, and
by the text (judge/texts.py), once something else runs after it. SET LOCAL, and state that a
transaction takes back, do not count. Nor do settings that poolers track (TRACKED), or those for a
driver's own look-up of types. Without evidence of a pooler (judge/signs.py), reported from TIMES of
them, and LISTEN never: a connection that listens is a separate one on purpose.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify import drivers
from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.driver_overhead import is_reset
from pgtrace.judge.findings.kind import Kind, Note, Seen, Step, Watch, times
from pgtrace.trace.row import Shape

_TAGS: Final = frozenset(
    {"SET", "LISTEN", "PREPARE", "DECLARE CURSOR", "CREATE TABLE", "CREATE TABLE AS", "SELECT", "SELECT INTO", "CREATE VIEW"}
)
_TEXTS_KEPT: Final = 2_000
_WORDS: Final = frozenset(
    {"SET", "SET_CONFIG", "LISTEN", "PREPARE", "DECLARE", "TEMP", "TEMPORARY", "PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK", "PG_ADVISORY_LOCK_SHARED",
     "PG_TRY_ADVISORY_LOCK_SHARED"}
)  # fmt: skip
TIMES: Final = 3
"""The number needed without evidence of a pooler."""
_LISTEN: Final = "LISTEN"
_SETTING: Final = "a setting (SET)"
_TRACKED: Final = frozenset(
    {"CLIENT_ENCODING", "NAMES", "DATESTYLE", "TIMEZONE", "TIME", "STANDARD_CONFORMING_STRINGS", "APPLICATION_NAME", "INTERVALSTYLE", "EXTRA_FLOAT_DIGITS"}
)  # fmt: skip
"""Settings that poolers carry from one server connection to the next, or that drivers set alike on
all of them."""


def _state(step: Step) -> str:
    """What the round trip makes the session keep; empty if nothing."""
    tags, sql = step.shape.tags, step.label.sql
    if "LISTEN" in tags:
        return _LISTEN
    if "PREPARE" in tags:
        return "a statement by SQL-level PREPARE"
    if "DECLARE CURSOR" in tags and texts.declares_with_hold(sql):
        return "a cursor WITH HOLD"
    if any(not lock.startswith(("PG_ADVISORY_XACT", "PG_TRY_ADVISORY_XACT")) for lock in texts.advisory_locks(sql)):
        return "an advisory lock"
    if ("SET" in tags or "SELECT" in tags) and texts.sets_for_session(sql, _TRACKED):
        return _SETTING
    if not _TAGS.isdisjoint(tags) and texts.makes_temporary(sql):
        return "a temporary table"
    return ""


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._texts: dict[int, bool] = {}
        self._held: list[tuple[Step, str]] = []
        """Since the latest ReadyForQuery(I)."""
        self._kept: list[tuple[Step, str]] = []
        """State that outlived its transaction and that nothing has needed yet."""

    def row(self, step: Step) -> None:
        shape = step.shape
        if not (self._kept or self._held) and not self._may_keep(step):
            return
        if self._kept and shape.status_before == "I" and shape.depth and not is_reset(step):
            for kept, what in self._kept:
                self._tell(kept, what, step)
            self._kept.clear()
        if shape.block_end == "ROLLBACK":
            self._held.clear()
        what = _state(step) if not is_reset(step) else ""
        if what and not self._is_own(step):
            self._held.append((step, what))
            del self._held[:-8]
        if shape.status == "I":
            self._kept += self._held
            del self._kept[:-8]
            self._held.clear()

    def _may_keep(self, step: Step) -> bool:
        """Whether its text sets any such state; asked once for each text."""
        known = self._texts.get(step.text)
        if known is None:
            if len(self._texts) >= _TEXTS_KEPT:
                self._texts.clear()
            known = self._texts[step.text] = not _WORDS.isdisjoint(texts.words(step.label.sql))
        return known

    def _is_own(self, step: Step) -> bool:
        """Whether the driver does it for itself."""
        driver = drivers.BY_NAME.get(self.seen.connection.driver)
        return driver is not None and driver.introspection is not None and driver.introspection.search(step.label.sql) is not None

    def lost(self) -> None:
        self._held.clear()
        self._kept.clear()

    def _tell(self, step: Step, what: str, after: Step) -> None:
        if not step.counts:
            return
        note = self.seen.note(KIND, what)
        note.times += 1
        if self.seen.signs:
            note.fact("pooler")
        note.show(step.place, f"{what} stays with the session")
        note.show(after.place, "the next transaction may get another server connection")
        self.seen.row_of(step.place, KIND)


def _cares(shape: Shape) -> bool:
    return bool(shape.depth)


def _what(note: Note) -> str:
    at_risk = "at risk: there is a pooler" if note.facts["pooler"] else "at risk behind a pooler in transaction mode"
    return f"{note.subject}, {times(note.times)}, outlives its transaction: {at_risk}"


KIND: Final = Kind(
    name="session-state",
    unit="at risk",
    why="Behind such a pooler the next transaction may run in another session, with another client's state instead. Without one it is safe.",
    watch=_Watch,
    what=_what,
    told=lambda note: bool(note.facts["pooler"]) or (note.times >= TIMES and note.subject != _LISTEN),
    number=lambda note: note.times,
    cares=_cares,
    remedies=(
        Remedy(
            "behind a pooler: SET LOCAL, pg_advisory_xact_lock(), ON COMMIT DROP, all within one transaction; else session pooling",
            clients=DEMO,
        ),
    ),
)
