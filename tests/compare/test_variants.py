"""Turns of variants: spreads, what cannot be told apart, and the cost at a distance."""

from __future__ import annotations

import zlib
from collections import Counter
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.callsites.notes import MARK, WHOLE
from pgtrace.capture.record import CallSite
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.turns import Turn, measure, named_apart, shared
from pgtrace.compare.variants import QUANTITIES, SETUP, TIMES, WORK, Spread, Variant, alike, told_apart
from pgtrace.report.comparison import forms
from pgtrace.trace.call_sites import CallSites, Span
from pgtrace.trace.counters import Counters
from pgtrace.trace.times import Times
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.traces import fully_read

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
        label,
        round(rtt_ms * MS),
        "x",
        units,
        True,
        counters,
        listed=counters,
        times=Times(),
        drivers=("x",),
        sqlstates=Counter(),
        whole=Counters(setup_round_trips=3, frontend_messages={"StartupMessage": 1}),
        connections=1,
        all_round_trips=round_trips + 3,
        waited_ns=round(waited_ms * MS),
        elapsed_ns=0,
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
    assert (found.all_round_trips, found.whole.setup_round_trips, found.connections) == (5, 1, 1)
    assert found.sqlstates == {"42703": 1}
    assert found.waited_ns == 10 * MS
    assert [SETUP[place].of(found) for place in (0, 1)] == [1, 1]


def test_the_first_unit_is_drawn(tmp_path: Path) -> None:
    with closing(read(tmp_path / "a.pgtrace")) as trace:
        (bar,) = measure(trace, "a", "unit", draws=True).bars
        assert (bar.opened_ns, bar.closed_ns, bar.first_ns, bar.sql) == (0, 2 * MS, 2 * MS, "SELECT 1")
        assert len(measure(trace, "a", 1, draws=True).bars) == 5
        assert measure(trace, "a", 1, draws=False).bars == ()


NOTED = """
0   F  StartupMessage user=app
4   B  AuthenticationOk | BackendKeyData 7 7777 | ReadyForQuery I
11  F  Query SELECT 1
13  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
14  F  Query SELECT 2
15  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
16  F  Query SELECT 3
17  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
21  F  Query SELECT 4
23  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
25  F  Query SELECT outside
26  B  DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
27  F  Terminate
500 mark begin idle
900 mark end idle
end
"""


def noted(path: Path) -> Trace:
    """Two units of a program: three round trips, then one."""

    def note(ms: float, sql: str, number: int) -> CallSite:
        return CallSite(round(ms * MS), 7, 0, number, zlib.crc32(sql.encode()), WHOLE, 0, "", 0, "", "unit" if "outside" not in sql else "")

    def ended(ms: int, lasted_ms: int, number: int) -> CallSite:
        return CallSite(ms * MS, 0, 0, number, 0, lasted_ms * 1_000, MARK, "", 0, "", "unit")

    notes = [
        note(at, f"SELECT {which}", place) for place, (at, which) in enumerate(((10, 1), (13.5, 2), (15.5, 3), (20, 4), (24, "outside")), 1)
    ]
    playbook.write(path, NOTED, notes=[*notes, ended(18, 8, 6), ended(24, 4, 7)])
    return fully_read(path)


def of_units(*spans: tuple[int, int]) -> Span | None:
    sites = CallSites()
    for began, ended in sorted(spans, key=lambda span: span[1]):
        sites.unit(ended * MS, CallSite(ended * MS, 0, 0, 1, 0, (ended - began) * 1_000, MARK, "", 0, "", "unit"))
    found = sites.one_unit("unit")
    return found and Span(found.began_ns // MS, found.ended_ns // MS, found.is_alone)


@pytest.mark.parametrize(
    ("spans", "drawn"),
    [
        ([(0, 5), (5, 9)], Span(0, 5, is_alone=True)),
        ([(0, 5), (4, 9), (9, 12)], Span(9, 12, is_alone=True)),
        ([(0, 5), (3, 8), (6, 9), (8, 12)], Span(0, 5, is_alone=False)),
        ([(1, 5), (6, 8), (0, 9)], Span(1, 5, is_alone=False)),  # the last to end was around all
        ([(0, 9), (2, 4), (20, 22), (21, 23), (30, 31)], Span(30, 31, is_alone=True)),
        ([], None),
    ],
)
def test_a_unit_is_drawn_that_no_other_overlaps(spans: list[tuple[int, int]], drawn: Span | None) -> None:
    assert of_units(*spans) == drawn


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)).map(lambda one: (one[0], one[0] + one[1])), max_size=12, unique=True))
def test_a_unit_that_is_alone_is_found_if_there_is_one(spans: list[tuple[int, int]]) -> None:
    spans.sort(key=lambda span: span[1])
    alone = [one for one in spans if not any(other != one and other[0] < one[1] and one[0] < other[1] for other in spans)]
    found = of_units(*spans)
    assert (found is not None and found.is_alone) == bool(alone)
    if alone:
        assert found == Span(*alone[0], is_alone=True)


