"""Turns of variants: spreads, what cannot be told apart, and the cost at a distance."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.compare.turns import Turn, measure, named_apart, unit_of
from pgtrace.compare.variants import QUANTITIES, SETUP, TIMES, WORK, Quantity, Spread, Variant, told_apart
from pgtrace.trace.counters import Counters
from pgtrace.trace.times import Times
from pgtrace.trace.trace import Trace
from tests import playbook

MS = 1_000_000
WAIT = next(one for one in TIMES if one.key == "wait_ms")
ROUND_TRIPS = next(one for one in WORK if one.key == "round_trips")

UNITS = """
0   F  StartupMessage user=app
4   B  AuthenticationOk | ReadyForQuery I
10  mark begin unit
11  F  Query SELECT 1
13  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
14  mark end unit
15  F  Query SELECT between
16  B  ErrorResponse 42703 no such column | ReadyForQuery I
20  mark begin unit
21  F  Query SELECT 2
23  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
24  F  Query SELECT 3
25  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
26  mark end unit
end
"""


def turn(label: str, wait_ms: float, rtt_ms: float = 0, waited_ms: float = 0, round_trips: int = 10, units: int = 1) -> Turn:
    counters = Counters(round_trips=round_trips, wait_ns=round(wait_ms * MS))
    return Turn(
        label, round(rtt_ms * MS), "x", units, True, counters, Times(), ("x",), Counter(), 1, 3, round_trips + 3, round(waited_ms * MS), 0
    )


def read(path: Path, script: str = UNITS) -> Trace:
    trace = Trace.open([playbook.write(path, script)])
    while trace.update():
        pass
    return trace


@pytest.mark.parametrize(("unit", "units", "round_trips"), [("unit", 2, 1.5), (1, 1, 4), (4, 4, 1)])
def test_a_unit_is_a_mark_or_a_part_of_the_whole(tmp_path: Path, unit: str | int, units: int, round_trips: float) -> None:
    with closing(read(tmp_path / "a.pgtrace")) as trace:
        found = measure(trace, "a", unit, draws=True)
    assert (found.units, ROUND_TRIPS.of(found)) == (units, round_trips)
    assert (found.all_round_trips, found.setup_round_trips, found.connections) == (5, 1, 1)
    assert found.sqlstates == {"42703": 1}
    assert found.waited_ns == 10 * MS
    assert [SETUP[place].of(found) for place in (0, 1)] == [1, 1]


def test_the_first_unit_is_drawn(tmp_path: Path) -> None:
    with closing(read(tmp_path / "a.pgtrace")) as trace:
        (bar,) = measure(trace, "a", "unit", draws=True).bars
        assert (bar.opened_ns, bar.closed_ns, bar.first_ns, bar.sql) == (0, 2 * MS, 2 * MS, "SELECT 1")
        assert len(measure(trace, "a", 1, draws=True).bars) == 5
        assert measure(trace, "a", 1, draws=False).bars == ()


def test_the_cost_at_a_distance_is_computed_from_the_nearest() -> None:
    near = [turn("a", 1, 0, waited_ms=5), turn("a", 1, 0, waited_ms=7)]
    far = [turn("a", 1, 10, waited_ms=140), turn("a", 1, 10, waited_ms=136)]
    first, second = Variant("a", [*far, *near]).distances()
    assert (first.rtt_ns, first.computed, first.off, first.measured.median) == (0, None, None, 6)
    assert (second.round_trips, second.computed) == (13, 6 + 13 * 10)
    assert second.off == pytest.approx(138 / 136 - 1)


def test_a_distance_is_for_each_unit() -> None:
    found = Variant("a", [turn("a", 1, 0, waited_ms=10, units=10), turn("a", 1, 1, waited_ms=23, units=10)]).distances()
    assert (found[1].computed, found[1].measured.median) == (pytest.approx(2.3), 2.3)


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [((1, 3), (2, 4), True), ((1, 2), (3, 4), False), ((1,), (1,), False), ((1, 1), (1, 1), False), ((1, 2), (2, 9), True)],
)
def test_what_cannot_be_told_apart(ours: tuple[int, ...], theirs: tuple[int, ...], alike: bool) -> None:
    variants = [Variant(label, [turn(label, value) for value in values]) for label, values in (("a", ours), ("b", theirs))]
    assert bool(told_apart(variants, WAIT)) == alike
    assert not told_apart(variants, ROUND_TRIPS)


def test_a_median_and_its_spread() -> None:
    assert Spread.of([3, 1, 2]) == (2, 1, 3, 3)
    assert Spread.of([2, 2]).is_one


@pytest.mark.parametrize(("marks", "unit"), [([{"a"}, {"a", "b"}], "a"), ([{"a", "b"}] * 2, None), ([{"a"}, set()], None), ([], None)])
def test_the_unit_is_the_only_mark_that_all_have(marks: list[set[str]], unit: str | None) -> None:
    assert unit_of(marks) == unit


def test_each_filter_is_one(tmp_path: Path) -> None:
    from pgtrace.ask.filter import parse

    quantities: tuple[Quantity, ...] = QUANTITIES
    with closing(read(tmp_path / "a.pgtrace")) as trace:
        for quantity in quantities:
            if quantity.filter is not None:
                parse(quantity.filter).over(trace).selects(0)
    assert len({quantity.key for quantity in quantities}) == len(quantities)


def test_captures_without_a_label_are_named_by_what_tells_them_apart() -> None:
    files = ["/c/asyncpg/shop.pgtrace", "/c/psycopg/shop.pgtrace", "/c/psycopg/../psycopg/shop.pgtrace", "/d/one.pgtrace", "/d/two.pcap"]
    assert list(named_apart(files, taken={"one"}).values()) == ["asyncpg/shop", "psycopg/shop", "psycopg/shop", "d/one", "two.pcap"]


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda steps: "/" + "/".join(steps)), max_size=8, unique=True))
def test_two_captures_never_have_one_name(files: list[str]) -> None:
    names = named_apart(files, taken=())
    assert len(set(names.values())) == len(files)
