"""Captures of real drivers' traffic, one for each shape that reading has to be quick at: recorded from a real server by the real recorder.

| shape | driver and work |
|---|---|
| prepared selects | `pgbench -S -M prepared -c 8`: one read that asks, one that answers, over and over |
| text selects | psycopg without prepared statements: Parse, Bind, Describe, Execute, Sync each time, values as text |
| 20 rows, mixed | asyncpg: five statements in turn, 20 rows each, binary |
| differing SQL | psycopg2: values inside the SQL, so that no two queries are the same bytes |
| COPY | psycopg: a table out, row by row, and in again |
| deep pipeline | asyncpg's executemany: 60,000 Bind and Execute behind one Sync |

everything() is all of it at once, a little of each, with transactions, errors and short connections
besides: what large captures are made of (growing.py).
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.measure import fill_tables, pgbench
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder

TRUST = "host all all 127.0.0.1/32 trust\n"
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
PREPARED = "prepared selects"
TRANSACTIONS = 80_000
SELECTS = 20_000
FAILURES = 300
PIPELINED = 60_000
COPIED = 200_000
COLUMNS = ("aid", "bid", "abalance", "filler", "aid + bid")


def prepared(port: int, transactions: int = TRANSACTIONS) -> None:
    pgbench(port, "-n", "-S", "-M", "prepared", "-c", "8", "-j", "1", "-t", str(transactions // 8))


def text(port: int, selects: int = SELECTS) -> None:
    import psycopg

    with psycopg.connect(
        host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True, prepare_threshold=None
    ) as connection:
        for number in range(selects):
            connection.execute("select aid, bid, abalance from pgbench_accounts where aid = %s", (number + 1,)).fetchall()


def mixed(port: int, selects: int = SELECTS) -> None:
    async def work() -> None:
        import asyncpg

        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres")
        for number in range(selects):
            column = COLUMNS[number % len(COLUMNS)]
            await connection.fetch(f"select aid, {column} from pgbench_accounts where aid between $1 and $1 + 19", number + 1)
        await connection.close()

    asyncio.run(work())


def differing(port: int, selects: int = SELECTS) -> None:
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    for number in range(selects):
        cursor.execute("select aid, bid, %s from pgbench_accounts where aid = %s", (f"client {number}", number + 1))
        cursor.fetchall()
    connection.close()


def copied(port: int, rows: int = COPIED) -> None:
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("create temporary table copied (id integer, name text)")
        cursor = connection.cursor()
        with cursor.copy(f"copy (select n, 'item ' || n from generate_series(1, {rows}) as n) to stdout") as copy:
            for _ in copy:
                pass
        with cursor.copy("copy copied from stdin") as copy:
            for number in range(rows):
                copy.write_row((number, f"item {number}"))


def pipelined(port: int, deep: int = PIPELINED) -> None:
    async def work() -> None:
        import asyncpg

        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres")
        await connection.execute("create temporary table piped (id integer, name text)")
        await connection.executemany("insert into piped values ($1, $2)", [(number, f"item {number}") for number in range(deep)])
        await connection.close()

    asyncio.run(work())


def failing(port: int) -> None:
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres") as connection:
        connection.execute("create temporary table single (id integer primary key)")
        for number in range(FAILURES):
            try:
                with connection.transaction():
                    connection.execute("insert into single values (%s)", (number // 2,))
            except psycopg.errors.UniqueViolation:
                pass


def everything(port: int) -> None:
    def transactions() -> None:
        pgbench(port, "-n", "-M", "prepared", "-c", "4", "-t", "250")

    def short_connections() -> None:
        pgbench(port, "-n", "-S", "-C", "-t", "200")

    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(prepared, port, 8_000), pool.submit(transactions), pool.submit(short_connections), pool.submit(failing, port)]
        begun += [pool.submit(work, port, 1_000) for work in (text, mixed, differing, copied, pipelined)]
        for one in begun:
            one.result()


SHAPES: dict[str, Callable[[int], None]] = {
    PREPARED: prepared,
    "text selects": text,
    "20 rows, mixed": mixed,
    "differing SQL": differing,
    "COPY": copied,
    "deep pipeline": pipelined,
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """The captures by shape, that of everything(), and the packets of the prepared selects."""

    shapes: dict[str, Path]
    everything: Path
    packets: Path
    """There where tcpdump is installed and allowed."""


def record(directory: Path) -> Recorded:
    """Record it all into the directory; what is there already is left as it is."""
    shapes = {name: directory / f"{'_'.join(name.lower().replace(',', '').split())}.pgtrace" for name in SHAPES}
    recorded = Recorded(shapes, directory / "everything.pgtrace", directory / "prepared_selects.pcap")
    works = [(SHAPES[name], path) for name, path in shapes.items()] + [(everything, recorded.everything)]
    missing = [(work, path) for work, path in works if not path.exists()]
    if missing:
        with EmbeddedServer(hba=TRUST) as server:
            fill_tables(server.port)
            for work, path in missing:
                _record(server, work, path, recorded.packets if work is prepared else None)
    return recorded


def _record(server: EmbeddedServer, work: Callable[[int], None], path: Path, packets: Path | None) -> None:
    """Under another name until it is complete: an interrupted recording is made anew."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    recorder = Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}), write=unfinished)
    with recorder, _packets(packets, recorder.port) if packets is not None else nullcontext():
        work(recorder.port)
    unfinished.rename(path)


@contextmanager
def _packets(path: Path, port: int) -> Iterator[None]:
    """tcpdump on the driver's leg; nothing where it is not installed or not allowed."""
    program = shutil.which("tcpdump")
    if program is None:
        yield
        return
    options = ["-i", LOOPBACK, "-n", "-U", "--immediate-mode", "-B", "65536", "-w", str(path), "tcp", "port", str(port)]
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        while (line := process.stderr.readline()) and "listening on" not in line:
            print(f"bench: tcpdump: {line.strip()}", file=sys.stderr)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