def test_the_first_of_a_programs_own_units_is_drawn_as_long_as_it_is(tmp_path: Path) -> None:
    with closing(noted(tmp_path / "a.pgtrace")) as trace:
        found = measure(trace, "a", "unit", draws=True)
        assert (found.units, ROUND_TRIPS.of(found)) == (2, 2)
        assert [bar.sql for bar in found.bars] == ["SELECT 1", "SELECT 2", "SELECT 3"]
        assert (measure(trace, "a", "none", draws=True).bars, measure(trace, "a", "none", draws=False).units) == ((), 0)


def test_what_a_turn_does_not_know_is_no_number(tmp_path: Path) -> None:
    """A program's own marks have no client time, so it is not 0."""
    client = next(one for one in TIMES if one.key == "client_ms")
    with closing(noted(tmp_path / "a.pgtrace")) as trace:
        own, whole = measure(trace, "a", "unit", draws=False), measure(trace, "b", 1, draws=False)
    assert (Variant("a", [own]).knows(client), Variant("b", [whole]).knows(client)) == (False, True)
    assert told_apart([Variant("a", [own, own]), Variant("b", [whole, whole])], client) == []
    told = forms.as_dict(SideBySide([Variant("a", [own]), Variant("b", [whole])], "unit"))
    assert ["client_ms" in one["numbers"] for one in told["variants"]] == [False, True]


def test_elapsed_ends_with_the_last_message(tmp_path: Path) -> None:
    """However long the recorder goes on, idle."""
    with closing(noted(tmp_path / "a.pgtrace")) as trace:
        assert measure(trace, "a", 1, draws=False).elapsed_ns == 27 * MS
    with closing(read(tmp_path / "b.pgtrace", "500 mark begin idle\n900 mark end idle\nend")) as trace:
        assert measure(trace, "b", 1, draws=False).elapsed_ns == 0


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


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=6))
def test_all_pairs_that_overlap_are_named_and_no_other(values: list[tuple[int, ...]]) -> None:
    variants = [Variant(str(place), [turn(str(place), one) for one in several]) for place, several in enumerate(values)]
    pairs = {frozenset((one.label, other.label)) for one, other in told_apart(variants, WAIT)}
    wanted = [
        frozenset((str(a), str(b)))
        for (a, ours), (b, theirs) in combinations(enumerate(values), 2)
        if min(ours) <= max(theirs) and min(theirs) <= max(ours) and len({*ours, *theirs}) > 1
    ]
    assert pairs == set(wanted)
    groups = [{variant.label for variant in group} for group in alike(told_apart(variants, WAIT), WAIT)]
    named = {frozenset(pair) for group in groups for pair in combinations(group, 2)}
    assert pairs <= named
    assert all(len({*values[int(a)], *values[int(b)]}) == 1 for a, b in named - pairs)  # equal in all turns, beside a third
    assert not any(one < other for one in groups for other in groups)


def test_a_median_and_its_spread() -> None:
    assert Spread.of([3, 1, 2]) == (2, 1, 3, 3)
    assert Spread.of([2, 2]).is_one


@pytest.mark.parametrize(
    ("marks", "common"), [([{"a"}, {"a", "b"}], ["a"]), ([{"b", "a"}] * 2, ["a", "b"]), ([{"a"}, set()], []), ([], [])]
)
def test_the_marks_that_all_captures_share(marks: list[set[str]], common: list[str]) -> None:
    assert shared(marks) == common


def test_each_quantity_has_its_own_key() -> None:
    assert len({quantity.key for quantity in QUANTITIES}) == len(QUANTITIES)


def test_a_number_leads_to_the_turn_that_it_is_of() -> None:
    variant = Variant("a", [turn("a", 1, round_trips=number) for number in (9, 4, 5)])
    assert variant.shown_by(ROUND_TRIPS).counters.round_trips == 5


def test_captures_without_a_label_are_named_by_what_tells_them_apart() -> None:
    files = ["/c/asyncpg/shop.pgtrace", "/c/psycopg/shop.pgtrace", "/c/psycopg/../psycopg/shop.pgtrace", "/d/one.pgtrace", "/d/two.pcap"]
    assert list(named_apart(files, taken={"one"}).values()) == ["asyncpg/shop", "psycopg/shop", "psycopg/shop", "d/one", "two.pcap"]


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda steps: "/" + "/".join(steps)), max_size=8, unique=True))
def test_two_captures_never_have_one_name(files: list[str]) -> None:
    names = named_apart(files, taken=())
    assert len(set(names.values())) == len(files)
