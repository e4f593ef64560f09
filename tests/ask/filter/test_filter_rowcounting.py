"""Sums over the index are those of a second reading, on every capture and under filters of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.report import stats
from pgtrace.trace.trace import Trace
from tests.corpus import CAPTURES, in_turn, name

FILTERS = ("ms > 0.2", "error", "not error and rt > 3", "type:Parse", "rows > 0", "tx", "depth > 1", "conn:1", "select", "fmt:binary")


@contextmanager
def opened(*paths: Path) -> Iterator[Trace]:
    with closing(Trace.open(paths)) as trace:
        while trace.update():
            pass
        yield trace


@contextmanager
def both(trace: Trace, text: str) -> Iterator[tuple[RowCounts, CountedTrace]]:
    """The sums over the index, and the second reading."""
    quick = RowCounts(parse(text).over(trace))
    while quick.update(0.0):
        pass
    assert quick.is_exact
    with closing(CountedTrace(parse(text).over(trace))) as again:
        while again.update():
            pass
        yield quick, again


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("path", "filters"), [pytest.param(*one, id=name(one[0])) for one in in_turn(FILTERS, 2)])
def test_they_are_those_of_a_second_reading(path: Path, filters: tuple[str, ...]) -> None:
    with opened(path) as trace:
        for text in ("", *filters):
            with both(trace, text) as (quick, again):
                assert quick.totals().as_dict() == again.totals().as_dict(), text
                assert [(driver, number, one.as_dict()) for driver, number, one in quick.drivers()] == [
                    (driver, number, one.as_dict()) for driver, number, one in again.drivers()
                ], text


@pytest.mark.parametrize("text", FILTERS)
def test_so_are_all_tables_of_several_captures(text: str) -> None:
    """Of variants under two labels, of a capture without a label, and of one without a selected row."""
    labelled = [path for path in CAPTURES if path.stem == "ten_queries"][:3]
    with opened(*labelled, *(path for path in CAPTURES if path.stem == "copy")) as trace:
        trace.settings.update({(0, "label"): "a", (1, "label"): "b", (2, "label"): "a"})
        with both(trace, text) as (quick, again):
            again.settings.update({(0, "label"): "a", (1, "label"): "b", (2, "label"): "a"})
            for by in stats.OF_ROWS:
                assert list(stats.as_text(trace, by, selected=quick)) == list(stats.as_text(again, by)), by
                assert list(stats.more(trace, by, quick)) == list(stats.more(again, by)), by
