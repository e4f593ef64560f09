"""Where libpq would connect, asked of libpq itself: its parser for URLs, and connections it begins for services, environment and lists of hosts.

A connection is begun and not waited for: its settings are libpq's own answer, and what it refuses it refuses before any packet. Hosts are addresses of this
machine, so that no resolver is asked.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from pgtrace import conninfo
from pgtrace.address import Upstream, parse_upstream
from pgtrace.errors import AddressError

PLACE = tuple(conninfo.VARIABLES)
REFUSED_BEFORE_CONNECTING = (
    "could not match",
    "invalid integer",
    "invalid port number",
    "invalid sslmode",
    "service",
    "invalid sslnegotiation",
    "weak sslmode",
)
"""What libpq says of settings it cannot use; anything else is about the connection."""

# URLs, without an environment.

PIECES = st.sampled_from(
    ["db", "localhost", "10.0.0.1", "[::1]", "[fe80::1%25eth0]", "%2Frun%2Fpg", "%40abstract", "h%20x", "", "caf%C3%A9", "é"]
)  # fmt: skip
PORTS = st.sampled_from(["", ":", ":5433", ":%35432"])
USERS = st.sampled_from(["", "@", "me@", "me:se%3Acret@", "me:@", "me:a:b@", ":x@"])
PARAMETERS = st.sampled_from(
    ["host=/run", "host=", "port=1", "port=1,2", "hostaddr=::1", "sslmode=require", "ssl=true", "requiressl=1", "requiressl=0", "service=s", "sslmode=%20a",
     "application_name=a%26b", "sslrootcert=/x%2Fy", "dbname=z", "user=other"]
)  # fmt: skip


@st.composite
def urls(draw: st.DrawFn) -> str:
    hosts = ",".join(host + port for host, port in draw(st.lists(st.tuples(PIECES, PORTS), max_size=3)))
    path = draw(st.sampled_from(["", "/", "/shop", "/sh%6Fp#x"]))
    parameters = "&".join(draw(st.lists(PARAMETERS, max_size=3)))
    question = draw(st.sampled_from(["?", "?", ""])) if not parameters else "?"
    return draw(st.sampled_from(conninfo.SCHEMES)) + draw(USERS) + hosts + path + question + parameters


def libpqs_reading(url: str) -> dict[str, str] | None:
    """What psycopg's conninfo_to_dict() gives, for bytes that are no UTF-8 too."""
    try:
        options = pq.Conninfo.parse(url.encode())
    except psycopg.OperationalError:
        return None
    return {option.keyword.decode(): option.val.decode("utf-8", "surrogateescape") for option in options if option.val is not None}


@settings(max_examples=500)
@given(urls())
def test_a_url_says_what_libpq_reads(url: str) -> None:
    expected = libpqs_reading(url)
    assert expected is not None
    assert conninfo.url_settings(url) == expected


