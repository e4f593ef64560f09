"""Sequences whose cost is known from the drivers' own code: real drivers against a real server, through the recorder, counted exactly.

Where a driver sends on without waiting for the answer, a fast link may deliver it first: those tests put 100 ms between the two.
"""

from __future__ import annotations

import io
import os
import subprocess

import asyncpg
import psycopg
import pytest

QUERY = "select name from known where id = "
SETUP_ROUND_TRIPS = 4
"""SSLRequest, StartupMessage, SASLInitialResponse, SASLResponse."""


@pytest.fixture
def known(server):
    """A table of three rows, made past the recorder."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop table if exists known")
        connection.execute("create table known as select n as id, 'name ' || n as name from generate_series(1, 3) n")


def counters(trace) -> dict[str, int]:
    """The counters of a capture that holds one session and lost nothing."""
    assert len(trace.connections) == 1
    assert trace.gaps == 0
    return trace.totals().as_dict()


def url_of(server, proxy) -> str:
    return server.url(proxy.host, proxy.port)


async def test_asyncpg_prepares_once_and_binds_ten_times(server, proxy, trace_of, known):
    connection = await asyncpg.connect(url_of(server, proxy))
    for number in range(10):
        await connection.fetch(QUERY + "$1", number)
    await connection.close()
    counted = counters(trace_of(proxy))
    assert counted["setup_round_trips"] == SETUP_ROUND_TRIPS
    assert counted["round_trips"] == 11
    assert (counted["parses_named"], counted["parses_unnamed"], counted["binds"], counted["executions"]) == (1, 0, 10, 10)
    assert (counted["statements_reused"], counted["statements_live"]) == (9, 1)
    assert (counted["flushes"], counted["syncs"], counted["queries"]) == (1, 10, 0)


def test_psycopg_promotes_after_five(server, proxy, trace_of, known):
    with psycopg.connect(url_of(server, proxy), autocommit=True) as connection:
        for number in range(10):
            connection.execute(QUERY + "%s", (number,)).fetchall()
    counted = counters(trace_of(proxy))
    assert counted["setup_round_trips"] == SETUP_ROUND_TRIPS
    assert counted["round_trips"] == 11
    assert (counted["parses_unnamed"], counted["parses_named"], counted["binds"]) == (5, 1, 10)
    assert (counted["statements_reused"], counted["statements_live"]) == (4, 1)


def test_psycopg_pipeline_fetched_after_the_block(server, distant_proxy, trace_of, known):
    with psycopg.connect(url_of(server, distant_proxy), autocommit=True) as connection:
        with connection.pipeline():
            cursors = [connection.execute(QUERY + "%s", (number,)) for number in (1, 2, 3)]
        assert [cursor.fetchone() for cursor in cursors] == [("name 1",), ("name 2",), ("name 3",)]
    counted = counters(trace_of(distant_proxy))
    assert counted["round_trips"] == 1
    assert (counted["executions"], counted["max_pipeline_depth"], counted["pipelined_executions"]) == (3, 3, 2)


def test_psycopg_pipeline_fetched_inside(server, distant_proxy, trace_of, known):
    with psycopg.connect(url_of(server, distant_proxy), autocommit=True) as connection, connection.pipeline():
        cursors = [connection.execute(QUERY + "%s", (number,)) for number in (1, 2, 3)]
        assert [cursor.fetchone() for cursor in cursors] == [("name 1",), ("name 2",), ("name 3",)]
    assert counters(trace_of(distant_proxy))["round_trips"] == 2


def test_psycopg_pipeline_within_a_transaction(server, distant_proxy, trace_of, known):
    with psycopg.connect(url_of(server, distant_proxy), autocommit=True) as connection:
        with connection.transaction(), connection.pipeline():
            cursors = [connection.execute(QUERY + "%s", (number,)) for number in (1, 2, 3)]
        assert [cursor.fetchone() for cursor in cursors] == [("name 1",), ("name 2",), ("name 3",)]
    counted = counters(trace_of(distant_proxy))
    assert (counted["round_trips"], counted["transactions"]) == (3, 1)


@pytest.mark.parametrize(("fetched", "round_trips"), [("inside", 5), ("after", 4)])
def test_psycopg_transaction_within_a_pipeline(fetched, round_trips, server, distant_proxy, trace_of, known):
    """BEGIN is answered alone, COMMIT too, and leaving the pipeline waits once more; fetching
    inside waits for the rows apart from their Sync."""
    with psycopg.connect(url_of(server, distant_proxy), autocommit=True) as connection:
        with connection.pipeline(), connection.transaction():
            cursors = [connection.execute(QUERY + "%s", (number,)) for number in (1, 2, 3)]
            if fetched == "inside":
                names = [cursor.fetchone() for cursor in cursors]
        if fetched == "after":
            names = [cursor.fetchone() for cursor in cursors]
        assert names == [("name 1",), ("name 2",), ("name 3",)]
    counted = counters(trace_of(distant_proxy))
    assert (counted["round_trips"], counted["transactions"]) == (round_trips, 1)


def psql(server, proxy, *arguments: str, given: str = "") -> str:
    command = [str(server.binaries / "psql"), "-X", "-A", "-t", *arguments]
    environment = os.environ | server.environment(proxy.host, proxy.port)
    return subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=True, timeout=60).stdout


def test_psql_one_query(server, proxy, trace_of):
    assert psql(server, proxy, "-c", "select 1") == "1\n"
    counted = counters(trace_of(proxy))
    assert (counted["round_trips"], counted["queries"], counted["executions"], counted["rows"]) == (1, 1, 1, 1)


def test_psql_copy_from_stdin(server, proxy, trace_of, known):
    psql(server, proxy, "-c", "copy known from stdin", given="4\tfour\n5\tfive\n")
    counted = counters(trace_of(proxy))
    assert (counted["round_trips"], counted["queries"], counted["executions"]) == (2, 1, 1)
    assert counted["copy_in_messages"] >= 1


async def test_asyncpg_copy_to_table(server, distant_proxy, trace_of, known):
    connection = await asyncpg.connect(url_of(server, distant_proxy))
    await connection.copy_to_table("known", source=io.BytesIO(b"4\tfour\n5\tfive\n"))
    await connection.close()
    counted = counters(trace_of(distant_proxy))
    assert (counted["round_trips"], counted["executions"]) == (1, 1)


async def test_asyncpg_copy_records_to_table(server, distant_proxy, trace_of, known):
    connection = await asyncpg.connect(url_of(server, distant_proxy))
    await connection.copy_records_to_table("known", records=[(4, "four"), (5, "five")])
    await connection.close()
    counted = counters(trace_of(distant_proxy))
    assert (counted["round_trips"], counted["executions"]) == (2, 1)
