"""Where a program's environment leads it, before and after."""

from __future__ import annotations

import pytest

from pgtrace import environment
from pgtrace.address import parse_upstream
from pgtrace.conninfo import read
from pgtrace.errors import AddressError

URLS = [
    ("postgresql://me:p%40ss@db.example:5433/shop?sslmode=require&application_name=x", "postgresql://me:p%40ss@127.0.0.1:7000/shop?application_name=x"),
    ("postgresql+asyncpg://me@db/shop?ssl=require", "postgresql+asyncpg://me@127.0.0.1:7000/shop"),
    ("postgres:///shop?host=/run/postgresql&port=5433&user=me", "postgres://127.0.0.1:7000/shop?user=me"),
    ("postgresql://a:1,b:2/shop?target_session_attrs=any", "postgresql://127.0.0.1:7000/shop?target_session_attrs=any"),
    ("postgresql://[::1]:5433/shop#part", "postgresql://127.0.0.1:7000/shop#part"),
    ("mysql://me@db/shop", "mysql://me@db/shop"),
    ("not a url", "not a url"),
    ("postgresql://me@a:1,[::1]:5433/shop?hostaddr=10.0.0.1,::1", "postgresql://me@127.0.0.1:7000/shop"),
    ("postgresql://db", "postgresql://127.0.0.1:7000"),
    ("postgresql://%2Frun%2Fpg/shop?options=-c%20x%3D1&service", "postgresql://127.0.0.1:7000/shop?options=-c%20x%3D1"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), URLS)
def test_only_the_place_of_a_url_changes(before, after):
    assert environment.redirected_url(before, "127.0.0.1", 7000, {}) == after


def test_a_url_may_lead_to_a_socket():
    assert environment.redirected_url("postgresql://me@db/shop", "/tmp/x", 5432, {}) == "postgresql://me@/shop?host=%2Ftmp%2Fx&port=5432"
    assert environment.redirected_url("postgresql://me@db", "/tmp/x", 5432, {}) == "postgresql://me@/?host=%2Ftmp%2Fx&port=5432"


def test_what_would_lead_past_the_recorder_goes():
    before = {
        "PGHOST": "db",
        "PGHOSTADDR": "10.0.0.1",
        "PGSSLMODE": "verify-full",
        "PGUSER": "me",
        "PGREQUIRESSL": "1",
        "PGCHANNELBINDING": "require",
    }
    after = environment.redirected(before, "127.0.0.1", 7000, ("DATABASE_URL",))
    assert after == {"PGHOST": "127.0.0.1", "PGPORT": "7000", "PGSSLMODE": "disable", "PGUSER": "me", "PGCHANNELBINDING": "prefer"}


def test_a_services_other_settings_become_variables(tmp_path):
    service = tmp_path / "services"
    service.write_text("[shop]\nhost=db\nport=5433\nuser=from_service\ndbname=shop\npassword=secret\n")
    before = {"PGSERVICEFILE": str(service), "PGSERVICE": "shop", "PGUSER": "from_variable"}
    after = environment.redirected(before, "127.0.0.1", 7000, ())
    assert after["PGUSER"] == "from_service"
    assert after["PGDATABASE"] == "shop"
    assert after["PGPASSWORD"] == "secret"
    assert "PGSERVICE" not in after


