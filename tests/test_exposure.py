"""Which listener lends an identity, source by source: where the client certificate comes from, what sslmode says, which hosts there are."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pgtrace import exposure
from pgtrace.address import Upstream, parse_listen, parse_upstream
from pgtrace.errors import AddressError
from pgtrace.exposure import Served, about, named_identity
from pgtrace.exposure import exposure as served_by
from pgtrace.parameters import SSL_MODES
from pgtrace.recorder import Recorder

OVER_TCP = ("host", "hosts", "a socket later")
"""Upstreams at which a certificate can be presented at all."""
PRIVATE, PORT, ABSTRACT, BEYOND = "/run/pgtrace", ":0", "@pgtrace", "*:0"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is, and abstract sockets are Linux'")


class Home:
    """A home directory with or without a certificate, and the ways to name one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / ".postgresql" / "postgresql.crt"
        self.environ = {"HOME": str(directory)}

    def leave_certificate(self) -> None:
        self.certificate.parent.mkdir()
        self.certificate.write_text("")

    def upstream(self, source: str, sslmode: str, hosts: str) -> Upstream:
        """The upstream with a certificate that comes from there."""
        said, environ = f"sslmode={sslmode}", dict[str, str](self.environ)
        match source:
            case "url":
                said += "&sslcert=/c.pem"
            case "PGSSLCERT":
                environ["PGSSLCERT"] = "/c.pem"
            case "service in the URL" | "PGSERVICE":
                (self.directory / ".pg_service.conf").write_text("[mine]\nsslcert=/c.pem\n")
                if source == "PGSERVICE":
                    environ["PGSERVICE"] = "mine"
                else:
                    said += "&service=mine"
            case "home":
                self.leave_certificate()
            case "keywords":
                return parse_upstream(f"host={hosts} sslmode={sslmode} sslcert=/c.pem", environ)
        return parse_upstream(f"postgresql:///?host={hosts}&{said}", environ)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


HOSTS: Mapping[str, str] = {"host": "db", "hosts": "db,other", "a socket later": "db,/run/postgresql", "a socket": "/run/postgresql"}
NAMED = ("url", "keywords", "PGSSLCERT", "service in the URL", "PGSERVICE")


@linux
@pytest.mark.parametrize(("source", "sslmode", "hosts"), list(itertools.product((*NAMED, "home", "none"), SSL_MODES, HOSTS)))
def test_each_source_under_each_sslmode(home: Home, source: str, sslmode: str, hosts: str) -> None:
    upstream = home.upstream(source, sslmode, HOSTS[hosts])
    presented = sslmode != "disable" and hosts in OVER_TCP
    if "/" in HOSTS[hosts] or (presented and source in NAMED):
        expected = Served.OWN
    elif presented and source == "home":
        expected = Served.OWN_GET_CERTIFICATE
    else:
        expected = Served.ALL
    assert {listen: served_by(parse_listen(listen), upstream, False) for listen in (PRIVATE, PORT, ABSTRACT)} == {
        PRIVATE: Served.ALL,
        PORT: expected,
        ABSTRACT: expected,
    }
    with pytest.raises(AddressError, match=r"'\*:0': other machines .* --allow-others"):
        served_by(parse_listen(BEYOND), upstream, False)
    assert {served_by(parse_listen(listen), upstream, True) for listen in (PRIVATE, PORT, ABSTRACT, BEYOND)} == {Served.ALL}
    assert bool(about(expected, upstream)) == (expected is not Served.ALL)
    assert (named_identity(upstream) != "") == (expected is Served.OWN)


@pytest.mark.parametrize("source", [*NAMED, "home"])
def test_sslcertmode_disable_presents_no_certificate(home: Home, source: str) -> None:
    home.environ["PGSSLCERTMODE"] = "disable"
    assert served_by(parse_listen(PORT), home.upstream(source, "require", "db"), False) is Served.ALL


def test_where_the_kernel_does_not_tell_a_port_before_an_identity_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "KERNEL_TELLS", False)
    for upstream in (parse_upstream("/run/postgresql", home.environ), home.upstream("url", "prefer", "db")):
        assert served_by(parse_listen(PRIVATE), upstream, False) is Served.ALL
        with pytest.raises(AddressError, match=r"listen on a socket \(unix:/dir\) or use --allow-others"):
            served_by(parse_listen(PORT), upstream, False)
    left = home.upstream("home", "prefer", "db")
    assert served_by(parse_listen(PORT), left, False) is Served.OWN_GET_CERTIFICATE
    assert "for no connection to this port" in about(Served.OWN_GET_CERTIFICATE, left)


@pytest.mark.parametrize(("listen", "allowed"), [("localhost:0", True), ("[::1]:0", True), ("127.0.0.2:0", True), ("db.example:0", False)])
def test_what_other_machines_can_reach(listen: str, allowed: bool) -> None:
    upstream = parse_upstream("db", {"HOME": "/nonexistent"})
    if allowed:
        assert served_by(parse_listen(listen), upstream, False) is Served.ALL
    else:
        with pytest.raises(AddressError, match="--allow-others"):
            served_by(parse_listen(listen), upstream, False)


def test_where_nobody_says_where_to_listen(home: Home) -> None:
    """A private socket before a named identity; a port before all else, a certificate that was only found included."""
    named, left = home.upstream("PGSSLCERT", "prefer", "db"), home.upstream("home", "prefer", "db")
    assert Recorder(None, named)._wants_socket
    assert Recorder(None, parse_upstream("db,/run/postgresql", home.environ))._wants_socket
    assert not Recorder(None, named, allow_others=True)._wants_socket
    assert not Recorder(None, left)._wants_socket
