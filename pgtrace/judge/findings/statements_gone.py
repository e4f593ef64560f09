"""statement-dropped, statement-gone, pooler-26000 and pooler-42P05: a prepared statement is
missing, or exists already.

26000 means that no statement has the name. The finding depends on what the session knows about the
name:

- statement-dropped: the session itself dropped it, by a successful Close, DEALLOCATE or
  DISCARD ALL; the finding shows that row.
- pooler-26000: its Parse was accepted, and nothing that the protocol shows has dropped it. A pooler
  has given the session another server connection, if there was a moment between transactions at
  which it could.
- statement-gone: the same, but something ran that may have dropped it unseen (DO, CALL, a
  user-defined function), or there was no such moment, and there is no other evidence of a pooler
  (judge/signs.py). The cause cannot be known; the finding gives the evidence for each.
- statement-gone too: its Parse was not seen, or was refused.

42P05 means that a name is in use. If this session never prepared it, or dropped it, another session
has left it: pooler-42P05. If a session prepares a name twice, or may have prepared it unseen, no
finding explains the error.

SQL-level DEALLOCATE and EXECUTE name a statement as Bind does. Behind a pooler that keeps
statements under its own names (PgBouncer 1.21 or later), they fail for every name that the driver
prepared by Parse.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.kind import FAILED, ByWords, Kind, Note, Seen, Step, Watch, counted, nothing, times
from pgtrace.judge.signs import HIDES
from pgtrace.session.failures import Failure
from pgtrace.session.statements import Statement
from pgtrace.trace.name_log import Dropped
from pgtrace.trace.row import Shape

LOST_STATE, TAKEN_STATE = "26000", "42P05"
_QUOTED: Final = re.compile(r'["»«„“”]([^"»«„“”]{1,200})["»«„“”]')
_NAMED: Final = frozenset({"Parse", "Bind", "Describe", "Close"})
_MOST_ROWS: Final = 5_000
DEALLOCATE, EXECUTE = "DEALLOCATE", "EXECUTE"
BY_SQL: Final = "SQL-level PREPARE"
"""A fact: it was prepared by SQL-level PREPARE, which poolers do not track and drivers do not see.
"""
QUERY: Final = "a simple Query"
UNPREPARED: Final = "never prepared"
NO_NAME: Final = "unnamed"
UNNAMED: Final = "cache off"
"""A fact: the driver's statement cache is off, so it uses names only when it must."""


