"""The N+1 query, and the budget that keeps it out. `selectinload` costs two queries, and the
session's savepoint is one more round trip."""

from __future__ import annotations

import pytest
from models import items_at_once, items_one_by_one


@pytest.mark.pgtrace(round_trips=3, errors=0)
def test_items_at_once(session):
    assert len(items_at_once(session)) == 5


def test_one_by_one_costs_a_query_for_each_order(pgtrace, session):
    items_one_by_one(session)
    assert pgtrace.statement("select ... from order_line ...").executions == 5


@pytest.mark.parametrize("read", [items_at_once, items_one_by_one])
def test_both_read_the_same(session, read):
    assert list(read(session).values()) == [["tea", "salt"]] * 5
