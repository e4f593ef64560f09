"""`pgtrace demo --upstream ADDR`: the work is done on a server of the user's, which is as before afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import psycopg
import pytest

from pgtrace import conninfo
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.demo import guest
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.guest import COMMENT, PREFIX, Guest, GuestError
from pgtrace.demo.pooler import RunningPooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.demo.scene import WorkFailed, open_guest_scene, run_variants
from pgtrace.demo.workloads import VARIANTS
from pgtrace.demo.workloads.common import Target
from pgtrace.trace.trace import Trace
from tests import commands
from tests.tui.terminal import WITHIN_S, Terminal

pytestmark = pytest.mark.live

ROLE = "demo_guest"
DATABASE = "demo_house"
OWN = "create table item (own int); insert into item values (1); create table sale (own int)"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG") and not name.startswith("PGTRACE")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def owner(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A connection to a database that has an `item` and a `sale` of its own. ROLE may make schemas there, and nothing else."""
    with psycopg.connect(server.url(), autocommit=True) as made:
        made.execute(f"create role {ROLE} login password 'p@ss word'")
        made.execute(f"create database {DATABASE}")
        with psycopg.connect(server.url(), dbname=DATABASE, autocommit=True) as owner:
            owner.execute(OWN)
            owner.execute(f"grant create on database {DATABASE} to {ROLE}")
            yield owner
        made.execute(f"drop database {DATABASE} with (force)")
        made.execute(f"drop role {ROLE}")


def address(server: EmbeddedServer, **changed: object) -> str:
    said = {"host": server.host, "port": server.port, "user": ROLE, "password": "p@ss word", "dbname": DATABASE} | changed
    return conninfo.keywords({key: str(value) for key, value in said.items() if value is not None})


def schemas(owner: psycopg.Connection) -> list[str]:
    return [name for (name,) in owner.execute("select nspname from pg_namespace where starts_with(nspname, %s) order by 1", (PREFIX,))]


def as_before(owner: psycopg.Connection) -> bool:
    return (
        not schemas(owner)
        and owner.execute("select * from public.item").fetchall() == [(1,)]
        and owner.execute("select count(*) from public.sale").fetchone() == (0,)
        and owner.execute("select count(*) from pg_class where relname in ('item', 'sale')").fetchone() == (2,)
    )


def opened(server: EmbeddedServer, **changed: object) -> Guest:
    typed = conninfo.read(address(server, **changed))
    return Guest(parse_upstream(typed, {}), typed, pytest.fail)


def test_the_work_is_that_of_the_throwaway_server(server: EmbeddedServer, owner: psycopg.Connection, tmp_path: Path) -> None:
    """All drivers, as a role without other rights, while tables of the same names are in its way."""
    typed = conninfo.read(address(server))
    capture = tmp_path / "demo.pgtrace"
    with open_guest_scene(parse_listen("127.0.0.1:0"), parse_upstream(typed, {}), typed, write=capture) as scene:
        assert schemas(owner) == [scene.target.schema]
        assert scene.throwaway_url == ""
        scene.play(rounds=2)
    assert as_before(owner)
    with closing(Trace.open([capture])) as trace:
        trace.update()
    marks = {name: counters.as_dict() for name, counters in trace.mark_counters().items()}
    assert list(marks) == [variant.name for variant in VARIANTS]
    assert len(trace.connections) == 2 * len(VARIANTS)
    for name, counted in marks.items():
        assert (counted["errors"], counted["notifications"], counted["copy_out_messages"]) == (2, 2, 100), name
    assert {connection.user for connection in trace.connections} == {ROLE}


def test_a_socket_and_the_environment_are_enough(server: EmbeddedServer, owner: psycopg.Connection, tmp_path: Path) -> None:
    """The server would take everybody who connects to a socket of ours for this user, so the drivers use a private one."""
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:" + ROLE + ":p@ss word\n")
    passwords.chmod(0o600)
    ran = commands.run(
        *("demo", "--upstream", f"{server.socket_directory}:{server.port}"),
        env={**os.environ, "PGUSER": ROLE, "PGDATABASE": DATABASE, "PGPASSFILE": str(passwords)},
    )
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()[3:]] == [variant.name.split()[0] for variant in VARIANTS]
    assert f"of database {DATABASE}" in ran.stderr
    assert as_before(owner)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"password": "wrong"}, f'password authentication failed for user "{ROLE}"'),
        ({"password": None}, "no password supplied; the login is that of --upstream, PGUSER and PGPASSWORD, or the password file"),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        (
            {"dbname": "postgres"},
            f"permission denied for database postgres; it needs a schema of its own: GRANT CREATE ON DATABASE postgres TO {ROLE}",
        ),
        ({"port": 1}, "Connection refused"),
    ],
)
def test_what_is_refused_is_one_line(server: EmbeddedServer, owner: psycopg.Connection, changed: dict[str, object], says: str) -> None:
    ran = commands.run("demo", "--upstream", address(server, **changed))
    assert ran.returncode == 3
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("pgtrace: ")
    assert line.endswith(says)
    assert "wrong" not in line
    assert as_before(owner)


