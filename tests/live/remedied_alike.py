"""Programs with a finding, and the same with the general remedy, for several clients at once (Remedy.clients).

A program is named by the remedies that it proves (Remedy.tried), all that are printed for it. It asks through `given.ask`, which
sends a statement with at most one value, outside of transactions that the driver would begin by itself. With the remedy it runs
to its end: no exception is passed over. A program that needs a driver's own connection is in remedied.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import asyncpg
import pg8000.dbapi
import pg8000.native
import psycopg
import psycopg2
import psycopg2.extras
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from pgtrace.judge.findings.used_after_fatal import CROSSES_NS

SELECT: Final = "select name from item where id = {}"
PLAIN: Final = "select name from item where id = 1"
"""Without a value it is one round trip of any driver, also behind a pooler."""
WRITE: Final = "insert into written (id, name) values (1, 'tea')"
NATIVE: Final = "select name from item where id = :id"
ALL: Final = ("asyncpg", "psycopg", "psycopg2", "pg8000", "sqlalchemy")
NEWER: Final = "max_prepared_statements = 100\n"
Ask = Callable[..., None]
MANY: Final = 60
"""What prepared_leak.MANY is in these tests, which need not prepare hundreds of statements."""
WAIT_NS: Final = 20_000_000
"""What pooler_wait.WAIT_NS is: what a busy machine takes does not count."""
_HBA: Final = threading.Lock()
_NUMBERS: Final = itertools.count()


class Target(NamedTuple):
    """Where to connect to, and as whom."""

    user: str
    password: str
    host: str
    port: int
    database: str
    settings: Mapping[str, str] = {}
    """For the StartupMessage."""
    version: str = ""
    """The protocol's, for a driver that has a choice."""
    pooled: bool = False
    """Behind a pooler nothing is prepared."""

    @property
    def libpq(self) -> dict[str, Any]:
        at = {"user": self.user, "password": self.password, "host": self.host, "port": self.port, "dbname": self.database}
        return {**at, **self.more}

    @property
    def more(self) -> dict[str, str]:
        """What else libpq is told."""
        more = {"max_protocol_version": self.version} if self.version else {}
        if self.settings:
            more["options"] = " ".join(f"-c {name}={value}" for name, value in self.settings.items())
        return more

    def alchemy(self, driver: str) -> sa.URL:
        return sa.URL.create(f"postgresql+{driver}", self.user, self.password, self.host, self.port, self.database)

    @property
    def others(self) -> dict[str, Any]:
        return {"user": self.user, "password": self.password, "host": self.host, "port": self.port, "database": self.database}


def target(url: str) -> Target:
    parts = make_url(url)
    return Target(parts.username or "", str(parts.password or ""), parts.host or "", parts.port or 0, parts.database or "")


@contextlib.contextmanager
def _asyncpg(at: Target) -> Iterator[Ask]:
    loop = asyncio.new_event_loop()
    try:
        cache = 0 if at.pooled else 100
        connection = loop.run_until_complete(asyncpg.connect(**at.others, server_settings=dict(at.settings), statement_cache_size=cache))
        try:
            yield lambda sql, *values: loop.run_until_complete(connection.fetch(sql.format("$1"), *values))
        finally:
            with contextlib.suppress(Exception):
                loop.run_until_complete(connection.close(timeout=1))
    finally:
        loop.close()


@contextlib.contextmanager
def _sync(connection: Any) -> Iterator[Ask]:
    cursor = connection.cursor()
    try:
        yield lambda sql, *values: cursor.execute(sql.format("%s"), values) if values else cursor.execute(sql.format("%s"))
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def _pg8000(at: Target) -> Any:
    connection = pg8000.dbapi.connect(**at.others, startup_params=dict(at.settings))
    connection.autocommit = True
    return connection


def _psycopg2(at: Target) -> Any:
    connection = psycopg2.connect(**at.libpq)
    connection.autocommit = True
    with connection.cursor() as cursor:  # so that it is recognised
        cursor.execute("select %s", (__import__("datetime").datetime(2026, 1, 2, 3, 4, 5),))
    return connection


@contextlib.contextmanager
def _sqlalchemy(at: Target) -> Iterator[Ask]:
    engine = sa.create_engine(at.alchemy("psycopg"), connect_args={**at.more, "prepare_threshold": None if at.pooled else 5})
    with contextlib.suppress(sa.exc.DBAPIError), engine.connect() as first:
        first.rollback()  # its first connection is asked what it is
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection = engine.connect()
        try:
            yield lambda sql, *values: connection.execute(sa.text(sql.format(":x")), {"x": values[0]} if values else {}) and None
        finally:
            with contextlib.suppress(Exception):
                connection.close()
    finally:
        engine.dispose()


CLIENTS: Final[dict[str, Callable[[Target], Any]]] = {
    "asyncpg": _asyncpg,
    "psycopg": lambda at: _sync(psycopg.connect(**at.libpq, autocommit=True, prepare_threshold=None if at.pooled else 5)),
    "psycopg2": lambda at: _sync(_psycopg2(at)),
    "pg8000": lambda at: _sync(_pg8000(at)),
    "sqlalchemy": _sqlalchemy,
}