_calls_unknown: Final = ByWords(texts.calls_unknown)


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._used: dict[str, int] = {}
        self._hidden: int | None = None
        """The place of the latest row that may have dropped statements unseen."""
        self._idle: int | None = None
        """The place of the latest row after which a pooler may switch connections."""
        self._is_unnamed = False
        """Whether an unnamed statement was prepared in a separate round trip, so the driver's cache
        is off.
        """
        self._by_pooler: dict[str, Note] = {}
        self._is_lost = False
        self._queried: int | None = None
        """The latest simple Query, which replaces the unnamed statement."""

    def row(self, step: Step) -> None:
        shape = step.shape
        failed = False
        if shape.errors:
            for failure in step.label.failures:
                if failure.sqlstate in (LOST_STATE, TAKEN_STATE):
                    failed = True
                    if step.counts:
                        self._failed(step, failure)
        if b"Q" in shape.sent:
            self._queried = step.place
        if shape.status == "I":
            self._idle = step.place
        if shape.depth and self._may_hide(step):
            self._hidden = step.place
        if shape.statement and not failed and b"B" in shape.sent:
            if len(self._used) >= _MOST_ROWS:
                self._used.clear()
            self._used[shape.statement] = step.place
        elif not shape.statement and step.sends("P") and step.only_prepares:
            self._is_unnamed = True

    def rests(self, step: Step) -> bool:
        return True

    def _may_hide(self, step: Step) -> bool:
        """Whether the step may have changed the session unseen."""
        return _calls_unknown(step) or not HIDES.isdisjoint(step.shape.tags) or step.shape.sent == b"F"

    def lost(self) -> None:
        self._is_lost = True
        self._used.clear()

    def settle(self) -> None:
        if self._is_unnamed:
            for note in self._by_pooler.values():
                note.fact(UNNAMED)

    # One failure.

    def _failed(self, step: Step, failure: Failure) -> None:
        name = self._name(step, failure)
        fate = self.seen.connection.fate(name, step.place)
        if failure.sqlstate == LOST_STATE:
            self._is_missing(step, failure, name, fate)
        elif (
            not (fate is not None and isinstance(fate[1], Statement) and fate[1].accepted)
            and self._is_whole
            and (self._hidden is None or self.seen.signs)
        ):
            self._is_taken(step, name, fate)

    @property
    def _is_whole(self) -> bool:
        """Whether the session was seen from its beginning, without gaps."""
        connection = self.seen.connection
        return not (connection.joined or connection.was_put_aside or self._is_lost)

    def _is_missing(self, step: Step, failure: Failure, name: str, fate: tuple[int, Statement | Dropped] | None) -> None:
        if fate is not None and isinstance(fate[1], Dropped):
            self._dropped(step, name, fate[0], fate[1].how)
            return
        prepared = fate[0] if fate is not None and isinstance(fate[1], Statement) and fate[1].accepted else None
        by_sql = fate is not None and isinstance(fate[1], Statement) and sqltext.words(fate[1].sql or "", 1) == ["PREPARE"]
        signs = self.seen.signs
        if not name and prepared is not None and self._queried is not None and self._queried > prepared:
            self._dropped(step, name, self._queried, QUERY)
            return
        if prepared is None:
            unseen = "this session never prepared it" if self._is_whole else "its Parse is not in this capture"
            why = "its Parse was refused" if fate is not None else unseen
            note = self._gone(step, name, why, None)
            if fate is None and self._is_whole:
                note.fact(UNPREPARED)
            return
        switched = self._idle is not None and self._idle >= prepared
        hidden = self._hidden is not None and self._hidden > prepared
        if signs or (switched and not hidden):
            self._moved(step, failure, name, prepared, by_sql=by_sql)
            return
        what = (
            "something that may have dropped it ran since"
            if hidden
            else "the session was in one transaction since, in which no pooler switches"
        )
        self._gone(step, name, f"{what}; there is no other evidence of a pooler", prepared)

    def _dropped(self, step: Step, name: str, place: int, how: str) -> None:
        note = self.seen.note(DROPPED, how)
        note.times += 1
        note.words = note.words or name
        note.fact(how, *([BY_SQL] if texts.names(step.label.sql, EXECUTE) else []))
        if note.times == 1:
            self._history(note, name, place)
            note.show(place, f"{how} drops {name or 'the unnamed statement'}")
            self.seen.row_of(place, DROPPED)
        note.show(step.place, "used anyway: 26000")
        step.explain(note, LOST_STATE)
        self.seen.row_of(step.place, DROPPED)

    def _gone(self, step: Step, name: str, why: str, prepared: int | None) -> Note:
        note = self.seen.note(GONE, why)
        note.times += 1
        note.words = note.words or name
        if note.times == 1 and prepared is not None:
            self._history(note, name, prepared)
            if self._hidden is not None and self._hidden > prepared:
                note.show(self._hidden, "may have dropped it")
        note.show(step.place, "fails")
        step.explain(note, LOST_STATE)
        self.seen.row_of(step.place, GONE)
        return note

    def _moved(self, step: Step, failure: Failure, name: str, prepared: int, *, by_sql: bool) -> None:
        by_text = "" if failure.asked in _NAMED else EXECUTE if texts.names(step.label.sql, EXECUTE) else DEALLOCATE
        note = self.seen.note(LOST, BY_SQL if by_sql else by_text)
        note.times += 1
        note.words = note.words or name
        self._facts(note, step)
        if note.subject:
            note.fact(note.subject)
        if not name:
            note.fact(NO_NAME)
        if note.times == 1:
            self._history(note, name, prepared)
        note.show(step.place, self._fails(step))
        step.explain(note, LOST_STATE)
        self.seen.row_of(step.place, LOST)

    def _is_taken(self, step: Step, name: str, fate: tuple[int, Statement | Dropped] | None) -> None:
        note = self.seen.note(TAKEN, BY_SQL if texts.names(step.label.sql, "PREPARE") else "")
        note.times += 1
        note.words = note.words or name
        self._facts(note, step)
        if note.subject:
            note.fact(note.subject)
        if fate is not None and isinstance(fate[1], Dropped) and note.times == 1:
            note.show(fate[0], f"{fate[1].how} drops {name}")
        note.show(step.place, self._fails(step))
        step.explain(note, TAKEN_STATE)
        self.seen.row_of(step.place, TAKEN)

    def _facts(self, note: Note, step: Step) -> None:
        """Add the facts that decide the remedy."""
        self._by_pooler[note.subject] = note
        if step.shape.status_before in ("T", "E"):
            note.fact("in a block")
        if self.seen.signs.words:
            note.fact("pooler", f"sign {self.seen.signs.words}")

    def _history(self, note: Note, name: str, place: int) -> None:
        """Show the rows that prepared and used the statement."""
        for at in self.seen.connection.named_at(name, place)[:1]:
            note.show(at, f"Parse of {name} accepted")
        used = self._used.get(name)
        if used is not None and len(note.evidence) < 2:
            note.show(used, "run, fine")

    @staticmethod
    def _fails(step: Step) -> str:
        return "fails after ReadyForQuery(I): between transactions a pooler may switch" if step.shape.status_before == "I" else "fails"

    @staticmethod
    def _name(step: Step, failure: Failure) -> str:
        """The name of the statement that failed: from the message, else from the SQL, else from the
        error.
        """
        if failure.asked in ("Parse", "Bind") or (failure.asked == "Describe" and failure.name not in ("S", "P")):
            return failure.name
        for command in (DEALLOCATE, "EXECUTE", "PREPARE"):
            for name in texts.names(step.label.sql, command):
                return name
        found = _QUOTED.search(step.label.message)
        return found[1] if found else step.shape.statement


