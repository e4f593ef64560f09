"""The demo's work with pg8000 (its native interface): pure Python, a Flush after nearly every
message, three round trips per query."""

from __future__ import annotations

import contextlib
import io

import pg8000.native

from pgtrace.address import socket_path
from pgtrace.demo.workloads.common import BATCH, COPY_TEXT, POINTS, Target


def work(target: Target) -> None:
    """Do one round."""
    connection = pg8000.native.Connection(
        target.user,
        host=target.host,
        port=target.port,
        password=target.password,
        database=target.database,
        unix_sock=socket_path(target.host, target.port) if target.host.startswith("/") else None,
        startup_params=target.settings,
    )
    with contextlib.closing(connection):
        for item in POINTS:
            connection.run("select name, price from item where id = :id", id=item)
        connection.run("begin")
        for item, quantity, note in BATCH:
            connection.run("insert into sale values (:item, :quantity, :note)", item=item, quantity=quantity, note=note)
        connection.run("commit")
        connection.run("select count(*) from item where price > :price", price=50)
        connection.run("select tags, added from item where id = :id", id=7)
        connection.run("select exists (select from sale where item = :id)", id=7)
        connection.run("copy sale from stdin", stream=io.BytesIO(COPY_TEXT.encode()))
        connection.run("copy (select id, name from item where id <= 50) to stdout", stream=io.BytesIO())
        connection.run(f"listen {target.channel}")
        connection.run("select pg_notify(:channel, :payload)", channel=target.channel, payload="hello")
        while not connection.notifications:
            connection.run("select 1")
        connection.notifications.clear()
        connection.run(f"unlisten {target.channel}")
        with contextlib.suppress(pg8000.native.DatabaseError):
            connection.run("insert into item values (:id, 'twice', 1, '{}', now())", id=1)