def test_the_service_of_a_url_goes_and_what_it_says_besides_the_place_stays(tmp_path):
    service = tmp_path / "services"
    service.write_text("[shop]\nhost=db\nhostaddr=10.0.0.1\nport=5433\nsslmode=require\nuser=from service\npassword=s&cret\ndbname=shop\n")
    environ = {"PGSERVICEFILE": str(service)}
    after = environment.redirected_url("postgresql://me@/?service=shop&connect_timeout=3", "127.0.0.1", 7000, environ)
    assert after == "postgresql://me@127.0.0.1:7000/?connect_timeout=3&password=s%26cret&dbname=shop"
    upstream = parse_upstream("postgresql://me@/?service=shop", environ)
    assert (upstream.display, upstream.hosts[0].hostaddr, upstream.sslmode) == ("db:5433", "10.0.0.1", "require")
    with pytest.raises(AddressError, match="no such service"):
        environment.redirected_url("postgresql://?service=other", "127.0.0.1", 7000, environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"DATABASE_URL": "postgresql+psycopg://me@db:5433/shop"}, ("db", 5433)),
        ({"DATABASE_URL": "postgresql://db:5433/shop", "PGHOST": "other"}, ("other", 5432)),
        ({"DATABASE_URL": "sqlite:///file"}, ("localhost", 5432)),
        ({"DATABASE_URL": "postgres://a:1,b:2/shop"}, ("a", 1)),
        ({}, ("localhost", 5432)),
    ],
)
def test_the_upstream_is_where_the_program_would_have_gone(environ, expected):
    found = environment.upstream_of(None, environ, ("DATABASE_URL",))
    assert (found.host, found.port) == expected


def test_password_entries_of_the_upstream_are_repeated_for_the_recorder():
    entries = "# old\ndb:5432:shop:me:se\\:cret\nother:5432:*:*:no\n*:*:*:me:any\n"
    upstream = parse_upstream("db:5432", {})
    assert environment.repeated_passwords(entries, upstream, "::1", 7000).splitlines() == [
        "# old",
        "db:5432:shop:me:se\\:cret",
        "\\:\\:1:7000:shop:me:se\\:cret",
        "other:5432:*:*:no",
        "*:*:*:me:any",
        "\\:\\:1:7000:*:me:any",
    ]


def test_password_entries_of_every_host_are_repeated():
    entries = "a:1:*:*:one\nb:2:*:*:two\nlocalhost:5432:*:*:three\n/run:5432:*:*:four\nb:1:*:*:no\n"
    upstream = parse_upstream("a:1,b:2,/run", {})
    repeated = environment.repeated_passwords(entries, upstream, "/tmp/x", 7000).splitlines()
    assert [line for line in repeated if line.startswith("/tmp/x:7000:")] == [
        f"/tmp/x:7000:*:*:{word}" for word in ("one", "two", "three", "four")
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, "postgresql://bob:p%40w@[::1]:5432/shop?application_name=x"),
        ({"scheme": "postgresql+asyncpg"}, "postgresql+asyncpg://bob:p%40w@[::1]:5432/shop?application_name=x"),
        ({"user": "a b"}, "postgresql://a%20b@[::1]:5432/shop?application_name=x"),
        ({"user": "al", "password": "/:@"}, "postgresql://al:%2F%3A%40@[::1]:5432/shop?application_name=x"),
        ({"password": "new"}, "postgresql://bob:new@[::1]:5432/shop?application_name=x"),
        ({"database": "a/b?"}, "postgresql://bob:p%40w@[::1]:5432/a%2Fb%3F?application_name=x"),
    ],
)
def test_parts_of_a_url(parts, expected):
    assert environment.with_parts("postgresql://bob:p%40w@[::1]:5432/shop?application_name=x", **parts) == expected


def test_parts_come_before_parameters_that_would_override_them():
    url = "postgresql://h/shop?user=bob&p%61ssword=pw&dbname=x&application_name=y"
    assert environment.with_parts(url, user="al") == "postgresql://al@h/shop?dbname=x&application_name=y"
    assert environment.with_parts(url, password="new") == "postgresql://:new@h/shop?user=bob&dbname=x&application_name=y"
    assert environment.with_parts(url, database="z") == "postgresql://h/z?user=bob&p%61ssword=pw&application_name=y"


