"""The demo's work with psycopg 3, three ways: results in text (its default), results in binary, and
in pipeline mode."""

from __future__ import annotations

import contextlib

import psycopg

from pgtrace.demo.workloads.common import BATCH, COPIED, NOTIFIED_WITHIN_S, POINTS, Target

POINT = "select name, price from item where id = %s"
INSERT = "insert into sale values (%s, %s, %s)"
INDEPENDENT = (
    ("select count(*) from item where price > %s", (50,)),
    ("select tags, added from item where id = %s", (7,)),
    ("select exists (select from sale where item = %s)", (7,)),
)


def work_text(target: Target) -> None:
    """Do one round with ordinary cursors."""
    _work(target, binary=False)


def work_binary(target: Target) -> None:
    """Do one round with binary cursors."""
    _work(target, binary=True)


def _work(target: Target, binary: bool) -> None:
    with _connect(target) as connection, connection.cursor(binary=binary) as cursor:
        for item in POINTS:
            cursor.execute(POINT, (item,)).fetchall()
        with connection.transaction():
            cursor.executemany(INSERT, BATCH)
        for query, parameters in INDEPENDENT:
            cursor.execute(query, parameters).fetchone()
        _copy_notify_violate(connection, target.channel)


def work_pipeline(target: Target) -> None:
    """Do one round, without waiting for answers that the next statement does not need."""
    with _connect(target) as connection:
        with connection.pipeline():
            cursors = [connection.execute(POINT, (item,)) for item in POINTS]
        for cursor in cursors:
            cursor.fetchall()
        with connection.pipeline(), connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(INSERT, BATCH)
        with connection.pipeline():
            cursors = [connection.execute(query, parameters) for query, parameters in INDEPENDENT]
        for cursor in cursors:
            cursor.fetchone()
        _copy_notify_violate(connection, target.channel)


def _copy_notify_violate(connection: psycopg.Connection, channel: str) -> None:
    with connection.cursor() as cursor:
        with cursor.copy("copy sale from stdin") as copy_in:
            for row in COPIED:
                copy_in.write_row(row)
        with cursor.copy("copy (select id, name from item where id <= 50) to stdout") as copy_out:
            for _ in copy_out:
                pass
    connection.execute(f"listen {channel}")
    connection.execute("select pg_notify(%s, %s)", (channel, "hello"))
    next(connection.notifies(timeout=NOTIFIED_WITHIN_S, stop_after=1))
    connection.execute(f"unlisten {channel}")
    with contextlib.suppress(psycopg.errors.UniqueViolation):
        connection.execute("insert into item values (%s, 'twice', 1, '{}', now())", (1,))


def _connect(target: Target) -> psycopg.Connection:
    return psycopg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        dbname=target.database,
        options=target.options,
        autocommit=True,
    )
