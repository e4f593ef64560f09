"""What a pooler did, as text: below the table of `stats`, as a line on stderr, and next to a round
trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgtrace import sanitise
from pgtrace.legs.joins import Joins, Pooler, State, Sums
from pgtrace.report.table import count, ms
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.trace.trace import Trace

OWN_SHOWN: Final = 3
"""The most statements sent by a pooler itself that are printed."""


def lines(joins: Joins) -> list[str]:
    """A line for each pooler: the sides that were joined, and how many round trips."""
    return [
        f"both sides of a pooler: {pooler.joined:,} of {pooler.fronts:,} round trips of {joins.letter(pooler.front)} "
        f"were joined with those of {' and '.join(map(joins.letter, pooler.backs))}"
        + (f", {pooler.ambiguous:,} may be several" if pooler.ambiguous else "")
        for pooler in joins.poolers
    ]


def joins_as_text(joins: Joins) -> Iterator[Shown]:
    """Lines about a pooler, below the table: how it handled its drivers' round trips, and what it
    did itself.
    """
    yield EMPTY
    if joins.is_chain:
        whole = joins.whole()
        yield sanitise.line(
            f"{len(joins.poolers)} poolers in a chain: {_number(whole.joined)} round trips reached a server and were joined, "
            f"{_number(whole.ambiguous)} ambiguous, {_number(whole.unjoined)} unjoined, {_number(whole.swallowed)} answered by a pooler; "
            f"{_number(whole.added)} of the server's are the poolers' own"
        )
        if whole.joined:
            yield _times(whole, "poolers")
    for pooler in joins.poolers:
        sides = f"{joins.letter(pooler.front)} in front, {' and '.join(map(joins.letter, pooler.backs))} behind"
        yield sanitise.line(
            f"pooler, {sides}: {_number(pooler.joined)} round trips joined, {_number(pooler.ambiguous)} ambiguous, "
            f"{_number(pooler.unjoined)} unjoined, {_number(pooler.swallowed)} answered by itself"
        )
        if pooler.joined:
            yield from _of_joined(pooler)
        for sql, number in joins.own_statements(pooler)[:OWN_SHOWN]:
            yield sanitise.line(f"  its own: {count(number)} times {sql}")


def _of_joined(pooler: Pooler) -> Iterator[Shown]:
    """Lines that only joined round trips can give."""
    yield _times(pooler, "pooler")
    more = [f"another server connection for a driver {_number(pooler.switches)} times"]
    if pooler.renamed:
        here, there = next(iter(pooler.names.items()))
        more.append(f"statements renamed in {count(pooler.renamed)} round trips, such as {here} to {there}")
    yield sanitise.line(f"  {'; '.join(more)}")


def _times(sums: Sums, where: str) -> Shown:
    return sanitise.line(
        f"  in the {where} {ms(sums.inside.percentile(50))} ms (p50), {ms(sums.inside.percentile(95))} ms (p95), "
        f"{ms(sums.inside.max)} ms at most; until it asked a server "
        f"{ms(sums.before.percentile(50))} ms, {ms(sums.before.percentile(95))} ms, {ms(sums.before.max)} ms"
    )


def _number(number: int) -> str:
    """A number in a sentence, in which a dot would not be read as 0."""
    return count(number) if number else "0"


def across(trace: Trace, joins: Joins, place: int) -> str:
    """The counterpart of a row on the other side of the pooler, in a few words."""
    places = joins.across(place)
    others = [f"{trace.name_of(trace.connections[trace.rows.entry(one).connection])} row {one + 1}" for one in places]
    where = " and ".join(others)
    match joins.state(place):
        case State.JOINED:
            taken_ns = joins.in_pooler_ns(place)
            if taken_ns is None:
                return ", ".join([f"⇐ {where}", *_changed(trace, places[0], (place,))])
            return ", ".join([f"⇒ {where}", f"{taken_ns / 1e6:.2f} ms in the pooler", *_changed(trace, place, places)])
        case State.AMBIGUOUS:
            return "⇔ one of several on the other side of the pooler"
        case State.UNJOINED:
            return "⇔ not found on the other side of the pooler"
        case State.SWALLOWED:
            return "⇔ answered by the pooler itself"
        case State.ADDED:
            return f"⇔ the pooler's own, before {where}" if where else "⇔ the pooler's own"
    return ""


def _changed(trace: Trace, front: int, backs: tuple[int, ...]) -> Iterator[str]:
    """The pooler's changes to a round trip: renamed statements, Parses left out or added."""
    ours = trace.rows[front].shape
    theirs = [trace.rows[place].shape for place in backs]
    names = dict.fromkeys(shape.statement for shape in theirs if shape.statement)
    if ours.statement and ours.statements < 2 and names and ours.statement not in names:
        yield f"{ours.statement} renamed to {', '.join(names)}"
    asked, parsed = ours.sent.count(b"P"), sum(shape.sent.count(b"P") for shape in theirs)
    if asked != parsed:
        yield "its Parse left out" if parsed < asked else "prepared again"
