"""What a pooler did, as text: behind the table of `stats`, and as one line on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgtrace import sanitise
from pgtrace.legs.joins import Joins
from pgtrace.report.table import count, ms
from pgtrace.sanitise import EMPTY, Shown

OWN_SHOWN: Final = 3
"""The most statements of a pooler's own that are printed."""


def told(joins: Joins) -> list[str]:
    """A line for each pooler: which sides were joined, and how much of them."""
    return [
        f"both sides of a pooler: {pooler.joined:,} of {pooler.fronts:,} round trips of {joins.letter(pooler.front)} "
        f"were joined with those of {' and '.join(map(joins.letter, pooler.backs))}"
        + (f", {pooler.ambiguous:,} may be several" if pooler.ambiguous else "")
        for pooler in joins.poolers
    ]


def joins_as_text(joins: Joins) -> Iterator[Shown]:
    """Lines about a pooler, behind the table: what became of the round trips of its drivers, and
    what it did itself."""
    yield EMPTY
    for pooler in joins.poolers:
        sides = f"{joins.letter(pooler.front)} in front, {' and '.join(map(joins.letter, pooler.backs))} behind"
        yield sanitise.line(
            f"pooler, {sides}: {count(pooler.joined)} round trips joined, {count(pooler.ambiguous)} ambiguous, "
            f"{count(pooler.unjoined)} unjoined, {count(pooler.swallowed)} answered by itself"
        )
        yield sanitise.line(
            f"  in the pooler {ms(pooler.inside.percentile(50))} ms (p50), {ms(pooler.inside.percentile(95))} ms (p95), "
            f"{ms(pooler.inside.max)} ms at most; until it asked a server "
            f"{ms(pooler.before.percentile(50))} ms, {ms(pooler.before.percentile(95))} ms, {ms(pooler.before.max)} ms"
        )
        more = [f"another server connection for a driver {count(pooler.switches)} times"]
        if pooler.renamed:
            here, there = next(iter(pooler.names.items()))
            more.append(f"statements renamed in {count(pooler.renamed)} round trips, such as {here} to {there}")
        yield sanitise.line(f"  {'; '.join(more)}")
        for sql, number in joins.own_statements(pooler)[:OWN_SHOWN]:
            yield sanitise.line(f"  its own: {count(number)} times {sql}")
