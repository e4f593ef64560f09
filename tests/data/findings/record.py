"""Records the captures of this directory: real drivers that do what the findings are about, some of them through a real PgBouncer.

    python tests/data/findings/record.py [NAME ...]      # with the extra `dev`

Each is a function here; a capture is named after it. The server is the demo's. In some, PgBouncer
1.18 (or another before 1.21), which must be installed, stands between recorder and server, in
transaction mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2

from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler
from pgtrace.demo.ports import free_port

HERE = Path(__file__).parent
ITEM = "create table if not exists item (id int primary key, name text)"
QUERY = "select name from item where id = $1"


@contextlib.contextmanager
def pgbouncer(server: EmbeddedServer, servers: int, binary: str = "pgbouncer", more: str = "") -> Iterator[int]:
    """A PgBouncer in transaction mode with so many server connections, and more settings; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen: int = free.getsockname()[1]
    directory = Path(tempfile.mkdtemp())
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port} user={server.user} password={server.password}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\n"
        f"listen_port = {listen}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {servers}\nunix_socket_dir =\n{more}"
    )
    for path in (directory, directory / "pgbouncer.ini"):
        path.chmod(0o755)
    command = [binary, "-q", *(["-u", "nobody"] if os.getuid() == 0 else []), str(directory / "pgbouncer.ini")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", listen), 1).close()
                break
            time.sleep(0.05)
        yield listen
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def pooler_42p05(url: str) -> None:
    """Two processes, one server connection: the second finds the first one's statement."""
    program = f"""
import asyncio, sys, asyncpg
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    try:
        print(await connection.fetch("{QUERY}", 1))
    except asyncpg.DuplicatePreparedStatementError as error:
        print(error)
    await connection.close()
asyncio.run(main())
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, url], check=True)


def pooler_26000(url: str) -> None:
    """A session that comes back to another server connection, because somebody else has its own in a transaction."""

    async def main() -> None:
        first, second = await asyncpg.connect(url), await asyncpg.connect(url)
        await first.fetch(QUERY, 1)
        await first.fetch(QUERY, 2)
        async with second.transaction():
            await second.fetch("select 1 as held")
            with contextlib.suppress(asyncpg.InvalidSQLStatementNameError):
                await first.fetch(QUERY, 3)
        await first.close()
        await second.close()

    asyncio.run(main())


def pipeline_error(url: str) -> None:
    """Five inserts in a pipeline, the third of which is there already."""
    with (
        psycopg.connect(url, autocommit=True) as connection,
        contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.PipelineAborted),
        connection.pipeline(),
    ):
        for number in (1001, 1002, 1, 1003, 1004):
            connection.execute("insert into item (id, name) values (%s, %s)", (number, "tea"))


def no_effect(url: str) -> None:
    """A time limit for a transaction that is not there, twice, each before the query that it is for."""
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(2):
            connection.execute("set local statement_timeout = 5000")
            connection.execute("select name from item where id = %s", (number,))


def connect(url: str) -> None:
    """A connection for each of six queries."""
    for number in range(6):
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select name from item where id = %s", (number,))
        connection.close()


def prepared_leak(url: str) -> None:
    """Three queries for each of twelve ids, with the id in the text: to the cache of statements they are twelve texts."""

    async def main() -> None:
        connection = await asyncpg.connect(url)
        for number in range(12):
            for _ in range(3):
                await connection.fetch(f"select name from item where id = {number}")
                await connection.fetch("select now()")
        await connection.close()

    asyncio.run(main())


def values_in_text(url: str) -> None:
    """Twelve queries with their values in the text: to the cache of statements they are twelve texts."""

    async def main() -> None:
        connection = await asyncpg.connect(url)
        for number in range(12):
            await connection.fetch(f"select name from item where id = {number}")
        await connection.close()

    asyncio.run(main())


def idle_in_transaction(url: str) -> None:
    """A SELECT opens a transaction; the program thinks, and then writes."""
    with psycopg.connect(url) as connection:
        connection.execute("select name from item where id = %s", (1,))
        time.sleep(1.2)  # the pause is what is recorded
        connection.execute("update item set name = %s where id = %s", ("coffee", 1))


def tls_refused(url: str) -> None:
    """A driver that insists on TLS, by SSLRequest and at once."""
    for settings in ("sslmode=require", "sslmode=require&sslnegotiation=direct"):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"{url}?{settings}")


def statement_gone(url: str) -> None:
    """A DO block drops what the driver has prepared: nothing on the wire says so."""

    async def main() -> None:
        connection = await asyncpg.connect(url)
        await connection.fetch(QUERY, 1)
        await connection.execute("do $$ begin execute 'deallocate all'; end $$")
        with contextlib.suppress(asyncpg.InvalidSQLStatementNameError):
            await connection.fetch(QUERY, 2)
        await connection.close()

    asyncio.run(main())


def server_ended(url: str) -> None:
    """The server ends two sessions that were idle, one of them with a transaction open."""
    with psycopg.connect(url, autocommit=True) as other:
        for begin in ("select 1", "begin"):
            connection = psycopg2.connect(url)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(begin)
                time.sleep(0.3)
                other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
                time.sleep(0.3)
                with contextlib.suppress(psycopg2.Error):
                    cursor.execute("select 2")
            connection.close()


def split_unnamed(url: str) -> None:
    """Each of three queries is parsed in one round trip and bound in the next."""
    parts = urlsplit(url)
    with pg8000.dbapi.connect(parts.username or "", parts.hostname or "", parts.path[1:], parts.port or 0, parts.password) as connection:
        connection.autocommit = True
        for what in ("name", "id", "count(*)"):
            connection.cursor().execute(f"select {what} from item where id = %s group by id, name", (1,))


def driver_left(url: str) -> None:
    """A program that gives up closes its socket; its query runs on."""
    connection = psycopg.connect(url, autocommit=True)
    connection.pgconn.send_query(b"select pg_sleep(0.8)")
    connection.pgconn.flush()
    time.sleep(0.2)
    socket.socket(fileno=os.dup(connection.fileno())).shutdown(socket.SHUT_RDWR)
    time.sleep(1)


def no_answer(url: str) -> None:
    """A Parse waits for a lock that another session holds."""

    async def main() -> None:
        first, second = await asyncpg.connect(url), await asyncpg.connect(url)
        async with first.transaction():
            await first.execute("lock table item in access exclusive mode")
            waiting = asyncio.ensure_future(second.fetch(QUERY, 1))
            await asyncio.sleep(1.2)
        await waiting
        await first.close()
        await second.close()

    asyncio.run(main())


def returned_in_transaction(url: str) -> None:
    """A connection comes back to its pool with a transaction open, and the next one who gets it begins another."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("begin")
        connection.execute("update item set name = %s where id = %s", ("tea", 1))
        time.sleep(0.1)  # back to the pool, and out of it again
        connection.execute("begin")
        connection.execute("update item set name = %s where id = %s", ("coffee", 2))
        connection.execute("commit")


def uncommitted_writes(url: str) -> None:
    """A commit that was forgotten: without autocommit, the first statement begins a transaction."""
    connection = psycopg.connect(url)
    for number in range(2):
        connection.execute("update item set name = %s where id = %s", ("tea", number + 1))
    connection.close()


def comment_cache(url: str) -> None:
    """A trace context in the comment: to the cache of statements each is another text."""

    async def main() -> None:
        connection = await asyncpg.connect(url)
        for number in range(8):
            await connection.fetch(f"{QUERY} /*traceparent='00-{number:032x}-{number:016x}-01'*/", number)
            await connection.fetch("select now()")
        await connection.close()

    asyncio.run(main())


def session_state(url: str) -> None:
    """Behind a pooler: a setting for the session, that the next transaction does not find."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("set search_path to public")
        connection.execute(QUERY.replace("$1", "%s"), (1,))


def begin_commit(url: str) -> None:
    """A transaction around each statement, without autocommit."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        for number in range(3):
            cursor.execute("update item set name = %s where id = %s", ("tea", number))
            connection.commit()
    connection.close()


def both_sides(url: str) -> None:
    """Three clients, one server connection that a transaction keeps; both sides of the pooler are recorded."""

    async def client() -> None:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        for _ in range(5):
            async with connection.transaction():
                await connection.fetch("select pg_sleep(0.01)")
        await connection.close()

    async def main() -> None:
        await asyncio.gather(*(client() for _ in range(3)))

    asyncio.run(main())


BEHIND_PGBOUNCER = {session_state: 1, pooler_42p05: 1, pooler_26000: 2}
"""Server connections."""
SCENARIOS: tuple[Callable[[str], None], ...] = (
    *BEHIND_PGBOUNCER, pipeline_error, connect, prepared_leak, values_in_text, idle_in_transaction, tls_refused, statement_gone,
    server_ended,
    split_unnamed, driver_left,
    no_answer, returned_in_transaction, no_effect, uncommitted_writes, comment_cache, begin_commit, both_sides,
)  # fmt: skip


def main(names: list[str]) -> None:
    """Record those, or all."""
    with EmbeddedServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(ITEM)
            connection.execute("insert into item select n, 'item ' || n from generate_series(1, 20) n")
        for scenario in SCENARIOS:
            if names and scenario.__name__ not in names:
                continue
            path = HERE / f"{scenario.__name__}.pgtrace"
            path.unlink(missing_ok=True)
            with contextlib.ExitStack() as stack:
                upstream = f"{server.host}:{server.port}"
                if scenario is both_sides:
                    port = free_port()
                    behind = Leg(parse_listen("127.0.0.1:0"), parse_upstream(upstream, {}))
                    recorder = stack.enter_context(Recorder(upstream=f"127.0.0.1:{port}", write=path, more_legs=[behind]))
                    stack.enter_context(Pooler(server, port, int(recorder.addresses_of_legs[1][0].rpartition(":")[2]), pool_size=1))
                    scenario(recorder.url(user=server.user, password=server.password, database=server.database))
                    continue
                if scenario in BEHIND_PGBOUNCER:
                    port = stack.enter_context(pgbouncer(server, BEHIND_PGBOUNCER[scenario]))
                    upstream = f"127.0.0.1:{port}"
                recorder = stack.enter_context(Recorder(upstream=upstream, write=path, rtt="1ms"))
                scenario(recorder.url(user=server.user, password=server.password, database=server.database))


if __name__ == "__main__":
    main(sys.argv[1:])
