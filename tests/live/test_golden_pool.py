"""A real pool that spreads work as it likes: by content, two recordings are one text."""

from __future__ import annotations

import asyncio
import random

import asyncpg

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.export import golden
from pgtrace.recorder import Recorder

CONNECTIONS, TASKS = 3, 12


async def work(url: str, seed: int) -> None:
    """Transactions of a pool, more at once than it has connections, each as long as chance has it."""
    chance = random.Random(seed)
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:

        async def task(number: int) -> None:
            async with pool.acquire() as connection, connection.transaction():
                await connection.fetchval("select $1::int", number)
                await asyncio.sleep(chance.random() / 50)
                await connection.fetchval("select $1::int + 1", number)

        await asyncio.gather(*map(task, range(TASKS)))


def test_by_content_it_is_one_text(server, trace_of, tmp_path):
    by_content, as_opened = set(), set()
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    for seed in range(3):
        with Recorder(parse_listen("127.0.0.1:0"), upstream, write=tmp_path / f"{seed}.pgtrace", rtt_ns=5_000_000) as recorder:
            asyncio.run(work(server.url(recorder.host, recorder.port), seed))
            trace = trace_of(recorder)
            by_content.add(golden.text(trace, order="content"))
            as_opened.add(golden.text(trace))
    assert len(by_content) == 1
    assert len(as_opened) > 1
    assert by_content.pop().count("COMMIT;") == TASKS