KEPT = "require_auth=scram-sha-256&schema=public&connection_limit=5&pool_max_conns=3&gssencmode=disable"
ADDRESSES = [
    (f"postgresql://me:p@db/shop?sslmode=verify-full&sslcrl=/x&requirepeer=y&ssl%5Fmin_protocol_version=TLSv1.3&{KEPT}", f"postgresql://me:p@127.0.0.1:7000/shop?{KEPT}"),
    ("postgresql://me@db/shop?h%6Fst=prod&p%6Frt=1", "postgresql://me@127.0.0.1:7000/shop"),
    ("POSTGRESQL://me@db/shop?sslmode=require", "POSTGRESQL://me@127.0.0.1:7000/shop"),
    ("jdbc:postgresql://db:5433/shop?user=me&password=p&ssl=true", "jdbc:postgresql://127.0.0.1:7000/shop?user=me&password=p"),
    ("host=db port=5433 user=me password='a b' sslmode=require", "host=127.0.0.1 port=7000 user=me password='a b'"),
    ("theme=dark", "theme=dark"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), ADDRESSES)
def test_an_address_keeps_what_is_the_programs_and_its_drivers(before, after):
    assert environment.redirected_url(before, "127.0.0.1", 7000, {}) == after


def test_what_protects_the_drivers_own_tls_stays_where_the_driver_verifies_the_server_itself():
    url = "postgresql://me@db/shop?sslmode=verify-full&sslrootcert=/r&sslcrl=/c&channel_binding=require"
    before = {
        "DATABASE_URL": url,
        "PGSSLMODE": "verify-full",
        "PGSSLCRL": "/c",
        "PGCHANNELBINDING": "require",
        "PGREQUIREPEER": "x",
        "PGHOST": "db",
    }
    after = environment.redirected(before, "127.0.0.1", 7000, ("DATABASE_URL",), tls="")
    assert after == {
        "DATABASE_URL": url.replace("db", "127.0.0.1:7000", 1),
        "PGSSLMODE": "verify-full",
        "PGSSLCRL": "/c",
        "PGCHANNELBINDING": "require",
        "PGHOST": "127.0.0.1",
        "PGPORT": "7000",
    }
    after = environment.redirected(before, "127.0.0.1", 7000, ("DATABASE_URL",), tls="/made.pem")
    assert after["DATABASE_URL"] == "postgresql://me@127.0.0.1:7000/shop?sslmode=verify-full"
    assert (after["PGSSLROOTCERT"], after["PGCHANNELBINDING"], "PGSSLCRL" in after) == ("/made.pem", "disable", False)


def test_on_a_plain_leg_no_variable_of_tls_is_left_that_would_not_go_with_it():
    before = {"PGSSLROOTCERT": "system", "PGREQUIREPEER": "postgres", "PGSSLNEGOTIATION": "direct", "PGREQUIREAUTH": "scram-sha-256"}
    after = environment.redirected(before, "127.0.0.1", 7000, ())
    assert after == {"PGHOST": "127.0.0.1", "PGPORT": "7000", "PGSSLMODE": "disable", "PGREQUIREAUTH": "scram-sha-256"}


def test_every_setting_of_a_service_that_has_a_variable_becomes_one(tmp_path):
    (tmp_path / "services").write_text("[shop]\nhost=db\nrequire_auth=scram-sha-256\nsslmode=require\ntarget_session_attrs=any\n")
    before = {"PGSERVICEFILE": str(tmp_path / "services"), "PGSERVICE": "shop"}
    after = environment.redirected(before, "127.0.0.1", 7000, ())
    assert (after["PGREQUIREAUTH"], after["PGTARGETSESSIONATTRS"], after["PGSSLMODE"]) == ("scram-sha-256", "any", "disable")


