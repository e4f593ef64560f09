"""psycopg 3, in autocommit where a transaction is not the point."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal

import psycopg
from psycopg.rows import TupleRow

from captures.recording.scenarios import BATCH, CHANNEL, COPIED, TOO_LONG, Play, Target

Work = Callable[[psycopg.Connection[TupleRow]], object]


def play(work: Work, *, autocommit: bool = True) -> Play:
    """The work over one connection."""

    def main(target: Target) -> None:
        with psycopg.connect(target.url, autocommit=autocommit) as connection:
            work(connection)

    return main


def connect(connection: psycopg.Connection[TupleRow]) -> None:
    pass


def one_query(connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute("select id, name, price from item where id = %s", (7,)).fetchall()


def ten_queries(connection: psycopg.Connection[TupleRow]) -> None:
    for number in range(1, 11):
        connection.execute("select id, name, price from item where id = %s", (number,)).fetchone()


def pipeline(connection: psycopg.Connection[TupleRow]) -> None:
    with connection.pipeline():
        cursors = [connection.execute("select name from item where id = %s", (number,)) for number in (1, 2, 3)]
    for cursor in cursors:
        cursor.fetchone()


def executemany(connection: psycopg.Connection[TupleRow]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany("insert into item (id, name, price) values (%s, %s, %s)", BATCH)


def types(connection: psycopg.Connection[TupleRow]) -> None:
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
    values = (-2, 4, 2**40, True, 1.5, Decimal("12.340"), "naïve ✓", b"\x00\xff", moment, moment.date(), uuid.UUID(int=7), [1, None, 3])
    names = ("int2", "int4", "int8", "bool", "float8", "numeric", "text", "bytea", "timestamptz", "date", "uuid", "int4[]")
    query = "select " + ", ".join(f"%s::{name}" for name in names)
    connection.execute(query, values).fetchone()
    connection.execute(query, values, binary=True).fetchone()


def copy_in(connection: psycopg.Connection[TupleRow]) -> None:
    with connection.cursor().copy("copy item (id, name) from stdin") as copy:
        for row in COPIED:
            copy.write_row(row)


def copy_out(connection: psycopg.Connection[TupleRow]) -> None:
    with connection.cursor().copy("copy item (id, name, price) to stdout") as copy:
        for _ in copy:
            pass


def notify(connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute(f"listen {CHANNEL}")
    connection.execute(f"notify {CHANNEL}, 'hello'")
    next(connection.notifies(timeout=10))


def failure(connection: psycopg.Connection[TupleRow]) -> None:
    try:
        with connection.transaction():
            connection.execute("update item set price = price + 1 where id = %s", (1,))
            connection.execute("insert into item (id, name) values (%s, %s)", (1, "twice"))
    except psycopg.errors.UniqueViolation:
        pass


def cancel(connection: psycopg.Connection[TupleRow]) -> None:
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    try:
        connection.execute(TOO_LONG)
    except psycopg.errors.QueryCanceled:
        pass
    timer.join()
    connection.execute("select 1")


PLAYS = {
    "connect": play(connect),
    "one_query": play(one_query),
    "ten_queries": play(ten_queries),
    "pipeline": play(pipeline),
    "executemany": play(executemany),
    "types": play(types),
    "copy_in": play(copy_in),
    "copy_out": play(copy_out),
    "notify": play(notify),
    "failure": play(failure),
    "cancel": play(cancel),
}
