"""Settings of libpq that protect a connection, in force on the upstream leg: who gets in through
pgtrace, and how, is who gets in with libpq directly.

Each row is tried twice against a real server: by libpq itself with these settings, and by a driver
without any, through a recorder whose upstream has them.
"""

from __future__ import annotations

import datetime
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from pgtrace import conninfo, services
from pgtrace.address import Upstream, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.errors import AddressError
from pgtrace.recorder import Recorder
from tests.live.tls_servers import Certificates, postgres_with_tls

PASSPHRASE = "open sesame"
HOW = "select version from pg_stat_ssl where pid = pg_backend_pid()"
LOGIN = {"user": "postgres", "dbname": "postgres"}


@dataclass(frozen=True)
class Place:
    """A server with TLS, and files about its certificate."""

    server: EmbeddedServer
    certificates: Certificates
    directory: Path


def revocations(authority: trustme.CA, revoked: bytes | None) -> bytes:
    """A list of revoked certificates, signed by the authority: empty, or with this one in it."""
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    made = (
        x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now).next_update(now + datetime.timedelta(days=1))
    )
    if revoked is not None:
        serial = x509.load_pem_x509_certificate(revoked).serial_number
        made = made.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("leg")
    authority, other = trustme.CA(), trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    client = authority.issue_cert("certificate_role@example.org", common_name="certificate_role")
    names = ("authority.pem", "other.pem", "client.pem", "client.key")
    files = Certificates(
        *(directory / name for name in names),
        server_certificate=b"".join(blob.bytes() for blob in server.cert_chain_pems),
        server_key=server.private_key_pem.bytes(),
    )
    authority.cert_pem.write_to_path(str(files.authority))
    other.cert_pem.write_to_path(str(files.other_authority))
    files.client_certificate.write_bytes(client.cert_chain_pems[0].bytes())
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(PASSPHRASE.encode()))
    files.client_key.write_bytes(key.private_bytes(*form))
    files.client_key.chmod(0o600)
    (directory / "clean.crl").write_bytes(revocations(authority, None))
    (directory / "revoked.crl").write_bytes(revocations(authority, files.server_certificate))
    for name in ("clean", "revoked"):
        (directory / name).mkdir()
        (directory / name / f"{subject_hash(files.authority)}.r0").write_bytes((directory / f"{name}.crl").read_bytes())
    with postgres_with_tls(18, files) as running:
        yield Place(running, files, directory)


