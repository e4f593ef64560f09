"""Where a URL or keywords lead: what other drivers write there, and what nobody knows. What libpq reads of them is asked of libpq itself in
live/test_conninfo_libpq.py.
"""

from __future__ import annotations

import pytest

from pgtrace import conninfo
from pgtrace.address import parse_upstream
from pgtrace.errors import AddressError


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://h?ssl=true", "require"),
        ("postgresql://h?ssl=1", "require"),
        ("postgresql://h?ssl=no-verify", "require"),
        ("postgresql://h?ssl=verify-full", "verify-full"),
        ("postgresql+asyncpg://h?ssl=prefer", "prefer"),
        ("jdbc:postgresql://h/db?ssl=true", "verify-full"),
        ("jdbc:postgresql://h/db?ssl", "verify-full"),
        ("jdbc:postgresql://h/db?ssl=true&sslmode=require", "require"),
        ("postgresql://h?sslmode=no-verify", "require"),
        ("postgresql://h?sslmode=require&sslaccept=strict", "verify-full"),
        ("postgresql://h?sslaccept=strict&sslmode=require", "verify-full"),
        ("postgresql://h?sslmode=require&sslaccept=accept_invalid_certs", "require"),
        ("postgresql://h?ssl=false", "prefer"),
        ("postgresql://h?schema=public&connection_limit=5&pool_max_conns=3&x", "prefer"),
    ],
)
def test_other_drivers_words_for_tls_mean_a_mode_at_least_as_strict(url: str, sslmode: str) -> None:
    assert parse_upstream(conninfo.read(url, is_programs=True), {"HOME": "/nowhere"}).sslmode == sslmode


@pytest.mark.parametrize(
    "parameter", ["tlsmode=verify", "sslfactory=org.x.Factory", "ssl=perhaps", "sslaccept=strict&sslcert=/x", "sslidentity=/x"]
)
def test_words_for_tls_that_nobody_here_knows_are_refused_by_name_unless_an_sslmode_is_said(parameter: str) -> None:
    name = parameter.partition("=")[0]
    read = conninfo.read(f"postgresql://h?{parameter}", is_programs=True)
    with pytest.raises(AddressError, match=rf"^{name} is another driver's parameter"):
        parse_upstream(read, {})
    with pytest.raises(AddressError, match=name):
        parse_upstream(f"postgresql://h?{parameter}", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://h?ssslmode=verify-full", "unknown parameter ssslmode in a URL; did you mean sslmode?"),
        ("postgresql://h?SSLMODE=verify-full", "unknown parameter SSLMODE in a URL; did you mean sslmode?"),
        ("postgresql://h?schema=public", "unknown parameter schema in a URL: libpq has no such parameter, leave it out"),
        ("host=h sslrootcrt=/x", "unknown parameter sslrootcrt in an address; did you mean sslrootcert?"),
        ("postgresql://h?password=one&two=three", "unknown parameter in a URL after password; percent-encode"),
        ("host=h password=one two=three", "unknown parameter in an address after password; percent-encode"),
        ("host=h password=one two", "the text after password is not key=value"),
    ],
)
def test_unknown_parameters_are_refused_by_name_and_never_by_value(text: str, expected: str) -> None:
    with pytest.raises(AddressError) as raised:
        conninfo.read(text)
    assert str(raised.value).startswith(expected) or str(raised.value).endswith(expected)
    assert not {"one", "two", "three", "verify-full", "/x"} & set(str(raised.value).split())
