"""EXPLAIN of recorded statements on a real server: hostile ones change nothing, slow ones end, and the screen waits for none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from pgtrace import conninfo
from pgtrace.address import parse_listen
from pgtrace.cli.recorder_options import LegAsked
from pgtrace.cli.recording import further_legs
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.errors import MissingExtra, PgTraceError
from pgtrace.inspect.executed import NO_BIND, Executed, executed
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace
from pgtrace.tui.actions.explaining import CONSENT_S, HOW, RUNS, Unsure
from pgtrace.tui.actions.explaining import explain as _explain
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.view import View

INT4, TEXT = 23, 25


@pytest.fixture(scope="module")
def table(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE explain_kept AS SELECT n, n::text AS t FROM generate_series(1, 100) n")
        connection.execute("CREATE INDEX ON explain_kept (n)")
        connection.execute("CREATE SEQUENCE explain_counted")
        connection.execute("CREATE FUNCTION explain_writing() RETURNS int LANGUAGE sql AS 'DELETE FROM explain_kept RETURNING 1'")
        yield connection
        connection.execute("DROP TABLE explain_kept; DROP SEQUENCE explain_counted; DROP FUNCTION explain_writing()")


def explain(dsn: str, one: Executed, *, analyze: bool = False) -> list[str]:
    """As with a user who has said yes: the server's own role is a superuser."""
    return _explain(dsn, one, analyze=analyze, sure=True)


def ran(sql: str, *parameters: bytes | None, types: tuple[int, ...] = (), form: int = 0) -> Executed:
    return Executed(1, sql, types, (form,) * len(parameters), parameters, "")


def rows(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT count(*) FROM explain_kept").fetchone()
    assert found is not None
    return int(found[0])


def test_plans_with_parameters_as_they_were_recorded(server: EmbeddedServer, table: psycopg.Connection) -> None:
    binary = explain(server.url(), ran("SELECT * FROM explain_kept WHERE n = $1", (7).to_bytes(4, "big"), types=(INT4,), form=1))
    assert "(n = 7)" in "\n".join(binary)
    text = explain(server.url(), ran("SELECT * FROM explain_kept WHERE t = $1;", b"it's", types=(TEXT,)))
    assert "'it''s'::text" in "\n".join(text)
    assert "actual time" not in "\n".join(text)
    untyped = explain(server.url(), ran("SELECT * FROM explain_kept WHERE n = $1 OR t = $2", b"8", None))
    assert "(n = 8)" in "\n".join(untyped)
    analyzed = "\n".join(explain(server.url(), ran("SELECT * FROM explain_kept WHERE n < $1", b"9"), analyze=True))
    assert "actual" in analyzed
    assert "Buffers:" in analyzed


def test_without_parameters_the_plan_is_generic_and_nothing_is_run(server: EmbeddedServer, table: psycopg.Connection) -> None:
    unknown = Executed(1, "SELECT * FROM explain_kept WHERE n = $1")
    assert "(n = $1)" in "\n".join(explain(server.url(), unknown))
    with pytest.raises(PgTraceError, match="cannot insert multiple commands"):
        explain(server.url(), Executed(1, "SELECT $1; DROP TABLE explain_kept"))
    with pytest.raises(PgTraceError, match="syntax error"):
        explain(server.url(), Executed(1, "DROP TABLE explain_kept -- $1\n$1"))
    with pytest.raises(PgTraceError, match=NO_BIND):
        explain(server.url(), unknown, analyze=True)
    assert "Scan on explain_kept" in "\n".join(explain(server.url(), Executed(1, "SELECT * FROM explain_kept")))
    with pytest.raises(PgTraceError, match="no statement"):
        explain(server.url(), Executed(1, None))


@pytest.mark.parametrize("analyze", [False, True])
@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT 1; DROP TABLE explain_kept", "cannot insert multiple commands"),
        ("SELECT 1; COMMIT; DROP TABLE explain_kept", "cannot insert multiple commands"),
        ("ANALYZE DELETE FROM explain_kept", "syntax error"),
        (") DELETE FROM explain_kept", "syntax error"),
        ("/* SELECT 1", "unterminated"),
        ("COMMIT", "syntax error"),
        ("DROP TABLE explain_kept", "syntax error"),
        ("COPY explain_kept TO PROGRAM 'true'", "syntax error"),
        ("SET transaction_read_only = off", "syntax error"),
    ],
)
def test_whatever_stands_in_the_text_it_is_explained_or_refused(
    server: EmbeddedServer, table: psycopg.Connection, sql: str, told: str, analyze: bool
) -> None:
    with pytest.raises(PgTraceError, match=told):
        explain(server.url(), ran(sql), analyze=analyze)
    assert rows(table) == 100


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO explain_kept VALUES (101, 'x')",
        "DELETE FROM explain_kept",
        "WITH gone AS (DELETE FROM explain_kept RETURNING n) SELECT count(*) FROM gone",
        "SELECT nextval('explain_counted')",
        "SELECT explain_writing()",
        "SELECT set_config('transaction_read_only', 'off', true), explain_writing()",
    ],
)
def test_what_writes_has_a_plan_and_is_not_run(server: EmbeddedServer, table: psycopg.Connection, sql: str) -> None:
    assert "cost=" in explain(server.url(), ran(sql))[0]
    with pytest.raises(PgTraceError, match=r"read-only transaction|read-write mode"):
        explain(server.url(), ran(sql), analyze=True)
    assert rows(table) == 100
    found = table.execute("SELECT is_called FROM explain_counted").fetchone()
    assert found == (False,)


