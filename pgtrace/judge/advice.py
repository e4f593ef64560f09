"""The findings of a trace: passes its rows to the watches of findings/ and adds up their notes.

    advice = Advice(trace)
    advice.update()
    for finding in advice.findings(): ...

Rows are read in timeline order, and only once they are closed. While a row is open, the later rows
of its connection wait too. So each watch sees its connection's round trips in order, whether the
capture is finished or still growing. Counting does not need any of this, so `stats` does not pay
for it.

Memory is bounded: only open connections have watches. Notes of closed connections are added up by
driver and subject; SUBJECTS_KEPT are kept, and one more for the rest. Each row takes one byte,
which says to which kinds of findings it belongs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import isnan
from typing import TYPE_CHECKING, Final

from pgtrace import sqltext
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import KINDS, NAMES, pooler_added
from pgtrace.judge.findings.kind import CONNECTIONS_KEPT, POOLER, Kind, Note, Step
from pgtrace.judge.signs import Upstreams
from pgtrace.judge.track import OTHERS, Interests, Track
from pgtrace.judge.unexplained import Unexplained
from pgtrace.trace.feed import Feed, Subscriber
from pgtrace.trace.row import Label, RowEntry, RowKind, Shape
from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.trace import Trace

SUBJECTS_KEPT: Final = 5_000
"""The most notes of closed connections that are kept, by driver and subject."""
LONGEST_KEY: Final = 2_000
"""The longest key of a statement, in characters of normalised SQL. The key of a longer statement is
its beginning, its end and its fingerprint.
"""
_TEXTS_REMEMBERED: Final = 20_000
_NUMBERS: Final = {kind.name: number for number, kind in enumerate(KINDS, 1)}
_TERMINATE: Final = "X →"
TRACKS_KEPT: Final = 8_192
"""The most open connections that are watched at once. Beyond that, the oldest are dropped."""
_LOOKED_AT_ALONE: Final = frozenset({RowKind.SETUP, RowKind.ASYNCHRONOUS, RowKind.CLOSED})

_MOST_MARKS: Final = 255

Key = tuple[str, str, str, str]
"""Kind, driver, layer and subject."""


class Advice(Subscriber):
    """The findings of a trace."""

    def __init__(
        self, trace: Trace, selects: Callable[[int], bool] | None = None, feed: Feed | None = None, joins: Joins | None = None
    ) -> None:
        """Prepare to read `trace`; nothing is read yet. `selects` says whether the row at a place
        counts; rebuild a filter when the trace reads on. `feed` can be shared with other readers;
        without one, this object makes its own. With `joins`, the server's side of a pooler is not
        judged separately: everything there also happened on the driver's side, except what the
        pooler added.
        """
        self.trace = trace
        self.joins = joins
        self._behind = joins.connections if joins is not None else frozenset[int]()
        self._selects = selects
        self._feed = feed or Feed(trace)
        self._tracks: OrderedDict[int, Track] = OrderedDict()
        self._closed: dict[Key, Note] = {}
        self._marked = bytearray()
        self._marks: list[tuple[int, ...]] = [()]
        """The meaning of a row's byte: numbers of kinds."""
        self._more_marks: dict[tuple[int, int], int] = {}
        """(byte, one more kind) -> the byte for both."""
        self._texts: dict[int, tuple[Label, int, str]] = {}
        """Number of a label -> the label, a hash of its SQL, the key of its statement."""
        self._open: set[int] = set()
        """Connections with waiting rows."""
        self._interests = Interests(joined=joins is not None)
        self._upstreams = Upstreams({pooler.front for pooler in joins.poolers} if joins is not None else ())
        self._failures = Unexplained()
        """All errors and ends, explained or not."""
        self._feed.subscribe(self)

    # Reading.

    def update(self, budget_s: float | None = None) -> bool:
        """Read the rows that are new or newly closed, or as many as fit into `budget_s` seconds.
        Returns whether all were read.
        """
        return self._feed.advance(budget_s)

    @property
    def progress(self) -> float:
        """The share of rows that were read, from 0 to 1."""
        return self._feed.seen / max(1, len(self.trace.rows))

    def take(self, rows: Columns) -> None:
        self._marked.extend(bytes(len(rows)))
        shape_at, tracks, everything = rows.index.shape_at, self._tracks, self._selects is None
        for place, connection, number, label, opened_ns, ms, count, values in zip(
            rows.places,
            rows.connections,
            rows.shapes,
            rows.labels,
            rows.opened_ns,
            rows.durations_ms,
            rows.rows,
            rows.values,
            strict=True,
        ):
            track = tracks.get(connection)
            if (
                everything
                and track is not None
                and track.alike == (number, label)
                and ms >= 0  # not NaN, open
                and track.more(place, opened_ns, ms, count, values)
            ):
                continue
            shape = shape_at(number)
            kind = shape.kind
            if kind is RowKind.GAP:
                for each in tracks.values():
                    self._take_gap(each, place)
                continue
            if kind is RowKind.MARK or kind is RowKind.CANCEL:
                continue
            if connection in self._behind:
                self._take_behind(place)
                continue
            if track is None:
                if len(tracks) >= TRACKS_KEPT:
                    self._forget_oldest()
                track = tracks[connection] = self._track(connection, place)
            if kind is RowKind.OPAQUE:
                continue
            if track.waiting or isnan(ms):
                track.wait(place)
                self._open.add(connection)
            elif kind is RowKind.ROUND_TRIP and not shape.uncertain:
                self._take_round_trip(track, place, number, shape, label, opened_ns, ms, count, values)
            else:
                self._take(track, place, self.trace.rows.entry(place))

    def _track(self, index: int, place: int) -> Track:
        return Track(self.trace, self.joins, index, place, self._upstreams, self._interests, self.mark)

    def completed(self, rows: Columns) -> None:
        for index in sorted(self._open.intersection(rows.connections)):
            self._take_waiting(index)

    def settle(self, *, is_all: bool) -> None:
        for index in sorted(self._open):
            if index in self._tracks:
                self._take_waiting(index)
        for track in self._tracks.values():
            track.pass_on()
        if is_all:
            for track in [track for track in self._tracks.values() if track.connection.closed_ns is not None and not track.waiting]:
                self._end(track)
            if self.trace.ended:
                self._end_of_capture()

    def _end_of_capture(self) -> None:
        """The connections that are still open get no more rows."""
        now_ns = self.trace.duration_ns
        for track in self._tracks.values():
            if not track.waiting and track.latest is not None:
                track.end_at(track.latest, now_ns, "")
            elif track.waiting and track.waiting[0] != track.unanswered:
                place = track.unanswered = track.waiting[0]
                entry = self.trace.rows.entry(place)
                entry.duration_ms = max(0, now_ns - entry.opened_ns) / 1e6
                track.leave_open(self._step(place, entry, self.trace.rows.shape_at(entry.shape)))
                self._count_waiting(track)

    def _count_waiting(self, track: Track) -> None:
        """Count the failures of rows that wait for one that stays open."""
        for place in track.waiting:
            entry = self.trace.rows.entry(place)
            step = self._step(place, entry, self.trace.rows.shape_at(entry.shape))
            self._count(step)
            if step.shape.kind is RowKind.CLOSED and step.counts and not track.connection.asked_to_end:
                self._failures.ended(track.connection.end, track.end_note)

    def _forget_oldest(self) -> None:
        """Stop watching the oldest connection, because too many are watched, and keep its notes. If
        it continues, its beginning counts as not seen.
        """
        index, track = self._tracks.popitem(last=False)
        track.catch_up()
        self._open.discard(index)
        self._add(self._closed, track)

    def _take_behind(self, place: int) -> None:
        """Note a row of the server's side of a pooler if the pooler sent it on its own."""
        joins = self.joins
        if joins is None or joins.state(place) is not joins.ADDED or not (self._selects is None or self._selects(place)):
            return
        entry = self.trace.rows.entry(place)
        before = next(iter(joins.across(place)), None)
        who = self.trace.connections[entry.connection if before is None else self.trace.rows.entry(before).connection]
        subject = self._look_up(entry.label)[2] or self.trace.rows.shape_at(entry.shape).flight
        key = (pooler_added.KIND.name, who.driver, who.layer.name, subject)
        if key not in self._closed and len(self._closed) >= SUBJECTS_KEPT:
            return
        note = self._closed.setdefault(key, Note(subject, amount=joins.backs))
        note.cost += 1
        note.times += 1
        note.fact(POOLER)
        note.show(place, "not asked for by a driver" if before is None else f"before row {before + 1} of {who.name}")
        if who.index not in note.connections and len(note.connections) < CONNECTIONS_KEPT:
            note.connections.append(who.index)
        self.mark(place, pooler_added.KIND)

    def _take_gap(self, track: Track, place: int) -> None:
        if track.waiting:
            track.wait(place)
        else:
            track.lose()

    def _take_waiting(self, index: int) -> None:
        """Take a connection's waiting rows, up to the next one that is still open."""
        waiting = self._tracks[index].waiting
        while waiting:
            place = waiting[0]
            entry = self.trace.rows.entry(place)
            if entry.is_open and self.trace.connections[index].closed_ns is None:
                return
            waiting.popleft()
            track = self._tracks.get(index)
            if track is None:  # one of them ended it
                track = self._tracks[index] = self._track(index, place)
                track.waiting = waiting
            self._take(track, place, entry)
        self._open.discard(index)

    def _take(self, track: Track, place: int, entry: RowEntry) -> None:
        rows = self.trace.rows
        shape = rows.shape_at(entry.shape)
        if shape.kind in _LOOKED_AT_ALONE:
            self._take_other(track, self._step(place, entry, shape))
        if shape.kind is RowKind.GAP:
            track.lose()
        elif shape.kind is RowKind.SETUP:
            track.setup += 1
        elif shape.kind is RowKind.CLOSED or shape.flight == _TERMINATE:
            connection = track.connection
            if shape.flight == _TERMINATE or connection.ends:
                track.end_at(place, entry.opened_ns, "")
            if shape.flight == _TERMINATE or (connection.closed_ns is not None and not connection.sent_on):
                self._end(track)  # otherwise its driver has not noticed, or only later
        elif shape.kind is RowKind.ASYNCHRONOUS:
            fatal = track.connection.fatal
            if fatal and rows.label_at(entry.label).sqlstate == fatal:
                track.end_at(place, entry.opened_ns, fatal)
        elif shape.uncertain or entry.is_open:
            self._count(self._step(place, entry, shape))
            track.lose()
        elif shape.kind is RowKind.ROUND_TRIP:
            self._take_round_trip(
                track, place, entry.shape, shape, entry.label, entry.opened_ns, entry.duration_ms, entry.rows, entry.values
            )

    def _take_round_trip(
        self, track: Track, place: int, number: int, shape: Shape, label: int, opened_ns: int, duration_ms: float, rows: int, values: int
    ) -> None:
        ended_ns = track.ended_ns
        pause_ns = None if ended_ns is None else opened_ns - ended_ns if opened_ns > ended_ns else 0
        texts, text, key = self._texts.get(label) or self._look_up(label)
        if shape.statements != 1:
            key = ""
        counts = self._selects is None or self._selects(place)
        step = Step(place, shape, text, opened_ns, duration_ms, rows, values, texts, key, pause_ns, counts=counts)
        if shape.errors:
            self._count(step)
        track.take(step, (number, label))
        track.ended_ns = opened_ns + round(duration_ms * 1e6)
        track.latest = place

    def _take_other(self, track: Track, step: Step) -> None:
        """A row that is not a round trip after set-up."""
        self._count(step)
        track.other(step)
        if step.shape.kind is RowKind.CLOSED and step.counts:
            track.end_place = step.place

    def _count(self, step: Step) -> None:
        """Count its errors until a finding explains them."""
        if step.shape.errors and step.counts:
            self._failures.failed(step)

    def _step(self, place: int, entry: RowEntry, shape: Shape) -> Step:
        """The Step of one row."""
        counts = self._selects is None or self._selects(place)
        label = self.trace.rows.label_at(entry.label)
        return Step(
            place, shape, entry.label, entry.opened_ns, entry.duration_ms, entry.rows, entry.values, label, "", None, counts=counts
        )  # fmt: skip

    def _look_up(self, number: int) -> tuple[Label, int, str]:
        """The label with that number, a hash of its SQL and the key of its statement, computed when
        first needed. Texts that are not kept have no key.
        """
        if len(self._texts) >= _TEXTS_REMEMBERED:
            self._texts.clear()
        label = self.trace.rows.label_at(number)
        key = sqltext.normalise(label.sql) if number else ""
        if len(key) > LONGEST_KEY:
            key = f"{key[: LONGEST_KEY // 2]} … {key[-LONGEST_KEY // 2 :]} {sqltext.fingerprint(label.sql)}"
        found = self._texts[number] = label, hash(label.sql), key
        return found

    def _end(self, track: Track) -> None:
        track.over = True
        track.settle()
        if track.end_place is not None and not track.connection.asked_to_end:
            self._failures.ended(track.connection.end, track.end_note)
        self._tracks.pop(track.connection.index)
        self._add(self._closed, track)

    def _add(self, notes: dict[Key, Note], track: Track) -> None:
        if not track.notes:
            return
        driver, layer = track.connection.driver, track.connection.layer.name
        for (kind, subject), note in track.notes.items():
            key = (kind, driver, layer, subject)
            if key not in notes and len(notes) >= SUBJECTS_KEPT:
                key = (kind, driver, layer, OTHERS)
            notes.setdefault(key, Note(key[-1])).add(note)

    # Results.

    def findings(self) -> list[Finding]:
        """The findings so far: failures first, then by cost in round trips, then the rest by their
        numbers.
        """
        found = self._reported(self._sums())
        order = {kind.name: number for number, kind in enumerate(KINDS)}
        return sorted(found, key=lambda one: (not one.failed, -one.cost, order[one.name], -one.number, one.driver, one.note.subject))

    def unexplained(self) -> Unexplained:
        """The errors and ends so far that no finding explains."""
        return self._failures.without([finding.note for finding in self._reported(self._sums())])

    def _reported(self, notes: dict[Key, Note]) -> list[Finding]:
        """The findings that are reported, without those that only repeat another."""
        kept = {key: note for key, note in notes.items() if NAMES[key[0]].is_reported(note)}
        most: dict[Key, int] = {}
        """Key of an explained finding -> the largest cost of a finding that explains it."""
        for (_, driver, layer, _), note in kept.items():
            for kind, subject in note.explains:
                key = (kind, driver, layer, subject)
                most[key] = max(most.get(key, 0), note.cost)
        left = self._joined(
            {key: note for key, note in kept.items() if key not in most or (NAMES[key[0]].is_kept_if_larger and note.cost > most[key])}
        )
        return [Finding(NAMES[key[0]], key[1], key[2], note) for key, note in left]

    @staticmethod
    def _joined(notes: dict[Key, Note]) -> list[tuple[Key, Note]]:
        """The notes, with those of one cause joined."""
        gone: set[Key] = set()
        for key in sorted(notes, key=lambda key: _NUMBERS[key[0]]):
            kind, note = NAMES[key[0]], notes[key]
            for subject in kind.joined(note) if kind.joins and key not in gone else ():
                for name in kind.joins:
                    other = (name, key[1], key[2], subject)
                    if other in notes and other not in gone:
                        note.join(name, notes[other])
                        gone.add(other)
        return [(key, note) for key, note in notes.items() if key not in gone]

    def _sums(self) -> dict[Key, Note]:
        sums: dict[Key, Note] = {}
        for key, note in self._closed.items():
            sums.setdefault(key, Note(key[-1])).add(note)
        for track in self._tracks.values():
            track.settle()
            self._add(sums, track)
        return sums

    # The rows of findings.

    def mark(self, place: int, kind: Kind) -> None:
        """Record that the row belongs to a finding of that kind."""
        before, number = self._marked[place], _NUMBERS[kind.name]
        after = self._more_marks.get((before, number))
        if after is None:
            marks = tuple(sorted({*self._marks[before], number}))
            if marks in self._marks:
                after = self._marks.index(marks)
            elif len(self._marks) <= _MOST_MARKS:
                after = len(self._marks)
                self._marks.append(marks)
            else:
                after = before
            self._more_marks[before, number] = after
        self._marked[place] = after

    def kinds_at(self, place: int) -> tuple[Kind, ...]:
        """The kinds of findings that a row belongs to, in the order of KINDS; findings() says
        which are reported."""
        marks = self._marks[self._marked[place]] if place < len(self._marked) else ()
        return tuple(KINDS[number - 1] for number in marks)

    def kind_at(self, place: int) -> Kind | None:
        """The first of those kinds; None if there is none."""
        return next(iter(self.kinds_at(place)), None)

    def kinds_among(self, rows: Columns) -> list[tuple[Kind, int]]:
        """The kinds of findings that these rows belong to, each with the connection."""
        marked, places = self._marked, rows.places
        marks = marked[places.start : places.stop] if isinstance(places, range) else map(marked.__getitem__, places)
        pairs = set(zip(marks, rows.connections, strict=True))
        return [(KINDS[number - 1], connection) for mark, connection in pairs for number in self._marks[mark]]
