"""Real layers at ordinary work are recognised on every connection of a pool, and SQL written by hand through one is not guessed at."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

SALE = sa.Table("sale", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
SYNCHRONOUS = ("psycopg", "psycopg2", "pg8000")


@pytest.fixture
def sale(server):
    """An empty table, made past the recorder."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop table if exists sale")
        connection.execute("create table sale (id serial primary key, name text)")


@pytest.fixture
def identity(proxy, trace_of):
    """Tells each session's driver and layer, in the order in which they connected."""
    return lambda: [(one.driver, one.layer.name, bool(one.layer.evidence)) for one in trace_of(proxy).connections]


def url_of(server, proxy, driver: str) -> str:
    return server.url(proxy.host, proxy.port).replace("postgresql:", f"postgresql+{driver}:")


@pytest.mark.parametrize("driver", SYNCHRONOUS)
def test_sqlalchemy_asks_the_first_connection_alone(server, proxy, identity, sale, driver):
    engine = sa.create_engine(url_of(server, proxy, driver))
    with engine.connect() as asked, engine.connect() as later:
        for connection in (asked, later):
            connection.execute(sa.select(SALE).where(SALE.c.id == 1)).all()
    engine.dispose()
    first, second = identity()
    # What psycopg2 sends for the later one, psycopg 3's ClientCursor could send: only the process shows the driver, if it was found.
    assert first == (driver, "sqlalchemy", True)
    assert second[0] in ((driver, "unknown") if driver == "psycopg2" else (driver,))
    assert second[1:] == ("sqlalchemy", True)


async def test_sqlalchemy_over_asyncpg(server, proxy, identity, sale):
    engine = create_async_engine(url_of(server, proxy, "asyncpg"))
    async with engine.connect() as asked, engine.connect() as later:
        for connection in (asked, later):
            await connection.execute(sa.select(SALE).where(SALE.c.id == 1))
    await engine.dispose()
    assert identity() == [("asyncpg", "sqlalchemy", True)] * 2


@pytest.mark.parametrize("driver", SYNCHRONOUS)
def test_sqlalchemy_inserting_rows_whose_keys_are_wanted(server, proxy, identity, sale, driver):
    engine = sa.create_engine(url_of(server, proxy, driver))
    with engine.connect(), engine.connect() as later:
        later.execute(sa.insert(SALE).returning(SALE.c.id, sort_by_parameter_order=True), [{"name": "a"}, {"name": "b"}])
    engine.dispose()
    assert [layer for _, layer, _ in identity()] == ["sqlalchemy", "sqlalchemy"]


@pytest.mark.parametrize("driver", SYNCHRONOUS)
def test_text_through_sqlalchemy_is_anybodys(server, proxy, trace_of, sale, driver):
    engine = sa.create_engine(url_of(server, proxy, driver))
    with contextlib.ExitStack() as held:
        held.enter_context(engine.connect())
        held.enter_context(engine.connect()).execute(sa.text("select name from sale where id = :id"), {"id": 1}).all()
    engine.dispose()
    first, second = (one.layer for one in trace_of(proxy).connections)
    assert first.name == "sqlalchemy"
    # By its own text it has none; the other one of its process may show it.
    assert not second.name or second.evidence[0].startswith("another connection of its process shows it, c1")
