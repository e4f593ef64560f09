"""A chain of two real PgBouncers with three legs: joined pairwise along it, and counted once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.legs.joins import State, find
from pgtrace.trace.trace import Trace
from tests.live.test_pooler_legs import CLIENTS, TURNS, SameTags, in_asyncpg, in_psycopg

pytestmark = pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")


def record(server: EmbeddedServer, path: Path, work: Callable[[str], None]) -> None:
    """The work through leg A, a pooler, leg B, another pooler, and leg C."""
    first, second = free_port(), free_port()
    settings = ("ignore_startup_parameters = extra_float_digits",)
    more = [
        Leg(parse_listen("127.0.0.1:0"), parse_upstream(f"127.0.0.1:{second}", {})),
        Leg(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {})),
    ]
    with Recorder("127.0.0.1:0", f"127.0.0.1:{first}", more_legs=more, write=path) as recorder:
        front, between, behind = (recorder.reached_at(leg)[1] for leg in range(3))
        with (
            Pooler(server, second, behind, pool_size=2, settings=settings),
            Pooler(server, first, between, pool_size=3, settings=settings),
        ):
            work(f"postgresql://{server.user}@127.0.0.1:{front}/{server.database}?sslmode=disable")


@pytest.mark.parametrize("work", [in_asyncpg, in_psycopg])
def test_a_chain_is_joined_pairwise_and_counted_once(tagged: EmbeddedServer, tmp_path: Path, work: Callable[[str], None]) -> None:
    path = tmp_path / "chain.pgtrace"
    record(tagged, path, work)
    with contextlib.closing(Trace.open([path])) as trace:
        while trace.update():
            pass
        joins = find(trace)
        assert joins is not None
        assert [(one.front[1], [back[1] for back in one.backs]) for one in joins.poolers] == [("A", ["B"]), ("B", ["C"])]
        for one in joins.poolers:
            assert one.joined >= 0.98 * (one.fronts - one.swallowed)
        told = joins.as_dict()
        (driver,) = joins.of_drivers
        (last,) = [one for one in joins.poolers if one is not driver]
        assert sum(told[key] for key in ("joined", "ambiguous", "unjoined", "swallowed")) == driver.fronts
        assert told["joined"] >= 0.96 * (driver.fronts - told["swallowed"])
        if not told["ambiguous"] and not last.possible:
            # COPY data sent ahead makes two round trips of one, or none of them
            ahead = driver.joined_backs - driver.joined
            left = last.joined + last.added - (told["joined"] + ahead + told["added"])
            assert 0 <= left <= driver.possible, "the server's round trips"
        seen = 0
        same = SameTags(trace, joins)
        for place, row in enumerate(trace.rows):
            if joins.state(place) is State.JOINED and trace.connections[row.connection].leg == "A":
                seen += same.seen(place)
        assert seen >= CLIENTS * TURNS * 3
        counted = trace.once_more(joins.connections)
    with contextlib.closing(counted):
        while counted.update():
            pass
        assert counted.totals().round_trips == driver.fronts
        assert {one.leg for one in counted.connections if one.index not in counted.apart and one.kind == "session"} == {"A"}
