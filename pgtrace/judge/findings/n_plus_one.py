"""n+1: one statement, or a few in turn, run again and again, each time waiting for the answer,
where once would do.

Recognised by a run of round trips of one connection in which the same statements (normalised SQL
with a parameter or a literal in it) repeat: one alone, or a few in the same order, as an ORM's lazy
relations do (trace/turns.py). Nothing else may come in between, except round trips that only
prepare. The run must stay in one transaction block, or have short pauses outside of any: the same
statement once a second is a poll, not a loop, and BEGIN ... COMMIT again and again is a loop of
units of work. Reported from REPEATS times; the cost is every execution after the first round.

In one transaction block the rounds may be uneven, as with a relation that has several rows, or
none, or is known already: at most MOST statements, of which those that ran REPEATS times are
COVERED of COVERED + 1 round trips or more. These are the loop.

If its values are in the text, drivers with a cache prepare each as another statement, and keep it:
findings of prepared-once and prepared-leak about it are part of this one.

If the values are the same each time it is repeat, not a loop over values. Only statements that
could be merged count (by their first word): FETCH takes a cursor's next rows, SET changes another
setting.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import EVIDENCE_KEPT, PAUSE_NS, ROUND_TRIPS, SUBJECT_CHARACTERS, Kind, Note, Seen, Step, Watch
from pgtrace.trace.row import Shape
from pgtrace.trace.turns import MOST, REPEATS, Turns

COVERED: Final = 4
_STEPS_KEPT: Final = 64
"""Executions of one statement, until a loop is known."""
_FIRST_WORDS: Final = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "EXECUTE", "CALL", "TABLE"})
_BETWEEN: Final = " · "
READS, WRITES, IN_TEXT = "reads", "writes", "values in the text"
PREPARED_ONCE, PREPARED_LEAK = "prepared-once", "prepared-leak"
_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._batches: dict[str, bool] = {}
        self._turns: Turns[Step] = Turns()
        """The run so far, if it may begin a loop."""
        self._loop: Note | None = None
        self._texts: dict[str, str] = {}
        """The first text of each, without its comments."""
        self._keys: list[str] = []
        """Its statements, in turn."""
        self._at = 0
        self._uneven: dict[str, list[Step]] | None = {}
        """By statement, the run so far in a block; None if it is no loop."""
        self._loose: Note | None = None
        """A loop whose rounds are uneven."""

    def row(self, step: Step) -> None:
        key, shape = step.key, step.shape
        runs = _runs(shape)
        if self._loop is not None and key == self._keys[self._at] and runs and self._goes_on(step):
            self._at = (self._at + 1) % len(self._keys)
            self._tell(self._loop, step)
            return
        is_one_of_many = self._is_one_of_many(key)
        if not is_one_of_many or not self._goes_on(step):
            self.lost()
            if not is_one_of_many:
                return
        if not shape.depth:
            if self._loop is not None and key not in self._keys:
                self.lost()
            return
        if not runs:
            self.lost()
            return
        if self._loop is not None:
            self.lost()
        run = self._turns.take(key, step)
        if run and self._loose is None:
            self._look(run, len(run) // REPEATS)
        elif shape.status_before == "T":
            self._unevenly(key, step)

    def rests(self, step: Step) -> bool:
        return self._loop is not None and self._keys == [step.key] and _runs(step.shape) and self._goes_on(step)

    def again(self, steps: list[Step]) -> None:
        if self._loop is None or not steps[0].counts:
            return
        self._loop.cost += len(steps) - 1
        self._loop.times += len(steps) - 1
        for step in steps[:-1]:
            self.seen.row_of(step.place, KIND)
        for step in steps[:-1][:EVIDENCE_KEPT]:
            self._show(self._loop, step)
        self._tell(self._loop, steps[-1])

    def lost(self) -> None:
        self._turns.clear()
        self._loop = self._loose = None
        self._uneven = {}

    def _look(self, run: list[Step], period: int) -> None:
        """A run has become a loop, if its values say so too."""
        self._turns.clear()
        if not self._are_alike(run, period):
            self._begin(run, period)

    def _unevenly(self, key: str, step: Step) -> None:
        """The next of a run in a block, if its rounds are uneven."""
        if self._loose is not None:
            if key in self._keys:
                self._tell(self._loose, step)
            return
        if self._uneven is None:
            return
        steps = self._uneven.setdefault(key, [])
        if len(self._uneven) > MOST:
            self._uneven = None
            return
        steps.append(step)
        del steps[:-_STEPS_KEPT]
        if len(steps) < REPEATS:
            return
        often = {key: steps for key, steps in self._uneven.items() if len(steps) >= REPEATS and not self._are_alike(steps, 1)}
        covered, others = sum(map(len, often.values())), sum(map(len, self._uneven.values()))
        if often and covered * (COVERED + 1) >= others * COVERED:
            self._begin_unevenly(often)

    def _begin_unevenly(self, often: dict[str, list[Step]]) -> None:
        self._uneven, self._keys, self._texts = None, list(often), {}
        note = self._loose = self.seen.note(KIND, _BETWEEN.join(often))
        note.amount += any(step.counts for steps in often.values() for step in steps)
        note.fact("uneven")
        firsts = {steps[0].place for steps in often.values()}
        for step in sorted((step for steps in often.values() for step in steps), key=lambda step: step.place):
            self._tell(note, step, first=step.place in firsts)

    def _are_alike(self, run: list[Step], period: int) -> bool:
        """Whether most have the values of the previous round, as far as values are known: then it
        is not a loop over values."""
        if self.seen.trace.values_blanked:
            return False
        alike = 0
        for one, other in zip(run, run[period:], strict=False):
            same = one.values == other.values != 0 and one.text == other.text
            alike += same and _WRITES.isdisjoint(one.shape.tags)
        return 2 * alike >= len(run) - period

    def _begin(self, run: list[Step], period: int) -> None:
        self._at = 0
        self._uneven = None
        self._keys = [step.key for step in run[:period]]
        self._texts = {}
        note = self._loop = self.seen.note(KIND, _BETWEEN.join(self._keys))
        note.amount += any(step.counts for step in run)
        if period > 1:
            note.fact("in turn")
        for place, step in enumerate(run):
            self._tell(note, step, first=place < period)

    def _goes_on(self, step: Step) -> bool:
        shape = step.shape
        if step.pause_ns is None:
            return False
        if shape.status_before in ("T", "E"):
            return shape.status != "I"
        return step.pause_ns <= PAUSE_NS and shape.status == shape.status_before

    def _is_one_of_many(self, key: str) -> bool:
        known = self._batches.get(key)
        if known is None:
            if len(self._batches) > 1000:
                self._batches.clear()
            known = self._batches[key] = "$" in key and not _FIRST_WORDS.isdisjoint(sqltext.words(key, 1))
        return known

    def _tell(self, note: Note, step: Step, *, first: bool = False) -> None:
        if not step.counts:
            return
        self.seen.row_of(step.place, KIND)
        note.cost += not first
        note.times += 1
        does = WRITES if not _WRITES.isdisjoint(step.shape.tags) else READS
        if does not in note.facts:
            note.fact(does)
        if IN_TEXT not in note.facts:
            text = sqltext.without_comments(step.label.sql)
            if text != self._texts.setdefault(step.key, text):
                note.fact(IN_TEXT)
        self._show(note, step, first=first)

    def _show(self, note: Note, step: Step, *, first: bool = False) -> None:
        if len(note.evidence) < EVIDENCE_KEPT:
            note.show(step.place, "once" if first else "again, in the same transaction" if step.shape.status_before == "T" else "again")


def _runs(shape: Shape) -> bool:
    """Whether it runs one statement, and nothing failed."""
    return shape.depth == 1 and not shape.errors and (b"B" in shape.sent or b"Q" in shape.sent)


def _cares(shape: Shape) -> bool:
    return bool(shape.depth or shape.sent)


def _what(note: Note) -> str:
    loops = f" in {note.amount} loops" if note.amount > 1 else ""
    keys = note.subject.split(_BETWEEN)
    if len(keys) > 1:
        counted = Counter(keys)
        texts = "; ".join(
            f"{sqltext.shorten(key, SUBJECT_CHARACTERS // min(len(counted), 4))}{f' (×{number})' if number > 1 else ''}"
            for key, number in list(counted.items())[:4]
        ) + ("; …" if len(counted) > 4 else "")
        how = "in turn" if "in turn" in note.facts else "in a loop"
        return f"{len(keys)} statements {how}{loops}, {note.times} executions, each waiting for the answer: {texts}{_prepared(note)}"
    text = sqltext.shorten(keys[0], SUBJECT_CHARACTERS)[:SUBJECT_CHARACTERS]
    how = "with others in between" if "uneven" in note.facts else "one after the other"
    return f"{text}: {note.times} times {how}{loops}, each waiting for the answer{_prepared(note)}"


def _prepared(note: Note) -> str:
    """What the values in its text cost on top."""
    if not note.parts:
        return ""
    alive = f", and {note.parts[PREPARED_LEAK]} are alive" if PREPARED_LEAK in note.parts else ""
    return f"; with its values in the text each is another statement, prepared and run once{alive}"


def _joined(note: Note) -> tuple[str, ...]:
    return tuple(note.subject.split(_BETWEEN)) if IN_TEXT in note.facts else ()


KIND: Final = Kind(
    name="n+1",
    unit=ROUND_TRIPS,
    why="The same statement runs once for each value, and the application waits for each answer; one statement can ask for all of them.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    joins=(PREPARED_ONCE, PREPARED_LEAK),
    also=(PREPARED_ONCE,),
    joined=_joined,
    remedies=(
        Remedy("ask for all values at once: WHERE column = ANY($1) or a join to read, INSERT with several rows to write; or a pipeline"),
    ),
)
