"""Sums over the index are those of a second reading, on every capture and under filters of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.trace.trace import Trace
from tests.corpus import in_turn, name

FILTERS = ("ms > 0.2", "error", "not error and rt > 3", "type:Parse", "rows > 0", "tx", "depth > 1", "conn:1", "select", "fmt:binary")


@pytest.mark.parametrize(("path", "filters"), [pytest.param(*one, id=name(one[0])) for one in in_turn(FILTERS, 3)])
def test_they_are_those_of_a_second_reading(path: Path, filters: tuple[str, ...]) -> None:
    trace = Trace.open([path])
    while trace.update():
        pass
    for text in ("", *filters):
        quick = RowCounts(parse(text).over(trace))
        while quick.update(0.0):
            pass
        assert quick.is_exact
        again = CountedTrace(parse(text).over(trace))
        while again.update():
            pass
        assert quick.totals().as_dict() == again.totals().as_dict(), text
        assert [(driver, number, one.as_dict()) for driver, number, one in quick.drivers()] == [
            (driver, number, one.as_dict()) for driver, number, one in again.drivers()
        ], text
        again.close()
    trace.close()
