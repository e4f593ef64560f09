"""`pgtrace demo --upstream` on a server that takes logins over TLS only: drivers speak plainly to pgtrace, which speaks TLS."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.workloads import VARIANTS
from tests import commands
from tests.live.tls_servers import Certificates

pytestmark = pytest.mark.live


@pytest.fixture
def granted(tls_server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(tls_server.url(), autocommit=True) as connection:
        connection.execute("grant create on database postgres to tls_role, certificate_role")
        yield connection
        connection.execute("revoke create on database postgres from tls_role, certificate_role")


@pytest.mark.parametrize("login", ["password", "certificate"])
def test_the_leg_to_the_server_is_protected(
    tls_server: EmbeddedServer, certificates: Certificates, granted: psycopg.Connection, login: str
) -> None:
    settings = f"sslmode=verify-full sslrootcert={certificates.authority}"
    if login == "certificate":
        settings += f" user=certificate_role sslcert={certificates.client_certificate} sslkey={certificates.client_key}"
    else:
        settings += " user=tls_role password=secret"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    ran = commands.run(
        "demo", "--upstream", f"host=localhost hostaddr={tls_server.host} port={tls_server.port} dbname=postgres {settings}", env=clean
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 3 + len(VARIANTS)
    assert granted.execute("select count(*) from pg_namespace where nspname like 'pgtrace%'").fetchone() == (0,)


def test_a_server_that_wants_tls_says_so(tls_server: EmbeddedServer) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    place = f"host=localhost port={tls_server.port} dbname=postgres user=tls_role password=secret sslmode=disable"
    ran = commands.run("demo", "--upstream", place, env=clean)
    assert ran.returncode == 3
    (line,) = ran.stderr.splitlines()
    assert "the demo cannot work on localhost" in line
    assert "no encryption" in line
    assert "secret" not in line
