"""A fold's numbers: what the rows of a connection add up to is what the connection counts, on every capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.trace.row import RowKind
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.sums import Sum
from tests import corpus
from tests.traces import fully_read


@pytest.mark.parametrize("path", corpus.CAPTURES, ids=corpus.name)
def test_the_rows_of_a_connection_add_up_to_its_counters(path: Path) -> None:
    trace = fully_read(path)
    sums = {connection.index: Sum(Together.TRANSACTION) for connection in trace.connections}
    for place, row in enumerate(trace.rows):
        if row.shape.kind not in (RowKind.MARK, RowKind.GAP):
            sums[row.connection].take(place, row)
    for connection in trace.connections:
        mine, counters = sums[connection.index], connection.counters(trace.duration_ns)
        assert (mine.rows, mine.errors) == (counters.rows, counters.errors)
        assert (mine.sent_bytes, mine.received_bytes) == (counters.frontend_bytes, counters.backend_bytes)
        assert mine.failed is None or counters.errors
    trace.close()
