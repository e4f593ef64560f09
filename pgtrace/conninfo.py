"""Addresses as users type them, parsed and written: libpq's URLs and keywords, and those of other
drivers.

An address has one of these forms, and only read() sees it as it was typed:

    postgresql://u:p@h/db?sslmode=require   a URL, split as libpq splits it; also
                                            postgresql+asyncpg:// and jdbc:postgresql://
    host=h user=u password='a b'            libpq's keywords
    db:5432,[::1],/run/postgresql           hosts alone

read() returns the secrets separately, and no error repeats a value: errors contain only names of
parameters, possible host names and positions. A text that can be read in two ways, because a
password in it is not percent-encoded, is refused. Otherwise a piece of the password would be looked
up as a host.

A URL is split as libpq does it, not by RFC 3986: several hosts, percent-encoded socket directories
(`%2Frun`), IPv6 addresses in brackets, and no fragment after `#`. Parameters override the part
before the `?`. An unknown parameter is refused, as in libpq. In a program's own URL it belongs to
the program's driver, except other drivers' parameters for TLS: these become sslmode (parameters.py)
or are refused.

Source: libpq 18, fe-connect.c (conninfo_uri_parse_options, conninfo_parse); the tests compare with
libpq itself.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pgtrace.errors import AddressError
from pgtrace.parameters import LEG, NO_TLS_WORDS, PARAMETERS, SECRETS, TLS_WORDS

DIALECTS: Final = ("postgresql", "postgres", "asyncpg", "psycopg", "cockroachdb")
"""The words that may come before `://` or, with the name of a driver, before `+`."""

_SCHEME: Final = re.compile(r"(jdbc:)?([a-z][a-z0-9.-]*)(?:\+[a-z0-9_.-]+)?://", re.IGNORECASE)
_USER: Final = re.compile(r"([^@/:]*)(?::([^@/]*))?@")
_HOST: Final = re.compile(r"(?:\[([^\]]*)\]|(?!\[)([^:/?,]*))(?::([^/?,]*))?(?=[,/?]|\Z)")
_PERCENT: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
BLANKS: Final = " \t\n\v\f\r"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,40}")
_HOSTS: Final = re.compile(
    r"(?:(?:unix:|(?=[/@]))[/@]?[^@=?&;#'\"\\,\s]*|[\w.:%\[\]-]*)(?:,(?:(?:unix:|(?=[/@]))[/@]?[^@=?&;#'\"\\,\s]*|[\w.:%\[\]-]*))*"
)
_ENCODE: Final = "in a password @ is written %40, / is %2F, ? is %3F, & is %26, a blank is %20"
_HOW: Final = "an address is db:5432, a directory of sockets, postgresql://host:port/ or host=... port=..."
_HARMLESS: Final = ("sslcompression", "sslresponsetimeout")
"""Parameters of other drivers with TLS-like names that protect nothing."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address as typed, parsed."""

    settings: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Settings by libpq's names, without secrets."""
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    """The secrets in the address, by libpq's names."""
    cut: tuple[str, ...] = ()
    """The names of secrets that the address contained and that have been removed."""
    hosts: str | None = None
    """Hosts alone, as typed. In that case only the encryption settings of the environment count."""
    foreign: tuple[str, ...] = ()
    """Other drivers' parameters about TLS that have no counterpart in libpq."""

    @property
    def everything(self) -> dict[str, str]:
        """Settings and secrets."""
        return {**self.settings, **self.secrets}

    def with_settings(self, settings: Mapping[str, str]) -> Address:
        """A copy with these settings and secrets instead."""
        apart = {key: value for key, value in settings.items() if key in SECRETS}
        return dataclasses.replace(self, settings={key: value for key, value in settings.items() if key not in SECRETS}, secrets=apart)

    def without_drivers_secrets(self) -> Address:
        """A copy without the secrets that only the driver needs to log in; the passphrase of the
        leg's key stays."""
        kept = {key: value for key, value in self.secrets.items() if key in LEG}
        return dataclasses.replace(self, secrets=kept, cut=tuple(key for key in self.secrets if key not in LEG))


