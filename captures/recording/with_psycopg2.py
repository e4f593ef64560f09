"""psycopg2: simple Query only, literals in the SQL, a transaction around everything unless autocommit is set."""

from __future__ import annotations

import datetime
import io
import select
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extras
import psycopg2.pool

from captures.recording.scenarios import BATCH, CHANNEL, COPY_TEXT, TOO_LONG, Play, Target

Work = Callable[[Any], object]


def play(work: Work, *, autocommit: bool = True) -> Play:
    """The work with a cursor of one connection."""

    def main(target: Target) -> None:
        with closing(psycopg2.connect(target.url)) as connection:
            connection.autocommit = autocommit
            with connection.cursor() as cursor:
                work(cursor)

    return main


def connect(cursor: Any) -> None:
    pass


def one_query(cursor: Any) -> None:
    cursor.execute("select id, name, price from item where id = %s", (7,))
    cursor.fetchall()


def ten_queries(cursor: Any) -> None:
    for number in range(1, 11):
        cursor.execute("select id, name, price from item where id = %s", (number,))
        cursor.fetchone()


def executemany(cursor: Any) -> None:
    cursor.executemany("insert into item (id, name, price) values (%s, %s, %s)", BATCH)
    cursor.connection.commit()


def types(cursor: Any) -> None:
    psycopg2.extras.register_uuid(conn_or_curs=cursor)
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
    values = (-2, 4, 2**40, True, 1.5, Decimal("12.340"), "naïve ✓", b"\x00\xff", moment, moment.date(), uuid.UUID(int=7), [1, None, 3])
    names = ("int2", "int4", "int8", "bool", "float8", "numeric", "text", "bytea", "timestamptz", "date", "uuid", "int4[]")
    cursor.execute("select " + ", ".join(f"%s::{name}" for name in names), values)
    cursor.fetchone()


def copy_in(cursor: Any) -> None:
    cursor.copy_expert("copy item (id, name) from stdin", io.StringIO(COPY_TEXT))


def copy_out(cursor: Any) -> None:
    cursor.copy_expert("copy item (id, name, price) to stdout", io.StringIO())


def notify(cursor: Any) -> None:
    cursor.execute(f"listen {CHANNEL}")
    cursor.execute(f"notify {CHANNEL}, 'hello'")
    connection = cursor.connection
    while not connection.notifies:
        select.select([connection], [], [], 10)
        connection.poll()


def failure(cursor: Any) -> None:
    cursor.execute("update item set price = price + 1 where id = %s", (1,))
    try:
        cursor.execute("insert into item (id, name) values (%s, %s)", (1, "twice"))
    except psycopg2.errors.UniqueViolation:
        cursor.connection.rollback()


def cancel(cursor: Any) -> None:
    timer = threading.Timer(0.2, cursor.connection.cancel)
    timer.start()
    try:
        cursor.execute(TOO_LONG)
    except psycopg2.errors.QueryCanceled:
        pass
    timer.join()
    cursor.execute("select 1")


def pool(target: Target) -> None:
    connections = psycopg2.pool.SimpleConnectionPool(1, 1, target.url)
    try:
        for number in range(1, 4):
            connection = connections.getconn()
            with connection.cursor() as cursor:
                cursor.execute("select name from item where id = %s", (number,))
            connections.putconn(connection)
    finally:
        connections.closeall()


PLAYS = {
    "connect": play(connect),
    "one_query": play(one_query),
    "ten_queries": play(ten_queries),
    "executemany": play(executemany, autocommit=False),
    "types": play(types),
    "copy_in": play(copy_in),
    "copy_out": play(copy_out),
    "notify": play(notify),
    "failure": play(failure, autocommit=False),
    "cancel": play(cancel),
    "pool": pool,
}
