"""Every variant does the whole round against a real server, again and again on the same tables."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.workloads import VARIANTS, Variant
from pgtrace.demo.workloads.common import BATCH, COPIED, SCHEMA, Target
from pgtrace.errors import MissingExtra

pytestmark = pytest.mark.live


@pytest.fixture
def target(server: EmbeddedServer) -> Iterator[Target]:
    """A database of the test's own with the demo's tables."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create database demo_work")
        with psycopg.connect(server.url(), dbname="demo_work") as inside:
            inside.execute(SCHEMA)
        yield Target(server.host, server.port, server.user, server.password, "demo_work")
        connection.execute("drop database demo_work with (force)")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_round_leaves_its_rows(variant, target, server):
    work = variant.load()
    work(target)
    work(target)
    with psycopg.connect(server.url(), dbname=target.database) as connection:
        sold = connection.execute("select item, quantity, note from sale order by coalesce(note like 'copy%', false), quantity").fetchall()
        batch, copied = sold[: 2 * len(BATCH)], sold[2 * len(BATCH) :]
        assert batch == [row for row in BATCH for _ in range(2)]
        assert copied == [row for row in COPIED for _ in range(2)]
        assert connection.execute("select count(*) from item").fetchone() == (100,)


def test_missing_driver_names_the_extra():
    with pytest.raises(MissingExtra, match=r"the demo's oracle work needs .* pip install 'pgtrace\[demo\]'"):
        Variant("oracle", "with_oracle", "work").load()