def subject_hash(certificate: Path) -> str:
    """What OpenSSL names the files of a directory by."""
    found = subprocess.run(["openssl", "x509", "-noout", "-hash", "-in", str(certificate)], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def directly(url: str, login: dict[str, str]) -> str:
    """How a login by libpq ends: the version of TLS it came by, `plain`, or `out`."""
    try:
        with psycopg.connect(url, connect_timeout=10, **login) as connection:
            return str((connection.execute(HOW).fetchone() or ("",))[0] or "plain")
    except psycopg.OperationalError:
        return "out"


def through(upstream: Upstream, login: dict[str, str]) -> str:
    """How it ends through a recorder before that upstream, for a driver that has no setting of its own."""
    with Recorder(None, upstream) as recorder:
        return directly(f"postgresql:///?host={quote(recorder.host, safe='')}&port={recorder.port}&sslmode=disable", login)


ROWS = [
    ({"sslmode": "verify-full", "sslrootcert": "authority.pem"}, {}, "TLSv1.3"),
    ({"sslmode": "verify-full", "sslrootcert": "authority.pem", "sslcrl": "clean.crl"}, {}, "TLSv1.3"),
    ({"sslmode": "verify-full", "sslrootcert": "authority.pem", "sslcrl": "revoked.crl"}, {}, "out"),
    ({"sslmode": "require", "sslrootcert": "authority.pem", "sslcrl": "revoked.crl"}, {}, "out"),
    ({"sslmode": "verify-ca", "sslrootcert": "authority.pem", "sslcrldir": "clean"}, {}, "TLSv1.3"),
    ({"sslmode": "verify-ca", "sslrootcert": "authority.pem", "sslcrldir": "revoked"}, {}, "out"),
    ({"sslmode": "require", "ssl_max_protocol_version": "TLSv1.2"}, {}, "TLSv1.2"),
    ({"sslmode": "require", "ssl_min_protocol_version": "tlsv1.3"}, {}, "TLSv1.3"),
    ({"sslmode": "require", "sslsni": "0"}, {}, "TLSv1.3"),
    ({"sslmode": "require", "sslcert": "client.pem", "sslkey": "client.key", "sslpassword": PASSPHRASE}, {"user": "certificate_role"},
    "TLSv1.3"),
    (
        {"sslmode": "require", "sslcert": "client.pem", "sslkey": "client.key", "sslpassword": PASSPHRASE, "sslcertmode": "disable"},
        {"user": "certificate_role"},
        "out",
    ),
    ({"sslmode": "require", "gssencmode": "prefer", "channel_binding": "prefer", "require_auth": "scram-sha-256"}, {}, "TLSv1.3"),
    ({"sslmode": "prefer", "gssencmode": "disable", "channel_binding": "disable"}, {}, "TLSv1.3"),
    ({"sslmode": "disable", "sslcrl": "revoked.crl", "sslrootcert": "authority.pem"}, {}, "plain"),
]  # fmt: skip


def said(place: Place, settings: dict[str, str]) -> dict[str, str]:
    """The settings, with the files they name."""
    files = ("sslrootcert", "sslcrl", "sslcrldir", "sslcert", "sslkey")
    return {key: str(place.directory / value) if key in files else value for key, value in settings.items()}


@pytest.mark.parametrize(("settings", "login", "expected"), ROWS)
@pytest.mark.parametrize("way", ["URL", "keywords", "variables", "service"])
def test_a_setting_is_in_force(
    place: Place, settings: dict[str, str], login: dict[str, str], expected: str, way: str, tmp_path: Path
) -> None:
    where = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(place.server.port)}
    address = where | said(place, settings)
    login = LOGIN | login | {"password": place.server.password}
    text: str | None = conninfo.url(address)
    assert text is not None
    assert directly(text, login) == expected
    environ = {"HOME": str(tmp_path)}
    if way == "keywords":
        text = conninfo.keywords(address)
    elif way == "service":
        (tmp_path / "services").write_text("[s]\n" + "".join(f"{key}={value}\n" for key, value in address.items()))
        text, environ = None, environ | {"PGSERVICEFILE": str(tmp_path / "services"), "PGSERVICE": "s"}
    elif way == "variables":
        names = services.VARIABLES
        environ |= {names[key]: value for key, value in address.items() if key in names}
        rest = {key: value for key, value in address.items() if key not in names}
        text = conninfo.url(rest) if rest else None
    assert through(parse_upstream(text, environ), login) == expected


def test_the_lowest_version(place: Place) -> None:
    """A server that goes no further than TLS 1.2."""
    admin = psycopg.connect(place.server.url(), autocommit=True)
    login = LOGIN | {"password": place.server.password}
    url = f"postgresql://localhost:{place.server.port}/?hostaddr=127.0.0.1&sslmode=require&ssl_min_protocol_version="
    try:
        admin.execute("alter system set ssl_max_protocol_version = 'TLSv1.2'")
        admin.execute("select pg_reload_conf()")
        while admin.execute("show ssl_max_protocol_version").fetchone() != ("TLSv1.2",):
            pass
        for lowest, expected in (("TLSv1.2", "TLSv1.2"), ("TLSv1.3", "out")):
            assert directly(url + lowest, login) == through(parse_upstream(url + lowest, {}), login) == expected
    finally:
        admin.execute("alter system reset ssl_max_protocol_version")
        admin.execute("select pg_reload_conf()")
        admin.close()