class Given:
    """What a program is given: a client, whether it is the remedied one, and a way around the recorder."""

    def __init__(self, client: str, url: str, direct: str, server: str, *, remedied: bool, pooled: bool) -> None:
        self.client, self.remedied = client, remedied
        self.at = target(url)._replace(pooled=pooled)
        self.direct = target(direct)
        """To the recorder, but not through the pooler."""
        self.name = f"of_{client}"
        """For what it makes in the server."""
        self._server = server
        self._closes = contextlib.ExitStack()
        self._ask: Ask | None = None

    @contextlib.contextmanager
    def connect(self, **changed: Any) -> Iterator[Ask]:
        """Another connection, with something changed in its Target."""
        with CLIENTS[self.client](self.at._replace(**changed)) as ask:
            ask("begin")  # so that no pooler comes between the round trips of one statement
            ask("select cast({} as int)", 1)  # so that it is recognised
            ask("commit")
            yield ask

    def ask(self, sql: str, *values: object) -> None:
        """On its connection, which is opened with the first question."""
        if self._ask is None:
            self._ask = self._closes.enter_context(self.connect())
        self._ask(sql, *values)

    def try_to_ask(self, sql: str, *values: object) -> None:
        with contextlib.suppress(Exception):
            self.ask(sql, *values)

    def close(self) -> None:
        """The next question opens another connection."""
        self._ask = None
        self._closes.close()

    @contextlib.contextmanager
    def native(self) -> Iterator[Any]:
        """A connection of pg8000's own interface, which can prepare."""
        with contextlib.closing(pg8000.native.Connection(**self.at.others)) as connection:
            yield connection

    @contextlib.contextmanager
    def prepares(self) -> Iterator[tuple[Ask, Callable[[], Any]]]:
        """A connection that surely prepares: what asks, and what runs one prepared statement."""
        if self.client == "pg8000":
            with self.native() as connection:
                statement = connection.prepare(NATIVE)
                yield connection.run, lambda: statement.run(id=1)
        elif self.client == "sqlalchemy":
            loop = asyncio.new_event_loop()
            engine = create_async_engine(self.at.alchemy("asyncpg"), isolation_level="AUTOCOMMIT")
            over = loop.run_until_complete(engine.connect())
            try:
                yield (
                    lambda sql: loop.run_until_complete(over.execute(sa.text(sql))) and None,
                    lambda: loop.run_until_complete(over.execute(sa.text("select name from item where id = :x"), {"x": 1})),
                )
            finally:
                with contextlib.suppress(Exception):
                    loop.run_until_complete(over.close())
                loop.run_until_complete(engine.dispose())
                loop.close()
        else:
            yield self.ask, lambda: self.ask(SELECT, 1)

    @contextlib.contextmanager
    def holds(self, sql: str, seconds: float) -> Iterator[None]:
        """Somebody else holds a lock for that long."""

        def hold() -> None:
            with psycopg.connect(self._server) as connection:
                connection.execute(sql)
                held.set()
                time.sleep(seconds)

        held = threading.Event()
        holding = threading.Thread(target=hold)
        holding.start()
        held.wait(5)
        try:
            yield
        finally:
            holding.join()

    def role(self) -> str:
        """A new role that may log in with the password `right`."""
        role = f"role_{next(_NUMBERS)}_{self.name}"
        self.other(f"drop role if exists {role}; create role {role} login password 'right'")
        return role

    def database(self, name: str) -> str:
        """A database of that name, made by whoever needs it first: that takes long."""
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            self.other(f"create database {name}")
        return name

    def allow(self, role: str, method: str) -> None:
        """The first line of pg_hba.conf for a role of role()."""
        with _HBA, psycopg.connect(self._server, autocommit=True) as connection:
            file, content = connection.execute("select current_setting('hba_file'), pg_read_file(current_setting('hba_file'))").fetchone()  # type: ignore[misc]
            lines = [f"host all {role} all {method}", *(line for line in content.splitlines() if f" {role} " not in line)]
            connection.execute(sql.SQL("copy (select unnest({}::text[])) to {}").format(lines, file))
            connection.execute("select pg_reload_conf()")
            at = target(self._server)._replace(user=role, password="right")
            while True:  # until the server has read it
                try:
                    psycopg.connect(**at.libpq).close()
                    allowed = True
                except psycopg.OperationalError:
                    allowed = False
                if allowed is (method != "reject"):
                    return
                time.sleep(0.02)

    def other(self, sql: str) -> None:
        """What somebody else does, who is not recorded."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql)


class Alike(NamedTuple):
    kind: str
    clients: tuple[str, ...]
    program: Callable[[Given], None]
    pooled: int = 0
    """Server connections of a PgBouncer in between."""
    pooler: str = ""
    """More settings of it."""
    remedied_pooler: str | None = None
    """Those with the remedy, if it is one of settings."""
    remedied_pooled: int = 0
    stays: bool = False
    """Whether the finding stays, because the remedy is against the error that the program gets."""
    both: bool = False
    """Whether both sides of the pooler are recorded."""
    is_unreachable: bool = False
    """Whether nobody listens upstream before the remedy."""
    is_impatient: bool = False
    """Whether something in between closes connections that are idle, without a word."""
    waits: bool = False
    """Whether it spends its time waiting, so that all its clients may run at once."""

    @property
    def newer(self) -> bool:
        """Whether it needs a newer PgBouncer, before the remedy or with it."""
        return NEWER in (self.pooler, self.remedied_pooler)

    @property
    def surroundings(self) -> tuple[object, ...]:
        """Programs that are alike in these run together."""
        return (self.kind, self.clients, *self[3:])

    def run(self, given: Given) -> bool:
        """Whether it got to its end."""
        try:
            self.program(given)
        except Exception:
            if given.remedied:
                raise
            return False
        finally:
            given.close()
        return True


PROGRAMS: Final[dict[str, Alike]] = {}


def alike(name: str, kind: str, clients: tuple[str, ...] = ALL, **more: Any) -> Callable[[Callable[[Given], None]], None]:
    def register(program: Callable[[Given], None]) -> None:
        PROGRAMS[name] = Alike(kind, clients, program, **more)

    return register


@alike("asked-once", "repeat")
def _(given: Given) -> None:
    for _ in range(1 if given.remedied else 8):
        given.ask(SELECT, 1)


@alike("joined-to-bounds", "n+1")
def _(given: Given) -> None:
    if given.remedied:
        given.ask(
            "select bound, count(id) from (values (1), (2), (3), (4), (5), (6)) as v (bound) left join item on id <= bound group by 1"
        )
        return
    for number in range(1, 7):
        given.ask("select count(id) from item where id <= {}", number)


@alike("larger-pages", "n+1")
def _(given: Given) -> None:
    for number in range(1 if given.remedied else 8):
        given.ask(f"select name from item order by id limit {100 if given.remedied else 1} offset {{}}", number)


@alike("one-copy", "n+1", ("asyncpg", "psycopg", "psycopg2", "pg8000"))
def _(given: Given) -> None:
    """A COPY for each row, or one for all."""
    name = f"copied_{given.name}"
    given.other(f"drop table if exists {name}; create table {name} (id int)")
    rows = [(number,) for number in range(8)]
    parts = [rows] if given.remedied else [[row] for row in rows]
    lines = ["".join(f"{number}\n" for (number,) in part) for part in parts]
    if given.client == "asyncpg":

        async def run() -> None:
            connection = await asyncpg.connect(**given.at.others)
            for part in parts:
                await connection.copy_records_to_table(name, records=part)
            await connection.close()

        asyncio.run(run())
    elif given.client == "psycopg":
        with psycopg.connect(**given.at.libpq, autocommit=True) as connection:
            connection.execute("select %s", (1,))
            for part in parts:
                with connection.cursor().copy(f"copy {name} from stdin") as copy:
                    for row in part:
                        copy.write_row(row)
    else:
        other = _psycopg2(given.at) if given.client == "psycopg2" else _pg8000(given.at)
        cursor = other.cursor()
        for line in lines:
            if given.client == "psycopg2":
                cursor.copy_expert(f"copy {name} from stdin", io.StringIO(line))
            else:
                cursor.execute(f"copy {name} from stdin", stream=io.BytesIO(line.encode()))
        other.close()
    given.other(f"drop table {name}")


@alike("called-once", "n+1")
def _(given: Given) -> None:
    if given.remedied:
        given.ask("select abs(x) from unnest(array[0, 1, 2, 3, 4, 5, 6, 7]) as x")
    else:
        for number in range(8):
            given.ask("select abs(cast({} as int))", number)


@alike("commit-before-return", "returned-in-transaction")
def _(given: Given) -> None:
    for number in (1, 2):
        given.ask("begin")
        given.ask(SELECT, number)
        if given.remedied:
            given.ask("commit")


@alike("set-in-transaction", "no-effect")
def _(given: Given) -> None:
    for number in range(2):
        if given.remedied:
            given.ask("begin")
        given.ask("set local statement_timeout = 5000")
        given.ask(SELECT, number)
        if given.remedied:
            given.ask("commit")


@alike("committed", "uncommitted-writes")
def _(given: Given) -> None:
    """SQLAlchemy rolls back what is closed; a script that just ends closes nothing."""
    if given.client == "sqlalchemy":
        url = given.at.alchemy("psycopg").render_as_string(hide_password=False)
        work = f"connection = sqlalchemy.create_engine({url!r}).connect(); connection.execute(sqlalchemy.text({WRITE!r}))"
        commit = "; connection.commit()" if given.remedied else ""
        subprocess.run([sys.executable, "-c", f"import sqlalchemy; {work}{commit}"], check=True)
        return
    given.ask("begin")
    given.ask(WRITE)
    if given.remedied:
        given.ask("commit")


@alike("repeated-after-error", "uncommitted-writes")
def _(given: Given) -> None:
    given.ask("begin")
    given.ask(WRITE)
    with contextlib.suppress(Exception):
        given.ask("select 1 / 0")
    if given.remedied:
        given.ask("rollback")
        given.ask("begin")
        given.ask(WRITE)
    given.ask("commit")


@alike("state-of-transaction", "session-state", pooled=1)
def _(given: Given) -> None:
    """A setting, a lock, a table, a cursor: each for its transaction, or left to whoever is next."""
    name = f"kept_{time.time_ns()}"
    remedied = given.remedied
    for number in range(3):
        given.ask("begin")
        given.ask("set local statement_timeout = 5000" if remedied else "set statement_timeout = 5000")
        given.ask(f"select {'pg_advisory_xact_lock' if remedied else 'pg_advisory_lock'}(cast({{}} as bigint))", number)
        given.ask(f"create temporary table {name}{number} (a int){' on commit drop' if remedied else ''}")
        given.ask(f"declare {name}{number} cursor {'' if remedied else 'with hold '}for select name from item")
        given.ask(f"fetch 1 from {name}{number}")
        given.ask("commit")
        given.ask("select name from item where id = {}", number)


@alike("option-of-transaction", "session-state", pooled=1)
def _(given: Given) -> None:
    for number in range(3):
        given.ask("begin read only" if given.remedied else f"set default_transaction_read_only = {'on' if number % 2 else 'off'}")
        given.ask("select name from item where id = {}", number)
        if given.remedied:
            given.ask("commit")
    if not given.remedied:
        given.ask("set default_transaction_read_only = off")


@alike("driver-drops", "statement-dropped", ("asyncpg", "pg8000", "sqlalchemy"))
def _(given: Given) -> None:
    with given.prepares() as (ask, run):
        run()
        ask("reset all" if given.remedied else "discard all")
        run()


@alike("columns-named", "cached-plan")
def _(given: Given) -> None:
    """A driver that prepares nothing is given SQL-level PREPARE."""
    table, columns = f"changing_{given.name}", "id" if given.remedied else "*"
    given.other(f"create table {table} (id int)")
    try:
        if given.client in ("psycopg2", "pg8000"):
            given.ask(f"prepare p as select {columns} from {table}")
        for _ in range(8):  # prepared by then
            given.ask("execute p") if given.client in ("psycopg2", "pg8000") else given.ask(
                f"select {columns} from {table} where id = {{}}", 1
            )
        given.other(f"alter table {table} add column name text")
        given.ask("execute p") if given.client in ("psycopg2", "pg8000") else given.ask(f"select {columns} from {table} where id = {{}}", 1)
    finally:
        given.other(f"drop table {table}")


@alike("comment-kept-alike", "comment-cache", ("asyncpg", "psycopg", "sqlalchemy"))
def _(given: Given) -> None:
    for number in range(12):
        given.ask(f"{SELECT} /* {'shop' if given.remedied else number} */", number)
        given.ask("select now()")


@alike("slow-work-outside", "idle-in-transaction", ("asyncpg",), waits=True)
def _(given: Given) -> None:
    given.ask("begin")
    given.ask(SELECT, 1)
    if given.remedied:
        given.ask("commit")
    time.sleep(1.1)
    given.ask(SELECT, 2)


@alike("roll-back", "aborted-transaction", ("pg8000",))
def _(given: Given) -> None:
    given.ask("begin")
    given.try_to_ask("insert into item (id) values ({})", 1)
    if given.remedied:
        given.ask("rollback")
    given.ask(SELECT, 2)


@alike("on-conflict", "aborted-transaction", ("pg8000",))
def _(given: Given) -> None:
    given.ask("begin")
    if given.remedied:
        given.ask("insert into item (id) values ({}) on conflict do nothing", 1)
    else:
        given.try_to_ask("insert into item (id) values ({})", 1)
    given.try_to_ask(SELECT, 2)
    given.ask("rollback")


@alike("no-savepoint", "driver-overhead")
def _(given: Given) -> None:
    given.ask("begin")
    for number in range(6):
        if not given.remedied:
            given.ask("savepoint a")
        given.ask("insert into written (id) values ({})", number)
        if not given.remedied:
            given.ask("release savepoint a")
    given.ask("rollback")


@alike("one-begin", "driver-overhead")
def _(given: Given) -> None:
    for _ in range(16):
        given.ask("begin")
        if not given.remedied:
            given.ask("begin")
        given.ask("commit")


@alike("checked-once", "driver-overhead", ("psycopg", "psycopg2", "pg8000", "sqlalchemy"))
def _(given: Given) -> None:
    """Each statement is a unit of work, or all of them are one. psycopg and SQLAlchemy have their own remedies for what only asks."""
    for number in range(5):
        if not (given.remedied and number):
            given.ask("discard all" if given.client in ("psycopg", "sqlalchemy") else "select 1")
        given.ask(PLAIN)


@alike("fewer-at-once", "connect")
def _(given: Given) -> None:
    number = 1 if given.remedied else 7
    with contextlib.ExitStack() as opened:
        if given.client == "sqlalchemy":  # its first connection asks more
            engine = sa.create_engine(given.at.alchemy("psycopg"), pool_size=number)
            opened.callback(engine.dispose)
            for connection in [opened.enter_context(engine.connect()) for _ in range(number)]:
                connection.execute(sa.select(sa.column("name")).select_from(sa.table("item")).where(sa.column("id", sa.Integer) == 1))
        else:
            asks = [opened.enter_context(given.connect()) for _ in range(number)]
            asks[0](SELECT, 1)


@alike("larger-portions", "fetch-size", ("pg8000",))
def _(given: Given) -> None:
    given.ask("begin")
    given.ask("declare c cursor for select generate_series(1, 30)")
    for _ in range(1 if given.remedied else 30):
        given.ask(f"fetch {100 if given.remedied else 1} from c")
    given.ask("commit")


@alike("lock-held-shortly", "no-answer", ("asyncpg", "psycopg", "pg8000", "sqlalchemy"), waits=True)
def _(given: Given) -> None:
    """A Parse waits for a lock; psycopg sends one without a Bind when it begins to prepare."""
    table = f"locked_{given.name}"
    given.other(f"drop table if exists {table}; create table {table} (id int)")
    question = f"select id from {table} where id = {{}}"
    if given.client in ("psycopg", "sqlalchemy"):
        for _ in range(5):
            given.ask(question, 1)
    else:
        given.ask("select 1")
    with given.holds(f"lock table {table} in access exclusive mode", 0.2 if given.remedied else 1.15):
        given.ask(question, 1)
    if given.remedied:
        given.ask("set lock_timeout = 100")
        with given.holds(f"lock table {table} in access exclusive mode", 1.15):
            given.try_to_ask(f"select id, 1 from {table} where id = {{}}", 1)


# Statements that are gone.


@alike("prepared-again", "statement-dropped")
def _(given: Given) -> None:
    given.ask("prepare p as select 1 as p")
    given.ask("prepare q as select 1 as q")
    given.ask("deallocate q" if given.remedied else "deallocate all")
    given.ask("execute p")
    if given.remedied:
        given.ask("discard plans")
        given.ask("deallocate p")
        given.ask("prepare p as select 2 as p")
        given.ask("execute  p")


@alike("not-after-close", "statement-dropped", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        statement = connection.prepare(NATIVE)
        statement.run(id=1)
        statement.close()
        if given.remedied:
            statement = connection.prepare(NATIVE)
        statement.run(id=2)


@alike("prepared-here", "statement-gone")
def _(given: Given) -> None:
    with given.connect() as another:
        another("prepare p as select 1 as p")
        if given.remedied:
            given.ask("prepare p as select 1 as p")
        given.ask("execute p")


@alike("nothing-dropped", "statement-gone")
def _(given: Given) -> None:
    given.ask("prepare p as select 1 as p")
    given.ask(f"do $$ begin perform 1; {'' if given.remedied else 'deallocate p;'} end $$")
    given.ask("execute p")


@alike("no-prepare-moved", "pooler-26000", pooled=2)
def _(given: Given) -> None:
    if not given.remedied:
        given.ask("prepare p as select 1 as p")
    with given.connect() as other:
        other("begin")
        other(PLAIN)
        given.ask("select 1 as p" if given.remedied else "execute p")


@alike("no-prepare-taken", "pooler-42P05", pooled=1)
def _(given: Given) -> None:
    for _ in range(2):
        given.ask("select 1 as p" if given.remedied else f"prepare p_{given.name} as select 1 as p")
        given.close()


@alike("no-prepare", "session-state", pooled=2)
def _(given: Given) -> None:
    given.ask("select 1 as p" if given.remedied else f"prepare p_{given.name} as select 1 as p")
    given.ask(PLAIN)


@alike("listens-directly", "session-state", pooled=2)
def _(given: Given) -> None:
    with given.connect(**({"host": given.direct.host, "port": given.direct.port} if given.remedied else {})) as ask:
        ask("listen news")
        ask(PLAIN)


@alike("prepared-for-all", "prepared-once", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        statement = connection.prepare(NATIVE) if given.remedied else None
        for number in range(16):
            if number >= 8 and given.remedied:
                connection.run(NATIVE, id=number)
            else:
                (statement or connection.prepare(NATIVE)).run(id=number)
            connection.run("select now()")


@alike("kept-by-the-reset", "prepared-once", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        statement = None
        for number in range(8):
            if statement is None or not given.remedied:
                statement = connection.prepare(NATIVE)
            statement.run(id=number)
            connection.run("reset all" if given.remedied else "discard all")


def _of_any_length(given: Given, uses: int) -> None:
    """Queries with lists of eleven lengths, prepared, each asked that many times, with something else in between."""
    lists = [list(range(1, length + 1)) for length in range(2, 13) for _ in range(uses)]

    def text(items: list[int], form: Callable[[int], str]) -> str:
        if given.remedied:
            return f"select name from item where id = any({form(1)})"
        return f"select name from item where id in ({', '.join(form(number) for number in range(1, len(items) + 1))})"

    def values(items: list[int]) -> list[Any]:
        return [items] if given.remedied else list(items)

    if given.client == "asyncpg":

        async def run() -> None:
            connection = await asyncpg.connect(**given.at.others)
            for items in lists:
                await connection.fetch(text(items, lambda number: f"${number}"), *values(items))
                await connection.fetch("select now()")
            await connection.close()

        asyncio.run(run())
    elif given.client == "psycopg":
        with psycopg.connect(**given.at.libpq, autocommit=True) as connection:
            for items in lists:
                connection.execute(text(items, lambda _: "%s"), values(items), prepare=True)
                connection.execute("select now()")
    elif given.client == "sqlalchemy":

        async def run() -> None:
            engine = create_async_engine(given.at.alchemy("asyncpg"))
            async with engine.connect() as connection:
                for items in lists:
                    named = {f"x{number}": value for number, value in enumerate(values(items), 1)}
                    await connection.execute(
                        sa.text(text(items, lambda number: f"cast(:x{number} as {'int[]' if given.remedied else 'int'})")), named
                    )
                    await connection.execute(sa.text("select now()"))
            await engine.dispose()

        asyncio.run(run())
    else:
        with given.native() as native:
            kept: dict[str, Any] = {}
            for items in lists:
                sql = text(items, lambda number: f":x{number}")
                statement = kept[sql] = kept.get(sql) or native.prepare(sql)
                statement.run(**{f"x{number}": value for number, value in enumerate(values(items), 1)})
                native.run("select now()")


@alike("list-of-any-length", "prepared-once", ("asyncpg", "psycopg", "pg8000", "sqlalchemy"))
def _(given: Given) -> None:
    _of_any_length(given, 1)


@alike("list-of-any-length-kept", "prepared-leak", ("asyncpg", "psycopg", "pg8000", "sqlalchemy"))
def _(given: Given) -> None:
    _of_any_length(given, 2)


@alike("parameters-for-all", "prepared-once", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        statement = connection.prepare(NATIVE) if given.remedied else None
        for number in range(16):
            if number >= 8 and given.remedied:
                connection.run(f"select name from item where id = {number}")
            elif statement is not None:
                statement.run(id=number)
            else:
                connection.prepare(f"select name from item where id = {number}").run()
            connection.run("select now()")


@alike("kept-or-closed", "prepared-leak", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        for _ in range(12):
            statement = connection.prepare(NATIVE)
            for number in range(2):
                statement.run(id=number)
                connection.run("select now()")
            if given.remedied:
                statement.close()
        kept = connection.prepare(NATIVE)
        for number in range(12):
            kept.run(id=number)


@alike("parameters-kept", "prepared-leak", ("pg8000",))
def _(given: Given) -> None:
    with given.native() as connection:
        kept = connection.prepare(NATIVE)
        for number in range(12):
            statement = kept if given.remedied else connection.prepare(f"select name from item where id = {number}")
            for _ in range(2):
                statement.run(**({"id": number} if given.remedied else {}))
                connection.run("select now()")


@alike("bounded-cache", "prepared-leak", ("asyncpg", "psycopg", "pg8000", "sqlalchemy"))
def _(given: Given) -> None:
    texts = [f"select 1 as n{number}" for number in range(MANY + 20)]
    if given.client == "asyncpg":

        async def run() -> None:
            connection = await asyncpg.connect(**given.at.others, statement_cache_size=20 if given.remedied else 1_000)
            for text in texts:
                await connection.fetch(text)
            await connection.close()

        asyncio.run(run())
    elif given.client == "psycopg":
        with psycopg.connect(**given.at.libpq, autocommit=True) as connection:
            connection.prepared_max = 20 if given.remedied else 1_000
            for text in texts:
                connection.execute(text, prepare=True)
    elif given.client == "sqlalchemy":

        async def run() -> None:
            size = {"prepared_statement_cache_size": 20 if given.remedied else 1_000}
            engine = create_async_engine(given.at.alchemy("asyncpg"), connect_args=size)
            async with engine.connect() as connection:
                for text in texts:
                    await connection.execute(sa.text(text))
            await engine.dispose()

        asyncio.run(run())
    else:
        with given.native() as native:
            for text in texts:
                statement = native.prepare(text)
                if given.remedied:
                    statement.close()


# What a pooler of the day keeps.


def kept(given: Given) -> None:
    """The driver does not keep statements because of the pooler, or it does because the pooler follows their names."""
    given.at = given.at._replace(pooled=not given.remedied)
    if given.client != "sqlalchemy":
        for number in range(24):
            given.ask(SELECT, number)
        return

    async def run() -> None:
        caches = {} if given.remedied else {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        engine = create_async_engine(given.at.alchemy("asyncpg"), isolation_level="AUTOCOMMIT", connect_args=caches)
        async with engine.connect() as connection:
            for number in range(24):
                await connection.execute(sa.text("select name from item where id = :x"), {"x": number})
        await engine.dispose()

    asyncio.run(run())


@alike("kept-behind", "extra-describe", ("asyncpg", "sqlalchemy"), pooled=2, remedied_pooler=NEWER)
def _(given: Given) -> None:
    kept(given)


@alike("parsed-once-behind", "re-parse", ("asyncpg", "psycopg", "sqlalchemy"), pooled=2, remedied_pooler=NEWER)
def _(given: Given) -> None:
    kept(given)


@alike("bound-not-executed", "pooler-26000", ("asyncpg", "psycopg", "pg8000"), pooled=1, pooler=NEWER)
def _(given: Given) -> None:
    """What the driver has prepared is run by its name, or by the driver."""
    if given.client == "asyncpg":

        async def run() -> None:
            connection = await asyncpg.connect(**given.at.others)
            try:
                statement = await connection.prepare(PLAIN)
                await statement.fetch()
                await (statement.fetch() if given.remedied else connection.execute(f"execute {statement.get_name()}"))
            finally:
                await connection.close()

        asyncio.run(run())
    elif given.client == "psycopg":
        with psycopg.connect(**given.at.libpq, autocommit=True) as connection:
            connection.execute(SELECT.format("%s"), (1,), prepare=True)
            if given.remedied:
                connection.execute(SELECT.format("%s"), (1,))
            else:
                connection.execute("execute _pg3_0 (1)")
    else:
        with given.native() as native:
            statement = native.prepare(PLAIN)
            statement.run()
            statement.run() if given.remedied else native.run("execute pg8000_statement_0")


# What waits in a pooler.


@alike("larger-pool-behind", "pooler-wait", pooled=1, remedied_pooled=4, both=True)
def _(given: Given) -> None:
    over = threading.Event()

    def hold() -> None:
        with psycopg.connect(**given.at.libpq, autocommit=True, prepare_threshold=None) as holder:
            holder.execute("begin")
            begun.set()
            while not over.is_set():
                holder.execute("select pg_sleep(0.06)")
                holder.execute("commit")
                holder.execute("begin")
            holder.execute("commit")

    begun = threading.Event()
    given.ask(PLAIN)
    holding = threading.Thread(target=hold)
    holding.start()
    assert begun.wait(30)
    try:
        for _ in range(8):
            given.ask(PLAIN)
            time.sleep(0.01)  # the holder has begun again
    finally:
        over.set()
        holding.join()


# What the server, or a pooler, refuses.


@alike("right-password", "refused")
def _(given: Given) -> None:
    """A wrong password; no such role, or one that is too old, looks the same."""
    with contextlib.suppress(Exception), given.connect(**({} if given.remedied else {"password": "wrong"})) as ask:
        ask(SELECT, 1)
    role, until = given.role(), "infinity" if given.remedied else "2001-01-01"
    given.other(f"alter role {role} valid until '{until}'")
    with contextlib.suppress(Exception), given.connect(user=role, password="right") as ask:
        ask("select 1")
    with given.connect(user=role if given.remedied else "nobody_of_that_name", password="right") as ask:
        ask("select 1")


@alike("right-database", "refused")
def _(given: Given) -> None:
    with given.connect(**({} if given.remedied else {"database": "no_such_database"})) as ask:
        ask(SELECT, 1)


@alike("right-name-of-setting", "refused")
def _(given: Given) -> None:
    with given.connect(settings={"work_mem" if given.remedied else "work_memory": "1MB"}) as ask:
        ask(SELECT, 1)


@alike("right-value-of-setting", "refused")
def _(given: Given) -> None:
    with given.connect(settings={"work_mem": "1MB" if given.remedied else "little"}) as ask:
        ask(SELECT, 1)


@alike("line-of-pg_hba", "refused")
def _(given: Given) -> None:
    role = given.role()
    given.allow(role, "scram-sha-256" if given.remedied else "reject")
    with given.connect(user=role, password="right") as ask:
        ask("select 1")


@alike("role-may-log-in", "refused")
def _(given: Given) -> None:
    role = given.role()
    given.other(f"alter role {role} {'login' if given.remedied else 'nologin'}")
    with given.connect(user=role, password="right") as ask:
        ask("select 1")


@alike("role-may-connect", "refused")
def _(given: Given) -> None:
    role = given.role()
    database = given.database("for_some")
    given.other(f"revoke connect on database {database} from public")
    if given.remedied:
        given.other(f"grant connect on database {database} to {role}")
    with given.connect(user=role, password="right", database=database) as ask:
        ask("select 1")


@alike("message-read", "refused")
def _(given: Given) -> None:
    database = given.database("for_nobody")
    given.other(f"alter database {database} allow_connections {given.remedied}")
    with given.connect(database=database) as ask:
        ask("select 1")


@alike("fewer-connections", "refused")
def _(given: Given) -> None:
    """One after the other, or with a larger limit."""
    role = given.role()
    given.other(f"alter role {role} connection limit {4 if given.remedied else 2}")  # SQLAlchemy's first, and one
    with given.connect(user=role, password="right") as first, given.connect(user=role, password="right") as second:
        first("select 1")
        second("select 1")
        if not given.remedied:
            with given.connect(user=role, password="right") as third:
                third("select 1")
    if given.remedied:
        with given.connect(user=role, password="right") as third:
            third("select 1")


@alike("upstream-reached", "refused", is_unreachable=True)
def _(given: Given) -> None:
    given.ask(SELECT, 1)


@alike("parameter-ignored", "refused", pooled=4, remedied_pooler="ignore_startup_parameters = search_path, options\n")
def _(given: Given) -> None:
    """It is let in, and the parameter has no effect; ALTER ROLE has it without a parameter."""
    with given.connect(settings={"search_path": "pg_catalog"}) as ask:
        ask("select 1")
    with given.connect() as ask:
        ask("begin")
        ask("set local search_path to pg_catalog")
        ask("select 1 / cast(current_setting('search_path') = 'pg_catalog' as int)")
        ask("commit")


@alike("older-protocol", "refused", ("psycopg", "sqlalchemy"), pooled=4)
def _(given: Given) -> None:
    with given.connect(settings={}, version="3.0" if given.remedied else "3.2") as ask:
        ask("select 1")


# What the server ends.


def waits_in_transaction(given: Given, setting: str) -> None:
    given.ask(f"set {setting} = 200")
    given.ask("begin")
    given.ask(SELECT, 2)
    if given.remedied:
        given.ask("commit")
    time.sleep(0.4)
    given.ask(SELECT, 3)
    given.ask(f"set {setting} = 2000")
    given.ask("begin")
    given.ask(SELECT, 2)
    time.sleep(0.3)
    given.ask("commit")


@alike("commit-before-slow-work", "server-ended", waits=True)
def _(given: Given) -> None:
    waits_in_transaction(given, "idle_in_transaction_session_timeout")


@alike("commit-sooner", "server-ended", waits=True)
def _(given: Given) -> None:
    waits_in_transaction(given, "transaction_timeout")


@alike("says-it-is-there", "keepalive-unanswered", ("psycopg2",))
def _(given: Given) -> None:
    """A standby that reads the log, and answers or does not."""
    at = given.at._replace(settings={"wal_sender_timeout": "300"})
    connection = psycopg2.connect(**at.libpq, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE_REPLICATION_SLOT tried TEMPORARY LOGICAL pgoutput")
            cursor.start_replication(slot_name="tried", options={"proto_version": "1", "publication_names": "tried"})
            for _ in range(8):
                if given.remedied:
                    cursor.read_message()
                    cursor.send_feedback()
                time.sleep(0.08)
    finally:
        connection.close()


def idles(given: Given, seconds: float) -> None:
    given.ask(PLAIN)
    if given.remedied:
        given.close()
    time.sleep(seconds)
    given.ask(PLAIN)


@alike("closed-before-idle", "server-ended", ("psycopg2", "pg8000"), waits=True)
def _(given: Given) -> None:
    given.ask("set idle_session_timeout = 200")
    idles(given, 0.4)
    given.ask("set idle_session_timeout = 2000")
    time.sleep(0.3)
    given.ask(PLAIN)


@alike("closed-before-pooler", "server-ended", ("psycopg2", "pg8000"), pooled=4, pooler="client_idle_timeout = 0.2\n", waits=True)
def _(given: Given) -> None:
    idles(given, 0.7)


@alike("closed-before-others", "server-ended", is_impatient=True, waits=True)
def _(given: Given) -> None:
    idles(given, 0.4)


@alike(
    "commit-before-pooler",
    "server-ended",
    pooled=4,
    pooler="idle_transaction_timeout = 0.2\n",
    remedied_pooler="idle_transaction_timeout = 0.7\n",
    waits=True,
)
def _(given: Given) -> None:
    given.ask("begin")
    given.ask(PLAIN)
    if given.remedied:
        time.sleep(0.3)
        given.ask("commit")
    time.sleep(1.1 if given.remedied else 0.7)
    given.ask(PLAIN)


@alike("larger-pool", "server-ended", pooled=1, pooler="query_wait_timeout = 0.2\n", remedied_pooled=2)
def _(given: Given) -> None:
    """A pool for two, and transactions that end before a third comes."""
    given.ask(PLAIN)
    with given.connect() as first:
        first("begin")
        first(PLAIN)
        try:
            given.ask("begin")
            given.ask(PLAIN)
        finally:
            first("commit")
        with given.connect() as third:
            third(PLAIN)
        given.ask("commit")


@alike("faster-statement", "server-ended", pooled=4, pooler="query_timeout = 0.2\n", remedied_pooler="query_timeout = 0.6\n", waits=True)
def _(given: Given) -> None:
    given.ask(f"select pg_sleep({0.3 if given.remedied else 1})")


@alike("again-after-pooler", "server-ended", pooled=1, pooler="admin_users = postgres\n", stays=True)
def _(given: Given) -> None:
    given.ask(PLAIN)
    with psycopg.connect(**given.at._replace(database="pgbouncer").libpq, autocommit=True) as console:
        console.execute(f"kill {given.at.database}")
        console.execute(f"resume {given.at.database}")
    again(given, PLAIN)


@alike("again-after-end", "server-ended", stays=True, waits=True)
def _(given: Given) -> None:
    ended_by_hand(given)
    again(given, PLAIN)


@alike("checked-before-use", "used-after-fatal", ("psycopg2", "pg8000"), waits=True)
def _(given: Given) -> None:
    ended_by_hand(given)
    if given.remedied:
        try:
            given.ask("select 1")
        except Exception:
            given.close()
    given.ask(PLAIN)


def ended_by_hand(given: Given) -> None:
    doomed = f"doomed_{given.name}_"  # psycopg is not psycopg2
    given.ask(f"select name as {doomed} from item")
    its_own = f"strpos(query, '{doomed}') > 0 and pid <> pg_backend_pid()"
    given.other(f"select pg_terminate_backend(pid, 10000) from pg_stat_activity where {its_own}")
    time.sleep(20 * CROSSES_NS / 1e9)  # what is sent at once may have crossed the FATAL error


def again(given: Given, sql: str, *values: object) -> None:
    """The remedied one connects again, and asks again."""
    try:
        given.ask(sql, *values)
    except Exception:
        if not given.remedied:
            raise
        given.close()
        given.ask(sql, *values)


NOT_TRIED: Final[dict[str, str]] = {
    "make transactions shorter; or set a longer transaction_timeout in PgBouncer": "needs PgBouncer 1.25",
    "use a newer pooler: PgBouncer 1.24 does this once per server connection": "seen with asyncpg only",
    "use a longer connect timeout, or open fewer connections at once; and find out why the start-up gets no answer": "another cause",
}
"""Remedies that the clients may get with the note, and why."""
NEVER: Final[dict[str, tuple[str, ...]]] = {
    "they have remedies of their own": (
        "ask for all values at once",
        "check an idle connection",
        "close connections before they reach",
        "hold one connection for a unit of work",
    ),
    "they have remedies of their own, or prepare nothing in that way": (
        "use PgBouncer 1.21 or later with max_prepared_statements > 0; or do not prepare statements",
        "drop statements with Close, not with DEALLOCATE",
        "run it with Bind, not with EXECUTE",
        "use a bounded statement cache",
        "use a reset that keeps prepared statements",
        "behind a pooler in transaction mode",
        "behind a pooler, use a call that sends",
        "keep the prepared statement, or use a call",
        "prepare each text once and keep",
        "prepare once and keep the statement",
        "prepare the statement once and keep it",
        "use the same setter for a parameter",
        "pass values as parameters, not in the text",
    ),
    "none of them leaves a portal or an unnamed statement like that": ("read the cursor to its end", "bind the unnamed statement before"),
    "psycopg notices, and psycopg2 prepares nothing": ("leave statements to the driver",),
    "psycopg2 prepares nothing": ("pass a list as one parameter",),
    "only pg8000 lets a program do so": ("do not run a statement that was closed",),
    "psycopg2 and pg8000 have neither pipelines nor a cache of statements": (
        "send a Sync after each statement",
        "use a larger statement cache",
        "keep values that differ each time",
    ),
    "the others never ask for another protocol": ("let the driver ask for protocol 3.0",),
    "SQLAlchemy has no COPY": ("write all rows in one COPY",),
    "only psycopg2 reads replication": ("send a Standby status update",),
    "psycopg2 sends no Parse": ("if a Parse waits for a lock",),
    "psycopg2 and pg8000 look nothing up": ("use a pool of long-lived connections; or register",),
}
"""Why clients cannot get general remedies that they were not tried with, which begin like these."""
