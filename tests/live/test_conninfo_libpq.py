"""Where libpq would connect, asked of libpq itself: its parser for URLs, and connections it begins
for services, environment and lists of hosts.

A connection is begun and not waited for: its settings are libpq's own answer, and what it refuses
it refuses before any packet. Hosts are addresses of this machine, so that no resolver is asked.
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

from pgtrace import conninfo, parameters, services
from pgtrace.address import Upstream, parse_upstream
from pgtrace.errors import AddressError

PLACE = tuple(services.VARIABLES)
DEFAULTS = {"sslcertmode": "allow"} | {
    option.keyword.decode(): option.compiled.decode() for option in pq.Conninfo.get_defaults() if option.compiled is not None
}
REFUSED_BEFORE_CONNECTING = (
    "could not match",
    "invalid integer",
    "invalid port number",
    "invalid sslmode",
    "service",
    "invalid sslnegotiation",
    "weak sslmode",
    "invalid gssencmode",
    "gssencmode value",
    "invalid channel_binding",
    "invalid sslcertmode",
    'invalid "ssl_m',
    "invalid SSL protocol version range",
)
"""What libpq says of settings it cannot use; anything else is about the connection."""

# URLs, without an environment.

PIECES = st.sampled_from(
    ["db", "localhost", "10.0.0.1", "[::1]", "[fe80::1%25eth0]", "%2Frun%2Fpg", "%40abstract", "h%20x", "", "caf%C3%A9", "é"]
)  # fmt: skip
PORTS = st.sampled_from(["", ":", ":5433", ":%35432"])
USERS = st.sampled_from(["", "@", "me@", "me:se%3Acret@", "me:@", "me:a:b@", ":x@"])
PARAMETERS = st.sampled_from(
    ["host=/run", "host=", "port=1", "port=1,2", "hostaddr=::1", "sslmode=require", "ssl=true", "requiressl=1", "requiressl=0",
    "service=s", "sslmode=%20a",
     "application_name=a%26b", "sslrootcert=/x%2Fy", "dbname=z", "user=other"]
)  # fmt: skip


@st.composite
def urls(draw: st.DrawFn) -> str:
    hosts = ",".join(host + port for host, port in draw(st.lists(st.tuples(PIECES, PORTS), max_size=3)))
    path = draw(st.sampled_from(["", "/", "/shop", "/sh%6Fp#x"]))
    parameters = "&".join(draw(st.lists(PARAMETERS, max_size=3)))
    question = draw(st.sampled_from(["?", "?", ""])) if not parameters else "?"
    return draw(st.sampled_from(("postgresql://", "postgres://"))) + draw(USERS) + hosts + path + question + parameters


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
    assert conninfo.read(url).everything == expected


TWO_READINGS = ("IPv6", "ambiguous")
"""What is refused beyond libpq: a port it sees to be none only when it connects, and a piece of a
password that it would take for a host or a database."""


@settings(max_examples=500)
@given(st.text("a:/?@[],&=%25#é ", max_size=14))
@example("h?application_name=a@b")
@example("u@h@x")
@example("[::1]x")
@example("h?&")
@example("h?a=b=c")
@example("h%00")
@example("[]")
def test_any_url_is_read_as_libpq_reads_it_or_refused_where_libpq_does(rest: str) -> None:
    url = f"postgresql://{rest.rstrip()}"
    expected = libpqs_reading(url)
    try:
        found = conninfo.read(url).everything
    except AddressError as error:
        assert expected is None or any(words in error.reason for words in TWO_READINGS)  # noqa: PT017
    else:
        assert found == expected


# Keywords.

WORDS = st.sampled_from(
    ["host=h", "host = h", "port=5433", "user=me", "password='a b'", r"password='it\'s'", r"password=a\ b", "dbname=", "dbname=''",
    "sslmode=require",
     "requiressl=1", "hostaddr=::1", "hosst=h", "nonsense", "='x'", "password='open", "options='-c a=b'", "service=s"]
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(WORDS, min_size=1, max_size=4), st.sampled_from([" ", "  ", "\n", "\t"]))
@example(["password='a'host=h"], "")
def test_keywords_are_read_as_libpq_reads_them_or_refused_where_libpq_does(words: list[str], blank: str) -> None:
    text = blank.join(words)
    expected = libpqs_reading(text)
    try:
        address = conninfo.read(text)
    except AddressError:
        assert expected is None or "=" not in text
    else:
        assert address.everything == expected or address.hosts is not None
        assert not {"password"} & set(address.settings)


@given(st.dictionaries(st.sampled_from(["host", "user", "password", "dbname", "options"]), st.text("ab '\\=@é", max_size=6), min_size=1))
def test_keywords_that_are_written_are_read_again(said: dict[str, str]) -> None:
    written = conninfo.keywords(said)
    assert conninfo.read(written).everything == said == libpqs_reading(written)


def test_the_table_of_parameters_is_libpqs() -> None:
    """A parameter that is new in libpq fails here, until somebody says what becomes of it."""
    theirs = {
        option.keyword.decode(): (option.envvar.decode() if option.envvar else None, option.dispchar == b"*" or b"scram" in option.keyword)
        for option in pq.Conninfo.get_defaults()
    }
    assert {key: (one.variable, one.is_secret) for key, one in parameters.PARAMETERS.items()} == theirs


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
    ["host=127.0.0.1", "host=::1,/no/such", "port=6", "port=7,8", "hostaddr=127.0.0.1", "  sslmode=require  ", "sslmode=allow",
    "user=me", "dbname=x=y",
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
        "PGSSLMINPROTOCOLVERSION": st.sampled_from(["TLSv1.3", "tlsv1", "SSLv3"]),
        "PGGSSENCMODE": st.sampled_from(["disable", "prefer"]),
        "PGCHANNELBINDING": st.sampled_from(["prefer", "require", "perhaps"]),
        "PGSSLCERTMODE": st.sampled_from(["disable", "allow"]),
        "PGREQUIREPEER": st.just("nobody"),
    },
)
SSL_MODES = st.sampled_from(["prefer", "verify-ca"])
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "host": HOSTS,
        "hostaddr": ADDRESSES,
        "port": SOME_PORTS,
        "sslmode": SSL_MODES,
        "service": st.just("s"),
        "ssl_max_protocol_version": st.sampled_from(["TLSv1.2", ""]),
        "sslcrl": st.just("/no/such.crl"),
        "sslsni": st.sampled_from(["0", "1", ""]),
        "gssencmode": st.sampled_from(["prefer", "disable", "perhaps"]),
        "sslcertmode": st.sampled_from(["disable", "perhaps"]),
    },
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
            found = services.settings(url, environ)
            upstream = parse_upstream(url, environ)
        except AddressError as error:
            assert expected is None, (error, expected)  # noqa: PT017 - many go together in no way
            return
    if expected is None:
        # What TLS cannot be had with is said when TLS is set up.
        assert found.get("sslrootcert") == "system"
        assert upstream.sslmode != "verify-full"
        return
    for key in PLACE:
        assert (found.get(key) or DEFAULTS.get(key, "")) == (expected.get(key) or DEFAULTS.get(key, "")), key
    assert as_lists(upstream) == libpqs_hosts({key: found.get(key, "") for key in PLACE})
    assert upstream.sslmode == expected["sslmode"]


def test_the_files_of_a_service(tmp_path: Path) -> None:
    own, system = tmp_path / ".pg_service.conf", tmp_path / "etc" / "pg_service.conf"
    system.parent.mkdir()
    own.write_text("[mine]\nhost=127.0.0.1\nport=1\n")
    system.write_text("[mine]\nport=2\n[ours]\nhost=127.0.0.1\nport=3\n")
    environ = {"HOME": str(tmp_path), "PGSYSCONFDIR": str(system.parent)}
    for service, port in (("mine", "1"), ("ours", "3")):
        assert services.settings(None, environ | {"PGSERVICE": service})["port"] == port
        assert (libpqs_connection("", environ | {"PGSERVICE": service}) or {})["port"] == port
    for wrong in ({"PGSERVICE": "none"}, {"PGSERVICE": "ours", "PGSERVICEFILE": str(tmp_path / "missing")}):
        assert libpqs_connection("", environ | wrong) is None
        with pytest.raises(AddressError, match=f"'{wrong['PGSERVICE']}': (no such service in|the service file .* cannot be read)"):
            services.settings(None, environ | wrong)
