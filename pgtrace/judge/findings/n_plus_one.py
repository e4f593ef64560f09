"""n+1: one statement, or a few in turn, runs again and again with other values, and the driver
waits each time, although running it once would be enough.

Recognised by a run of round trips on one connection in which the same statements (normalised SQL
with a parameter or a literal) repeat: one alone, or a few in the same order, as with an ORM's lazy
relations (trace/turns.py). Nothing else may come in between, except round trips that only prepare.
The run must stay in one transaction block, or outside of blocks have only short pauses: the same
statement once a second is a poll, not a loop, and repeated BEGIN ... COMMIT is a loop of units of
work. Reported from REPEATS times. The cost is every execution after the first round.

If the program takes a connection from a pool for each query, the pool resets or checks it each
time. That is part of the loop if the next query first follows within AT_ONCE_NS. Units of work that
follow each other directly look the same, and the finding says so. If several connections have the
loop at the same time, it may also be a fan-out (gather) or independent work, and the finding says
so.

If the rounds of a loop change (another relation for some of the rows), it stays one finding as long
as one statement is in the rounds before and after the change.

In one transaction block the rounds may be uneven, for example if a relation has several rows or
none, or is loaded already. Then at most MOST statements may take part, and those that ran REPEATS
times must make up at least COVERED of COVERED + 1 round trips. They are the loop. Outside of a
block, such rounds are reported if each is as long as an answer has rows (judge/rounds.py).

If the values are in the text, drivers with a cache prepare each text as another statement, and keep
it. Findings of prepared-once and prepared-leak about such a statement are part of this one.

A loop whose statements ask for many values at once is not reported (judge/batches.py): a list in
portions, several rows of VALUES, pages, a queue that is drained. Only lists, bounds and limits may
differ from round to round; if another value differs, it is a loop over that value. A query with
bounds or limits but no list asks for many values only if an answer has several rows. Eager loading
of an ORM is not reported either: outside a block, one statement finds several rows, and another
asks for their related rows with a list. Each round is then a unit of work.

A COPY for each row is a loop too (judge/copies.py).

If the values are the same each time, also for one of several statements in turn, the finding is
repeat. Only statements that could be merged count (by their first word): FETCH takes a cursor's
next rows, and SET changes a different setting each time.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import compress
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.inspect.executed import Executed, executed
from pgtrace.inspect.walk import NotKept
from pgtrace.judge import batches, texts
from pgtrace.judge.copies import BEGINS, COPY, Copies
from pgtrace.judge.findings.driver_overhead import is_ping, is_reset, only_ends
from pgtrace.judge.findings.introspection import is_own
from pgtrace.judge.findings.kind import (
    ALSO,
    BETWEEN,
    EVIDENCE_KEPT,
    PAUSE_NS,
    ROUND_TRIPS,
    SUBJECT_CHARACTERS,
    Kind,
    Note,
    Seen,
    Span,
    Step,
    Watch,
)
from pgtrace.judge.rounds import Rounds
from pgtrace.trace.row import Shape
from pgtrace.trace.turns import MOST, REPEATS, Turns

COVERED: Final = 4
AT_ONCE_NS: Final = 5_000_000
"""The longest pause after a pool's reset or check."""
_STEPS_KEPT: Final = 64
"""The most executions of one statement that are kept until a loop is known."""
_LOOKED_UP: Final = 1_000
"""The most loops of one connection for which _batches keeps the answer."""
_FIRST_WORDS: Final = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "EXECUTE", "CALL", "TABLE"})
READS, WRITES, CALLS, RETURNS, IN_TEXT = "reads", "writes", "calls", "returns rows", batches.IN_TEXT
CHANGES: Final = "changes rows"
"""A fact: the loop changes or deletes rows, but adds none."""
BOUNDS: Final = "its values are bounds"
PAGES: Final = "its values are limits"
"""A fact: each page has at most one row. Longer pages are not a loop."""
COPIES: Final = "a COPY for each row"
SINGLE: Final = "its values are not all bounds or limits"
_BLANKED: Final = "values blanked"
_FROM_POOL: Final = "a pool's reset or check each time"
PREPARED_ONCE, PREPARED_LEAK = "prepared-once", "prepared-leak"
_ADDS: Final = frozenset({"INSERT", "MERGE"})
_POOLS: Final = (b"Q", b"S")
_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._mergeable: dict[str, bool] = {}
        self._batches: dict[tuple[str, ...], bool] = {}
        """Statements of a loop -> whether they ask for many values at once."""
        self._turns: Turns[Step] = Turns()
        """The run so far, if it may begin a loop."""
        self._loop: Note | None = None
        self._span = Span(0)
        """The period in which it has run so far."""
        self._texts: dict[str, str] = {}
        """Statement -> its first text, without comments."""
        self._keys: list[str] = []
        """Its statements, in turn."""
        self._same: frozenset[str] = frozenset()
        """The statements whose values are always the same."""
        self._at = 0
        self._uneven: dict[str, list[Step]] | None = {}
        """Statement -> its steps in the block so far; None if the block is not a loop."""
        self._loose: Note | None = None
        """A loop whose rounds are uneven."""
        self._is_fresh = False
        """Whether a pool has just reset or checked the connection."""
        self._from_pool = False
        """Whether a pool has done so in the run so far."""
        self._left: tuple[Note, set[str]] | None = None
        """The loop that this run follows directly, and its statements."""
        self._copies = Copies()
        """The latest COPYs, if each copied one row."""
        self._recent: deque[Step] = deque(maxlen=_STEPS_KEPT)
        """Outside of blocks: the latest steps of the run that are in no loop."""
        self._rounds = Rounds()
        """Outside of blocks: statements that run once per row of another's answer."""

    def row(self, step: Step) -> None:
        if step.only_drops or only_ends(step, self.seen.before):
            return  # the driver sent it on its own
        key, shape = step.key, step.shape
        if self._copies.is_open or shape.tags == COPY or shape.received[-1:] == BEGINS:
            self._copy(step)
        if _is_pools(step):
            self._is_fresh = True
            return
        if self._is_fresh:
            self._is_fresh = False
            if step.pause_ns is None or (self._loop is None and step.pause_ns > AT_ONCE_NS):
                self.lost()
            self._from_pool = True
        runs = _runs(shape)
        is_proven = False
        if runs and shape.status_before == "I":
            if step.pause_ns is None or step.pause_ns > PAUSE_NS:
                self._rounds.clear()
            is_proven = self._rounds.take(key, step.rows, step.place)
        if self._loop is not None and key == self._keys[self._at] and runs and self._goes_on(step):
            self._at = (self._at + 1) % len(self._keys)
            self._report(self._loop, step)
            return
        is_one_of_many = self._is_one_of_many(key, step)
        if not is_one_of_many or not self._goes_on(step):
            self.lost()
            if not is_one_of_many:
                return
        if not shape.depth:
            if self._loop is not None and key not in self._keys:
                self._end(step)
            return
        if not runs:
            self.lost()
            return
        if self._loop is not None:
            known = {*self._keys, *(self._left[1] if self._left is not None else ())}
            left = (self._loop, known) if len(known) <= MOST else None
            self._end(step)
            self._left = left
        run = self._turns.take(key, step)
        if run and self._loose is None:
            self._check_run(run, len(run) // REPEATS)
        elif shape.status_before == "T":
            self._unevenly(key, step)
        else:
            self._outside(key, step, is_proven=is_proven)

    def rests(self, step: Step) -> bool:
        return self._loop is not None and self._keys == [step.key] and _runs(step.shape) and self._goes_on(step)

    def again(self, steps: list[Step]) -> None:
        if self._loop is None or not steps[0].counts:
            return
        if steps[-1].shape.status_before == "I":
            self._rounds.take(steps[-1].key, steps[-1].rows, steps[-1].place, len(steps))
        self._loop.cost += len(steps) - 1
        self._loop.times += len(steps) - 1
        for step in steps[:-1]:
            self.seen.row_of(step.place, KIND)
        for step in steps[:-1][:EVIDENCE_KEPT]:
            self._show(self._loop, step)
        self._report(self._loop, steps[-1])

    def lost(self) -> None:
        self._turns.clear()
        self._loop = self._loose = self._left = None
        self._uneven = {}
        self._from_pool = False
        self._rounds.clear()
        self._recent.clear()

    def _end(self, step: Step) -> None:
        """End the loop, not the run: outside of blocks its rounds may be another loop."""
        rounds, recent = self._rounds, self._recent
        if step.shape.status_before == "I":
            self._rounds, self._recent = Rounds(), deque(maxlen=_STEPS_KEPT)
        self.lost()
        self._rounds, self._recent = rounds, recent

    def _copy(self, step: Step) -> None:
        """Pass the next round trip to the loop of COPYs of one row each."""
        for copy, is_first in self._copies.take(step, self.seen.trace):
            counted = [one for one in copy if one.counts]
            if not counted:
                continue
            note = self.seen.note(KIND, step.key)
            note.fact(COPIES)
            note.amount += is_first
            note.times += 1
            note.cost += 0 if is_first else len(counted)
            for one in counted:
                self.seen.row_of(one.place, KIND)
            note.show(copy[-1].place, "once, one row" if is_first else "again, one row")

    def _check_run(self, run: list[Step], period: int) -> None:
        """Start a loop, if the values of the run differ as in a loop."""
        self._turns.clear()
        if self._are_batches(run, period):
            return
        alike = [self._are_alike(run[place::period], 1) for place in range(period)]
        if not all(alike):
            self._begin(run, period, frozenset(step.key for step, same in zip(run, alike, strict=False) if same))

    def _unevenly(self, key: str, step: Step) -> None:
        """Take the next step of a run in a block whose rounds may be uneven."""
        if self._loose is not None:
            if key in self._keys:
                self._report(self._loose, step)
            return
        if self._uneven is None:
            return
        steps = self._uneven.setdefault(key, [])
        if len(self._uneven) > MOST:
            self._uneven = None
            return
        steps.append(step)
        del steps[:-_STEPS_KEPT]
        if len(steps) >= REPEATS:
            self._begin_if_most(self._uneven)

    def _outside(self, key: str, step: Step, *, is_proven: bool) -> None:
        """Take the next step of a run outside of blocks. `is_proven`: one statement has run for
        each row of another's answer."""
        if self._loose is not None and self._rounds.found is None:
            self.lost()
        if self._loose is not None:
            if key in self._keys:
                self._report(self._loose, step)
            return
        self._recent.append(step)
        if not is_proven or self._rounds.found is None:
            return
        uneven: dict[str, list[Step]] = {}
        for one in self._recent:
            if one.place >= self._rounds.since:
                uneven.setdefault(one.key, []).append(one)
        if len(uneven) <= MOST:
            self._begin_if_most(uneven, self._rounds.found[1])

    def _begin_if_most(self, uneven: dict[str, list[Step]], needed: str = "") -> None:
        """Start a loop of those statements that run often, if they are nearly all that runs."""
        often = {key: steps for key, steps in uneven.items() if len(steps) >= REPEATS and self._is_a_loop(steps)}
        covered, others = sum(map(len, often.values())), sum(map(len, uneven.values()))
        if often and covered * (COVERED + 1) >= others * COVERED and (not needed or needed in often):
            self._begin_unevenly(often)

    def _begin_unevenly(self, often: dict[str, list[Step]]) -> None:
        self._uneven, self._keys, self._texts, self._same = None, list(often), {}, frozenset()
        before: set[str] = set()
        if self._left is not None and not self._left[1].isdisjoint(often):
            note, before = self._left
            note.fact(*(f"{ALSO}{key}" for key in often if key not in before))
        else:
            note = self.seen.note(KIND, BETWEEN.join(often))
        self._loose = note
        self._span = note.span(min(steps[0].opened_ns for steps in often.values()))
        self._explain_repeats(note)
        if not before:
            note.amount += any(step.counts for steps in often.values() for step in steps)
        note.fact("uneven")
        firsts = {steps[0].place for key, steps in often.items() if key not in before}
        for step in sorted((step for steps in often.values() for step in steps), key=lambda step: step.place):
            self._report(note, step, first=step.place in firsts)

    def _are_alike(self, run: list[Step], period: int) -> bool:
        """Whether most steps have the same values as in the previous round, as far as values are
        known. Then it is not a loop over values.
        """
        if self.seen.trace.values_blanked:
            return False
        alike = 0
        for one, other in zip(run, run[period:], strict=False):
            same = one.values == other.values != 0 and one.text == other.text
            alike += same and not _adds(one)
        return 2 * alike >= len(run) - period

    def _is_a_loop(self, steps: list[Step]) -> bool:
        return not self._are_alike(steps, 1) and not self._are_batches(steps, 1)

    def _are_batches(self, run: list[Step], period: int) -> bool:
        """Whether each statement asks for many values at once, or one of them asks for pages or
        portions, and the others run once for each.
        """
        keys = tuple(step.key for step in run[:period])
        known = self._batches.get(keys)
        if known is None:
            if len(self._batches) >= _LOOKED_UP:
                self._batches.clear()
            asks = [self._asks(run[place::period]) for place in range(period)]
            is_units = batches.LIST in asks and _loads_eagerly(run, period, asks)
            known = self._batches[keys] = all(asks) or batches.LIMIT in asks or is_units
        return known

    def _asks(self, steps: list[Step]) -> str:
        """How a statement asks for many values (lists, bounds or limits), if its other values are
        the same. Empty if it does not.
        """
        found = [batches.roles(step.label.sql) for step in steps]
        kinds = {role for each in found for role, _ in each}
        if batches.LIST in kinds:
            how = batches.LIST
        elif kinds.isdisjoint((batches.RANGE, batches.LIMIT)):
            return ""
        else:
            if not any(_writes(step) for step in steps) and all(step.rows <= 1 for step in steps):
                return ""
            how = batches.LIMIT if batches.LIMIT in kinds else batches.RANGE
        several = [any(role == batches.LIST for role, _ in each) for each in found]
        if how == batches.LIST and 2 * sum(several) > len(several):  # most lists have several items
            found, steps = list(compress(found, several)), list(compress(steps, several))
            kinds = {role for each in found for role, _ in each}
        elif any(several):
            return ""
        if batches.ONE not in kinds and how != batches.LIST:
            return how
        ran = [self._ran(step) for step in steps]
        if (
            how == batches.LIST
            and all(batches.of_one(each, one.parameters, one.formats) for each, one in zip(found, ran, strict=True) if one is not None)
            and None not in ran
        ):
            return ""
        rounds = [batches.apart(each, one.parameters if one is not None else None) for each, one in zip(found, ran, strict=True)]
        known = [one for one in rounds if one is not None]
        return how if len(known) == len(rounds) and batches.stay(known) else ""

    def _ran(self, step: Step) -> Executed | None:
        """The values that the step bound, read from the capture; None if they are not kept."""
        if b"B" not in step.shape.sent:
            return Executed(1)
        try:
            ran = executed(self.seen.trace, step.place)
        except NotKept:
            return None
        return ran[0] if len(ran) == 1 else None

    def _begin(self, run: list[Step], period: int, same: frozenset[str]) -> None:
        """Begin a loop. `same` are its statements that always have the same values: they take part,
        but are not a loop over values.
        """
        self._at = 0
        self._same = same
        self._uneven = None
        while self._recent and self._recent[-1].place >= run[0].place:
            self._recent.pop()
        self._keys = [step.key for step in run[:period]]
        self._texts = {}
        if self._left is not None and not self._left[1].isdisjoint(self._keys):
            note, before = self._left
            note.fact(*(f"{ALSO}{key}" for key in self._keys if key not in before and key not in same))
        else:
            keys = [key for key in self._keys if key not in same]
            note, before = self.seen.note(KIND, BETWEEN.join(_from_least(keys))), set()
            note.amount += any(step.counts for step in run)
        self._loop = note
        self._span = note.span(run[0].opened_ns)
        self._explain_repeats(note)
        if self._from_pool:
            note.fact(_FROM_POOL)
        if period > len(same) + 1:
            note.fact("in turn")
        elif same:
            note.fact("uneven")
        for place, step in enumerate(run):
            self._report(note, step, first=place < period and step.key not in before)

    def _explain_repeats(self, note: Note) -> None:
        """Let the loop explain repeats of its statements: a value may occur twice in a loop, for
        another row with the same parent.
        """
        for key in self._keys:
            if key not in self._same:
                note.absorb("repeat", key)

    def _goes_on(self, step: Step) -> bool:
        shape = step.shape
        if step.pause_ns is None:
            return False
        if shape.status_before in ("T", "E"):
            return shape.status != "I"
        return step.pause_ns <= PAUSE_NS and shape.status == shape.status_before

    def _is_one_of_many(self, key: str, step: Step) -> bool:
        known = self._mergeable.get(key)
        if known is None:
            if len(self._mergeable) > 1000:
                self._mergeable.clear()
            is_first = "$" in key and not _FIRST_WORDS.isdisjoint(sqltext.words(key, 1))
            known = self._mergeable[key] = is_first and not is_own(self.seen, step.label.sql)
        return known

    def _report(self, note: Note, step: Step, *, first: bool = False) -> None:
        if not step.counts or step.key in self._same:
            return
        self.seen.row_of(step.place, KIND)
        self._span.until_ns = step.opened_ns
        note.cost += not first
        note.times += 1
        if step.key not in self._texts:
            self._texts[step.key] = sqltext.without_comments(step.label.sql)
            does = _does(step.label.sql)
            note.fact(does, *([RETURNS] if does == WRITES and step.rows else ()))
            if does == WRITES and _ADDS.isdisjoint(texts.words(step.label.sql)):
                note.fact(CHANGES)
            kinds = {role for role, _ in batches.roles(step.label.sql)}
            is_single = does != READS or not kinds.isdisjoint((batches.ONE, batches.LIST))
            note.fact(SINGLE if is_single or not kinds else BOUNDS if batches.RANGE in kinds else PAGES)
            if does == READS and self.seen.trace.values_blanked:
                note.fact(_BLANKED)
        elif IN_TEXT not in note.facts and (text := sqltext.without_comments(step.label.sql)) != self._texts[step.key]:
            note.fact(batches.difference(batches.fixed(self._texts[step.key]), batches.fixed(text)))
        self._show(note, step, first=first)

    def _show(self, note: Note, step: Step, *, first: bool = False) -> None:
        if len(note.evidence) < EVIDENCE_KEPT:
            note.show(step.place, "once" if first else "again, in the same transaction" if step.shape.status_before == "T" else "again")


def _loads_eagerly(run: list[Step], period: int, asks: list[str]) -> bool:
    """Whether the rounds are units of work outside a block, in which one statement finds several
    rows and another asks for their related rows with a list.
    """
    if run[0].shape.status_before != "I":
        return False
    others = [run[place::period] for place, how in enumerate(asks) if how != batches.LIST]
    return any(2 * sum(step.rows > 1 for step in steps) >= len(steps) for steps in others)


def _writes(step: Step) -> bool:
    """Whether the step writes. A portal that a row limit left suspended has no tag."""
    shape = step.shape
    return not _WRITES.isdisjoint(shape.tags) or (not shape.tags and b"s" in shape.received and texts.changes(step.label.sql))


def _adds(step: Step) -> bool:
    """Whether the step may add a row each time, even with the same values."""
    return _writes(step) and not _ADDS.isdisjoint(words := texts.words(step.label.sql)) and "CONFLICT" not in words


def _does(sql: str) -> str:
    """How executions of that statement can be merged: it writes, it looks for rows, or it only
    calls functions and has no column to compare.
    """
    if texts.changes(sql):
        return WRITES
    is_call = texts.called(sql) and not texts.has(sql, "WHERE") and sqltext.words(sql, 1) != ["EXECUTE"]
    return CALLS if is_call else READS


def _from_least(keys: list[str]) -> list[str]:
    """The statements of a loop in turn, rotated so that the smallest comes first, because it is not
    known where a round begins.
    """
    at = min(range(len(keys)), key=lambda at: keys[at:] + keys[:at])
    return keys[at:] + keys[:at]


def _is_pools(step: Step) -> bool:
    """Whether a pool resets or checks the connection."""
    return step.shape.status_before == step.shape.status == "I" and step.shape.sent in _POOLS and (is_reset(step) or is_ping(step, None))


def _runs(shape: Shape) -> bool:
    """Whether the round trip runs one statement, and nothing failed."""
    return shape.depth == 1 and not shape.errors and (b"B" in shape.sent or b"Q" in shape.sent)


def _cares(shape: Shape) -> bool:
    return bool(shape.depth or shape.sent)


def _what(note: Note) -> str:
    loops = f" in {note.amount} loops" if note.amount > 1 and not note.at_once else ""
    more = [fact.removeprefix(ALSO) for fact in note.facts if fact.startswith(ALSO)]
    keys = note.subject.split(BETWEEN) + more
    if len(keys) > 1:
        counted = Counter(keys)
        texts = "; ".join(
            f"{sqltext.shorten(key, SUBJECT_CHARACTERS // min(len(counted), 4))}{f' (×{number})' if number > 1 else ''}"
            for key, number in list(counted.items())[:4]
        ) + ("; …" if len(counted) > 4 else "")
        how = "in turn" if "in turn" in note.facts and not more else "in a loop"
        ran = f"{len(keys)} statements {how}{loops}, {note.times} executions"
        return f"{ran}{_waiting(note)}: {texts}{_prepared(note)}{_blanked(note)}"
    text = sqltext.shorten(keys[0], SUBJECT_CHARACTERS)[:SUBJECT_CHARACTERS]
    how = "" if note.at_once else " with others in between" if "uneven" in note.facts else " one after the other"
    return f"{text}: {note.times} times{how}{loops}{_waiting(note)}{_prepared(note)}{_blanked(note)}"


def _waiting(note: Note) -> str:
    """The part of the line that says how the executions waited, as far as the wire shows it."""
    if note.at_once:
        pool = " of a pool" if _FROM_POOL in note.facts else ""
        return f" on {note.on} connections{pool}, partly at the same time (loops side by side, a fan-out, or work that is independent)"
    if _FROM_POOL in note.facts:
        return (
            ", each waiting for the answer, on a connection from a pool each time: a loop, or units of work that follow each other directly"
        )
    return ", each waiting for the answer"


def _prepared(note: Note) -> str:
    """The part of the line about values in the text, which cost a Parse each."""
    if not note.parts:
        return ""
    alive = f", and {note.parts[PREPARED_LEAK].times} are alive" if PREPARED_LEAK in note.parts else ""
    return f"; its values are in the text, so each is another statement, prepared and run once{alive}"


def _blanked(note: Note) -> str:
    """The part of the line about blanked values."""
    return "; its values are blanked: if they are the same each time, cache the answer" if _BLANKED in note.facts else ""


def _joined(note: Note) -> tuple[str, ...]:
    return tuple(note.subject.split(BETWEEN)) if IN_TEXT in note.facts else ()


KIND: Final = Kind(
    name="n+1",
    unit=ROUND_TRIPS,
    why="The same statement runs once for each value, and each run costs a round trip. One statement can ask for all values at once.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    joins=(PREPARED_ONCE, PREPARED_LEAK),
    also={PREPARED_ONCE: ()},
    first=(
        Remedy(
            "use one query for all bounds: FROM unnest($1) AS bound JOIN ... ON column <= bound (LATERAL for a LIMIT); or use GROUP BY",
            needs=(BOUNDS,),
            tried="joined-to-bounds",
            clients=DEMO,
        ),
        Remedy(
            "read pages of a hundred rows or more, not of one; or read everything at once, if it is small enough",
            needs=(PAGES,),
            tried="larger-pages",
            clients=DEMO,
        ),
        Remedy("write all rows in one COPY", needs=(COPIES,), tried="one-copy", clients=("asyncpg", "psycopg", "psycopg2", "pg8000")),
    ),
    is_first=lambda note: not note.facts[SINGLE],
    joined=_joined,
    remedies=(
        Remedy(
            "ask for all values at once: WHERE column = ANY($1) or a join to read, INSERT with several rows to write; or use a pipeline",
            unless=(CALLS,),
        ),
        Remedy(
            "use one call for all values: SELECT f(x) FROM unnest($1) AS x, or a function that takes an array",
            needs=(CALLS,),
            tried="called-once",
            clients=DEMO,
        ),
    ),
)
