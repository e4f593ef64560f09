"""A PostgreSQL with TLS, its certificates, and roles for each way to authenticate.

`tls_server` takes SCRAM from everybody but these roles, all with the password `secret` and without rights beyond login:

- `md5_role`, `clear_role`, `trust_role`: MD5, cleartext password, trust.
- `tls_role`: SCRAM, and only over TLS.
- `certificate_role`: the client certificate of `certificates`, and only over TLS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
import trustme

from pgtrace.demo.embedded import EmbeddedServer
from tests.live.tls_servers import Certificates, postgres_with_tls


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority, other = trustme.CA(), trustme.CA()
    client = authority.issue_cert("certificate_role@example.org", common_name="certificate_role")
    server = authority.issue_cert("localhost", "127.0.0.1", "::1")
    files = Certificates(
        authority=directory / "authority.pem",
        other_authority=directory / "other.pem",
        client_certificate=directory / "client.pem",
        client_key=directory / "client.key",
        server_certificate=b"".join(blob.bytes() for blob in server.cert_chain_pems),
        server_key=server.private_key_pem.bytes(),
    )
    authority.cert_pem.write_to_path(str(files.authority))
    other.cert_pem.write_to_path(str(files.other_authority))
    files.client_certificate.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    client.private_key_pem.write_to_path(str(files.client_key))
    files.client_key.chmod(0o600)
    return files


@pytest.fixture(scope="session")
def tls_server(certificates: Certificates) -> Iterator[EmbeddedServer]:
    with postgres_with_tls(18, certificates) as server:
        yield server


@pytest.fixture(scope="module")
def tagged(server: EmbeddedServer) -> EmbeddedServer:
    """`server` with a table that takes the tags by which the tests of poolers know a round trip."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table tagged (tag text)")
    return server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many messages libpq's own trace agreed on, and how many logins ended as they do directly."""
    passed = terminalreporter.getreports("passed")
    compared = [
        number for report in passed if report.when == "call" for name, number in report.user_properties if name == "messages_compared"
    ]
    if compared:
        terminalreporter.write_line(f"libpq's own trace and pgtrace agree on {sum(compared)} messages of {len(compared)} sessions")
    logins: Counter[str] = Counter()
    for report in passed:
        logins.update({name: number for name, number in report.user_properties if report.when == "call" and name.startswith("PostgreSQL ")})  # type: ignore[misc]
    if logins:
        counted = ", ".join(f"{name}: {number}" for name, number in sorted(logins.items()))
        terminalreporter.write_line(f"logins through pgtrace that ended as they do directly, or as docs/tls.md says: {counted}")
