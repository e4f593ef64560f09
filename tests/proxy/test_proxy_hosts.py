"""Several hosts, several addresses, sockets without a file: who takes the connection is who libpq would have reached."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgtrace.address import Host, Listen, Upstream, parse_listen, parse_upstream
from pgtrace.capture.record import Fact, Open
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.ports import free_port
from pgtrace.errors import ListenError, UpstreamError
from pgtrace.probe import probe
from pgtrace.protocol.fields import error_fields
from pgtrace.recorder import Recorder
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_all, read_exactly

if TYPE_CHECKING:
    from psycopg import pq

linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux'")


def test_hosts_are_tried_in_order_until_one_takes_the_connection(tmp_path: Path) -> None:
    with Scripted(echo) as first, Scripted(echo) as second:
        closed = free_port()
        names = f"127.0.0.1:{closed},no-such-host.invalid,{tmp_path},localhost:{first.port},127.0.0.1:{second.port}"
        upstream = parse_upstream(names, {"PGSSLMODE": "disable"})
        probe(upstream)
        with recording(upstream, allow_others=True) as recorder, connect(recorder) as driver:
            log_in(driver)
            driver.close()
            found = wait_for_end(recorder)
        assert ("server", f"127.0.0.1:{first.port}") in [(record.key, record.value) for record in of_kind(found, Fact)]
        assert [record.upstream for record in of_kind(found, Open)] == [upstream.display]
        assert (first.accepted, second.accepted) == (2, 0)


def test_where_no_host_answers_each_says_why(tmp_path: Path) -> None:
    closed = free_port()
    upstream = Upstream(
        (Host("127.0.0.1", closed), Host(str(tmp_path), unix=str(tmp_path)), Host("no-such-host.invalid")), sslmode="disable"
    )
    with recording(upstream, allow_others=True) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        told = error_fields(read_all(driver)[5:])
    assert told["M"] == f"pgtrace: cannot reach the upstream {upstream.display}"
    reasons = told["D"].split("; ")
    assert reasons[:2] == [f"127.0.0.1:{closed}: Connection refused", f"unix:{tmp_path}/.s.PGSQL.5432: No such file or directory"]
    assert reasons[2].startswith("no-such-host.invalid:5432: the name cannot be resolved")
    with pytest.raises(UpstreamError) as raised:
        probe(upstream)
    assert [*reasons[:2]] == raised.value.reason.split("; ")[:2]


def test_an_address_is_connected_to_in_place_of_its_name() -> None:
    with Scripted(echo) as server:
        url = f"postgresql://no-such-host.invalid,also.invalid?hostaddr=127.0.0.1,::1&port={server.port}&sslmode=disable"
        with recording(parse_upstream(url, {})) as recorder, connect(recorder) as driver:
            log_in(driver)


def libpq(server: EmbeddedServer, **where: str | int) -> pq.PGconn:
    """A connection by libpq alone: psycopg resolves names by itself."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    settings = {"user": server.user, "password": server.password, "dbname": "postgres"} | where
    connection = pq.PGconn.connect(make_conninfo(**settings).encode())
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    return connection


@contextlib.contextmanager
def recorders_before(server: EmbeddedServer, *listens: Listen) -> Iterator[list[Recorder]]:
    """Recorders that say by what they accept who was reached."""
    with contextlib.ExitStack() as stack:
        upstream = parse_upstream(f"{server.host}:{server.port}", {})
        yield [stack.enter_context(recording(upstream, listen, allow_others=True)) for listen in listens]


LOOPBACK = Listen(("127.0.0.1",), 0)
IPV6 = Listen(("::1",), 0)
LISTS = [
    ("127.0.0.1,127.0.0.1", "{closed},{0}", ""),
    ("/no/such,@none,127.0.0.1,127.0.0.1", "{1}", ""),
    ("localhost,localhost", "{closed},{1}", ""),
    ("one.invalid,two.invalid,three.invalid", "{closed},{0},{1}", "127.0.0.1,127.0.0.1,127.0.0.1"),
    ("/no/such,x.invalid", "{0}", ",127.0.0.1"),
    ("", "{2}", "127.0.0.1,::1"),
    ("::1,127.0.0.1", "{0}", ""),
    ("127.0.0.1,::1", "{2}", ""),
]


@linux
@pytest.mark.parametrize(("hosts", "ports", "addresses"), LISTS)
def test_libpq_reaches_the_same_server(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, hosts: str, ports: str, addresses: str
) -> None:
    with recorders_before(server, LOOPBACK, LOOPBACK, IPV6) as recorders:
        where = {
            "PGHOST": hosts,
            "PGPORT": ports.format(*[recorder.port for recorder in recorders], closed=free_port()),
            "PGHOSTADDR": addresses,
        }
        for name, value in where.items():
            monkeypatch.setenv(name, value)
        by_libpq = reached(recorders, lambda: libpq(server).finish())
        for name in where:
            monkeypatch.delenv(name)
        with recording(parse_upstream(None, where), LOOPBACK, allow_others=True) as recorder:
            by_pgtrace = reached(recorders, lambda: libpq(server, host=recorder.host, port=recorder.port).finish())
    assert sum(by_libpq) == 1
    assert by_pgtrace == by_libpq


def reached(recorders: list[Recorder], connect: object) -> list[int]:
    """Which of them took one more connection."""
    before = [recorder.stats()["accepted"] for recorder in recorders]
    connect()  # type: ignore[operator]
    return [recorder.stats()["accepted"] - count for recorder, count in zip(recorders, before, strict=True)]


@linux
def test_abstract_sockets_on_both_sides(server: EmbeddedServer) -> None:
    """libpq to a recorder, that to another one, that to the server; two recorders cannot have one name."""
    inner, outer = f"@pgtrace-{os.getpid()}-inner", f"@pgtrace-{os.getpid()}-outer"
    with (
        recording(parse_upstream(f"{server.host}:{server.port}", {}), parse_listen(f"{inner}:7001")) as behind,
        recording(parse_upstream(f"{inner}:7001", {}), parse_listen(f"unix:{outer}:7002"), allow_others=True) as before,
    ):
        assert before.addresses == [f"unix:{outer}/.s.PGSQL.7002"]
        probe(before.upstream)
        connection = libpq(server, host=outer, port=7002)
        assert connection.exec_(b"select 1").get_value(0, 0) == b"1"
        connection.finish()
        found = wait_for_end(before)
        assert [(record.listener, record.upstream) for record in of_kind(found, Open)] == [
            (f"unix:{outer}/.s.PGSQL.7002", f"unix:{inner}/.s.PGSQL.7001")
        ]
        assert ("server", f"unix:{inner}/.s.PGSQL.7001") in [(record.key, record.value) for record in of_kind(found, Fact)]
        with pytest.raises(ListenError, match="something already listens there"), recording(behind.upstream, parse_listen(f"{inner}:7001")):
            pass
    with recording(behind.upstream, parse_listen(f"{inner}:7001")):
        pass  # the name is free again


def test_bytes_pass_through_the_last_of_several(tmp_path: Path) -> None:
    with Scripted(echo, str(tmp_path / ".s.PGSQL.5432")):
        upstream = Upstream((Host("127.0.0.1", free_port()), Host(str(tmp_path), unix=str(tmp_path))), sslmode="require")
        with recording(upstream, Listen((), 6433, str(tmp_path / "here"))) as recorder, connect(recorder) as driver:
            driver.sendall(STARTUP)  # sslmode is not for sockets
            assert read_exactly(driver, len(READY)) == READY
