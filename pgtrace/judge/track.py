"""One open connection and the watches of findings/ on it: its rows in order, its notes.

A watch is created when it first has something to look at. Only the methods that it overrides are
called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import compress
from typing import TYPE_CHECKING, Final

from pgtrace.judge import signs
from pgtrace.judge.fatals import FATAL
from pgtrace.judge.findings import KINDS
from pgtrace.judge.findings.kind import PAUSE_NS, PAUSED_NS, POOLER, Kind, Note, Step, Watch
from pgtrace.judge.signs import Signs, Upstreams
from pgtrace.trace.row import RowKind, Shape

if TYPE_CHECKING:
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.trace import Trace

OPEN_SUBJECTS_KEPT: Final = 500
"""The most notes of one open connection that are kept."""
OTHERS: Final = "(others)"
"""The subject of all notes beyond a bound."""
_SHAPES_KEPT: Final = 500
_NOTHING: Final = (-1, -1)
_MOST_ALIKE: Final = 512
_SHORT_RUN: Final = 3
"""Similar round trips are passed on singly until this many came: letting watches rest costs as much
as they do.
"""
_NONE: Final[deque[int]] = deque()
"""Shared by all tracks without waiting rows, because an empty deque takes 600 bytes."""


def _places(hook: str) -> tuple[int, ...]:
    """The places of the kinds whose watches override that method."""
    return tuple(place for place, kind in enumerate(KINDS) if getattr(kind.watch, hook) is not getattr(Watch, hook))


_ROW, _OTHER, _PAUSED, _USED_AFTER = _places("row"), _places("other"), _places("paused"), _places("used_after")
_LEFT_OPEN, _ENDED, _SETTLES = _places("left_open"), _places("ended"), _places("settle")


class Interests:
    """Which kinds need which shapes, for all tracks of a trace."""

    def __init__(self, *, joined: bool) -> None:
        """`joined`: both sides of a pooler are known."""
        self._joined = joined
        self._found: dict[int, tuple[tuple[int, ...], bool]] = {}

    def of(self, number: int, shape: Shape) -> tuple[tuple[int, ...], bool]:
        """The places of the kinds that need the shape with that number, and whether it may be a
        sign of a pooler.
        """
        found = self._found.get(number)
        if found is None:
            places = tuple(place for place in _ROW if (self._joined or not KINDS[place].of_joins) and KINDS[place].cares(shape))
            found = self._found[number] = places, signs.cares(shape)
        return found


class Track:
    """One open connection: its watches, its notes, its waiting rows."""

    __slots__ = (
        "_each", "_interests", "_mark", "_more", "_resting", "_rows_of", "_run", "_watches", "alike", "before",
        "connection", "counts", "end_note", "end_place", "ended_ns", "ends", "fatal", "first", "joins",
        "latest", "notes", "over", "round_trips", "setup", "signs", "trace", "unanswered", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        trace: Trace,
        joins: Joins | None,
        index: int,
        place: int,
        upstreams: Upstreams,
        interests: Interests,
        mark: Callable[[int, Kind], None],
    ) -> None:
        """Track the connection with that index, whose first row is at `place`. All tracks share
        `upstreams` and `interests`; `mark` records that a row belongs to a finding.
        """
        self.trace = trace
        self.joins = joins
        self.connection = trace.connections[index]
        self.setup = 0
        self.counts = False
        """Whether a filter selects any of its rows."""
        self.first = place
        self.over = False
        self.ended_ns: int | None = None
        self.ends = False
        self.waiting = _NONE
        """Rows that wait for an open row."""
        self.notes: dict[tuple[str, str], Note] = {}
        self.round_trips = 0
        """The number of round trips after set-up, so far."""
        self.before: Step | None = None
        """The latest round trip; None if bytes are missing after it."""
        self.fatal: Step | None = None
        """The row of the server's FATAL error."""
        self.latest: int | None = None
        """The row of its latest round trip."""
        self.unanswered: int | None = None
        """The row that is open at the end of the capture."""
        self.end_place: int | None = None
        """The row of an end that was not the driver's Terminate."""
        self.end_note: Note | None = None
        """The note that explains it."""
        self.signs = Signs(self.connection, upstreams, trace.connections)
        self._interests = interests
        self._mark = mark
        self._rows_of: dict[int, tuple[Callable[[Step], None], ...]] = {}
        """Number of a shape -> the functions called with each round trip of that shape."""
        self._watches: dict[int, Watch] = {}
        """Place of a kind -> its watch, if it had something to look at."""
        self.alike = _NOTHING
        """The numbers of the latest round trip's shape and label."""
        self._run = 0
        """How many similar round trips came in a row, before the watches rest."""
        self._each: tuple[Callable[[Step], None], ...] | None = None
        """The functions called with each similar round trip; None until there were enough."""
        self._resting: list[Watch] = []
        """The watches that rest."""
        self._more: list[Step] = []
        """The round trips that the resting watches have not seen yet."""

    def wait(self, place: int) -> None:
        """Let that row wait until the open one is closed."""
        self.catch_up()
        if self.waiting is _NONE:
            self.waiting = deque()
        self.waiting.append(place)

    def note(self, kind: Kind, subject: str = "") -> Note:
        found = self.notes.get((kind.name, subject))
        if found is None:
            if len(self.notes) >= OPEN_SUBJECTS_KEPT:
                subject = OTHERS
            found = self.notes.setdefault((kind.name, subject), Note(subject, connections=[self.connection.index]))
            if self.signs:
                found.fact(POOLER)
        return found

    def row_of(self, place: int, kind: Kind) -> None:
        self._mark(place, kind)

    def explain_end(self, note: Note) -> None:
        self.end_note = self.end_note or note

    def _watch(self, place: int) -> Watch:
        """The watch of the kind at that place, created when first needed; most connections need
        only a few.
        """
        watch = self._watches.get(place)
        if watch is None:
            watch = self._watches[place] = KINDS[place].watch(self)
        return watch

    def take(self, step: Step, alike: tuple[int, int]) -> None:
        """Pass a round trip to the watches. `alike` are the numbers of its shape and its label."""
        before, pause_ns = self.before, step.pause_ns
        if (
            alike != self.alike
            or before is None
            or before.counts != step.counts
            or pause_ns is None
            or pause_ns > PAUSE_NS
            or step.shape.errors
            or self.fatal is not None
            or len(self._more) >= _MOST_ALIKE
        ):
            self.catch_up()
            if pause_ns is not None and pause_ns >= PAUSED_NS and before is not None:
                for place in _PAUSED:
                    self._watch(place).paused(before, step.place, pause_ns, "", counts=step.counts)
            if self.fatal is not None:
                for place in _USED_AFTER:
                    self._watch(place).used_after(self.fatal, step)
            self.alike, self._run = alike, 0
            self.counts |= step.counts
            for row in self._handlers_of(alike[0], step.shape):
                row(step)
            if step.shape.errors:
                self._look_for_fatal(step)
        elif self._each is None and self._run < _SHORT_RUN:
            self._run += 1
            for row in self._handlers_of(alike[0], step.shape):
                row(step)
        else:
            for row in self._each if self._each is not None else self._let_rest(step):
                row(step)
            self._more.append(step)
        self.round_trips += 1
        self.before = step

    def more(self, place: int, opened_ns: int, duration_ms: float, rows: int, values: int) -> bool:
        """The fast path of take(), for one more similar round trip when there is no filter. Returns
        False if the round trip needs take().
        """
        before, each, ended_ns = self.before, self._each, self.ended_ns
        if before is None or each is None or ended_ns is None or len(self._more) >= _MOST_ALIKE:
            return False
        pause_ns = opened_ns - ended_ns if opened_ns > ended_ns else 0
        if pause_ns > PAUSE_NS:
            return False
        step = Step(
            place, before.shape, before.text, opened_ns, duration_ms, rows, values, before.label, before.key, pause_ns, counts=True
        )  # fmt: skip
        for row in each:
            row(step)
        self._more.append(step)
        self.round_trips += 1
        self.before = step
        self.ended_ns = opened_ns + round(duration_ms * 1e6)
        self.latest = place
        return True

    def _handlers_of(self, number: int, shape: Shape) -> tuple[Callable[[Step], None], ...]:
        """The functions to call with a round trip of that shape."""
        rows = self._rows_of.get(number)
        if rows is None:
            places, signs = self._interests.of(number, shape)
            asked = tuple(self._watch(place).row for place in places)
            if len(self._rows_of) >= _SHAPES_KEPT:
                self._rows_of.clear()
            rows = self._rows_of[number] = (self.signs.take, *asked) if signs else asked
        return rows

    def _let_rest(self, step: Step) -> tuple[Callable[[Step], None], ...]:
        """Let watches rest after a round trip like the one before. Returns the functions to call
        with it and with further ones.
        """
        places, signs = self._interests.of(self.alike[0], step.shape)
        watches = [self._watch(place) for place in places]
        rest = [watch.rests(step) for watch in watches]
        self._resting = list(compress(watches, rest))
        each = tuple(watch.row for watch, rests in zip(watches, rest, strict=True) if not rests)
        self._each = (self.signs.take, *each) if signs else each
        return self._each

    def catch_up(self) -> None:
        """Pass the waiting round trips to the resting watches, and end their rest."""
        self.pass_on()
        self.alike, self._each = _NOTHING, None

    def pass_on(self) -> None:
        """Pass the waiting round trips to the resting watches, which continue to rest."""
        if self._more:
            for watch in self._resting:
                watch.again(self._more)
            self._more = []

    def _look_for_fatal(self, step: Step) -> None:
        if self.fatal is None and any(failure.severity in FATAL for failure in step.label.failures):
            self.fatal = step

    def leave_open(self, step: Step) -> None:
        """Pass on a round trip that is still open at the end of the capture."""
        self.catch_up()
        for place in _LEFT_OPEN:
            self._watch(place).left_open(step)

    def other(self, step: Step) -> None:
        """Pass on a row that is not a round trip after set-up."""
        self.catch_up()
        if step.shape.errors or step.shape.kind is RowKind.ASYNCHRONOUS:
            self.signs.take(step)
        if step.shape.kind is RowKind.SETUP:
            self.signs.check_pid()
            self.counts |= step.counts
        for place in _OTHER:
            if KINDS[place].cares_other(step):
                self._watch(place).other(step)
        if step.shape.kind is RowKind.ASYNCHRONOUS and step.shape.errors:
            self._look_for_fatal(step)

    def end_at(self, place: int, time_ns: int, words: str) -> None:
        """End the session at that row."""
        if self.ends:
            return
        self.catch_up()
        self.ends = True
        pause_ns = None if self.ended_ns is None else max(0, time_ns - self.ended_ns)
        self.ended_ns = None
        if self.before is not None and pause_ns is not None:
            for number in _PAUSED:
                self._watch(number).paused(self.before, place, pause_ns, words, counts=self.before.counts)
        for number in _ENDED:
            self._watch(number).ended(place, pause_ns, words)

    def lose(self) -> None:
        self.catch_up()
        self.ended_ns = self.before = None
        for watch in self._watches.values():
            watch.lost()

    def settle(self) -> None:
        self.catch_up()
        if self.connection.closed_ns is not None or self.connection.ends:
            for place in _SETTLES:
                self._watch(place)
        for place in _SETTLES:
            if place in self._watches:
                self._watches[place].settle()
