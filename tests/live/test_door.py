"""Nobody is lent this user's identity: a real second user, real listeners, a real server that lets a certificate or a socket's user in."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgtrace.capture.record import Fact
from pgtrace.demo.embedded import EmbeddedServer
from tests.live.other_user import as_nobody, needs_two_users
from tests.live.tls_servers import Certificates
from tests.proxy.recorded import of_kind, records_in

pytestmark = needs_two_users
START_S = 30.0


@contextlib.contextmanager
def listening(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A real `pgtrace listen --no-tui`; the address it says it listens on (host of libpq's, port
    behind a colon), and what it says on stderr."""
    command = [sys.executable, "-m", "pgtrace", "listen", *arguments, "--no-tui"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        try:
            while not lines or " -> " not in lines[-1]:
                assert select.select([process.stderr], [], [], START_S)[0], lines
                line = process.stderr.readline()
                assert line, lines
                lines.append(line)
            address = lines[-1].removeprefix("pgtrace: ").partition(" -> ")[0].split(", ")[0]
            yield address, lines
        finally:
            process.send_signal(signal.SIGTERM)
            lines += process.stderr.readlines()


def log_in(address: str, user: str, **more: str) -> str:
    """Who the server takes one for, or what it said instead."""
    if address.startswith("unix:"):
        directory, _, port = address.removeprefix("unix:").rpartition("/.s.PGSQL.")
        host = directory
    else:
        host, _, port = address.rpartition(":")
    settings = {"host": host.strip("[]"), "port": port, "user": user, "dbname": "postgres", "sslmode": "disable", "connect_timeout": "20"}
    connection = pq.PGconn.connect(make_conninfo(**settings | more).encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            text = connection.error_message.decode()
            return (re.search(r"(?:FATAL|Connection refused|Permission denied).*", text) or [text])[0]
        result = connection.exec_(b"select session_user || ', superuser ' || rolsuper from pg_roles where rolname = session_user")
        return (result.get_value(0, 0) or b"").decode()
    finally:
        connection.finish()


@pytest.fixture(scope="module")
def home_with_certificate(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Path:
    """A home directory in which a client certificate was left."""
    home = tmp_path_factory.mktemp("home")
    (home / ".postgresql").mkdir()
    (home / ".postgresql" / "postgresql.crt").write_bytes(certificates.client_certificate.read_bytes())
    key = home / ".postgresql" / "postgresql.key"
    key.write_bytes(certificates.client_key.read_bytes())
    key.chmod(0o600)
    return home


OURS = "certificate_role, superuser true"
FOR_OTHERS = "FATAL:  pgtrace: this port serves only the user who started pgtrace"


@pytest.fixture(scope="module")
def superuser_by_certificate(tls_server: EmbeddedServer) -> Iterator[None]:
    """The certificate's role is a superuser's, as in the attack."""
    with psycopg.connect(tls_server.url(), autocommit=True) as connection:
        connection.execute("alter role certificate_role superuser")
        yield
        connection.execute("alter role certificate_role nosuperuser")


@pytest.mark.usefixtures("superuser_by_certificate")
@pytest.mark.parametrize("how", ["URL", "PGSSLCERT", "service"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_nobody_becomes_superuser_by_a_certificate(
    tls_server: EmbeddedServer, certificates: Certificates, tmp_path: Path, how: str, host: str
) -> None:
    parts = {"sslcert": str(certificates.client_certificate), "sslkey": str(certificates.client_key)}
    url = f"postgresql://localhost:{tls_server.port}/?sslmode=require&sslrootcert={certificates.authority}"
    environment: dict[str, str] = {}
    if how == "URL":
        url += "".join(f"&{key}={value}" for key, value in parts.items())
    elif how == "PGSSLCERT":
        environment = {f"PG{key.upper()}": value for key, value in parts.items()}
    else:
        services = tmp_path / "services"
        services.write_text("[mine]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
        environment = {"PGSERVICEFILE": str(services)}
        url += "&service=mine"
    capture = tmp_path / "capture"
    with listening(f"{host}:0", "--upstream", url, "-w", str(capture), environment=environment) as (address, lines):
        assert as_nobody(lambda: log_in(address, "certificate_role")) == FOR_OTHERS
        assert log_in(address, "certificate_role") == OURS
        assert as_nobody(lambda: log_in(address, "postgres", password=tls_server.password)) == FOR_OTHERS
    assert any("only connections of your own user are served" in line for line in lines)
    assert sum(fact.key == "refused" for fact in of_kind(records_in(capture), Fact)) == 2


@pytest.mark.usefixtures("superuser_by_certificate")
def test_with_allow_others_everybody_is_lent_it(tls_server: EmbeddedServer, certificates: Certificates) -> None:
    """What the option says: this is the attack."""
    url = f"postgresql://localhost:{tls_server.port}/?sslmode=require&sslcert={certificates.client_certificate}&sslkey={certificates.client_key}"
    with listening("127.0.0.1:0", "--allow-others", "--upstream", url) as (address, _):
        assert as_nobody(lambda: log_in(address, "certificate_role")) == OURS


@pytest.mark.usefixtures("superuser_by_certificate")
def test_without_a_listen_it_is_a_private_socket(tls_server: EmbeddedServer, certificates: Certificates) -> None:
    url = f"postgresql://localhost:{tls_server.port}/?sslmode=require&sslcert={certificates.client_certificate}&sslkey={certificates.client_key}"
    with listening("--upstream", url) as (address, _):
        assert address.startswith("unix:/")
        assert log_in(address, "certificate_role") == OURS
        assert "Permission denied" in as_nobody(lambda: log_in(address, "certificate_role"))


@pytest.mark.usefixtures("superuser_by_certificate")
def test_a_certificate_left_in_the_home_directory_is_lent_to_nobody_and_closes_nothing(
    tls_server: EmbeddedServer, home_with_certificate: Path
) -> None:
    with listening(":0", "--upstream", f"localhost:{tls_server.port}", environment={"HOME": str(home_with_certificate)}) as (
        address,
        lines,
    ):
        assert log_in(address, "certificate_role") == OURS
        assert "superuser" not in as_nobody(lambda: log_in(address, "certificate_role"))
        assert as_nobody(lambda: log_in(address, "postgres", password=tls_server.password)) == "postgres, superuser true"
    assert sum("is used only for connections of your own user" in line for line in lines) == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "@pgtrace-test-door"])
def test_behind_a_socket_others_are_refused(server: EmbeddedServer, listen: str) -> None:
    """IPv4, IPv6 and a socket without a file; whoever is refused never gets as far as the server."""
    with listening(listen, "--upstream", f"{server.socket_directory}:{server.port}") as (address, _):
        assert as_nobody(lambda: log_in(address, server.user, password=server.password)) == FOR_OTHERS
        assert log_in(address, server.user, password=server.password) == "postgres, superuser true"


def test_mapped_addresses_are_the_same_peers(server: EmbeddedServer) -> None:
    with listening("127.0.0.1:0", "--upstream", f"{server.socket_directory}:{server.port}") as (address, _):
        mapped = f"::ffff:127.0.0.1:{address.rpartition(':')[2]}"
        assert log_in(mapped, server.user, password=server.password) == "postgres, superuser true"
        assert as_nobody(lambda: log_in(mapped, server.user, password=server.password)) == FOR_OTHERS


def test_a_refusal_comes_through_the_drivers_tls(server: EmbeddedServer) -> None:
    """Whose a connection is has nothing to do with what is said on it."""
    with listening("127.0.0.1:0", "--tls", "auto", "--upstream", f"{server.socket_directory}:{server.port}") as (address, _):
        assert (
            as_nobody(lambda: log_in(address, server.user, password=server.password, sslmode="require", sslcertmode="disable"))
            == FOR_OTHERS
        )
        assert (
            log_in(address, server.user, password=server.password, sslmode="require", sslcertmode="disable") == "postgres, superuser true"
        )
