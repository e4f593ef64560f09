"""The ways between a driver and PostgreSQL that are compared: each once direct and once through
pgtrace, with the same settings of the driver.

The server is the TLS one of tests/live, new for every run; it offers TLS only where the way uses
it, since some drivers take what is offered. Where pgtrace ends TLS the leg to the server is plain:
SCRAM's channel binding cannot work behind a certificate that is not the server's (docs/tls.md).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import trustme

from pgtrace.certificates import DriverTls
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder

BINARIES = Path(__file__).resolve().parents[2] / ".pg" / "18" / "postgresql" / "bin"
SETTINGS = {"max_prepared_transactions": "20", "wal_level": "logical"}
DIRECT, THROUGH = "direct", "through pgtrace"


@dataclass(frozen=True)
class Way:
    """How a driver is set up."""

    name: str
    tls: bool = False
    latest: bool = False
    """Ask for the newest protocol, 3.2 (libpq alone can)."""


PLAIN = Way("plain")
TLS = Way("TLS", tls=True)
LATEST = Way("protocol 3.2", latest=True)


@dataclass(frozen=True)
class Target:
    """Where a suite is to connect, and a directory for its files."""

    way: Way
    port: int
    password: str
    scratch: Path
    host: str = "127.0.0.1"
    user: str = "postgres"
    database: str = "postgres"

    @property
    def sslmode(self) -> str:
        """libpq's word for the way."""
        return "require" if self.way.tls else "disable"

    @property
    def url(self) -> str:
        """Everything but how to encrypt."""
        return f"//{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def environment(self) -> dict[str, str]:
        """What libpq and most drivers read; nothing else of ours that begins with PG."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST", "VIRTUAL_ENV"))}
        settings = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode,
        }
        return clean | settings | ({"PGMAXPROTOCOLVERSION": "latest"} if self.way.latest else {})


@contextlib.contextmanager
def target(way: Way, route: str, setup: str) -> Iterator[Target]:
    """A new server, and pgtrace before it where the route says so; what pgtrace could not do or record ends in a line on stderr."""
    with tempfile.TemporaryDirectory(prefix="pgtrace-suites-") as directory, _server(way) as server:
        scratch = Path(directory)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for statement in filter(None, setup.split(";")):
                connection.execute(statement.encode())
        if route == DIRECT:
            yield Target(way, server.port, server.password, scratch)
            return
        upstream = f"postgresql://{server.host}:{server.port}/?sslmode=disable"
        tls = DriverTls("end") if way.tls else DriverTls()
        with Recorder("127.0.0.1:0", upstream, tls=tls) as recorder:
            yield Target(way, recorder.port, server.password, scratch)
            for line in recorder.log.splitlines():
                print(f"  pgtrace: {line}", file=sys.stderr)


def _server(way: Way) -> EmbeddedServer:
    if not way.tls:
        return EmbeddedServer(BINARIES, settings=SETTINGS)
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    files = {
        "server.crt": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
        "server.key": issued.private_key_pem.bytes(),
    }
    return EmbeddedServer(BINARIES, settings=SETTINGS | {"ssl": "on"}, files=files)