def test_a_server_that_takes_no_writes_says_so(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    owner.execute(f"alter role {ROLE} set default_transaction_read_only = on")
    try:
        with pytest.raises(GuestError, match="cannot execute CREATE SCHEMA in a read-only transaction"), opened(server):
            pass
    finally:
        owner.execute(f"alter role {ROLE} reset default_transaction_read_only")


@pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")
def test_a_pooler_that_refuses_the_schema_says_so(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    port = free_port()
    place = f"* = host={server.host} port={server.port} user={server.user} password={server.password}"
    ini = f"[databases]\n{place}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
    refused = pytest.raises(GuestError, match=r"startup parameter.*; a pooler refuses the demo's search_path: name the server behind it")
    with RunningPooler(ini, port), refused, opened(server, port=port):
        pass


def test_the_demo_of_a_pooler_has_its_own(server: EmbeddedServer) -> None:
    ran = commands.run("demo", "pooler", "--upstream", address(server))
    assert ran.returncode == 2
    assert "--upstream: `demo pooler` is about its own PgBouncer" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(server: EmbeddedServer, owner: psycopg.Connection, number: signal.Signals) -> None:
    with commands.Command("demo", "--rtt", "100ms", "--upstream", address(server), stderr=commands.subprocess.PIPE, text=True) as demo:
        for told in ("it is dropped at the end", "doing the work once", "asyncpg"):
            assert told in demo.stderr.readline()
        assert schemas(owner)
        demo.send_signal(number)
        assert demo.wait(30) == 128 + number
    assert as_before(owner)


def test_the_screen_leaves_nothing_behind(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    """Quit, and hung up on: a terminal that is closed is how many a screen ends."""
    for ends in ("q", signal.SIGHUP):
        with Terminal("demo", "--upstream", address(server)) as terminal:
            terminal.wait_for("the same work is repeated until you quit: q")
            terminal.wait_for("psycopg")
            assert schemas(owner)
            assert f":{server.port}" in terminal.text()
            if isinstance(ends, str):
                terminal.type(ends)
            else:
                terminal.process.send_signal(ends)
            assert terminal.process.wait(WITHIN_S) == (0 if isinstance(ends, str) else 128 + ends)
        assert as_before(owner)


def test_what_a_killed_demo_left_goes_with_the_next(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    """But not the schema of one that runs, nor one that only has such a name."""
    named = f"{PREFIX}0000001"
    owner.execute(f"create schema {named}")
    with opened(server) as running:
        with commands.Command("demo", "--rtt", "100ms", "--upstream", address(server), stderr=commands.subprocess.PIPE, text=True) as demo:
            while "asyncpg" not in demo.stderr.readline():
                pass
            demo.kill()
            demo.wait(30)
        deadline = time.monotonic() + 30
        while owner.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(schemas(owner)) == 3
        with opened(server) as other:
            assert schemas(owner) == sorted([named, running.schema, other.schema])
    assert schemas(owner) == [named]
    owner.execute(f"drop schema {named}")


def test_a_connection_that_was_closed_meanwhile_is_made_again(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    with opened(server):
        owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgtrace demo'")
    assert as_before(owner)


def test_what_cannot_be_dropped_is_said(server: EmbeddedServer, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds a table of the demo's."""
    monkeypatch.setattr(guest, "_DROPPED_WITHIN", "10ms")
    told: list[str] = []
    typed = conninfo.read(address(server))
    with Guest(parse_upstream(typed, {}), typed, told.append) as made, psycopg.connect(server.url(), dbname=DATABASE) as other:
        other.execute(f"select * from {made.schema}.item")
        made.__exit__(None, None, None)
    (line,) = told
    assert "lock timeout" in line
    assert line.endswith(f"remove what is left with: DROP SCHEMA {made.schema} CASCADE")
    owner.execute(f"drop schema {made.schema} cascade")


def test_the_comment_says_whose_it_is(server: EmbeddedServer, owner: psycopg.Connection) -> None:
    with opened(server) as made:
        assert owner.execute("select obj_description(%s::regnamespace, 'pg_namespace')", (made.schema,)).fetchone() == (COMMENT,)


def test_a_driver_that_cannot_work_is_named() -> None:
    with pytest.raises(WorkFailed, match=r"^the work of asyncpg failed: .+") as raised:
        run_variants(Target("127.0.0.1", 1, "nobody", "", "none"), lambda name: nullcontext(), variants=VARIANTS[:1])
    assert raised.value.exit_code == 3
