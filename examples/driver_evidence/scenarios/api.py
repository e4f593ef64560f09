"""What the libraries offer, without a statement: their names and defaults."""

import asyncio
import inspect

import asyncpg
import psycopg
from common import tell


async def threads():
    import anyio.to_thread

    return anyio.to_thread.current_default_thread_limiter().total_tokens


def offers(module, *classes):
    try:
        found = __import__(module)
        return any(hasattr(getattr(found, name), "pipeline") for name in classes)
    except ImportError:
        return None


try:
    limit = asyncio.run(threads())
except ImportError:
    limit = None
tell(
    global_binary="binary" in inspect.signature(psycopg.AsyncConnection.connect).parameters,
    asyncpg_pipeline=hasattr(asyncpg.Connection, "pipeline"),
    aiopg_pipeline=offers("aiopg", "Connection", "Cursor"),
    psycopg_pipeline=hasattr(psycopg.AsyncConnection, "pipeline"),
    psqlpy_pipeline=offers("psqlpy", "Transaction"),
    threads=limit,
)