@settings(max_examples=500)
@given(st.text("a:/?@[],&=%25#é", max_size=14))
@example("h?application_name=a@b")
@example("u@h@x")
@example("[::1]x")
@example("h?&")
@example("h?a=b=c")
@example("h%00")
@example("[]")
def test_any_url_is_read_as_libpq_reads_it_or_refused_where_libpq_does(rest: str) -> None:
    url = f"postgresql://{rest}"
    expected = libpqs_reading(url)
    try:
        found = conninfo.url_settings(url)
    except AddressError as error:
        assert expected is None or "IPv6" in error.reason  # noqa: PT017 - libpq sees such a port only when it connects
    else:
        unknown = set(found) - {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
        assert found == expected or unknown


def test_other_drivers_words_are_understood_or_passed_over() -> None:
    assert conninfo.url_settings("postgresql://h?ssl=verify-full&server_settings=x")["sslmode"] == "verify-full"
    assert "sslmode" not in conninfo.url_settings("postgresql://h?ssl=false")


# With services and the environment: what a connection of libpq begins with.


@contextmanager
def environment(environ: Mapping[str, str]) -> Iterator[None]:
    """These PG* variables and no other; libpq reads the process's own."""
    before = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    for name in before:
        del os.environ[name]
    os.environ.update(environ)
    try:
        yield
    finally:
        for name in environ:
            os.environ.pop(name, None)
        os.environ.update(before)


def libpqs_connection(url: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The settings of a connection libpq begins, None where it refuses them."""
    with environment(environ):
        connection = pq.PGconn.connect_start(url.encode())
    try:
        refused = connection.error_message.decode().splitlines()[:1] if connection.status == pq.ConnStatus.BAD else []
        if refused and any(words in refused[0] for words in REFUSED_BEFORE_CONNECTING):
            return None
        return {option.keyword.decode(): option.val.decode() for option in connection.info if option.val is not None}
    finally:
        connection.finish()


def as_lists(upstream: Upstream) -> list[tuple[str, str, str]]:
    return [(host.name, host.hostaddr or "", str(host.port)) for host in upstream.hosts]


def libpqs_hosts(found: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """How the settings of a connection go together, as libpq's manual has it; without a host ours is localhost."""
    names, addresses, ports = (found[key].split(",") if found.get(key) else [] for key in ("host", "hostaddr", "port"))
    count = len(addresses or names or [""])
    ports = ports * count if len(ports) == 1 else ports or [""] * count
    return [
        (name or address or "localhost", address, port.strip() or "5432")
        for name, address, port in zip(names or [""] * count, addresses or [""] * count, ports, strict=True)
    ]


HOSTS = st.sampled_from(["127.0.0.1", "::1", "/no/such", "@none", "127.0.0.1,::1", "/no/such,127.0.0.1", "127.0.0.1,,::1", ""])
ADDRESSES = st.sampled_from(["127.0.0.1", "::1,127.0.0.1", "127.0.0.1,,::1"])
SOME_PORTS = st.sampled_from(["1", "2,3", "1,2,3", " 4 ", ",5", "x", "0", "70000"])
LINES = st.sampled_from(
    ["host=127.0.0.1", "host=::1,/no/such", "port=6", "port=7,8", "hostaddr=127.0.0.1", "  sslmode=require  ", "sslmode=allow", "user=me", "dbname=x=y",
     "# nothing", "",
     "[other]", "[s]", "port =9", "service=other", "nonsense", "sslrootcert=system"]
)  # fmt: skip
ENVIRONS = st.fixed_dictionaries(
    {},
    optional={
        "PGHOST": HOSTS,
        "PGHOSTADDR": ADDRESSES,
        "PGPORT": SOME_PORTS,
        "PGSSLMODE": st.sampled_from(["disable", "verify-full", "perhaps"]),
        "PGREQUIRESSL": st.sampled_from(["1", "0"]),
        "PGSSLROOTCERT": st.sampled_from(["system", "/no/such"]),
        "PGSERVICE": st.sampled_from(["s", "none"]),
    },
)
SSL_MODES = st.sampled_from(["prefer", "verify-ca"])
PARTS = st.fixed_dictionaries(
    {}, optional={"host": HOSTS, "hostaddr": ADDRESSES, "port": SOME_PORTS, "sslmode": SSL_MODES, "service": st.just("s")}
)


@settings(max_examples=400)
@given(PARTS, ENVIRONS, st.lists(LINES, max_size=8))
def test_url_service_and_environment_come_together_as_in_libpq(parts: dict[str, str], environ: dict[str, str], lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        service = Path(directory) / "services"
        service.write_text("[s]\n" + "\n".join(lines) + "\n")
        environ |= {"PGSERVICEFILE": str(service), "HOME": directory}
        url = "postgresql:///x?" + "&".join(f"{key}={value.replace(' ', '%20')}" for key, value in parts.items())
        expected = libpqs_connection(url, environ)
        try:
            found = conninfo.settings(url, environ)
            upstream = parse_upstream(url, environ)
        except AddressError as error:
            assert expected is None, (error, expected)  # noqa: PT017 - many go together in no way
            return
    if expected is None:
        # A key libpq does not know may be a newer one's; what TLS cannot be had with is said when TLS is set up.
        assert "port =9" in lines or (found.get("sslrootcert") == "system" and upstream.sslmode != "verify-full")
        return
    for key in PLACE:
        assert (found.get(key) or "") == (expected.get(key) or "") or (key, expected[key]) in (
            ("port", "5432"),
            ("sslmode", "prefer"),
            ("sslnegotiation", "postgres"),
        ), key
    assert as_lists(upstream) == libpqs_hosts({key: found.get(key, "") for key in PLACE})
    assert upstream.sslmode == expected["sslmode"]


def test_the_files_of_a_service(tmp_path: Path) -> None:
    own, system = tmp_path / ".pg_service.conf", tmp_path / "etc" / "pg_service.conf"
    system.parent.mkdir()
    own.write_text("[mine]\nhost=127.0.0.1\nport=1\n")
    system.write_text("[mine]\nport=2\n[ours]\nhost=127.0.0.1\nport=3\n")
    environ = {"HOME": str(tmp_path), "PGSYSCONFDIR": str(system.parent)}
    for service, port in (("mine", "1"), ("ours", "3")):
        assert conninfo.settings(None, environ | {"PGSERVICE": service})["port"] == port
        assert (libpqs_connection("", environ | {"PGSERVICE": service}) or {})["port"] == port
    for wrong in ({"PGSERVICE": "none"}, {"PGSERVICE": "ours", "PGSERVICEFILE": str(tmp_path / "missing")}):
        assert libpqs_connection("", environ | wrong) is None
        with pytest.raises(AddressError, match=f"'{wrong['PGSERVICE']}': (no service of this name|the service file .* cannot be read)"):
            conninfo.settings(None, environ | wrong)
