"""The command beside a number lists what the number counts: all of it, and nothing else."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.amounts import Amounts
from pgtrace.cli.reading import read_joined, read_with_legs
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.turns import Turn, measure
from pgtrace.compare.variants import QUANTITIES, Variant
from pgtrace.legs.joins import Joins
from pgtrace.report.comparison import sections
from pgtrace.trace.counters import Counters
from pgtrace.trace.trace import Trace
from tests import corpus, playbook
from tests.generated import STEPS, script

BLOCK = "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T\nF Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I"
START = "F StartupMessage user=app\nB AuthenticationOk | ReadyForQuery I"
BOTH_SIDES = Path(__file__).parents[1] / "data" / "findings" / "both_sides.pgtrace"


@contextmanager
def listing(path: Path) -> Iterator[tuple[Trace, Joins | None]]:
    """A capture as `show` reads it."""
    found = read_with_legs([path], quiet=True)
    if found is None:
        found = read_joined([path], quiet=True)
    with closing(found[0]):
        yield found


def listed(trace: Trace, joins: Joins | None, wanted: str) -> list[int]:
    selection = parse(wanted).over(trace, joins.connections if joins is not None else None)
    found = list(selection.places())
    assert not selection.undecided
    return found


def number(counters: Counters, key: str) -> int:
    table, _, message = key.partition(".")
    value = getattr(counters, table)
    return int(value.get(message, 0) if message else value)


def turn_of(path: Path, unit: str | int) -> Turn:
    trace, joins = read_joined([path], quiet=True)
    with closing(trace):
        return measure(trace, "a", unit, joins, draws=False)


def check(path: Path, unit: str | int) -> set[str]:
    """Each command lists rows whose shares are not 0 and add up to its number. Returns the counters
    without a command."""
    turn = turn_of(path, unit)
    variant = Variant("a", [turn])
    side_by_side = SideBySide([variant], unit)
    without = set()
    with listing(path) as (trace, joins):
        for quantity in QUANTITIES:
            command = sections.command(side_by_side, variant, quantity)
            if not command:
                without |= {quantity.counter} - {""}
                continue
            *_, wanted, file = shlex.split(command)
            assert file == str(path)
            places = listed(trace, joins, wanted)
            key = wanted.rpartition("count.")[2]
            counters = turn.whole if quantity.is_whole else turn.counters
            share = Amounts(trace, key)
            shares = [share(place, trace.rows.entry(place)) for place in places]
            assert all(shares), (quantity.key, shares)
            assert sum(shares) == number(counters, key), quantity.key
            if quantity.counter:
                assert sum(shares) == pytest.approx(turn.units * quantity.of(turn) * (1e6 if quantity.is_time else 1)), quantity.key
        for sqlstate, times in turn.sqlstates.items():
            assert len(listed(trace, joins, f"sqlstate:{sqlstate}")) <= times
        assert sum(turn.sqlstates.values()) == turn.whole.errors
    return without


@settings(max_examples=150 if corpus.NIGHTLY else 40, deadline=None)
@given(
    st.lists(st.sampled_from([*range(len(STEPS)), "block", "begin", "end", "start", "within"]), min_size=1, max_size=14),
    st.booleans(),
    st.booleans(),
)
def test_each_number_leads_to_what_it_counts(steps: list[int | str], of_marks: bool, cut: bool) -> None:
    lines, connection, within, marks = [], 1, False, 0
    for step in ["start", "begin", *steps]:
        if step == "start":
            connection += 1
        if step in ("begin", "end"):
            if (step == "begin") == (marks > 0):
                continue
            marks += 1 if step == "begin" else -1
            lines.append(f"mark {step} unit")
            if within and len(lines) > 1 and lines[-2].startswith("c"):
                lines[-2:] = [lines[-1], lines[-2]]
        elif step == "within":
            within = True
        else:
            text = {"start": START, "block": BLOCK}.get(str(step)) or script([int(step)])
            lines += [f"c{connection} {line}" for line in text.splitlines()]
    with tempfile.TemporaryDirectory() as directory:
        path = playbook.write(Path(directory) / "a.pgtrace", "\n".join(lines[:-1] if cut else lines))
        assert within or cut or not check(path, "unit" if of_marks else 1)
        check(path, "unit" if of_marks else 1)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", [one for one in corpus.CAPTURES if one.suffix == ".pgtrace"], ids=corpus.name)
def test_each_number_of_every_capture_leads_to_what_it_counts(path: Path) -> None:
    assert not check(path, 1)


def test_what_a_mark_cuts_has_no_command(tmp_path: Path) -> None:
    text = """
    1  F Query SELECT 1
    2  mark begin unit
    3  B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    5  F Query SELECT 2
    7  B DataRow 2 ×2 | CommandComplete SELECT 2 | ReadyForQuery I
    8  mark end unit
    """
    path = playbook.write(tmp_path / "x.pgtrace", text)
    without = check(path, "unit")
    assert {"rows", "executions", "backend_bytes"} <= without
    assert "round_trips" not in without


def test_behind_a_pooler_the_drivers_side_is_listed() -> None:
    assert not check(BOTH_SIDES, 1)
    turn = turn_of(BOTH_SIDES, 1)
    with listing(BOTH_SIDES) as (trace, joins):
        assert joins is not None
        places = listed(trace, joins, "count.round_trips")
        assert len(places) == turn.counters.round_trips
        assert {joins.leg(trace.rows.entry(place).connection) for place in places} == {"A"}
        behind = listed(trace, joins, "leg:B and count.round_trips")
        assert len(behind) == joins.backs
