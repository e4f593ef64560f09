"""prepared-leak: named prepared statements pile up in a session.

Each takes memory in the server until it is closed or the session ends. The session counts exactly
how many are alive (statements_live). Rows show only some of their names: a Parse shows its name, a
Close does not. So the number alive for one normalised SQL is at least the number of names prepared
for it minus the number of all statements dropped. Reported from ALIKE for one normalised SQL: the
texts differ in a literal, or the driver never closes its statements. Else reported once for more
than MANY in total, which no driver's default cache holds.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge import batches
from pgtrace.judge.findings.kind import Kind, Note, Seen, Step, Watch, shown
from pgtrace.judge.findings.prepared_once import IN_TEXT, LENGTHS, ONE_LIST, ONE_TEXT, PREPARING

ALIKE: Final = 10
MANY: Final = 600
"""pgx keeps 512, pgjdbc 256, asyncpg, psycopg and sqlx 100."""
_BOUNDED: Final = Remedy(
    "use a bounded statement cache, and close the statements that you prepare yourself",
    tried="bounded-cache",
    clients=PREPARING,
    unless=(LENGTHS,),
)
_ONE_LIST: Final = Remedy(ONE_LIST, needs=(LENGTHS,), tried="list-of-any-length-kept", clients=PREPARING)
_TEXTS_KEPT: Final = 1_000
_ROWS_KEPT: Final = 4


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._prepared = 0
        self._settled = (0, 0)
        self._by_text: dict[str, int] = {}
        self._rows: dict[str, list[tuple[int, str]]] = {}
        self._first: dict[str, tuple[int, tuple[int, int]]] = {}
        """Normalised SQL -> a hash of its first text, and batches.fixed() of it."""
        self._differ: dict[str, str] = {}
        """Normalised SQL -> what differs between its texts."""

    def row(self, step: Step) -> None:
        if not step.shape.prepares or step.shape.statements != 1 or step.shape.errors or not step.key:
            return
        if step.key not in self._by_text and len(self._by_text) >= _TEXTS_KEPT:
            return
        self._prepared += 1
        self._by_text[step.key] = self._by_text.get(step.key, 0) + 1
        self._compare(step)
        rows = self._rows.setdefault(step.key, [])
        if step.counts and len(rows) < _ROWS_KEPT:
            rows.append((step.place, step.shape.statement))

    def _compare(self, step: Step) -> None:
        """Note whether its text differs from the first with its normalised SQL, and in what."""
        first = self._first.get(step.key)
        if first is None:
            self._first[step.key] = step.text, batches.fixed(step.label.sql)
        elif first[0] != step.text and self._differ.get(step.key) != IN_TEXT:
            self._differ[step.key] = batches.difference(first[1], batches.fixed(step.label.sql))

    def settle(self) -> None:
        live = self.seen.connection.statements_live
        if live < ALIKE or self._settled == (self._prepared, live):
            return
        self._settled = self._prepared, live
        given_up = max(0, self._prepared - live)
        alike = {key: prepared - given_up for key, prepared in self._by_text.items() if prepared - given_up >= ALIKE}
        for key, names in alike.items():
            self._report(key, names, live)
        if live > MANY and not alike:
            self._report_all(live)

    def _report_all(self, live: int) -> None:
        """Report that too many different statements are alive."""
        note = self.seen.note(KIND)
        note.times, note.amount = len(self._by_text), live
        if not note.evidence:
            for place, name in [rows[0] for rows in self._rows.values() if rows][:_ROWS_KEPT]:
                note.show(place, f"prepares {name}")
                self.seen.row_of(place, KIND)

    def _report(self, key: str, alike: int, live: int) -> None:
        if not self._rows[key]:
            return
        note = self.seen.note(KIND, key)
        note.times, note.amount = alike, live
        if key in self._differ or not self.seen.trace.values_blanked:
            note.fact(self._differ.get(key, ONE_TEXT))
        if not note.evidence:
            for place, name in self._rows[key]:
                note.show(place, f"prepares {name}")
                self.seen.row_of(place, KIND)


def _what(note: Note) -> str:
    if not note.subject:
        return f"{note.amount} prepared statements alive, more than the default cache of any driver holds"
    return f"{shown(note)}: alive under {note.times} names, of {note.amount} prepared statements alive"


KIND: Final = Kind(
    name="prepared-leak",
    unit="live",
    why="Prepared statements stay in the server's memory until they are dropped or the session ends. Behind a pooler, that can take days.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: shape.prepares,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.amount,
    remedies=(
        Remedy("pass values as parameters, not in the text", needs=(IN_TEXT,), tried="parameters-kept", clients=("pg8000",)),
        Remedy(
            "prepare each text once and keep the statement, or close it", unless=(IN_TEXT,), tried="kept-or-closed", clients=("pg8000",)
        ),
    ),
    first=(_BOUNDED, _ONE_LIST),
    is_first=lambda note: not note.subject or (note.facts[LENGTHS] > 0 and not note.facts[IN_TEXT]),
)
