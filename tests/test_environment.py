"""Where a program's environment leads it, before and after."""

from __future__ import annotations

import pytest

from pgtrace import environment
from pgtrace.address import parse_upstream
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
    with pytest.raises(AddressError, match="no service of this name"):
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


def test_parts_of_what_is_no_url():
    with pytest.raises(AddressError, match="no URL") as error:
        environment.with_parts("bob:secret@db", user="al")
    assert "secret" not in str(error.value)