class _Silent(Watch):
    """A watch that does nothing: the first of the four kinds has the watch for all of them."""


def _cares(shape: Shape) -> bool:
    return bool(shape.errors or shape.statement or shape.depth or b"P"[0] in shape.sent)


def _named(note: Note) -> str:
    return f'prepared statement "{note.words}"' if note.words else "the unnamed statement"


def _what_dropped(note: Note) -> str:
    return f"{_named(note)} does not exist: this session dropped it by {note.subject}, and ran it {times(note.times)} afterwards: 26000"


def _what_gone(note: Note) -> str:
    return f"{_named(note)} does not exist, {counted(note.times, 'failure')}: {note.subject}"


def _sign(note: Note) -> str:
    return next((f"; {fact.removeprefix('sign ')}" for fact in note.facts if fact.startswith("sign ")), "")


def _what_lost(note: Note) -> str:
    if note.subject in (DEALLOCATE, EXECUTE):
        why = f"it was prepared and never dropped; a pooler keeps it under another name{_sign(note)}"
        return f"{note.subject} of {_named(note)} fails {times(note.times)}: {why}"
    if note.subject == BY_SQL:
        why = f"it was made by SQL-level PREPARE, and this session did not drop it: a pooler shares the server connection{_sign(note)}"
        return f"{_named(note)} does not exist, {counted(note.times, 'failure')}: {why}"
    return f"{_named(note)} does not exist: its Parse was accepted, and nothing dropped it: a pooler moved the session{_sign(note)}"


def _what_taken(note: Note) -> str:
    return f"{_named(note)} already exists, not from this session: a pooler gave it another session's server connection{_sign(note)}"


_POOLER: Final = (
    Remedy("use PgBouncer 1.21 or later with max_prepared_statements > 0; or do not prepare statements", unless=(DEALLOCATE, EXECUTE)),
    Remedy("drop statements with Close, not with DEALLOCATE; or do not prepare statements", needs=(DEALLOCATE,)),
    Remedy(
        "run it with Bind, not with EXECUTE: the pooler maps names in Parse and Bind, not in SQL",
        needs=(EXECUTE,),
        tried="bound-not-executed",
        clients=("asyncpg", "psycopg", "pg8000"),
    ),
)
_NO_PREPARE: Final = (
    "run the statement itself, without PREPARE; a driver that prepares needs PgBouncer 1.21 or later with max_prepared_statements > 0"
)
LOST: Final[Kind] = Kind(
    name="pooler-26000",
    unit=FAILED,
    why="A prepared statement belongs to one server connection, and the driver does not see when the pooler switches to another.",
    watch=_Watch,
    what=_what_lost,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=_cares,
    remedies=_POOLER,
    first=(Remedy(_NO_PREPARE, tried="no-prepare-moved", clients=DEMO),),
    is_first=lambda note: note.subject == BY_SQL,
)
TAKEN: Final[Kind] = Kind(
    name="pooler-42P05",
    unit=FAILED,
    why="Another session has left a statement with this name on the server connection that the pooler assigned.",
    watch=_Silent,
    what=_what_taken,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=_POOLER[:1],
    first=(Remedy(_NO_PREPARE, tried="no-prepare-taken", clients=DEMO),),
    is_first=lambda note: note.subject == BY_SQL,
)
DROPPED: Final[Kind] = Kind(
    name="statement-dropped",
    unit=FAILED,
    why="The server has dropped the statement, but a driver does not notice a DEALLOCATE or DISCARD ALL that is sent as SQL.",
    watch=_Silent,
    what=_what_dropped,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(
        Remedy(
            "leave statements to the driver: use RESET ALL instead of DISCARD ALL, and do not DEALLOCATE the driver's statements",
            tried="driver-drops",
            clients=("asyncpg", "pg8000", "sqlalchemy"),
            unless=("Close", QUERY, BY_SQL),
        ),
        Remedy(
            "PREPARE it again after it was dropped; or drop single statements by name, with DEALLOCATE name",
            needs=(BY_SQL,),
            tried="prepared-again",
            clients=DEMO,
        ),
        Remedy(
            "do not run a statement that was closed, or prepare it again first",
            needs=("Close",),
            tried="not-after-close",
            clients=("pg8000",),
        ),
        Remedy("bind the unnamed statement before the next simple Query, which replaces it; or give it a name", needs=(QUERY,)),
    ),
)
GONE: Final[Kind] = Kind(
    name="statement-gone",
    unit=FAILED,
    why="A prepared statement belongs to one session. A DO block, a function or a pooler can remove it unseen, "
    "so the capture does not always show the cause.",
    watch=_Silent,
    what=_what_gone,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(
        Remedy(
            "statement names belong to one session: PREPARE the statement in this session first, or correct the name",
            needs=(UNPREPARED,),
            tried="prepared-here",
            clients=DEMO,
        ),
        Remedy(
            "look for DEALLOCATE or DISCARD in functions and DO blocks; and find out whether there is a pooler in between",
            unless=(UNPREPARED,),
            tried="nothing-dropped",
            clients=DEMO,
        ),
    ),
)
