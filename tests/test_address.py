"""LISTEN and UPSTREAM as a user types them, and which of them must not meet."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from pgtrace.address import Host, Leg, Listen, parse_listen, parse_upstream
from pgtrace.errors import AddressError
from pgtrace.exposure import check_legs, check_loop

LISTENS = [
    (":6433", Listen(("127.0.0.1", "::1"), 6433), ":6433"),
    ("6433", Listen(("127.0.0.1", "::1"), 6433), ":6433"),
    ("*:6433", Listen(("0.0.0.0", "::"), 6433), "*:6433"),
    ("0.0.0.0:0", Listen(("0.0.0.0",), 0), "0.0.0.0:0"),
    ("db.example", Listen(("db.example",), 6433), "db.example:6433"),
    ("[::1]:7000", Listen(("::1",), 7000), "[::1]:7000"),
    ("[fe80::1%eth0]", Listen(("fe80::1%eth0",), 6433), "[fe80::1%eth0]:6433"),
    ("unix:/run/x", Listen((), 6433, "/run/x"), "unix:/run/x/.s.PGSQL.6433"),
    ("/run/x/:7000", Listen((), 7000, "/run/x"), "unix:/run/x/.s.PGSQL.7000"),
]
UPSTREAMS = [
    ("db", [Host("db")], "db:5432"),
    ("db:5433", [Host("db", 5433)], "db:5433"),
    ("[::1]:5433", [Host("::1", 5433)], "[::1]:5433"),
    ("/var/run/postgresql", [Host("/var/run/postgresql", unix="/var/run/postgresql")], "unix:/var/run/postgresql/.s.PGSQL.5432"),
    ("unix:/run:5433", [Host("/run", 5433, unix="/run")], "unix:/run/.s.PGSQL.5433"),
    ("a:1,[::1],/run:3", [Host("a", 1), Host("::1"), Host("/run", 3, unix="/run")], "a:1,[::1]:5432,unix:/run/.s.PGSQL.3"),
    ("postgresql://u:p@a:1,b/shop?sslmode=require", [Host("a", 1), Host("b")], "a:1,b:5432"),
    ("postgresql://[::1]:5433", [Host("::1", 5433)], "[::1]:5433"),
    ("postgresql://%2Frun%2Fpg/shop", [Host("/run/pg", unix="/run/pg")], "unix:/run/pg/.s.PGSQL.5432"),
    ("postgresql:///shop?host=/run", [Host("/run", unix="/run")], "unix:/run/.s.PGSQL.5432"),
    ("postgresql://a,b?hostaddr=10.0.0.1,"
        "10.0.0.2&port=7", [Host("a", 7, hostaddr="10.0.0.1"), Host("b", 7, hostaddr="10.0.0.2")], "a:7,b:7"),
    ("postgresql://?hostaddr=10.0.0.1", [Host("10.0.0.1", hostaddr="10.0.0.1")], "10.0.0.1:5432"),
    ("postgresql://", [Host("localhost")], "localhost:5432"),
    (None, [Host("localhost")], "localhost:5432"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "listen", "shown"), LISTENS)
def test_where_to_listen(text: str, listen: Listen, shown: str) -> None:
    assert parse_listen(text) == listen
    assert listen.display == shown


@pytest.mark.parametrize(("text", "hosts", "shown"), UPSTREAMS)
def test_where_postgresql_is(text: str | None, hosts: list[Host], shown: str) -> None:
    upstream = parse_upstream(text, {})
    assert list(upstream.hosts) == hosts
    assert upstream.display == shown
    assert type(upstream).of({"hosts": [{"name": "x", "port": 1, "unix": None, "hostaddr": None}]}).hosts == (Host("x", 1),)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux'")
def test_abstract_sockets() -> None:
    assert parse_listen("unix:@pgtrace") == parse_listen("@pgtrace") == Listen((), 6433, "@pgtrace")
    assert parse_listen("@pgtrace:7000").display == "unix:@pgtrace/.s.PGSQL.7000"
    assert parse_upstream("@server:5433", {}).hosts == (Host("@server", 5433, unix="@server"),)
    assert parse_upstream("postgresql://%40server/", {}).hosts == (Host("@server", unix="@server"),)
    assert parse_upstream(None, {"PGHOST": "@server"}).display == "unix:@server/.s.PGSQL.5432"


def test_an_upstream_that_is_named_is_not_mixed_with_the_environment() -> None:
    environ = {"PGHOST": "other", "PGHOSTADDR": "10.0.0.9", "PGPORT": "7", "PGSSLMODE": "require", "PGSERVICE": "nowhere"}
    upstream = parse_upstream("db", environ)
    assert (upstream.hosts, upstream.sslmode) == ((Host("db"),), "require")


def test_a_url_is_read_with_the_environment_as_libpq_does() -> None:
    environ = {"PGHOST": "other", "PGPORT": "7", "PGSSLMODE": "require"}
    assert parse_upstream("postgresql:///shop", environ).hosts == (Host("other", 7),)
    assert parse_upstream("postgresql://db/shop?sslmode=disable", environ).hosts == (Host("db", 7),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b,c:1:2", "IPv6"),
        ("a,b:0", "'0' is not a port"),
        ("postgresql://a,b?port=1,2,3", "3 ports do not match 2 hosts"),
        ("postgresql://a,b,c?hostaddr=::1,::1", "3 host names do not match 2 addresses"),
        ("postgresql://u:secret@[::1/x", "not a URL"),
        ("postgresql://u:secret@a%zz", "two hexadecimal digits"),
        ("postgresql://u:secret@a?sslmode", "key=value"),
        ("postgresql://a:" + "9" * 5000, "not a port"),
        ("unix:here", "absolute path"),
        ("@" + "x" * 110, "shorter directory"),
    ],
)
def test_what_means_nothing_is_told_without_the_password(text: str, reason: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_upstream(text, {})
    assert reason in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_upstream_that_is_the_listener(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    same = [
        (":6433", "localhost:6433"),
        ("*:6433", "127.0.0.1:6433"),
        ("[::1]:6433", "127.0.0.1:1,[::1]:6433"),
        (f"unix:{tmp_path}/real", f"{tmp_path}/link:6433"),
    ]
    other = [(":6433", "localhost:5432"), (":6433", f"{tmp_path}:6433"), (f"unix:{tmp_path}/real", f"{tmp_path}:6433")]
    if sys.platform == "linux":
        same.append(("@x", "@x:6433"))
        other.append(("@x", "@y:6433"))
    for listen, upstream in same:
        with pytest.raises(AddressError, match="choose another"):
            check_loop(parse_listen(listen), parse_upstream(upstream, {}))
    for listen, upstream in other:
        check_loop(parse_listen(listen), parse_upstream(upstream, {}))


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        ([(":6433", "localhost:5432"), (":6434", "localhost:6432")], ""),
        ([(":6433", "localhost:6434"), (":6434", "localhost:5432")], ""),
        ([(":0", "localhost:5432"), (":0", "localhost:6432")], ""),
        ([(":6433", "localhost:5432"), ("127.0.0.1:6433", "localhost:6432")], "two legs listen there"),
        ([("unix:/run/x", "localhost:5432"), ("unix:/run/x", "localhost:6432")], "two legs listen there"),
        ([("*:6433", "localhost:5432"), ("[::1]:6433", "localhost:6432")], "two legs listen there"),
        ([(":6433", "localhost:6433"), (":6434", "localhost:5432")], "choose another"),
        ([(":6433", "localhost:6434"), (":6434", "localhost:6433")], "lead back"),
        ([(":1", "localhost:2"), (":2", "localhost:3"), (":3", "localhost:5432,localhost:1")], "lead back"),
        ([(":0", "db")] * 27, "27 legs at once: at most 26"),
    ],
)
def test_legs_that_go_together(legs: list[tuple[str, str]], reason: str) -> None:
    asked = [Leg(parse_listen(listen), parse_upstream(upstream, {})) for listen, upstream in legs]
    if reason:
        with pytest.raises(AddressError, match=reason):
            check_legs(asked)
    else:
        check_legs(asked)


def test_hosts_are_resolved_by_nobody_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "getaddrinfo", never)
    parse_upstream("somewhere.invalid,else.invalid", {})
    parse_listen("somewhere.invalid:1")


def test_an_upstream_says_whether_its_leg_presents_a_certificate(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    found = parse_upstream("db", environ)
    assert not found.presents_certificate
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "postgresql.crt").touch()
    found = parse_upstream("db", environ)
    assert (found.presents_certificate, found.sslcert_is_from_home) == (True, True)
    for text, more in (("postgresql://db?sslcert=/c", {}), ("db", {"PGSSLCERT": "/c"})):
        found = parse_upstream(text, environ | more)
        assert (found.presents_certificate, found.sslcert_is_from_home) == (True, False)
    assert not parse_upstream("postgresql://db?sslmode=disable&sslcert=/c", environ).presents_certificate
    assert not parse_upstream("postgresql:///?host=/run&sslcert=/c", environ).presents_certificate
