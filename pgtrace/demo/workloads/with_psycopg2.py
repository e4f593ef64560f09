"""The demo's work with psycopg2: simple Query only, the values written into the SQL by the
driver."""

from __future__ import annotations

import contextlib
import io
import select

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras

from pgtrace.demo.workloads.common import BATCH, COPY_TEXT, NOTIFIED_WITHIN_S, POINTS, Target


def work(target: Target) -> None:
    """Do one round."""
    connection = psycopg2.connect(
        host=target.host, port=target.port, user=target.user, password=target.password, dbname=target.database, options=target.options
    )
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        for item in POINTS:
            cursor.execute("select name, price from item where id = %s", (item,))
            cursor.fetchall()
        cursor.execute("begin")
        psycopg2.extras.execute_values(cursor, "insert into sale values %s", BATCH)
        cursor.execute("commit")
        cursor.execute("select count(*) from item where price > %s", (50,))
        cursor.execute("select tags, added from item where id = %s", (7,))
        cursor.execute("select exists (select from sale where item = %s)", (7,))
        cursor.copy_expert("copy sale from stdin", io.StringIO(COPY_TEXT))
        cursor.copy_expert("copy (select id, name from item where id <= 50) to stdout", io.StringIO())
        cursor.execute(f"listen {target.channel}")
        cursor.execute("select pg_notify(%s, %s)", (target.channel, "hello"))
        _wait_for_notification(connection)
        cursor.execute(f"unlisten {target.channel}")
        with contextlib.suppress(psycopg2.errors.UniqueViolation):
            cursor.execute("insert into item values (%s, 'twice', 1, '{}', now())", (1,))


def _wait_for_notification(connection: psycopg2.extensions.connection) -> None:
    connection.poll()
    while not connection.notifies:
        if not select.select([connection], [], [], NOTIFIED_WITHIN_S)[0]:
            raise TimeoutError("no notification came")
        connection.poll()
    connection.notifies.clear()
