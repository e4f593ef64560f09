"""Real drivers, real PostgreSQL, TLS on both legs in every combination: who gets in, and what is said where nobody can.

The rows are what the driver does, the columns what the server does; a cell that cannot work is the
same one that cannot work through any proxy that ends TLS with a certificate of its own: SCRAM binds
a login to the server's certificate. All of it with every version of PostgreSQL that is installed
(install_postgres.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.certificates import DriverTls
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.report.stats import as_dict
from pgtrace.trace.trace import Trace
from tests.live import install_postgres
from tests.live.test_live_faults import STARTUP, query
from tests.live.tls_servers import Certificates, postgres_with_tls
from tests.proxy.drivers import Tls
from tests.proxy.wire import SSL_REQUEST, read_exactly

END = DriverTls("end")
LOGIN = {"user": "postgres", "dbname": "postgres", "host": "localhost"}
CONNECTED = "in"
SLEEPING = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
Login = Callable[[int, str, str, "Context | None"], str]


@pytest.fixture(scope="module", params=install_postgres.installed())
def major(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def tls_server(major: int, certificates: Certificates) -> Iterator[EmbeddedServer]:
    with postgres_with_tls(major, certificates) as server:
        yield server


@contextlib.contextmanager
def before(server, mode: str, tls: DriverTls) -> Iterator[Recorder]:
    upstream = parse_upstream(f"postgresql://{server.host}:{server.port}/?sslmode={mode}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, tls=tls) as recorder:
        yield recorder
        assert recorder.stats()["failures"] == 0, recorder.log


@pytest.fixture(scope="session")
def own(certificates, tmp_path_factory) -> DriverTls:
    """The server's own certificate and key."""
    directory = tmp_path_factory.mktemp("own")
    for name, content in (("server.crt", certificates.server_certificate), ("server.key", certificates.server_key)):
        (directory / name).write_bytes(content)
    return DriverTls("end", str(directory / "server.crt"), str(directory / "server.key"))


def by_libpq(recorder: Recorder, server, **settings: str) -> str:
    """How a login by libpq ends: CONNECTED, or what it says."""
    try:
        with psycopg.connect(port=recorder.port, password=server.password, connect_timeout=10, **LOGIN | settings) as connection:
            assert connection.execute("select 42").fetchone() == (42,)
            return CONNECTED
    except psycopg.OperationalError as error:
        return str(error)


CELLS = [
    # driver's sslmode, upstream's sslmode, whose certificate, channel_binding, how it ends
    ("disable", "disable", "none", "prefer", CONNECTED),
    ("disable", "require", "none", "prefer", CONNECTED),
    ("disable", "require", "none", "disable", CONNECTED),
    ("disable", "require", "none", "require", "channel binding"),
    ("require", "disable", "made", "prefer", CONNECTED),
    ("require", "disable", "made", "disable", CONNECTED),
    ("require", "disable", "made", "require", "channel binding"),
    ("require", "require", "made", "prefer", "channel binding"),
    ("require", "require", "made", "disable", CONNECTED),
    ("require", "require", "made", "require", "channel binding"),
    ("require", "require", "own", "prefer", CONNECTED),
    ("require", "require", "own", "disable", CONNECTED),
    ("require", "require", "own", "require", CONNECTED),
    ("require", "disable", "pass", "prefer", CONNECTED),
    ("require", "disable", "pass", "require", CONNECTED),
    ("disable", "disable", "pass", "prefer", CONNECTED),
    ("require", "disable", "none", "prefer", "SSL"),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("driver", "upstream", "certificate", "binding", "ends"), CELLS)
def test_channel_binding(driver, upstream, certificate, binding, ends, tls_server, own):
    tls = {"none": DriverTls(), "made": END, "own": own, "pass": DriverTls("pass")}[certificate]
    with before(tls_server, upstream, tls) as recorder:
        result = by_libpq(recorder, tls_server, sslmode=driver, channel_binding=binding)
        dead_end = (driver, upstream, certificate) == ("require", "require", "made")
        trace = Trace.open([recorder.capture])
        recorder.quiet(trace)
        told = trace.connections[0].facts
        trace.close()
        assert ("channel_binding" in told) == dead_end
        assert ("channel_binding=disable" in recorder.log) == dead_end
    assert result == ends if ends == CONNECTED else ends in result


# Each takes what it needs of a login: where, who, whether with TLS (a context), and returns who the server says it is.


def asyncpg_in(port: int, user: str, password: str, context: Context | None) -> str:
    async def main() -> str:
        connection = await asyncpg.connect(
            host="localhost", port=port, user=user, password=password, database="postgres", ssl=context or False, timeout=20
        )
        who = await connection.fetchval("select current_user")
        await connection.close()
        return str(who)

    return asyncio.run(main())


