"""What drivers make of a connection's end, a cancel and a server that is not there: the same through pgtrace as without it."""

from __future__ import annotations

import socket
import threading

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgtrace.address import Host, Listen, Upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from tests.live.traffic import until

FAILED, DIED = b"Connection reset by peer", b"server closed the connection unexpectedly"


def libpq(server: EmbeddedServer, host: str, port: int | str, **more: str) -> pq.PGconn:
    settings = {"host": host, "port": str(port), "user": server.user, "password": server.password, "dbname": "postgres"} | more
    return pq.PGconn.connect(make_conninfo(**settings).encode())


def test_an_idle_session_that_is_ended_still_hears_why(server: EmbeddedServer, proxy: Recorder) -> None:
    """The driver writes after the server has closed: it must find the server's last words, not only a broken connection."""
    for _ in range(10):
        connection = libpq(server, proxy.host, proxy.port)
        pid = connection.backend_pid
        with psycopg.connect(server.url(), autocommit=True) as past:
            assert past.execute("select pg_terminate_backend(%s, 20000)", (pid,)).fetchone() == (True,)  # it is gone when that returns
        result = connection.exec_(b"select 1")
        assert result.status == pq.ExecStatus.FATAL_ERROR
        assert b"terminating connection due to administrator command" in connection.error_message
        connection.finish()


def test_a_cancel_is_done_when_it_returns(server: EmbeddedServer, proxy: Recorder) -> None:
    """The race of PgBouncer's test_cancel_race: a cancel that came late would strike the next query."""
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as connection:
        for turn in range(20):
            running = threading.Thread(target=cancel_once_it_runs, args=(server, connection))
            running.start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("select pg_sleep(60)")
            running.join()
            assert connection.execute("select %s::int", (turn,)).fetchone() == (turn,)


def cancel_once_it_runs(server: EmbeddedServer, connection: psycopg.Connection) -> None:
    with psycopg.connect(server.url(), autocommit=True) as past:
        waits = "select count(*) from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        until(lambda: past.execute(waits, (connection.info.backend_pid,)).fetchone(), lambda row: row == (1,))
    connection.cancel_safe()


def test_libpq_goes_on_to_its_next_host(server: EmbeddedServer, proxy: Recorder) -> None:
    """And pg_isready says what it would of a server that is starting: rejecting connections."""
    with Recorder(Listen(("127.0.0.1",), 0), nobody()) as before_nobody:
        assert pq.PGconn.ping(make_conninfo(host=before_nobody.host, port=before_nobody.port).encode()) == pq.Ping.REJECT
        connection = libpq(server, "127.0.0.1,127.0.0.1", f"{before_nobody.port},{proxy.port}")
        assert connection.status == pq.ConnStatus.OK, connection.error_message
        assert connection.port == str(proxy.port).encode()
        connection.finish()
        assert before_nobody.stats()["accepted"] == 2


def test_with_dial_first_nobody_is_there(server: EmbeddedServer, proxy: Recorder) -> None:
    """pg_isready says no response. What libpq makes of it depends on when the reset arrives.

    libpq asks the socket how its connect went (SO_ERROR) before it writes. A reset that is there by
    then is a connect that failed, and the next host is tried. One that comes later is a server that
    died, and nothing else is tried. (1,500 resets at once after accept: 82 % the first, 18 % the
    second; 2 ms later: none, all.)
    """
    with Recorder(Listen(("127.0.0.1",), 0), nobody(), dial_first=True) as before_nobody:
        for _ in range(20):
            assert pq.PGconn.ping(make_conninfo(host=before_nobody.host, port=before_nobody.port).encode()) == pq.Ping.NO_RESPONSE
            alone = libpq(server, before_nobody.host, before_nobody.port)
            assert alone.status == pq.ConnStatus.BAD
            assert any(text in alone.error_message for text in (FAILED, DIED)), alone.error_message
            alone.finish()
            connection = libpq(server, "127.0.0.1,127.0.0.1", f"{before_nobody.port},{proxy.port}")
            if connection.status == pq.ConnStatus.OK:
                assert connection.port == str(proxy.port).encode()
            else:
                assert DIED in connection.error_message
            connection.finish()


def nobody() -> Upstream:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return Upstream((Host("127.0.0.1", unused.getsockname()[1]),), sslmode="disable")
