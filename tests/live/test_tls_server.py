"""The TLS fixture itself: each role gets in by its own way and by no other."""

from __future__ import annotations

import psycopg
import pytest

SECRET = {"password": "secret", "dbname": "postgres"}


def test_verified_tls_with_scram(tls_server, certificates):
    with psycopg.connect(tls_server.url("localhost"), sslmode="verify-full", sslrootcert=certificates.authority) as connection:
        assert connection.execute("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()").fetchone() == (True, "TLSv1.3")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(tls_server.url("localhost"), sslmode="verify-full", sslrootcert=certificates.other_authority)


@pytest.mark.parametrize("role", ["md5_role", "clear_role", "trust_role"])
def test_plain_roles(tls_server, role):
    where = {"host": tls_server.host, "port": tls_server.port, "user": role, "sslmode": "disable", "dbname": "postgres"}
    with psycopg.connect(password="secret", **where) as connection:
        assert connection.execute("select current_user").fetchone() == (role,)
    if role != "trust_role":
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(password="wrong", **where)


def test_roles_that_need_tls(tls_server, certificates):
    where = {"host": tls_server.host, "port": tls_server.port, **SECRET}
    with psycopg.connect(user="tls_role", sslmode="require", **where):
        pass
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        psycopg.connect(user="tls_role", sslmode="disable", **where)
    files = {"sslcert": certificates.client_certificate, "sslkey": certificates.client_key}
    with psycopg.connect(user="certificate_role", sslmode="require", **where, **files):
        pass
    with pytest.raises(psycopg.OperationalError, match="requires a valid client certificate"):
        psycopg.connect(user="certificate_role", sslmode="require", **where)
