"""re-parse: the server parses and plans one text again for every execution, although the driver
could keep it as a prepared statement.

A Parse that is sent with Bind costs no round trip, but server time and the bytes of the text.
Reported if one SQL text was parsed REPARSES times on a connection in round trips that ran it, and
never ran without a Parse: psycopg parses five times before it prepares, pgjdbc four. Several Parses
in one round trip are a single decision of the driver, and do not count. If the session made the
driver forget its statements (judge/forgetting.py), all texts are one finding. If the cause was a
ROLLBACK after errors, nothing is reported.
"""

from __future__ import annotations

from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import KEEPS_BEHIND_POOLER, POOLER, SUBJECT_CHARACTERS, Kind, Note, Seen, Step, Watch, shown
from pgtrace.judge.forgetting import DEFINED, DROPPED, FAILED, ROLLED_BACK, Forgotten, cause
from pgtrace.protocol.values import types
from pgtrace.session.statements import Statement

REPARSES: Final = 8
_TEXTS_KEPT: Final = 1_000
_TYPES_KEPT: Final = 4
TYPES, PREPARES = "types alternate", "prepares"
"""Facts: the types of parameters differ between Parses; the driver prepares other statements under
names."""
_BECAUSE: Final = {
    ROLLED_BACK: "ROLLBACK makes the driver forget its execution counts",
    DEFINED: "DROP and ALTER make the driver forget its execution counts",
    DROPPED: "the session drops its prepared statements: DISCARD ALL, DEALLOCATE ALL",
}


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._runs: dict[int, list[int] | None] = {}
        """SQL text -> the rows of its first runs with a Parse; None once it has run without one."""
        self._sent_types: dict[str, dict[tuple[int, ...], None]] = {}
        """Normalised SQL -> the lists of types in its Parses."""
        self._prepares = False
        self._forgotten = Forgotten()
        self._keys: dict[str, set[str]] = {}
        """Cause -> the statements that the driver forgot."""

    def row(self, step: Step) -> None:
        shape = step.shape
        parses = b"P" in shape.sent
        self._forgotten.take(shape)
        if parses and shape.statement:
            self._prepares = True
        if shape.depth != 1 or not step.key or b"B" not in shape.sent or shape.errors:
            return  # a driver would not keep a statement that failed
        text = step.text
        if not parses:
            self._runs[text] = None
            return
        if len(self._runs) >= _TEXTS_KEPT:
            self._runs.clear()
        runs = self._runs.setdefault(text, [])
        if runs is None or not step.counts:
            return
        self._types(step)
        if len(runs) < REPARSES:
            runs.append(step.place)
            if len(runs) < REPARSES:
                return
            for place in runs[:-1]:
                self._report(step.key, place)
        self._report(step.key, step.place)

    def rests(self, step: Step) -> bool:
        return not step.sends("P") and not cause(step.shape)

    def _types(self, step: Step) -> None:
        parsed = self.seen.connection.meaning("S", step.shape.statement, step.place)
        if isinstance(parsed, Statement):
            sent = self._sent_types.setdefault(step.key, {})
            if len(sent) < _TYPES_KEPT:
                sent[parsed.sent_types] = None
            if len(self._sent_types) > _TEXTS_KEPT:
                self._sent_types.clear()

    def _report(self, key: str, place: int) -> None:
        why = self._forgotten.why(self.seen.connection.driver, prepares=self._prepares)
        if why == FAILED:
            return
        note = self.seen.note(KIND, why or key)
        if why:
            forgotten = self._keys.setdefault(why, set())
            forgotten.add(key)
            note.fact(why)
            note.amount = len(forgotten)
            note.words = sqltext.shorten(min(forgotten), SUBJECT_CHARACTERS)
        self.seen.row_of(place, KIND)
        note.times += 1
        if self._prepares:
            note.fact(PREPARES)
        sent = self._sent_types.get(key)
        if sent is not None and len(sent) > 1 and not why:
            note.fact(TYPES)
            note.words = note.words or " and ".join(_types_named(one) for one in list(sent)[:2])
        note.show(place, "parses and runs it")


def _what(note: Note) -> str:
    if note.subject in _BECAUSE:
        texts = note.words if note.amount == 1 else f"{note.amount} statements"
        return f"{texts}: parsed {note.times} times, once for each execution, because {_BECAUSE[note.subject]}"
    alternate = f"; the types of its parameters alternate: {note.words}" if note.words else ""
    return f"{shown(note)}: parsed {note.times} times, once for each execution{alternate}"


def _type_named(oid: int) -> str:
    found = types.find(oid, types.NONE)
    return found.name if found is not None else str(oid)


def _types_named(oids: tuple[int, ...]) -> str:
    return f"({', '.join(_type_named(oid) for oid in oids)})"


KIND: Final = Kind(
    name="re-parse",
    unit="parses",
    why="The server parses and plans the same text for every execution. That costs no round trips, but server time; a "
    "prepared statement is parsed once.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=lambda shape: b"B" in shape.sent or bool(cause(shape)) or (bool(shape.statement) and b"P" in shape.sent),
    remedies=(
        Remedy(
            "use the same setter for a parameter each time, whatever its value: a Parse with other types makes another statement",
            needs=(TYPES,),
        ),
        Remedy("prepare the statement once and keep it, if the pooler allows it", unless=(TYPES, POOLER, DROPPED)),
        Remedy("use a reset that keeps prepared statements: RESET ALL, not DISCARD ALL or DEALLOCATE ALL", needs=(DROPPED,)),
        Remedy(KEEPS_BEHIND_POOLER, needs=(POOLER,), tried="parsed-once-behind", clients=("asyncpg", "psycopg", "sqlalchemy")),
    ),
)
