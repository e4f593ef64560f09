"""What checking out costs on the wire, pinned three ways: numbers, a budget, a golden capture.

pytest                        against a throw-away PostgreSQL, or where PGHOST leads
pytest --pgtrace-update       write captures/*.trace again
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from shop import SCHEMA, check_out


@pytest.fixture
def connection(pgtrace) -> Iterator[psycopg.Connection]:
    """A connection through pgtrace; what happens here is not part of the test's window."""
    with psycopg.connect(pgtrace.dsn, autocommit=True) as connection:
        connection.execute(SCHEMA)
        yield connection


def test_numbers(pgtrace, connection):
    with pgtrace.record("checking out") as trace:
        assert check_out(connection, [1, 3]) == 2
    assert trace.round_trips <= 4
    assert trace.statement("insert into sale ...").executions == 1
    assert trace.transactions == 1


@pytest.mark.pgtrace(round_trips=4, errors=0)
def test_a_budget_for_the_whole_test(connection):
    check_out(connection, [1, 3])


def test_more_items_cost_no_more(pgtrace, connection):
    with pgtrace.expect(round_trips=4):
        check_out(connection, [1, 2, 3])


def test_the_exact_messages(pgtrace, connection):
    with pgtrace.record("checkout") as trace:
        check_out(connection, [1, 3])
    trace.assert_matches("checkout")
