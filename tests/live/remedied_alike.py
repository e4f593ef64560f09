"""Programs with a finding, and the same with the general remedy, for several clients at once (Remedy.clients).

A program asks through `ask`, which sends a statement with at most one value, outside of transactions that the driver would begin
by itself. A program that needs a driver's own connection is in remedied.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import sqlalchemy as sa
from sqlalchemy.engine import make_url

SELECT: Final = "select name from item where id = {}"
ALL: Final = ("asyncpg", "psycopg", "psycopg2", "pg8000", "sqlalchemy")
Ask = Callable[..., None]


@contextlib.contextmanager
def _asyncpg(url: str) -> Iterator[Ask]:
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(url))
    yield lambda sql, *values: loop.run_until_complete(connection.fetch(sql.format("$1"), *values))
    if not connection.is_closed():
        with contextlib.suppress(Exception):
            loop.run_until_complete(connection.close(timeout=1))
    loop.close()


@contextlib.contextmanager
def _sync(connection: Any) -> Iterator[Ask]:
    cursor = connection.cursor()
    yield lambda sql, *values: cursor.execute(sql.format("%s"), values) if values else cursor.execute(sql.format("%s"))
    with contextlib.suppress(Exception):
        connection.close()


def _pg8000(url: str) -> Any:
    parts = urlsplit(url)
    connection = pg8000.dbapi.connect(
        parts.username or "", host=parts.hostname or "", port=parts.port or 0, database=parts.path[1:], password=parts.password
    )
    connection.autocommit = True
    return connection


def _psycopg2(url: str) -> Any:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        for number in range(6):  # so that it is recognised
            cursor.execute("select %s", (number,))
    connection.rollback()
    connection.autocommit = True
    return connection


@contextlib.contextmanager
def _sqlalchemy(url: str) -> Iterator[Ask]:
    engine = sa.create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with contextlib.suppress(sa.exc.DBAPIError), engine.connect() as first:
        first.rollback()  # its first connection is asked what it is
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    connection = engine.connect()
    yield lambda sql, *values: connection.execute(sa.text(sql.format(":x")), {"x": values[0]} if values else {}) and None
    with contextlib.suppress(Exception):
        connection.close()
    engine.dispose()


CLIENTS: Final[dict[str, Callable[[str], Any]]] = {
    "asyncpg": _asyncpg,
    "psycopg": lambda url: _sync(psycopg.connect(url, autocommit=True)),
    "psycopg2": lambda url: _sync(_psycopg2(url)),
    "pg8000": lambda url: _sync(_pg8000(url)),
    "sqlalchemy": _sqlalchemy,
}


class Alike(NamedTuple):
    kind: str
    clients: tuple[str, ...]
    program: Callable[[Ask, bool, Callable[[str], None]], None]
    """What asks, whether it is the remedied one, and what another connection does."""
    pooled: int = 0
    """Server connections of a PgBouncer in between."""

    def run(self, client: str, url: str, remedied: bool) -> None:
        with CLIENTS[client](url) as ask, psycopg.connect(url, autocommit=True) as other, contextlib.suppress(Exception):
            self.program(ask, remedied, lambda sql: other.execute(sql) and None)


PROGRAMS: Final[dict[str, Alike]] = {}


def alike(kind: str, clients: tuple[str, ...] = ALL, pooled: int = 0) -> Callable[[Callable[[Ask, bool, Ask], None]], None]:
    def register(program: Callable[[Ask, bool, Ask], None]) -> None:
        PROGRAMS[kind] = Alike(kind, clients, program, pooled)

    return register


def tried(ask: Ask, sql: str, *values: object) -> None:
    with contextlib.suppress(Exception):
        ask(sql, *values)


@alike("repeat")
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    for _ in range(1 if remedied else 8):
        ask(SELECT, 1)


@alike("returned-in-transaction")
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    for number in (1, 2):
        ask("begin")
        ask(SELECT, number)
        if remedied:
            ask("commit")


@alike("server-ended")
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    ask(SELECT, 1)
    ask("set idle_in_transaction_session_timeout = 200")
    ask("begin")
    ask(SELECT, 2)
    if remedied:
        ask("commit")
    time.sleep(0.4)
    tried(ask, SELECT, 3)


@alike("session-state", pooled=1)
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    """A setting, a lock, a table, a cursor: each for its transaction, or left to whoever is next."""
    name = f"kept_{time.time_ns()}"
    for number in range(3):
        ask("begin")
        ask("set local statement_timeout = 5000" if remedied else "set statement_timeout = 5000")
        ask(f"select {'pg_advisory_xact_lock' if remedied else 'pg_advisory_lock'}(cast({{}} as bigint))", number)
        ask(f"create temporary table {name}{number} (a int){' on commit drop' if remedied else ''}")
        ask(f"declare {name}{number} cursor {'' if remedied else 'with hold '}for select name from item")
        ask(f"fetch 1 from {name}{number}")
        ask("commit")
        ask("select name from item where id = {}", number)


@alike("statement-dropped", ("asyncpg",))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    ask(SELECT, 1)
    ask("reset all" if remedied else "discard all")
    ask(SELECT, 1)


@alike("cached-plan", ("asyncpg", "psycopg", "sqlalchemy"))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    other("create table if not exists changing (id int)")
    for _ in range(8):  # prepared by then
        ask(f"select {'id' if remedied else '*'} from changing where id = {{}}", 1)
    try:
        other("alter table changing add column name text")
        tried(ask, f"select {'id' if remedied else '*'} from changing where id = {{}}", 1)
    finally:
        other("drop table changing")


@alike("comment-cache", ("asyncpg", "psycopg", "sqlalchemy"))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    for number in range(12):
        ask(f"{SELECT} /* {'shop' if remedied else number} */", number)
        ask("select now()")


@alike("idle-in-transaction", ("asyncpg",))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    ask("begin")
    ask(SELECT, 1)
    if remedied:
        ask("commit")
    time.sleep(1.1)
    ask(SELECT, 2)


@alike("aborted-transaction", ("pg8000",))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    ask("begin")
    tried(ask, "insert into item (id) values ({})", 1)
    if remedied:
        ask("rollback")
    tried(ask, SELECT, 2)


@alike("driver-overhead", ("asyncpg", "psycopg", "psycopg2", "pg8000", "sqlalchemy"))
def _(ask: Ask, remedied: bool, other: Ask) -> None:
    ask("begin")
    for number in range(6):
        if not remedied:
            ask("savepoint a")
        ask("insert into written (id) values ({})", number)
        if not remedied:
            ask("release savepoint a")
    ask("rollback")
