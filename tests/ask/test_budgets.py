"""What keeps a budget and what does not, over captures of scripts; and the round trips that are told for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgtrace.ask import filter
from pgtrace.ask.budgets import EACH, INTEGER_KEYS, STATEMENT_KEYS, Budget, Result, evaluate, number
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.errors import BudgetError
from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.trace import Trace
from tests import playbook

SCRIPT = """
F Parse s1 SELECT name FROM item WHERE id = $1 | Describe S s1 | Sync
B ParseComplete | ParameterDescription 23 | RowDescription name:25 | ReadyForQuery I
mark begin checkout
F Bind - s1 params=7 | Execute - | Sync
B BindComplete | DataRow tea ×4 | CommandComplete SELECT 4 | ReadyForQuery I
F Bind - s1 params=8 | Execute - | Sync
B BindComplete | DataRow rice | CommandComplete SELECT 1 | ReadyForQuery I
F Query UPDATE item SET price = 3
B ErrorResponse 23514 too cheap | ReadyForQuery I
mark end checkout
c2 F Query BEGIN | Query SELECT 1 | Query COMMIT
c2 B CommandComplete BEGIN | ReadyForQuery T | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery T | \
CommandComplete COMMIT | ReadyForQuery I
c2 B NotificationResponse orders 1
c2 F Terminate
c2 close F
c1 close F
end
"""
Opened = Callable[..., Trace]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A script as a trace, read to its end; under a filter counted once more."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def open_script(script: str = SCRIPT, selected: str | None = None) -> Trace:
            trace = Trace.open([playbook.write(tmp_path / f"{next(numbers)}.pgtrace", script)])
            stack.callback(trace.close)
            trace.read_until(1 << 62)
            if selected is None:
                return trace
            counted = CountedTrace(filter.parse(selected).over(trace))
            counted.read_until(1 << 62)
            return counted

        yield open_script


def one(trace: Trace, text: str, **about: str) -> Result:
    (result,) = evaluate(trace, [Budget.parse(text, **about)])  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize(
    ("about", "name", "counter", "actual"),
    [
        ("capture", "", "round_trips", 5),
        ("capture", "", "frontend_messages.Query", 4),
        ("capture", "", "backend_messages.AuthenticationOk", 2),
        ("capture", "", "pipelined_executions", 2),
        ("mark", "checkout", "round_trips", 3),
        ("mark", "checkout", "errors", 1),
        ("driver", "unknown", "notifications", 1),
        ("statement", "select  name from item\nwhere id = 99", "round_trips", 3),
        ("statement", "SELECT name FROM item WHERE id = $1", "reused", 1),
    ],
)
def test_a_budget_is_kept_up_to_its_limit(opened: Opened, about: str, name: str, counter: str, actual: int) -> None:
    trace = opened()
    kept, exceeded = (one(trace, f"{counter}={limit}", about=about, name=name) for limit in (actual, actual - 1))
    assert (kept.actual, kept.is_kept, kept.evidence) == (actual, True, ())
    assert (exceeded.actual, exceeded.is_kept) == (actual, False)
    assert sum(group.amount for group in exceeded.evidence) == actual


def test_an_exact_budget_is_not_kept_by_less(opened: Opened) -> None:
    trace = opened()
    results = evaluate(trace, [Budget("round_trips", limit, exact=True) for limit in (4, 5, 6)])
    assert [result.is_kept for result in results] == [False, True, False]


@pytest.mark.parametrize(
    ("about", "name", "limit", "kept"),
    [
        ("mark", "chekout", 0, False),
        ("driver", "asyncpg", 0, False),
        ("statement", "SELECT nothing", 1, False),
        ("statement", "SELECT nothing", 0, True),
    ],
)
def test_what_does_not_occur_keeps_no_budget_but_that_of_a_forbidden_statement(
    opened: Opened, about: str, name: str, limit: int, kept: bool
) -> None:
    result = one(opened(), f"errors={limit}", about=about, name=name)
    assert result.is_kept == kept
    assert (result.actual is None) != kept
    if about == "mark":
        assert result.occurring == ("checkout",)


def test_a_capture_without_a_connection_keeps_nothing(opened: Opened) -> None:
    assert one(opened("end"), "errors=0").actual is None


def test_under_a_filter_nothing_may_be_selected_where_nothing_is_allowed(opened: Opened) -> None:
    trace = opened(selected="sqlstate:23514 and driver:asyncpg")
    assert [one(trace, text).is_kept for text in ("round_trips=0", "round_trips=4")] == [True, False]
    selected = opened(selected="update")
    result = one(selected, "round_trips=0")
    assert result.actual == 1
    assert [(group.times, group.flight, group.sqlstate) for group in result.evidence] == [(1, "Q → EZ", "23514")]


def test_each_is_everything_without_a_budget_of_its_own(opened: Opened) -> None:
    trace = opened()
    each = Budget("executions", 1, about="statement", name=EACH)
    named = [result.name for result in evaluate(trace, [each])]
    assert named == ["SELECT name FROM item WHERE id = $1", "BEGIN", "COMMIT", "SELECT $1", "UPDATE item SET price = $1"]
    own = Budget("executions", 2, about="statement", name="select name from item where id = 5")
    results = evaluate(trace, [each, own])
    assert [result.name for result in results] == [*named[1:], own.name]
    assert all(result.is_kept for result in results)


def test_each_of_nothing_is_not_kept(opened: Opened) -> None:
    result = one(opened("F Query SELECT 1"), "errors=0", about="mark", name=EACH)
    assert (result.actual, result.is_kept) == (None, False)


def test_the_evidence_is_the_largest_groups(opened: Opened) -> None:
    groups = one(opened(), "rows=0").evidence
    assert [(group.times, group.amount, group.flight, group.sql, group.first_row) for group in groups] == [
        (2, 5, "BES → 2DCZ", "SELECT name FROM item WHERE id = $1", 4),
        (1, 1, "Q×3 → CZDCZCZ", "BEGIN; SELECT $1; COMMIT", 9),
    ]
    (alone,) = one(opened(), "notifications=0").evidence
    assert alone.flight == "← A"


def test_the_evidence_of_a_mark_or_a_statement_is_its_own(opened: Opened) -> None:
    trace = opened()
    assert sum(group.times for group in one(trace, "round_trips=0", about="mark", name="checkout").evidence) == 3
    (group,) = one(trace, "executions=0", about="statement", name="SELECT 7").evidence
    assert group.flight == "Q×3 → CZDCZCZ"  # one of three in one round trip


def test_many_groups_are_told_as_the_largest_and_their_rest(opened: Opened) -> None:
    lines = "\n".join(
        f"F Query SELECT {'a' * n}\nB CommandComplete SELECT 0 | ReadyForQuery I" for n in range(1, 13) for _ in range(14 - n)
    )
    told = one(opened(lines), "queries=0").evidence
    assert [group.amount for group in told[:-1]] == list(range(13, 5, -1))
    assert (told[-1].flight, told[-1].times) == ("", 5 + 4 + 3 + 2)


def test_every_counter_can_be_counted(opened: Opened) -> None:
    counters = opened().totals()
    for counter in INTEGER_KEYS:
        assert number(counters, counter) >= 0
    for counter in STATEMENT_KEYS:
        assert number(StatementGroup("", ""), counter) == 0
    assert set(StatementGroup("", "").as_dict("")) >= set(STATEMENT_KEYS) - {"values_text", "values_binary"}


@pytest.mark.parametrize(
    ("text", "about", "reason"),
    [
        ("round_trip=4", "capture", "unknown counter 'round_trip'; did you mean round_trips, "),
        ("parse=4", "statement", "unknown counter 'parse'; did you mean parses"),
        ("wait_ns=4", "statement", "unknown counter 'wait_ns' for a statement"),
        ("frontend_messages=4", "capture", "frontend_messages is counted by message: frontend_messages.Bind and so on"),
        ("frontend_messages.parse=4", "capture", "'parse' is not a message in frontend_messages; did you mean frontend_messages.Parse"),
        ("frontend_messages.Parse=4", "statement", "unknown counter 'frontend_messages.Parse'"),
        ("zzzz=1", "capture", "unknown counter 'zzzz'; docs/counting.md lists them all"),
        ("round_trips", "capture", "'round_trips' is not a budget: use COUNTER=N"),
        ("=4", "capture", "'=4' is not a budget"),
        ("round_trips=-1", "capture", "'-1' is not a limit for round_trips: use a whole number, 0 or more"),
        ("round_trips=4.5", "capture", "'4.5' is not a limit"),
        ("round_trips=²", "capture", "'²' is not a limit"),
    ],
)
def test_what_is_no_budget_is_refused_in_one_line(text: str, about: str, reason: str) -> None:
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text, about=about)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"--max: {reason}")
    assert "\n" not in str(caught.value)
