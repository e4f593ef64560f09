"""prepared-once: statements are prepared under a name, run once and never again.

Preparing pays off only if the statement runs again. Recognised by names: a round trip prepares a
name and runs nothing, one Bind follows, and the next time the same SQL has another name. Statements
that are prepared in advance may run again later, and then do not count. Reported from PREPARED_ONCE
such names for one normalised SQL on one connection; with fewer, a cache may still be filling. The
cost is every such round trip but the first, and those that only drop the name (a Close, a
DEALLOCATE). The remedy depends on whether the session drops statements with DISCARD ALL, or makes
the driver forget them (judge/forgetting.py). A finding of prepared-leak about the same SQL is part
of this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.judge import batches
from pgtrace.judge.findings.driver_overhead import RESETS, is_reset
from pgtrace.judge.findings.introspection import is_own
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, shown
from pgtrace.judge.forgetting import DROPPED, Forgotten, cause

PREPARED_ONCE: Final = 5
_TEXTS_KEPT: Final = 1_000
_LEAK: Final = "prepared-leak"
IN_TEXT, LENGTHS, ONE_TEXT = batches.IN_TEXT, batches.LENGTHS, "one text"
"""Facts: its texts differ in their literals, or only in how many parameters they have, or one text
was prepared again and again. If values are blanked and the texts are equal, none is known.
"""
RESET: Final = "the session is reset"
"""A fact: so often that a pool does it."""
_RESETS: Final = 2
_TAGS: Final = RESETS | {"DEALLOCATE"}
ONE_LIST: Final = (
    "pass a list as one parameter, so that all lengths have one text: = ANY($1) instead of IN ($1, $2, ...), "
    "SELECT unnest($1) instead of rows of VALUES"
)
PREPARING: Final = ("asyncpg", "psycopg", "pg8000", "sqlalchemy")
"""The clients of the demo that can prepare statements."""


@dataclass(slots=True)
class _Name:
    name: str
    uses: int = 0
    given_up: Step | None = None
    spent: list[Step] = field(default_factory=list)
    """The round trips that it cost, if it was used once."""


@dataclass(slots=True)
class _Text:
    """One normalised SQL: its latest name, and the names that were used once."""

    latest: _Name
    first: int
    """A hash of its first text."""
    fixed: tuple[int, int]
    """Facts about how texts differ: batches.fixed()."""
    differs: str = ""
    """Whether another text had another literal."""
    once: int = 0
    unreported: list[_Name] = field(default_factory=list)
    note: Note | None = None


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._names: dict[str, _Name] = {}
        self._texts: dict[str, _Text] = {}
        self._latest: _Name | None = None
        self._forgotten = Forgotten()
        self._resets = 0

    def row(self, step: Step) -> None:
        shape, name = step.shape, step.shape.statement
        self._forgotten.take(shape)
        if not RESETS.isdisjoint(shape.tags) and is_reset(step):
            self._resets += 1
        if shape.depth:
            if name in self._names and b"B" in shape.sent:
                self._uses(self._names[name], shape.depth, step.key)
            elif shape.sent.count(b"Q") == 1 and step.label.sql[:10].upper() == "DEALLOCATE":
                self._gives_up(self._names.get("".join(sqltext.identifiers(step.label.sql, 3)[-1:])), step)
        elif step.only_closes:
            self._gives_up(self._latest, step)  # the row does not say which
        elif name and b"P" in shape.sent and not shape.errors and step.key:
            self._prepares(name, step)

    def rests(self, step: Step) -> bool:
        return step.shape.depth > 0 and step.sends("B") > 0 and not step.sends("Q")

    def again(self, steps: list[Step]) -> None:
        shape = steps[0].shape
        if shape.statement in self._names:
            self._names[shape.statement].uses += len(steps) * shape.depth

    def lost(self) -> None:
        self._names.clear()
        self._texts.clear()
        self._latest = None

    def _gives_up(self, one: _Name | None, step: Step) -> None:
        if one is not None:
            one.given_up = step
            self._names.pop(one.name, None)

    def _prepares(self, name: str, step: Step) -> None:
        if len(self._texts) >= _TEXTS_KEPT or len(self._names) >= _TEXTS_KEPT:
            self.lost()
        prepared = self._latest = self._names[name] = _Name(name)
        text = self._texts.get(step.key)
        if text is None and is_own(self.seen, step.label.sql):
            return  # see introspection
        if text is None:
            self._texts[step.key] = _Text(prepared, step.text, batches.fixed(step.label.sql))
            return
        if step.text != text.first and text.differs != IN_TEXT:
            text.differs = batches.difference(text.fixed, batches.fixed(step.label.sql))
        earlier, text.latest = text.latest, prepared
        if earlier.uses <= 1:
            if earlier.uses:  # else it may still run, even several times
                self._names.pop(earlier.name if earlier.name != name else "", None)
            self._once(text, earlier, step)

    def _uses(self, name: _Name, times: int, key: str) -> None:
        name.uses += times
        text = self._texts.get(key)
        if name.uses > 1 and name.spent and text is not None:  # not once after all
            text.once -= 1
            if name in text.unreported:
                text.unreported.remove(name)
            elif text.note is not None:
                counted = [one for one in name.spent if one.counts]
                text.note.cost -= len(counted)
                text.note.times -= sum(one.only_prepares for one in counted)
            name.spent = []

    def _once(self, text: _Text, earlier: _Name, step: Step) -> None:
        text.once += 1
        earlier.spent = [spent for spent in (earlier.given_up, step) if spent is not None]
        text.unreported.append(earlier)
        if text.once < PREPARED_ONCE - 1:
            return
        note = text.note = self.seen.note(KIND, step.key)
        if text.differs or not self.seen.trace.values_blanked:
            note.fact(text.differs or ONE_TEXT)
        why = self._forgotten.why(self.seen.connection.driver, prepares=True)
        if why:
            note.fact(why)
        if self._resets >= _RESETS:
            note.fact(RESET)
        for spent in (spent for one in text.unreported for spent in one.spent if spent.counts):
            self.seen.row_of(spent.place, KIND)
            note.cost += 1
            note.times += spent.only_prepares
            note.show(spent.place, f"prepares {spent.shape.statement}" if spent.only_prepares else "drops it")
        text.unreported.clear()


def _what(note: Note) -> str:
    alive = f"; {note.parts[_LEAK].times} are alive" if _LEAK in note.parts else ""
    return f"{shown(note)}: prepared {note.times + 1} times under new names, each run once{alive}"


KIND: Final = Kind(
    name="prepared-once",
    unit=ROUND_TRIPS,
    why="Preparing a statement that runs only once costs a round trip, dropping it costs another, and nothing is gained.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: bool(shape.statement) or b"C" in shape.sent or not _TAGS.isdisjoint(shape.tags) or bool(cause(shape)),
    joins=(_LEAK,),
    first=(Remedy(ONE_LIST, tried="list-of-any-length", clients=PREPARING),),
    is_first=lambda note: note.facts[LENGTHS] > 0 and not note.facts[IN_TEXT],
    remedies=(
        Remedy(
            "prepare once and keep the statement; or use a call that does not prepare",
            unless=(IN_TEXT, DROPPED),
            tried="prepared-for-all",
            clients=("pg8000",),
        ),
        Remedy(
            "pass values as parameters, not in the text; or use a call that does not prepare",
            needs=(IN_TEXT,),
            tried="parameters-for-all",
            clients=("pg8000",),
        ),
        Remedy(
            "use a reset that keeps prepared statements: RESET ALL, not DISCARD ALL or DEALLOCATE ALL",
            needs=(DROPPED,),
            unless=(IN_TEXT,),
            tried="kept-by-the-reset",
            clients=("pg8000",),
        ),
    ),
)