def test_what_the_server_lets_pass_is_rolled_back(server: EmbeddedServer, table: psycopg.Connection) -> None:
    assert "actual" in "\n".join(explain(server.url(), ran("CREATE TABLE made AS SELECT 1"), analyze=True))
    assert table.execute("SELECT to_regclass('made')").fetchone() == (None,)


def test_five_seconds_are_the_most(server: EmbeddedServer, table: psycopg.Connection) -> None:
    started = time.monotonic()
    with pytest.raises(PgTraceError, match="statement timeout"):
        explain(server.url(), ran("SELECT pg_sleep(60), set_config('statement_timeout', '0', false)"), analyze=True)
    assert 4.5 < time.monotonic() - started < 15


def test_a_server_that_cannot_be_had_is_one_line(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for dsn, told in (
        ("postgresql://x@127.0.0.1:1/x", "refused"),
        (f"postgresql://nobody:x@{server.host}:{server.port}/postgres", "authentication failed"),
        ("host=", "EXPLAIN: "),
        ("nonsense", "--explain-dsn: missing"),
    ):
        with pytest.raises(PgTraceError, match=told) as refused:
            explain(dsn, ran("SELECT 1"))
        assert "\n" not in str(refused.value)
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pgtrace\[demo\]'"):
        explain(server.url(), ran("SELECT 1"))


PLANNED = "SELECT planned_function()"


@pytest.fixture(scope="module")
def roles(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """Roles of every kind, and a function that the planner calls."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION called_function() RETURNS int LANGUAGE plpgsql AS $$
                BEGIN COPY (SELECT 1) TO PROGRAM 'cat > planned'; RETURN 1; END $$;
            CREATE FUNCTION planned_function() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
                BEGIN RETURN called_function(); END $$;
            CREATE ROLE plain_role LOGIN PASSWORD 'secret';
            CREATE ROLE programs_role LOGIN PASSWORD 'secret' IN ROLE pg_execute_server_program;
            CREATE ROLE files_role LOGIN PASSWORD 'secret' NOINHERIT IN ROLE pg_write_server_files;
            CREATE ROLE boss_role SUPERUSER;
            CREATE ROLE deputy_role LOGIN PASSWORD 'secret' NOINHERIT IN ROLE boss_role;
            CREATE SCHEMA misleading;
            CREATE FUNCTION misleading.pg_has_role(name, oid, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
            CREATE FUNCTION misleading.bool_or_of(bool, bool) RETURNS bool LANGUAGE sql AS 'SELECT false';
            CREATE AGGREGATE misleading.bool_or(bool) (SFUNC = misleading.bool_or_of, STYPE = bool, INITCOND = 'f');
            GRANT USAGE ON SCHEMA misleading TO PUBLIC
        """)
        yield connection
        connection.execute("""
            DROP FUNCTION planned_function(), called_function(); DROP SCHEMA misleading CASCADE;
            DROP ROLE plain_role, programs_role, files_role, deputy_role, boss_role
        """)


def has_run(connection: psycopg.Connection) -> bool:
    """Whether the program ran; its trace is removed."""
    found = connection.execute("SELECT (pg_stat_file('planned', true)).size IS NOT NULL").fetchone()
    connection.execute("COPY (SELECT 1) TO PROGRAM 'rm -f planned'")
    return found == (True,)


@pytest.mark.parametrize(
    "login",
    [
        "",
        "programs_role:secret@",
        "files_role:secret@",
        "deputy_role:secret@",
        "?options=-crole%3Dplain_role",
        "programs_role:secret@?options=-csearch_path%3Dmisleading,pg_catalog",
    ],
)
def test_a_role_that_may_do_what_read_only_does_not_hold_is_asked_first(
    server: EmbeddedServer, roles: psycopg.Connection, login: str
) -> None:
    user, at, query = login.partition("@") if "@" in login else ("", "", login)
    url = f"postgresql://{user}@{server.host}:{server.port}/{server.database}{query}" if at else server.url() + query
    for analyze in (False, True):
        with pytest.raises(Unsure, match="E again"):
            _explain(url, ran(PLANNED), analyze=analyze)
    assert not has_run(roles)


def test_what_planning_can_do_is_why(server: EmbeddedServer, roles: psycopg.Connection) -> None:
    """As the documents say: the planner calls the function, in a READ ONLY transaction, and the program runs."""
    assert not has_run(roles)
    assert "Result" in "\n".join(explain(server.url(), ran(PLANNED)))
    assert has_run(roles)
    plain = f"postgresql://plain_role:secret@{server.host}:{server.port}/{server.database}"
    with pytest.raises(PgTraceError, match="permission denied to COPY to or from an external program"):
        _explain(plain, ran(PLANNED))
    assert "Result" in "\n".join(_explain(plain, ran("SELECT 1")))


async def test_on_the_screen(
    server: EmbeddedServer,
    table: psycopg.Connection,
    proxy: Recorder,
    trace_of: Callable[[Recorder], Trace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plan in the inspector's place; a superuser is asked, and ANALYZE asks; without a DSN the key says how."""
    clock = time.monotonic
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as session:
        session.execute("SELECT t FROM explain_kept WHERE n = %s", (7,))
        session.execute("SELECT pg_sleep(0.01), '\x1b[31m' || t FROM explain_kept WHERE n = %s", (8,))
    trace_of(proxy)
    with closing(Trace.open([proxy.capture])) as trace:
        app = PgTraceApp(View(trace, Source(files=("x",), live=True, explain_dsn=server.url()), Pen()))
        async with app.run_test(size=(80, 24)) as pilot:
            main = app.main

            async def shown(text: str) -> str:
                async with asyncio.timeout(20):
                    while True:
                        app.tick()
                        await pilot.pause()
                        main.draw()
                        drawn = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
                        if text in drawn:
                            return drawn

            await shown("explain_kept")
            place = next(place for place, row in enumerate(trace.rows) if row.label.sql.startswith("SELECT t"))
            assert [one.parameters for one in executed(trace, place)] != [None]
            main.areas.timeline.go_to_place(place)
            await pilot.press("E")
            assert "cost=" not in await shown("press E again to explain as postgres")
            monkeypatch.setattr(time, "monotonic", lambda: clock() + CONSENT_S)
            main.areas.footer.forget()
            await pilot.press("E")
            assert "cost=" not in await shown("press E again to explain as postgres")
            await pilot.press("E")
            assert "esc closes" in await shown("(n = '7'::")
            assert app.focused is main.areas.sheet
            await pilot.press("y", "p")
            assert "(n = '7'::" in app.clipboard
            await pilot.press("E")
            await shown(RUNS[:60])
            assert "actual" not in await shown("cost=")
            await pilot.press("j")
            assert RUNS[:60] not in await shown("cost=")
            await pilot.press("E")  # nobody can read the question any more: it is asked again
            await shown(RUNS[:60])
            assert "actual" not in await shown("cost=")
            await pilot.press("E")
            await shown("EXPLAIN ANALYZE")
            await shown("actual")
            await pilot.press("escape")
            assert not main.areas.sheet.display
            main.areas.timeline.go_to_place(place + 1)
            app.view.source = Source(files=("x",), live=True, explain_dsn=server.url(), throwaway=True)
            await pilot.press("E")
            assert "\x1b" not in await shown("cost=")
            await pilot.press("escape")
            app.view.source = Source(files=("x",))
            await pilot.press("E")
            await shown(HOW[:60])


def test_a_leg_that_leads_to_a_throw_away_server_explains() -> None:
    """As in `listen :6433=pooler:6432 :6434=embedded`."""
    with further_legs([LegAsked(parse_listen("127.0.0.1:0"), "embedded")], quiet=True) as (legs, environments):
        assert len(legs) == 1
        assert "Result" in "\n".join(_explain(environments[0]["DATABASE_URL"], ran("SELECT 1"), sure=True))
    with further_legs([LegAsked(parse_listen("127.0.0.1:0"), conninfo.read("db:5432"))], quiet=True) as (_, environments):
        assert environments == [{}]
