"""`pgtrace demo pooler`: a PgBouncer between two legs, and what is said where there is none."""

from __future__ import annotations

import contextlib

import pytest

from pgtrace.address import parse_listen
from pgtrace.demo import pooler, scene
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import MissingProgram, Pooler, PoolerError, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.legs.joins import find
from pgtrace.trace.trace import Trace

pytestmark = pytest.mark.live
needs_pgbouncer = pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")


@needs_pgbouncer
def test_both_sides_are_joined() -> None:
    with scene.open_pooler_scene(parse_listen("127.0.0.1:0")) as opened:
        opened.play()
        trace = Trace.open([opened.recorder.capture])
        opened.recorder.quiet(trace)
        with contextlib.closing(trace):
            joins = find(trace)
            assert joins is not None
            told = joins.as_dict()
            # Where the machine stalls, the same question of two connections may overlap: which is whose cannot be known then.
            assert told["joined"] + told["ambiguous"] == joins.poolers[0].fronts >= 268
            assert told["ambiguous"] < told["joined"]
            assert told["unjoined"] == told["swallowed"] == 0
            assert set(trace.mark_counters()) == {"asyncpg", "psycopg"}


def test_without_pgbouncer_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "find_pgbouncer", lambda: None)
    with pytest.raises(MissingProgram, match="apt-get install pgbouncer") as raised, scene.open_pooler_scene(parse_listen(":0")):
        pass
    assert raised.value.exit_code == 2


@needs_pgbouncer
def test_a_pgbouncer_that_does_not_start_says_so(server: EmbeddedServer) -> None:
    with (
        pytest.raises(PoolerError, match=r"ended at once with code 1: .*nonsense"),
        Pooler(server, free_port(), server.port, settings=("nonsense = 1",)),
    ):
        pass
    with pytest.raises(PoolerError, match="No such file"), Pooler(server, free_port(), server.port, program="/nowhere/pgbouncer"):
        pass


def test_it_is_found_outside_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooler.shutil, "which", lambda program, path=None: f"{path.split(':')[0]}/{program}" if path else None)
    assert find_pgbouncer() == "/usr/sbin/pgbouncer"
