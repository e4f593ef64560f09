"""Budgets: a limit for a counter of a subject, and whether a trace meets it.

    budget = Budget.parse("round_trips=4", where="--max")
    for result in evaluate(trace, [budget]):
        result.is_kept, result.actual, result.evidence

`check`, `run --max` and the pytest plugin share this implementation. The counters are those of
docs/counting.md; for a statement, those of `statements`. The number of a message is a counter, too:
`frontend_messages.Parse`. The subject of a budget is one of these:

- the capture: everything recorded, or everything that a filter selects;
- a driver, mark or statement: a single one, or each that occurs (EACH). A statement is named by
  its SQL in any layout and with any values.

A budget that finds nothing to check counts as exceeded: a mark that does not occur is a test that
did not run. Only a statement, or a filter's selection, may be absent if the limit is 0, because
such a budget demands just that.

An exceeded budget has evidence: the round trips that make up the number (evidence.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from pgtrace import sqltext
from pgtrace.ask.evidence import CounterEvidence, EvidenceGroup
from pgtrace.errors import BudgetError
from pgtrace.trace.counters import INTEGER_KEYS, KEYS, MESSAGES_OF, Counters
from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.whole import whole_number

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_LARGEST: Final = 10**18
About = Literal["capture", "driver", "mark", "statement"]
EACH: Final = "*"
"""Stands for each driver, mark or statement that occurs and has no separate budget for that
counter.
"""
STATEMENT_KEYS: Final = (
    "parses", "reused", "live", "executions", "round_trips", "round_trips_alone", "rows", "errors", "values_text", "values_binary",
)  # fmt: skip
"""The counters of a statement."""
_NAMES_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for a counter: at most `limit`, or with `exact` exactly that."""

    counter: str
    limit: int
    exact: bool = False
    about: About = "capture"
    name: str = ""
    """The name of the driver, mark or statement; EACH stands for all of them."""
    where: str = "--max"
    """Where the budget is written, for messages to people."""

    @classmethod
    def parse(cls, text: str, *, about: About = "capture", name: str = "", where: str = "--max") -> Self:
        """The budget of `COUNTER=N`. Raises BudgetError."""
        counter, found, limit = text.partition("=")
        counter, limit = counter.strip(), limit.strip()
        if not found or not counter:
            raise BudgetError(where, f"{text!r} is not a budget: use COUNTER=N, as in round_trips=4")
        check_counter(counter, about, where)
        number = whole_number(limit, _LARGEST)
        if number is None:
            raise BudgetError(where, f"{limit!r} is not a limit for {counter}: use a whole number, 0 or more")
        return cls(counter, number, about=about, name=name, where=where)

    @property
    def allowed(self) -> str:
        """`at most 4`, or `exactly 4`."""
        return f"{'exactly' if self.exact else 'at most'} {self.limit}"

    @property
    def subject(self) -> str:
        """`capture`, `mark test_checkout`."""
        return f"{self.about} {self.name}".strip() if self.name != EACH else f"each {self.about}"

    def allows(self, actual: int) -> bool:
        """Whether that number meets the budget."""
        return actual == self.limit if self.exact else actual <= self.limit


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one budget, for one capture, driver, mark or statement."""

    budget: Budget
    name: str
    """The name of its subject, also if the budget is for EACH."""
    actual: int | None
    """The number, or None if there was nothing to count."""
    occurring: tuple[str, ...] = ()
    """If there was nothing to count: names that do occur, the most similar first."""
    evidence: tuple[EvidenceGroup, ...] = ()
    """The round trips that make up the number, largest share first; their amounts add up to it.
    Empty if the budget is met.
    """

    @property
    def is_kept(self) -> bool:
        return self.actual is not None and self.budget.allows(self.actual)

    @property
    def subject(self) -> str:
        """`capture`, `mark test_checkout`."""
        return f"{self.budget.about} {self.name}".strip()


def check_counter(counter: str, about: About, where: str) -> None:
    """Check that there is such a counter. Raises BudgetError with the most similar names if not."""
    known = STATEMENT_KEYS if about == "statement" else INTEGER_KEYS
    if counter in known:
        return
    table, dot, message = counter.partition(".")
    if about != "statement" and table in MESSAGES_OF:
        if message in MESSAGES_OF[table]:
            return
        if not dot:
            raise BudgetError(where, f"{table} is counted by message: {table}.{MESSAGES_OF[table][0]} and so on")
        close = [f"{table}.{name}" for name in difflib.get_close_matches(message, MESSAGES_OF[table], 3, 0.4)]
        raise BudgetError(where, f"{message!r} is not a message in {table}{_suggestion(close)}")
    every = [*known, *(f"{table}.{name}" for table in MESSAGES_OF for name in MESSAGES_OF[table])] if about != "statement" else known
    elsewhere = " for a statement" if about == "statement" and counter in KEYS else ""
    raise BudgetError(where, f"unknown counter {counter!r}{elsewhere}{_suggestion(difflib.get_close_matches(counter, every, 3, 0.4))}")


def evaluate(trace: Trace, budgets: Iterable[Budget]) -> list[Result]:
    """The results of the budgets, in order. The trace must have a timeline, or count under a
    filter.
    """
    asked = list(budgets)
    counted, evidence = _Counted(trace), CounterEvidence(trace)
    results: list[Result] = []
    for budget in asked:
        own = {one.name for one in asked if one.about == budget.about and one.counter == budget.counter}
        for name, actual in _numbers(counted, budget, own):
            result = Result(budget, name, actual)
            if actual is None:
                result = Result(budget, name, None, counted.names_like(budget.about, name))
            elif not result.is_kept:
                result = Result(budget, name, actual, evidence=evidence.of(budget.counter, actual, budget.about, name))
            results.append(result)
    return results


def number(counters: Counters | StatementGroup, counter: str) -> int:
    """The value of a counter."""
    table, _, message = counter.partition(".")
    found: int = getattr(counters, table).get(message, 0) if message else getattr(counters, table)
    return found


def _numbers(counted: _Counted, budget: Budget, own: set[str]) -> Iterator[tuple[str, int | None]]:
    """(name, number) of each subject of a budget."""
    if budget.about == "capture":
        yield "", counted.number("capture", "", budget)
    elif budget.name == EACH:
        fingerprints = {sqltext.fingerprint(name) for name in own} if budget.about == "statement" else set()
        names = [
            name
            for name in counted.names(budget.about)
            if name not in own and (budget.about != "statement" or sqltext.fingerprint(name) not in fingerprints)
        ]
        for name in names:
            yield name, counted.number(budget.about, name, budget)
        if not names and own == {EACH}:
            yield EACH, None
    else:
        yield budget.name, counted.number(budget.about, budget.name, budget)


class _Counted:
    """The counters of a trace by subject, each computed once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[About, dict[str, Counters | StatementGroup]] = {}

    def names(self, about: About) -> list[str]:
        """The names that occur; for statements, their normalised SQL."""
        groups = self._of(about)
        return [group.sql for group in groups.values() if isinstance(group, StatementGroup)] if about == "statement" else list(groups)

    def names_like(self, about: About, name: str) -> tuple[str, ...]:
        """Names that occur, similar ones first."""
        names = self.names(about)
        close = difflib.get_close_matches(name, names[:10_000], _NAMES_LISTED, 0.5)
        return tuple(dict.fromkeys([*close, *names]))[:_NAMES_LISTED]

    def number(self, about: About, name: str, budget: Budget) -> int | None:
        """A counter of that driver, mark or statement; None if the subject does not occur, unless
        the budget demands that.
        """
        found = self._of(about).get(sqltext.fingerprint(name) if about == "statement" else name)
        may_be_absent = about == "statement" or (about == "capture" and self._trace.filter is not None)
        if found is None:
            return 0 if may_be_absent and not budget.limit else None
        return number(found, budget.counter)

    def _of(self, about: About) -> dict[str, Counters | StatementGroup]:
        if about not in self._known:
            self._known[about] = dict(self._counted(about))
        return self._known[about]

    def _counted(self, about: About) -> Iterator[tuple[str, Counters | StatementGroup]]:
        trace = self._trace
        if about == "capture":
            if trace.counted_connections():
                yield "", trace.totals()
        elif about == "driver":
            yield from ((driver, counters) for driver, _, counters in trace.drivers())
        elif about == "mark":
            yield from mark_counters(trace).items()
        else:
            yield from _statements(trace).items()


def _statements(trace: Trace) -> dict[str, StatementGroup]:
    """The statements of all drivers together, by fingerprint; without a fingerprint, by the text
    that replaces the SQL.
    """
    found: dict[str, StatementGroup] = {}
    for view in trace.statements():
        group = view.group
        key = group.fingerprint or sqltext.fingerprint(group.sql)
        if key not in found:
            found[key] = StatementGroup(group.sql, group.fingerprint)
        found[key].merge(group)
    return found


def _suggestion(names: list[str]) -> str:
    return f"; did you mean {', '.join(names)}?" if names else "; docs/counting.md lists them all"
