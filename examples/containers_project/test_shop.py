"""Checking out may cost four round trips: BEGIN, the prices, the sales, COMMIT."""

from __future__ import annotations

import psycopg
import pytest
from shop import SCHEMA, check_out


@pytest.mark.pgtrace(errors=0)
def test_checking_out(pgtrace):
    with psycopg.connect(pgtrace.dsn, autocommit=True) as connection:
        connection.execute(SCHEMA)
        with pgtrace.expect(round_trips=4):
            assert check_out(connection, [1, 2, 9]) == 2
