"""The tables and sentences of a comparison, the same in every form."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pgtrace import sqltext
from pgtrace.ask.filter.completion import quoted
from pgtrace.compare.changes import Change
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.totals import Facts
from pgtrace.compare.turns import Turn
from pgtrace.compare.variants import AT_ONCE, POOLER, SETUP, TIMES, WORK, Quantity, Spread, Variant, alike, told_apart
from pgtrace.report.table import NOTHING, size

STATEMENTS_SHOWN: Final = 25
CHANGES_SHOWN: Final = 12
MARKS_SHOWN: Final = 5
_SQL_WIDTH: Final = 100


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    command: str = ""
    """The command that lists the round trips that the number counts."""
    role: str = ""
    """`best`, `wrong`, `sql`, `flight`, or empty."""


class Section(NamedTuple):
    """A table, or a list of sentences."""

    title: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    notes: Sequence[str] = ()


def title(found: SideBySide) -> str:
    """The heading."""
    labels = [variant.label for variant in found.variants]
    return f"{len(labels)} variants side by side" if len(labels) > 1 else f"{labels[0]} alone"


def about(found: SideBySide) -> Iterator[str]:
    """Sentences on what was compared."""
    turns = sorted({len(variant.nearest) for variant in found.variants})
    number = f"{turns[0]} turn{'' if turns == [1] else 's'}" if len(turns) == 1 else f"{turns[0]} to {turns[-1]} turns"
    spread = "" if turns == [1] else "; each number is the median, with the lowest and the highest in parentheses if they differ"
    yield f"{number} of each variant{spread}."
    if isinstance(found.unit, str):
        units = {turn.units for variant in found.variants for turn in variant.turns}
        yield f"A unit of work is one {found.unit!r} (a mark): {_range(sorted(units))} in a turn."
    elif found.unit > 1:
        yield f"A unit of work is a turn's total divided by {found.unit}."
    else:
        marks = f"choose one of the marks {_named(found.marks)}" if found.marks else "set marks"
        yield f"A unit of work is a whole turn: {marks}, or say how many units there are (--units)."
    if found.concurrency > 1:
        yield f"{found.concurrency} copies of each program ran at once."
    yield from found.notes


def failures(found: SideBySide) -> Iterator[str]:
    """Sentences on what failed, for each variant."""
    for variant in found.variants:
        yield from (f"{variant.label}: {failure}" for failure in variant.failures)


def sections(found: SideBySide) -> list[Section]:
    """All sections that are not empty."""
    made = [
        _quantities(found, "A connection", SETUP),
        _quantities(found, "A unit of work", WORK),
        _quantities(found, "Times of a unit of work, in ms", TIMES),
        _quantities(found, "At once", AT_ONCE),
        _pooler(found),
        _errors(found),
        _distances(found),
        _added(found),
        _statements(found),
        *_changes(found),
    ]
    return [one for one in made if one.rows or one.notes]


def number(spread: Spread, quantity: Quantity) -> str:
    """A median, with its spread if there is one."""
    if spread.is_one:
        return amount(spread.median, quantity.unit)
    return f"{amount(spread.median, quantity.unit)} ({amount(spread.low, quantity.unit)}-{amount(spread.high, quantity.unit)})"


def amount(value: float, unit: str) -> str:
    """One number in its unit."""
    if unit == "ms":
        return f"{value:.2f}"
    if unit == "bytes":
        return size(round(value))
    return (str(round(value)) if value == round(value) else f"{value:.2f}") if value else NOTHING


def command(found: SideBySide, variant: Variant, quantity: Quantity) -> str:
    """The command that lists the round trips that a number counts; empty if there is none."""
    turn = variant.shown_by(quantity)
    wanted = quantity.listing(turn)
    if wanted is not None and isinstance(found.unit, str) and not quantity.is_whole:
        wanted = f"mark:{quoted(found.unit)} and {wanted}"
    return _shown(found, turn, wanted)


def _shown(found: SideBySide, turn: Turn, wanted: str | None) -> str:
    if wanted is None or not found.are_kept:
        return ""
    return f"pgtrace show --filter {shlex.quote(wanted)} {shlex.quote(turn.path)}"


def _quantities(found: SideBySide, name: str, quantities: Sequence[Quantity], among: Sequence[Variant] | None = None) -> Section:
    """A table of some numbers, for all variants or those in `among`."""
    variants = found.variants if among is None else among
    rows, notes = [], []
    for quantity in quantities:
        known = {variant.label: variant.spread(quantity) for variant in variants if variant.knows(quantity)}
        spreads = list(known.values())
        if not any(spread.high for spread in spreads):
            continue
        least = min(spread.median for spread in spreads)
        # a single turn has no spread, so the fastest variant is not known
        is_best = quantity.is_time and len(spreads) > 1 and all(spread.turns > 1 for spread in spreads)
        is_best = is_best and sum(spread.median == least for spread in spreads) == 1
        pairs = told_apart(variants, quantity)
        rows.append(
            [
                Cell(quantity.words),
                *(
                    Cell(
                        number(spread, quantity),
                        command(found, variant, quantity) if spread.high else "",
                        "best" if is_best and spread.median == least and not any(variant in pair for pair in pairs) else "",
                    )
                    if (spread := known.get(variant.label)) is not None
                    else Cell(NOTHING)
                    for variant in variants
                ),
            ]
        )
        if pairs:
            groups = "; ".join(_all_of([variant.label for variant in group]) for group in alike(pairs, quantity))
            notes.append(f"By {quantity.words}, these cannot be told apart: {groups}.")
    return Section(name, ["", *(variant.label for variant in variants)], rows, notes)


def _pooler(found: SideBySide) -> Section:
    variants = [variant for variant in found.variants if variant.has_pooler]
    if not variants:
        return Section("")
    made = _quantities(found, "In the pooler, for a whole turn", POOLER, variants)
    own = [
        f"{variant.label}: its own: {times} times {sqltext.shorten(sql, _SQL_WIDTH)}"
        for variant in variants
        for sql, times in variant.nearest[0].own
    ]
    return made._replace(notes=[*made.notes, *own])


def _errors(found: SideBySide) -> Section:
    states = sorted({state for variant in found.variants for state in variant.sqlstates})
    rows = []
    for state in states:
        wanted = f"sqlstate:{quoted(state)}" if state != "?" else None
        cells = [
            Cell(
                str(times) if times else NOTHING,
                _shown(found, variant.failed_most(state), wanted) if times else "",
                "wrong" if times else "",
            )
            for variant in found.variants
            for times in [variant.sqlstates[state]]
        ]
        rows.append([Cell(state), *cells])
    return Section("Errors of a turn, by SQLSTATE", ["", *(variant.label for variant in found.variants)], rows)


def _distances(found: SideBySide) -> Section:
    rows: list[list[Cell]] = []
    for variant in found.variants:
        for place, one in enumerate(variant.distances()):
            off = one.off
            rows.append(
                [
                    Cell(variant.label if not place else ""),
                    Cell(duration(one.rtt_ns)),
                    Cell(amount(one.round_trips, "")),
                    Cell(NOTHING if one.computed is None else f"{one.computed:.2f}"),
                    Cell(number(one.measured, TIMES[0])),
                    Cell(NOTHING if off is None else f"{off:+.1%}"),
                ]
            )
    if len(rows) == len(found.variants):
        return Section("")
    note = "Round trips include set-up. Computed: the measured time at the nearest distance, plus the added distance for each round trip."
    return Section(
        "Cost at each distance: ms of waiting for a unit", ["", "RTT", "round trips", "computed", "measured", "off"], rows, [note]
    )


def _added(found: SideBySide) -> Section:
    rows = []
    for variant in found.variants:
        if (pair := variant.control.added) is None:
            continue
        direct, through = pair
        is_alike = direct.overlaps(through) and direct.turns > 1
        rows.append(
            [
                Cell(variant.label),
                Cell(number(direct, TIMES[0])),
                Cell(number(through, TIMES[0])),
                Cell("cannot be told apart" if is_alike else f"{through.median - direct.median:+.2f}"),
            ]
        )
    notes = ["How long the program ran, with its own start: connected directly, and through pgtrace without added distance."]
    if any(variant.control.added[0].turns == 1 for variant in found.variants if variant.control.added is not None):
        notes.append("One run of each: chance is part of the difference (--repeat).")
    return Section("What pgtrace added, in ms", ["", "direct", "through", "added"], rows, notes if rows else [])


def _statements(found: SideBySide) -> Section:
    rows = []
    for one in found.statements[:STATEMENTS_SHOWN]:
        cells = [_facts(one.facts.get(variant.label)) for variant in found.variants]
        rows.append([Cell(sqltext.shorten(one.sql, _SQL_WIDTH), role="sql"), *(Cell(text, role="flight") for text in cells)])
    more = len(found.statements) - STATEMENTS_SHOWN
    notes = [f"and {more} more statement{'' if more == 1 else 's'}"] if more > 0 else []
    notes = ["Of one turn: round trips, executions, Parses, then its most frequent flights.", *notes] if rows else []
    return Section("Statement by statement", ["", *(variant.label for variant in found.variants)], rows, notes)


def _facts(facts: Facts | None) -> str:
    if facts is None:
        return NOTHING
    flights = ", ".join(f"{flight} ×{times}" if times > 1 else flight for flight, times in facts.flights.most_common(2))
    more = ", ..." if len(facts.flights) > 2 else ""
    return f"{facts.round_trips} rt, {facts.executions} ex, {facts.parses} P: {flights}{more}"


def _changes(found: SideBySide) -> Iterator[Section]:
    for label, changes in found.changes.items():
        sentences = [sentence(change) for change in changes[:CHANGES_SHOWN]]
        more = len(changes) - CHANGES_SHOWN
        sentences += [f"and {more} smaller difference{'' if more == 1 else 's'}"] if more > 0 else []
        yield Section(f"{label}, against {found.first}", notes=sentences or ["the same wire behaviour"])


def sentence(change: Change) -> str:
    """`+9 round trips: ...`."""
    cost = ", ".join(
        f"{more:+d} {word}{'' if abs(more) == 1 else 's'}"
        for more, word in ((change.round_trips, "round trip"), (change.setup_round_trips, "set-up round trip"))
        if more
    )
    return f"{cost}: {change.words}" if cost else change.words


def duration(ns: int) -> str:
    """`10ms`, in the form that users type."""
    return f"{ns / 1e6:g}ms"


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _named(marks: Sequence[str]) -> str:
    return ", ".join([*map(repr, marks[:MARKS_SHOWN]), *(["..."] if len(marks) > MARKS_SHOWN else [])])


def _all_of(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[:-1] else names)