def pg8000_in(port: int, user: str, password: str, context: Context | None) -> str:
    with contextlib.closing(
        pg8000.dbapi.connect(
            user=user, host="localhost", port=port, database="postgres", password=password, ssl_context=context or False, timeout=20
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("select current_user")
        return str(cursor.fetchone()[0])


def by_files(context: Context | None) -> dict[str, str]:
    """The same to libpq, which takes files."""
    if context is None:
        return {"sslmode": "disable"}
    client = {"sslcert": str(context.files.client_certificate), "sslkey": str(context.files.client_key)} if context.files else {}
    root = {"sslmode": "verify-full", "sslrootcert": str(context.root)} if context.root else {"sslmode": "require"}
    return client | root


def psycopg_in(port: int, user: str, password: str, context: Context | None) -> str:
    with psycopg.connect(port=port, password=password, connect_timeout=20, **LOGIN | {"user": user} | by_files(context)) as connection:
        return str(connection.execute("select current_user").fetchone()[0])


def psycopg2_in(port: int, user: str, password: str, context: Context | None) -> str:
    with contextlib.closing(
        psycopg2.connect(port=port, password=password, connect_timeout=20, **LOGIN | {"user": user} | by_files(context))
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("select current_user")
        return str(cursor.fetchone()[0])


DRIVERS = [asyncpg_in, psycopg_in, psycopg2_in, pg8000_in]
BINDS = [psycopg_in, psycopg2_in, pg8000_in]


class Context(ssl.SSLContext):
    """What a driver encrypts with, and the files it is made of, for drivers that take files: a
    root, or no verification; a client's certificate."""

    root: Path | None
    files: Certificates | None


def context_of(root: Path | None = None, files: Certificates | None = None) -> Context:
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.root, context.files = root, files
    if root is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(root)
    if files is not None:
        context.load_cert_chain(files.client_certificate, files.client_key)
    return context


@pytest.mark.parametrize("connect", DRIVERS)
def test_every_driver_verifies_the_certificate_that_was_made(connect: Login, tls_server):
    with before(tls_server, "disable", END) as recorder:
        assert connect(recorder.port, "postgres", tls_server.password, context_of(recorder.authority)) == "postgres"
        trace = Trace.open([recorder.capture])
        recorder.quiet(trace)
        (connection,) = as_dict(trace)["connections"]
        trace.close()
    assert connection["tls"]["frontend"] == "TLSv1.3"
    assert connection["authentication"]["mechanism"] == "SCRAM-SHA-256"
    assert connection["round_trips"] >= 1
    assert connection["kind"] == "session"


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_libpq_by_request_and_at_once(negotiation, tls_server):
    with before(tls_server, "disable", END) as recorder:
        settings = {"sslmode": "verify-full", "sslrootcert": str(recorder.authority), "sslnegotiation": negotiation}
        assert by_libpq(recorder, tls_server, **settings) == CONNECTED


LEGS = [
    # driver's TLS, upstream's sslmode, whose certificate
    (False, "disable", "none"),
    (False, "require", "none"),
    (True, "disable", "made"),
    (True, "require", "made"),
    (True, "require", "own"),
    (True, "require", "pass"),
    (False, "require", "pass"),
]
ROLES = ["postgres", "md5_role", "clear_role", "trust_role", "tls_role", "certificate_role"]


@pytest.fixture(scope="module", params=LEGS, ids=["-".join(map(str, legs)) for legs in LEGS])
def legs(request, tls_server, certificates, own) -> Iterator[tuple[Recorder, bool, str, str]]:
    encrypted, mode, certificate = request.param
    tls = {"none": DriverTls(), "made": END, "own": own, "pass": DriverTls("pass")}[certificate]
    client = f"&sslcert={certificates.client_certificate}&sslkey={certificates.client_key}"
    upstream = parse_upstream(f"postgresql://{tls_server.host}:{tls_server.port}/?sslmode={mode}{client}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, tls=tls) as recorder:
        yield recorder, encrypted, mode, certificate


@pytest.mark.sampled(4)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("connect", DRIVERS)
def test_every_driver_gets_in_as_it_does_directly(
    legs, role: str, connect: Login, tls_server, certificates, major: int, record_property
) -> None:
    """SCRAM, MD5, cleartext, trust, TLS demanded and a client's certificate; who cannot get in is
    told why by the server, who could elsewhere by pgtrace."""
    recorder, encrypted, mode, certificate = legs
    password = tls_server.password if role == "postgres" else "secret"
    with_tls = mode == "require"  # what the server sees
    dead_end = (encrypted, mode, certificate) == (True, "require", "made") and role in ("postgres", "tls_role") and connect in BINDS

    def attempt(port: int, tls: bool, files: Certificates | None) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncpg leaves the socket of a refused login to the garbage collector
            try:
                return connect(port, role, password, context_of(files=files) if tls else None)
            except Exception as error:  # each driver has its own
                said = str(error)
            gc.collect()
            return said

    direct = attempt(tls_server.port, with_tls, certificates)
    through = attempt(recorder.port, encrypted, certificates if certificate == "pass" else None)
    if with_tls or role not in ("tls_role", "certificate_role"):
        assert direct == role
        assert (through == role) != dead_end
        assert not dead_end or "channel binding" in through.lower()
    else:
        assert "reject" in direct
        assert "reject" in through
    if dead_end:
        for way_out in ("without --tls", "channel_binding=disable", "--tls-cert", "--tls pass"):
            assert way_out in recorder.log
    assert recorder.stats()["failures"] == 0, recorder.log
    record_property(f"PostgreSQL {major}", 1)


def test_a_client_certificate_is_pgtraces_own_business(certificates, tls_server):
    """The driver's cannot pass where TLS ends; the one of the upstream leg vouches for whoever connects."""
    files = f"sslcert={certificates.client_certificate}&sslkey={certificates.client_key}"
    upstream = parse_upstream(f"postgresql://{tls_server.host}:{tls_server.port}/?sslmode=require&{files}", {})
    with (
        Recorder(parse_listen("127.0.0.1:0"), upstream, tls=END) as recorder,
        psycopg.connect(port=recorder.port, sslmode="require", **LOGIN | {"user": "certificate_role"}) as connection,
    ):
        assert connection.execute("select current_user").fetchone() == ("certificate_role",)


def test_a_cancel_through_tls(tls_server):
    """libpq 17 and later encrypt the cancel as they encrypt the session."""
    with before(tls_server, "disable", END) as recorder:
        with psycopg.connect(port=recorder.port, password=tls_server.password, sslmode="require", autocommit=True, **LOGIN) as connection:
            cursor = connection.cursor()
            cursor.execute("set statement_timeout = '20s'")
            connection.pgconn.send_query(b"select pg_sleep(20)")
            connection.cancel_safe()
            result = connection.pgconn.get_result()
            assert result is not None
            assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
            assert connection.pgconn.get_result() is None
        trace = Trace.open([recorder.capture])
        recorder.quiet(trace)
        assert [one.kind for one in trace.connections] == ["session", "cancel"]
        assert trace.connections[1].cancels == 0
        assert trace.connections[1].facts["tls.frontend"] == "TLSv1.3"
        trace.close()


@pytest.mark.parametrize("query", [b"select pg_sleep(20)", b"select 1"], ids=["runs", "is about to end"])
@pytest.mark.parametrize(("encrypted", "certificate"), [(False, "none"), (True, "made"), (True, "pass")])
def test_a_cancel_never_reaches_the_next_query(encrypted: bool, certificate: str, query: bytes, tls_server):
    """Whoever has waited for the end of a cancel's connection can go on: it was carried out, or it came too late for good."""
    tls = {"none": DriverTls(), "made": END, "pass": DriverTls("pass")}[certificate]
    with (
        before(tls_server, "disable", tls) as recorder,
        psycopg.connect(
            port=recorder.port, password=tls_server.password, sslmode="require" if encrypted else "disable", autocommit=True, **LOGIN
        ) as connection,
        psycopg.connect(tls_server.url(), autocommit=True) as watching,
    ):
        for number in range(25):
            connection.pgconn.send_query(query)
            while b"sleep" in query and not watching.execute(SLEEPING, (connection.info.backend_pid,)).fetchone():
                pass  # a cancel that overtakes its query has no effect, on one wire too
            connection.cancel_safe()
            result = connection.pgconn.get_result()
            assert result is not None
            told = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
            assert told == b"57014" or (told is None and b"sleep" not in query)
            assert connection.pgconn.get_result() is None
            assert connection.execute(f"select {number}").fetchone() == (number,)


@pytest.mark.parametrize("mode", ["disable", "require"])
def test_a_close_notify_while_an_answer_is_pending(mode: str, tls_server):
    """PostgreSQL answers, and ends its own direction; through pgtrace it does the same, on either kind of upstream leg."""
    work = query("select repeat('x', 100000) from pg_sleep(0.2)")
    sleeping = half_closed(tls_server.port, work)
    with before(tls_server, mode, END) as recorder:
        assert half_closed(recorder.port, work) == sleeping
        assert half_closed(recorder.port, query("select 1")) == half_closed(tls_server.port, query("select 1"))
    assert len(sleeping) > 100_000


def half_closed(port: int, work: bytes) -> bytes:
    """What comes behind the log-in when a driver ends its direction with the last byte of its work; it must end in order."""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
        driver = Tls(sock, context_of())
        driver.handshake()
        driver.send(STARTUP)
        greeting = b""
        while not greeting.endswith(b"Z\0\0\0\5I"):
            greeting += driver.receive(1)
        driver.send(work, ends=True)
        answer = b""
        while not answer.endswith(b"Z\0\0\0\5I"):
            answer += driver.receive(1)
        assert driver.is_over()
        return answer
