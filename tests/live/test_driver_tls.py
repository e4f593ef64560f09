"""Real drivers, real PostgreSQL, TLS on both legs in every combination: who gets in, and what is said where nobody can.

The rows are what the driver does, the columns what the server does; a cell that cannot work is the same one that cannot work through any proxy that ends
TLS with a certificate of its own: SCRAM binds a login to the server's certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.analysis.trace import Trace
from pgtrace.certificates import DriverTls
from pgtrace.recorder import Recorder
from pgtrace.report.stats import as_dict

END = DriverTls("end")
LOGIN = {"user": "postgres", "dbname": "postgres", "host": "localhost"}
CONNECTED = "in"


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


def asyncpg_in(port: int, server, sslmode: str, root: Path) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(server.url("localhost", port) + f"?sslmode={sslmode}&sslrootcert={root}")
        assert await connection.fetchval("select 42") == 42
        await connection.close()

    asyncio.run(main())


def psycopg_in(port: int, server, sslmode: str, root: Path) -> None:
    with psycopg.connect(port=port, password=server.password, sslmode=sslmode, sslrootcert=str(root), **LOGIN) as connection:
        assert connection.execute("select 42").fetchone() == (42,)


def psycopg2_in(port: int, server, sslmode: str, root: Path) -> None:
    with contextlib.closing(
        psycopg2.connect(port=port, password=server.password, sslmode=sslmode, sslrootcert=str(root), **LOGIN)
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("select 42")
        assert cursor.fetchone() == (42,)


def pg8000_in(port: int, server, sslmode: str, root: Path) -> None:
    import ssl

    context = ssl.create_default_context(cafile=str(root))
    with contextlib.closing(
        pg8000.dbapi.connect(
            user="postgres", host="localhost", port=port, database="postgres", password=server.password, ssl_context=context
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("select 42")
        assert list(cursor.fetchone()) == [42]


@pytest.mark.parametrize("connect", [asyncpg_in, psycopg_in, psycopg2_in, pg8000_in])
def test_every_driver_verifies_the_certificate_that_was_made(connect: Callable[..., None], tls_server):
    with before(tls_server, "disable", END) as recorder:
        connect(recorder.port, tls_server, "verify-full", recorder.authority)
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


@pytest.mark.parametrize(
    ("role", "mode"), [("md5_role", "disable"), ("clear_role", "disable"), ("trust_role", "disable"), ("clear_role", "require")]
)
def test_every_way_to_authenticate(role, mode, tls_server):
    with (
        before(tls_server, mode, END) as recorder,
        psycopg.connect(port=recorder.port, sslmode="require", **LOGIN | {"user": role, "password": "secret"}) as connection,
    ):
        assert connection.execute("select current_user").fetchone() == (role,)


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