def test_requirepeer(place: Place) -> None:
    directory = place.server.socket_directory
    owner = pwd.getpwuid(os.stat(directory / f".s.PGSQL.{place.server.port}").st_uid).pw_name
    login = LOGIN | {"password": place.server.password}
    for name, expected in ((owner, "plain"), ("daemon", "out")):
        url = f"postgresql:///?host={quote(str(directory), safe='')}&port={place.server.port}&requirepeer={name}"
        assert directly(url, login) == through(parse_upstream(url, {}), login) == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"gssencmode": "require"}, "gssencmode=require"),
        ({"sslcertmode": "require"}, "sslcertmode=require"),
        ({"channel_binding": "require"}, "channel_binding=require"),
        ({"sslcrl": "missing.crl", "sslrootcert": "authority.pem"}, "missing.crl': cannot use this list of revoked certificates"),
        ({"sslcrldir": "missing", "sslrootcert": "authority.pem"}, "missing': cannot use this list of revoked certificates"),
        ({"sslcrl": "clean.crl"}, "checked only if certificates are verified"),
        ({"sslmode": "verify-full", "sslrootcert": "authority.pem", "sslsni": "0"}, "sslsni=0"),
        ({"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "TLSv1.2"}, "ssl_min_protocol_version is above"),
        ({"ssl_min_protocol_version": "SSLv3"}, "'ssl_min_protocol_version': use one of TLSv1, "),
    ],
)
def test_what_cannot_be_put_in_force_is_refused_by_name(place: Place, settings: dict[str, str], reason: str, tmp_path: Path) -> None:
    url = conninfo.url({"host": "localhost", "port": str(place.server.port)} | said(place, settings))
    with pytest.raises(AddressError, match=reason), Recorder(None, parse_upstream(url, {"HOME": str(tmp_path)})):
        pass


def run(environment: dict[str, str], *asked: str, program: str, quiet: bool = True) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "DATABASE_URL"}
    command = [sys.executable, "-m", "pgtrace", "run", *(["-q"] if quiet else []), *asked, "--", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment, check=False, timeout=60)


BY_URL = (
    f"import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute({HOW!r}).fetchone()[0], os.environ['DATABASE_URL'])"
)


@pytest.mark.parametrize("asks", [False, True])
def test_run_puts_what_it_takes_out_of_a_programs_url_in_force(place: Place, asks: bool) -> None:
    """With --upstream too, which here says nothing about TLS; what libpq does not know, and what
    the driver enforces itself, the program keeps."""
    server = place.server
    upstream = ("--upstream", f"localhost:{server.port}") if asks else ()
    for crl, expected in (("clean.crl", 0), ("revoked.crl", 1)):
        settings = said(place, {"sslmode": "verify-full", "sslrootcert": "authority.pem", "sslcrl": crl})
        own = {"sslmode": "verify-full", "require_auth": "scram-sha-256", **settings}
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in own.items())
        url = f"postgresql://postgres:{server.password}@localhost:{server.port}/postgres?{query}"
        found = run({"DATABASE_URL": url}, *upstream, program=BY_URL)
        assert (found.returncode != 0) == expected, found.stderr
        if expected:
            assert "certificate revoked" in found.stderr
        else:
            version, _, left = found.stdout.strip().partition(" ")
            assert version == "TLSv1.3"
            assert left.partition("?")[2] == "require_auth=scram-sha-256"


def test_run_says_why_the_way_to_an_upstream_is_encrypted(place: Place) -> None:
    variables = {"DATABASE_URL": "postgresql://elsewhere/?sslmode=require"}
    found = run(variables, "--upstream", f"localhost:{place.server.port}", program="pass", quiet=False)
    assert (
        "pgtrace: DATABASE_URL says sslmode=require, which also applies to --upstream; put sslmode=disable in --upstream to change that\n"
        in found.stderr
    )
    found = run(variables, "--upstream", f"postgresql://localhost:{place.server.port}/?sslmode=disable", program="pass", quiet=False)
    assert "holds for --upstream" not in found.stderr


def test_requirepeer_of_a_program_is_checked_by_pgtrace(place: Place) -> None:
    directory = str(place.server.socket_directory)
    owner = pwd.getpwuid(os.stat(Path(directory) / f".s.PGSQL.{place.server.port}").st_uid).pw_name
    program = "import psycopg; psycopg.connect('')"
    variables = {"PGHOST": directory, "PGPORT": str(place.server.port), "PGUSER": "postgres", "PGPASSWORD": place.server.password}
    assert run(variables | {"PGREQUIREPEER": owner}, program=program).returncode == 0
    found = run(variables | {"PGREQUIREPEER": "daemon"}, program=program)
    assert found.returncode == 1
    assert f"requirepeer=daemon, but the server runs as {owner}" in found.stderr