ASKED = [
    (None, {"A": "postgresql://db?sslmode=verify-full&sslcrl=/c"}, ("db", "verify-full", "/c")),
    ("other", {"A": "postgresql://db?sslmode=verify-full&sslcrl=/c"}, ("other", "verify-full", "/c")),
    ("other", {"A": "host=db sslmode=require"}, ("other", "require", None)),
    ("postgresql://other?sslmode=verify-ca", {"A": "postgresql://db?sslmode=require&sslcrl=/c"}, ("other", "verify-ca", "/c")),
    ("postgresql://other?sslmode=disable", {"A": "postgresql://db?sslmode=verify-full&sslcrl=/c"}, ("other", "disable", None)),
    ("other", {"A": "postgresql://db?sslmode=require", "B": "postgresql://db?sslmode=no-verify"}, ("other", "require", None)),
    (None, {"A": "postgresql://a?sslmode=prefer", "B": "postgresql://b?sslmode=verify-ca"}, ("a", "verify-ca", None)),
    (None, {"A": "postgresql://a?ssl=true", "PGHOST": "c", "PGSSLMODE": "allow"}, ("c", "require", None)),
    (None, {"A": "postgresql://a", "PGSSLMODE": "require"}, ("a", "require", None)),
    ("other", {"A": "postgresql://db?tlsmode=x"}, "'A': tlsmode is its driver's own parameter for TLS.*--upstream"),
    ("postgresql://other?sslmode=require", {"A": "postgresql://db?tlsmode=x"}, ("other", "require", None)),
    (
        None,
        {"A": "postgresql://a?sslrootcert=/x", "B": "postgresql://a?sslrootcert=/y"},
        "'B': its sslrootcert is not that of A.*--upstream",
    ),
    (None, {"A": "postgresql://a?gssencmode=require"}, "gssencmode=require"),
    (None, {"A": "postgresql://me:s@cret@a"}, "'A': the URL is ambiguous"),
]


@pytest.mark.parametrize(("asked", "environ", "expected"), ASKED)
def test_what_a_programs_addresses_ask_for_is_in_force_where_upstream_does_not_say_it(asked, environ, expected):
    address = read(asked) if asked is not None else None
    if isinstance(expected, str):
        with pytest.raises(AddressError, match=expected):
            environment.upstream_of(address, {"HOME": "/nowhere"} | environ, ("A", "B"))
        return
    found = environment.upstream_of(address, {"HOME": "/nowhere"} | environ, ("A", "B"))
    assert (found.host, found.sslmode, found.sslcrl) == expected


def test_what_a_service_asks_for_is_in_force_before_another_upstream(tmp_path):
    (tmp_path / "services").write_text("[shop]\nhost=db\nsslmode=verify-full\nsslcrl=/c\n")
    environ = {"HOME": "/nowhere", "PGSERVICEFILE": str(tmp_path / "services"), "PGSERVICE": "shop", "PGSSLMODE": "prefer"}
    for asked, host in ((None, "db"), (read("other"), "other"), (read("host=other"), "other")):
        found = environment.upstream_of(asked, environ, ())
        assert (found.host, found.sslmode, found.sslcrl) == (host, "verify-full", "/c")


def test_parts_of_what_is_no_url():
    with pytest.raises(AddressError, match="not a URL") as error:
        environment.with_parts("bob:secret@db", user="al")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PGHOST": "a", "DATABASE_URL": "postgresql://u:secret@b:5433/x?schema=y"}, "DATABASE_URL leads to b:5433"),
        ({"PGHOST": "a", "DATABASE_URL": "postgresql://u:secret@a/x"}, ""),
        ({"PGPORT": "5433", "DATABASE_URL": "postgresql:///x"}, ""),
        ({"DATABASE_URL": "postgresql://b/x"}, ""),
        ({"PGHOST": "a", "DATABASE_URL": "sqlite:///x"}, ""),
    ],
)
def test_an_address_that_leads_elsewhere_than_its_program_goes_is_reported(variables: dict[str, str], told: str) -> None:
    """PGHOST wins over DATABASE_URL: a program that reads the one and is led by the other must not end up on another server in silence."""
    upstream = environment.upstream_of(None, variables, ("DATABASE_URL",))
    lines = environment.about_upstream(None, upstream, variables, ("DATABASE_URL",))
    assert [line for line in lines if told] == lines
    assert bool(lines) is bool(told)
    assert all(told in line and "secret" not in line for line in lines)
