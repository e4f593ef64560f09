"""introspection: a driver looks up types for itself, again on each connection.

Recognised by the SQL that each driver uses for it (Client.introspection in identify/drivers/). The
queries of an ORM do not count; BEGIN and COMMIT around nothing else do. One connection that asks
once is normal. Reported if CONNECTIONS connections ask, and a FIFTH or more of their round trips
are such queries; or if TIMES or more, and a TENTH or more of the round trips of a connection, ask
for what the same connection had asked for before.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify import drivers
from pgtrace.identify.remedies import Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, bound_values, counted

CONNECTIONS: Final = 3
FIFTH: Final = 5
TIMES: Final = 5
TENTH: Final = 10
AGAIN: Final = "asked again"
"""The subject if a connection looks up the same types again, and a fact of that note."""
_QUESTIONS_KEPT: Final = 256
_GROUP_KEPT: Final = 64
_LABELS_KEPT: Final = 2_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._known: dict[int, bool] = {}
        self._all = self._own = 0
        self._places: list[tuple[int, str]] = []
        self._note: Note | None = None
        self._sent: set[tuple[int, int]] = set()
        """The forms in which queries were sent: hashes of the text, and of the rest of the
        messages.
        """
        self._asked: set[tuple[int, int]] = set()
        """The queries: hashes of the text, and of the values."""
        self._again = 0
        """Round trips with queries that were sent before."""
        self._again_places: list[tuple[int, str]] = []
        self._group: list[Step] = []
        """The driver's look-ups so far with nothing else in between, with the BEGIN before them."""
        self._is_new = self._has_asked = False
        """Whether any of these look-ups is new, and whether any of them asks for types."""

    def row(self, step: Step) -> None:
        if not step.counts:
            return
        self._all += 1
        own = self._known.get(step.text)
        if own is None:
            if len(self._known) >= _LABELS_KEPT:
                self._known.clear()
            own = self._known[step.text] = is_own(self.seen, step.label.sql)
        shape = step.shape
        if own:
            self._own += 1
            self.seen.row_of(step.place, KIND)
            if len(self._places) < 2:
                self._places.append((step.place, "asks for types"))
            if shape.depth and "SET_CONFIG" not in texts.called(step.label.sql):
                self._has_asked = True
                self._is_new |= not self._was_asked(step)
            self._group.append(step)
            del self._group[_GROUP_KEPT:]
            return
        if self._group:
            self._end_group(step)
        if shape.status_before == "I" and shape.status == "T" and shape.depth == 1 and not step.rows:
            self._group = [step]

    def _end_group(self, step: Step) -> None:
        """Take the driver's look-ups, because something else came after them."""
        group, own = self._group, [one for one in self._group if self._known.get(one.text)]
        is_again = self._has_asked and not self._is_new
        self._group, self._is_new, self._has_asked = [], False, False
        if not own:
            return
        if group[0] is not own[0] and step.shape.block_end == "COMMIT" and step.shape.depth == 1 and not step.shape.errors:
            self._own += 2
            for around in (group[0], step):
                self.seen.row_of(around.place, KIND)
            own = [group[0], *own, step]
        if is_again:
            self._again += len(own)
            self._again_places += [(one.place, "asks again") for one in own if self._known.get(one.text)][: 2 - len(self._again_places)]

    def _was_asked(self, step: Step) -> bool:
        """Whether the connection sent the query before. The driver may have sent it in another
        form, so its values are read and compared.
        """
        if self.seen.trace.values_blanked or len(self._asked) >= _QUESTIONS_KEPT:
            return False
        sent = (step.text, step.values)
        if sent in self._sent:
            return True
        if len(self._sent) < _QUESTIONS_KEPT:
            self._sent.add(sent)
        values = bound_values(self.seen.trace, step.place)
        query = (step.text, values)
        is_known = bool(values) and query in self._asked
        self._asked.add(query)
        return is_known

    def rests(self, step: Step) -> bool:
        return not step.counts or self._known.get(step.text) is False

    def again(self, steps: list[Step]) -> None:
        self._all += len(steps) * steps[0].counts

    def settle(self) -> None:
        if not self._own or not self.seen.over or self._note is not None:
            return
        is_again = self._again >= TIMES and self._again * TENTH >= self._all
        note = self._note = self.seen.note(KIND, AGAIN if is_again else "")
        note.times += 1
        note.cost += self._again if is_again else self._own
        note.amount += self._all
        if is_again:
            note.fact(AGAIN)
        for place, words in [*self._places[:1], *self._again_places] if is_again else self._places:
            note.show(place, words)

    def lost(self) -> None:
        self._group, self._is_new, self._has_asked = [], False, False


def is_own(seen: Seen, sql: str) -> bool:
    """Whether the driver of that connection looks up types with that SQL."""
    driver = drivers.BY_NAME.get(seen.connection.driver)
    return driver is not None and driver.introspection is not None and driver.introspection.search(sql) is not None


def _what(note: Note) -> str:
    if note.subject == AGAIN:
        on = counted(note.times, "connection")
        return f"{note.cost} of {note.amount} round trips of {on} look up types that the same connection had looked up before"
    return f"{note.cost} of {note.amount} round trips of {counted(note.times, 'connection')} are the driver's own type look-ups"


KIND: Final = Kind(
    name="introspection",
    unit=ROUND_TRIPS,
    why="A driver that does not know a type looks it up in the catalogs, again on each new connection. Long-lived connections do so once.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.subject == AGAIN or (note.times >= CONNECTIONS and note.cost * FIFTH >= note.amount),
    remedies=(Remedy("use a pool of long-lived connections; or register the types with the driver, once for each new connection"),),
)