def read(text: str, *, is_programs: bool = False) -> Address:
    """Parse an address. Raises AddressError, which contains no value of the text.

    `is_programs`: the address is a program's own, so parameters that libpq does not know belong to
    its driver.
    """
    text = text.strip(BLANKS)
    scheme = _SCHEME.match(text)
    if scheme is not None:
        found = _of_url(text[scheme.end() :], scheme[2], is_jdbc=scheme[1] is not None, is_programs=is_programs)
    elif "=" in text:
        found = Address(_of_keywords(text))
    elif _HOSTS.fullmatch(text):
        return Address(hosts=text)
    else:
        raise AddressError("", f"not an address of a server: {_HOW}")
    return found.with_settings(found.settings)


def keywords(settings: Mapping[str, str]) -> str:
    """Settings in libpq's keyword form."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in settings.items())


def as_url(text: str, address: Address) -> str | None:
    """The address as a URL that libpq's drivers accept; None for hosts alone, which have no user
    and no database."""
    if address.hosts is not None:
        return None
    text = text.strip(BLANKS)
    scheme = _SCHEME.match(text)
    return f"postgresql://{text[scheme.end() :]}" if scheme is not None and not scheme[1] else url(address.everything)


def url(settings: Mapping[str, str]) -> str:
    """Settings as a libpq URL."""
    rest = dict(settings)
    user, password, database = (urllib.parse.quote(rest.pop(key, ""), safe="") for key in ("user", "password", "dbname"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in rest.items())
    return f"postgresql://{login}/{database}{'?' if query else ''}{query}"


# URLs.


def _of_url(rest: str, scheme: str, *, is_jdbc: bool, is_programs: bool) -> Address:
    """Parse the part after `://`."""
    if scheme.lower() not in DIALECTS:
        raise AddressError("", "not a URL of PostgreSQL: it begins with postgresql://")
    found: dict[str, str] = {}
    user = _USER.match(rest)
    if user is not None:
        if "?" in user[0] and "=" in user[0].partition("?")[2]:
            raise AddressError("", f"the URL is ambiguous: it has an @ after its question mark: {_ENCODE}")
        found |= {"user": user[1], "password": user[2] or ""}
        rest = rest[user.end() :]
    hosts, ports, separator = [], [], ","
    while separator == ",":
        host = _HOST.match(rest)
        if host is None or host[1] == "":
            raise AddressError("", "not a URL: an IPv6 address is written [::1]")
        if ":" in (host[3] or ""):
            raise AddressError("", "not a URL: an IPv6 address is written [::1]:5432")
        hosts.append(host[1] or host[2])
        ports.append(host[3] or "")
        separator, rest = rest[host.end() : host.end() + 1], rest[host.end() + 1 :]
    database, _, parameters = rest.partition("?") if separator == "/" else ("", "", rest)
    if "@" in "".join([*hosts, *ports, database]) or (user is not None and separator == "?" and "@" in parameters):
        raise AddressError("", f"the URL is ambiguous: it has another @ after the user and the password: {_ENCODE}")
    found |= {"host": ",".join(hosts), "port": ",".join(ports), "dbname": database}
    decoded = _loosely_decoded if is_programs else _decoded
    found = {key: decoded(text) for key, text in found.items() if text}
    others: dict[str, str] = {}
    before = ""
    for parameter in parameters.removesuffix("&").split("&") if parameters else ():
        key, equals, value = parameter.partition("=")
        if not is_programs and (not equals or "=" in value):
            raise AddressError("", f"not a URL: after the question mark come parameters key=value, joined by &; {_ENCODE}")
        key, value = decoded(key), decoded(value)
        if key in PARAMETERS:
            found[key] = value
        elif key == "requiressl":
            found["sslmode"] = _of_requiressl(value)
        elif key == "ssl" and not is_jdbc and value.lower() in TLS_WORDS:
            found["sslmode"] = TLS_WORDS[value.lower()]
        elif is_programs or key in ("ssl", "sslaccept"):
            others[key] = value
        else:
            raise unknown(key, before, "in a URL")
        before = key
    return Address(found, foreign=_foreign(found, others, is_jdbc=is_jdbc))


def _foreign(found: dict[str, str], others: Mapping[str, str], *, is_jdbc: bool) -> tuple[str, ...]:
    """Translate other drivers' TLS parameters into `found`. Returns those without a libpq
    counterpart."""
    names = []
    for key, value in others.items():
        name, word = key.lower(), value.lower()
        if (
            not name.startswith(("ssl", "tls"))
            or name in _HARMLESS
            or (word in NO_TLS_WORDS and not (is_jdbc and name == "ssl" and not word))
        ):
            continue
        if name == "ssl" and is_jdbc and word in ("", *TLS_WORDS):  # pgjdbc verifies by default
            found.setdefault("sslmode", "verify-full")
        elif name == "sslaccept" and word == "accept_invalid_certs":  # Prisma's default
            continue
        # Here sslcert would be a root certificate.
        elif name == "sslaccept" and word == "strict" and "sslcert" not in found:
            found["sslmode"] = "verify-full"
            found.setdefault("sslrootcert", "system")
        else:
            names.append(key if _NAME.fullmatch(key) else "one")
    return tuple(names)


def _decoded(text: str) -> str:
    """The text without percent-encoding and without blanks around it."""

    def character(found: re.Match[str]) -> str:
        if not found[1] or found[1] == "00":
            raise AddressError("", "not a URL: a % needs two hexadecimal digits after it; a % itself is written %25")
        return chr(int(found[1], 16))

    text = text.strip(" ")
    if " " in text:
        raise AddressError("", "not a URL: write a space as %20")
    if "%" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return _PERCENT.sub(character, raw).encode("latin-1").decode("utf-8", "surrogateescape")


def _loosely_decoded(text: str) -> str:
    """The text with valid percent-encoding removed; the rest stays, because other drivers may
    accept it."""
    return urllib.parse.unquote(text, errors="surrogateescape")


# Keywords.


def _of_keywords(text: str) -> dict[str, str]:
    """Parse `host=h user=u password='a b'`."""
    found: dict[str, str] = {}
    position, before = 0, ""
    while position < len(text):
        key, equals, rest = text[position:].partition("=")
        key = key.strip(BLANKS)
        if not equals or any(blank in key for blank in BLANKS):
            place = f" after {before}" if before else ""
            raise AddressError("", f"the text{place} is not key=value; a value with blanks is written key='a b'")
        value, length = _value(rest, key)
        position = len(text) - len(rest) + length
        if key == "requiressl":
            found["sslmode"] = _of_requiressl(value)
        elif key in PARAMETERS:
            found[key] = value
        else:
            raise unknown(key, before, "in an address")
        before = key
    return found


def _value(text: str, key: str) -> tuple[str, int]:
    """A value, and the length of its text, including the blanks around it."""
    at = len(text) - len(text.lstrip(BLANKS))
    quoted = text[at : at + 1] == "'"
    at += quoted
    value = ""
    while at < len(text):
        character = text[at]
        at += 1
        if (character == "'" and quoted) or (character in BLANKS and not quoted):
            break
        if character == "\\":
            character, at = text[at : at + 1], at + 1
        value += character
    else:
        if quoted:
            place = key if key in PARAMETERS else "a keyword"
            raise AddressError("", f"the value of {place} begins with ' and has no closing '")
    rest = text[at:]
    return value, min(len(text), at + len(rest) - len(rest.lstrip(BLANKS)))


def _quoted(value: str) -> str:
    if value and not any(character in value for character in BLANKS + "'\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _of_requiressl(value: str) -> str:
    return "require" if value.startswith("1") else "prefer"


def unknown(key: str, before: str, where: str) -> AddressError:
    """An error about an unknown parameter. It does not contain the name if the name may be the rest
    of a secret before it."""
    if before in SECRETS or not _NAME.fullmatch(key):
        behind = f" after {before}" if before in PARAMETERS else ""
        return AddressError("", f"unknown parameter {where}{behind}; percent-encode &, = and blanks in a value, or quote it")
    import difflib

    near = difflib.get_close_matches(key.lower(), PARAMETERS, 1)
    return AddressError(
        "", f"unknown parameter {key} {where}" + (f"; did you mean {near[0]}?" if near else ": libpq has no such parameter, leave it out")
    )
