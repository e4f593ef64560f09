"""A password in an address, put together at random: no piece of it becomes a host, a name or a word of an error, and none is shown with the upstream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace import environment
from pgtrace.address import Upstream, parse_listen, parse_upstream
from pgtrace.conninfo import read
from pgtrace.errors import AddressError

PIECES = ("Zq7xKm3w", "Wv9pLt4r", "Jd5nBs8c")
SEPARATORS = st.sampled_from(
    [
        "@",
        "/",
        "?",
        "#",
        "&",
        "=",
        ":",
        ";",
        ",",
        " ",
        "'",
        '"',
        "\\",
        "%",
        "%zz",
        "%40",
        "+",
        "@/",
        "?@",
        "&=",
        "@@",
        "://",
        "[",
        "]",
        "|",
        "\n",
    ]
)
SCHEMES = st.sampled_from(
    [
        "postgresql://",
        "postgres://",
        "POSTGRESQL://",
        " postgresql://",
        "postgresql+asyncpg://",
        "jdbc:postgresql://",
        "mysql://",
        "",
        "psql ",
    ]
)
USERS = st.sampled_from(["u", "", "a.b", "u%40x"])
HOSTS = st.sampled_from(["h", "h:5432", "h,i:1", "[::1]", "%2Frun", "", "10.0.0.1"])
PATHS = st.sampled_from(["", "/", "/db", "/db?sslmode=require", "?sslmode=require", "/db?application_name=a%40b"])
KEYS = st.sampled_from(["password", "p%61ssword", "sslpassword", "scram_client_key", "oauth_client_secret"])
KEYWORDS = st.sampled_from(["password", "sslpassword", "Password", "PWD", "pasword"])


@st.composite
def passwords(draw: st.DrawFn) -> str:
    pieces = PIECES[: draw(st.integers(1, len(PIECES)))]
    return pieces[0] + "".join(draw(SEPARATORS) + piece for piece in pieces[1:])


@st.composite
def addresses(draw: st.DrawFn) -> str:
    password, host = draw(passwords()), draw(HOSTS)
    form = draw(st.sampled_from(["login", "query", "keywords", "quoted", "semicolons"]))
    if form == "login":
        return f"{draw(SCHEMES)}{draw(USERS)}:{password}@{host}{draw(PATHS)}"
    if form == "query":
        before, behind = draw(st.sampled_from([("", ""), ("sslmode=require&", ""), ("", "&sslmode=require"), ("user=u&", "&schema=x")]))
        return f"{draw(SCHEMES)}{host}{draw(st.sampled_from(['', '/', '/db']))}?{before}{draw(KEYS)}={password}{behind}"
    if form == "semicolons":
        return f"Server={host};User Id=u;Password={password}"
    value = f"'{password}" + draw(st.sampled_from(["'", ""])) if form == "quoted" else password
    return draw(
        st.sampled_from(
            [f"host=h {draw(KEYWORDS)}={value}", f"{draw(KEYWORDS)} = {value} host=h", f"host=h,i {draw(KEYWORDS)}={value} user=u"]
        )
    )


def shown(upstream: Upstream) -> str:
    """All that others see of an upstream: every field that repr() and the screen show, and what is connected to."""
    return f"{upstream!r} {upstream.display} {dataclasses.asdict(upstream) | {'sslpassword': ''}}"


def assert_kept(text: str, address: str) -> None:
    assert not [piece for piece in PIECES if piece in text], (text, address)


@settings(max_examples=3000)
@given(addresses())
@example("postgresql://u:Zq7xKm3w@Wv9pLt4r?Jd5nBs8c=1@h/db")
@example("host=h password=Zq7xKm3w Wv9pLt4r=Jd5nBs8c")
def test_what_is_typed(address: str) -> None:
    """As --upstream, and by mistake as LISTEN."""
    try:
        kept = read(address).without_drivers_secrets()
        assert_kept(f"{kept!r} {dict(kept.settings)} {kept.hosts}", address)
        assert_kept(shown(parse_upstream(address, {})), address)
    except AddressError as error:
        assert_kept(str(error), address)
    try:
        parse_listen(address)
    except AddressError as error:
        assert_kept(str(error), address)


@settings(max_examples=3000)
@given(addresses(), st.sampled_from(["DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSSLROOTCERT"]))
def test_what_is_in_the_environment(address: str, name: str) -> None:
    environ: Mapping[str, str] = {name: address, "HOME": "/nowhere"}
    try:
        upstream = environment.upstream_of(None, environ, ("DATABASE_URL",))
    except AddressError as error:
        assert_kept(str(error), address)
    else:
        if name != "PGSSLROOTCERT":  # a file's name, which is said where the file is missing
            assert_kept(shown(upstream), address)
