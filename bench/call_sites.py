"""What a note of a line of code costs: prints a table as Markdown on stdout.

    python -m bench.call_sites [--turns N]

A note is made as a driver's hook makes it, with the application's frame below 2, 20 and 40 frames of a layer, and through real ORMs
over real drivers to an embedded server: there it is the difference between hooks that note and the same hooks with noting off, taken
in turn, a statement each. Times are CPU times of the thread, medians over the turns. Exit code 1 if a note at 20 frames misses its bar.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from pgtrace.callsites import PROGRAM

BAR_US = 5.0
FRAMES = 20
STATEMENTS = 20_000
SQL = "SELECT book.id, book.author_id, book.title FROM book WHERE book.author_id = $1"
LAYER = "def layer(depth, note):\n    return note() if depth <= 1 else layer(depth - 1, note)\n"


def watched(directory: Path) -> ModuleType:
    """The program's own module, which notes into that directory."""
    sys.path.insert(0, str(PROGRAM))
    import _pgtrace_callsites as module  # type: ignore[import-not-found]

    module.note_in(str(directory))
    return module  # type: ignore[no-any-return]


def below_us(module: ModuleType, frames: int) -> float:
    """Of one note with so many frames of a layer between hook and application."""
    layer: dict[str, Any] = {"__name__": "sqlalchemy.layer"}
    exec(compile(LAYER, "sqlalchemy/layer.py", "exec"), layer)
    key, text = module._Key(0, 1, lambda _: True), SQL.encode()

    def timed(note: Callable[[], object]) -> float:
        started = time.thread_time()
        for _ in range(STATEMENTS):
            layer["layer"](frames - 1, note)
        return (time.thread_time() - started) / STATEMENTS * 1e6

    def nothing() -> None:
        return None

    hook: dict[str, Any] = {"__name__": "asyncpg.hook", "note": module.note, "key": key, "text": text}
    exec(compile("def hook():\n    note(key, text, None)\n", "asyncpg/hook.py", "exec"), hook)
    return timed(hook["hook"]) - timed(nothing)


def sqlalchemy_us(module: ModuleType, url: str) -> float:
    """Through SQLAlchemy's ORM over psycopg: with noting by without, a statement."""
    import sqlalchemy as sa
    from sqlalchemy import orm

    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with orm.Session(engine) as session:
        found = apart(module, lambda: session.execute(sa.select(sa.literal(1))).all())
    engine.dispose()
    return found


def tortoise_us(module: ModuleType, url: str) -> float:
    """Through Tortoise's client over asyncpg."""
    from tortoise import Tortoise
    from tortoise.connection import connections

    async def work() -> float:
        await Tortoise.init(db_url=url.replace("postgresql:", "asyncpg:"), modules={"models": [__name__]})
        client = connections.get("default")
        await client.execute_query("select 1")
        with_notes: list[float] = []
        without: list[float] = []
        directory = module._where
        for turn in range(2_000):
            module._where = directory if turn % 2 else None
            started = time.thread_time()
            await client.execute_query("select 1")
            (with_notes if turn % 2 else without).append(time.thread_time() - started)
        module._where = directory
        await connections.close_all()
        return 1e6 * (median(with_notes) - median(without))

    return asyncio.run(work())


def apart(module: ModuleType, statement: Callable[[], object]) -> float:
    """The difference of medians of a statement with and without notes, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    directory = module._where
    for turn in range(2_000):
        module._where = directory if turn % 2 else None
        started = time.thread_time()
        statement()
        times[turn % 2].append(time.thread_time() - started)
    module._where = directory
    return 1e6 * (median(times[1]) - median(times[0]))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args(arguments).turns
    with tempfile.TemporaryDirectory() as directory:
        module = watched(Path(directory))
        print("| a note | median |\n|---|---|")
        for frames in (2, FRAMES, 40):
            found = median(below_us(module, frames) for _ in range(turns))
            print(f"| {frames} frames | {found:.1f} us |", flush=True)
            if frames == FRAMES:
                at_bar = found
        from pgtrace.demo.embedded import EmbeddedServer

        with EmbeddedServer() as server:
            for name, measure in (("SQLAlchemy's ORM over psycopg", sqlalchemy_us), ("Tortoise over asyncpg", tortoise_us)):
                print(f"| {name} | {median(measure(module, server.url()) for _ in range(turns)):.1f} us |", flush=True)
    return int(at_bar > BAR_US)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
