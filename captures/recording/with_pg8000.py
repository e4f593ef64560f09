"""pg8000, over its DB-API: a Flush after each message and a Sync, and a transaction around everything."""

from __future__ import annotations

import datetime
import io
import uuid
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import pg8000.dbapi

from captures.recording.scenarios import BATCH, CHANNEL, COPY_TEXT, Play, Target

Work = Callable[[Any, Any], object]


def play(work: Work, *, autocommit: bool = True) -> Play:
    """The work with one connection and a cursor of it."""

    def main(target: Target) -> None:
        where = {"host": target.host, "port": target.port, "user": target.user, "password": target.password, "database": target.database}
        with closing(pg8000.dbapi.connect(**where)) as connection:
            connection.autocommit = autocommit
            work(connection, connection.cursor())

    return main


def connect(connection: Any, cursor: Any) -> None:
    pass


def one_query(connection: Any, cursor: Any) -> None:
    cursor.execute("select id, name, price from item where id = %s", (7,))
    cursor.fetchall()


def ten_queries(connection: Any, cursor: Any) -> None:
    for number in range(1, 11):
        cursor.execute("select id, name, price from item where id = %s", (number,))
        cursor.fetchone()


def executemany(connection: Any, cursor: Any) -> None:
    cursor.executemany("insert into item (id, name, price) values (%s, %s, %s)", BATCH)
    connection.commit()


def types(connection: Any, cursor: Any) -> None:
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
    values = (-2, 4, 2**40, True, 1.5, Decimal("12.340"), "naïve ✓", b"\x00\xff", moment, moment.date(), uuid.UUID(int=7), [1, None, 3])
    names = ("int2", "int4", "int8", "bool", "float8", "numeric", "text", "bytea", "timestamptz", "date", "uuid", "int4[]")
    cursor.execute("select " + ", ".join(f"cast(%s as {name})" for name in names), values)
    cursor.fetchone()


def copy_in(connection: Any, cursor: Any) -> None:
    cursor.execute("copy item (id, name) from stdin", stream=io.BytesIO(COPY_TEXT.encode()))


def copy_out(connection: Any, cursor: Any) -> None:
    cursor.execute("copy item (id, name, price) to stdout", stream=io.BytesIO())


def notify(connection: Any, cursor: Any) -> None:
    cursor.execute(f"listen {CHANNEL}")
    cursor.execute(f"notify {CHANNEL}, 'hello'")
    while not connection.notifications:
        cursor.execute("select 1")


def failure(connection: Any, cursor: Any) -> None:
    cursor.execute("update item set price = price + 1 where id = %s", (1,))
    try:
        cursor.execute("insert into item (id, name) values (%s, %s)", (1, "twice"))
    except pg8000.dbapi.DatabaseError:
        connection.rollback()


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
}
