"""PostgreSQL with TLS, of any version that is installed; the fixtures of it are in conftest.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from tests.live import install_postgres

HBA = """
local     all  all               scram-sha-256
host      all  md5_role          all  md5
host      all  clear_role        all  password
host      all  trust_role        all  trust
hostnossl all  tls_role          all  reject
hostssl   all  certificate_role  all  cert
host      all  certificate_role  all  reject
host      all  all               all  scram-sha-256
"""
ROLES = """
create role trust_role login;
create role clear_role login password 'secret';
create role tls_role login password 'secret';
create role certificate_role login;
set password_encryption = 'md5';
create role md5_role login password 'secret';
"""


@dataclass(frozen=True)
class Certificates:
    """Files: the authority's certificate, another authority's that signed nothing, and a client's
    certificate and key for `certificate_role`."""

    authority: Path
    other_authority: Path
    client_certificate: Path
    client_key: Path
    server_certificate: bytes
    server_key: bytes


@contextlib.contextmanager
def postgres_with_tls(major: int, certificates: Certificates) -> Iterator[EmbeddedServer]:
    """A new server of that version, as the module's first lines have it."""
    binaries = install_postgres.binaries(major)
    if not (binaries / "postgres").exists():
        pytest.fail(
            f"PostgreSQL {major} with TLS is not installed: make test, or python tests/live/install_postgres.py {major}", pytrace=False
        )
    settings = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "authority.crt"}
    files = {
        "server.crt": certificates.server_certificate,
        "server.key": certificates.server_key,
        "authority.crt": certificates.authority.read_bytes(),
    }
    with EmbeddedServer(binaries, settings=settings, hba=HBA, files=files) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(ROLES)
        yield server
