"""Where libpq would connect: what a URL, a connection service and the environment say, by libpq's rules.

A setting is taken from the URL, else from the service (`service=` in the URL, else PGSERVICE), else from its variable. `host`, `hostaddr` and `port` are
lists with commas: hosts are tried in order, host names and addresses stand beside each other, and one port is for all.

- A URL is taken apart as libpq does it, not as RFC 3986 has it: several hosts, percent-encoded socket directories (`%2Frun`), an IPv6 address in brackets, what
  stands after `#` is no fragment. Parameters override what stands before the `?`. Those libpq would refuse are passed over: they are for other drivers, whose
  `ssl=` is read as sslmode.
- Service files are PGSERVICEFILE or `~/.pg_service.conf`, then `pg_service.conf` in PGSYSCONFDIR. The first section of the name counts, and in it the first
  line of a key; keys and `=` have no space between them.
- An empty variable says nothing.

target_session_attrs and load_balance_hosts are the driver's business: whether a server is primary or standby is found out after authentication, which pgtrace
takes no part in.

Source: libpq 18, fe-connect.c (conninfo_uri_parse_options, parseServiceFile, conninfo_add_defaults, pqConnectOptions2); the tests ask libpq itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final

from pgtrace.errors import AddressError

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslnegotiation": "PGSSLNEGOTIATION",
}
"""Settings that say where a server is and how to encrypt, and their variables."""
SCHEMES: Final = ("postgresql://", "postgres://")

_USER: Final = re.compile(r"([^@/:]*)(?::([^@/]*))?@")
_HOST: Final = re.compile(r"(?:\[([^\]]*)\]|(?!\[)([^:/?,]*))(?::([^/?,]*))?(?=[,/?]|\Z)")
_PERCENT: Final = re.compile(r"%([0-9A-Fa-f]{2})?")


def settings(url: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Everything the URL and its service say, and what VARIABLES say besides. Raises AddressError."""
    found = url_settings(url) if url is not None else {}
    service = found.get("service", environ.get("PGSERVICE", ""))
    if service:
        found = service_settings(service, environ) | found
    for key, name in VARIABLES.items():
        if environ.get(name):
            found.setdefault(key, environ[name])
    if environ.get("PGREQUIRESSL", "").startswith("1"):
        found.setdefault("sslmode", "require")
    if found.get("sslrootcert") == "system":
        found.setdefault("sslmode", "verify-full")
    return found


def url_settings(url: str) -> dict[str, str]:
    """What a URL itself says. Raises AddressError, without a password in it."""
    shown = url.rpartition("@")[2]
    rest = url.partition("://")[2]
    found: dict[str, str] = {}
    user = _USER.match(rest)
    if user is not None:
        found |= {"user": user[1], "password": user[2] or ""}
        rest = rest[user.end() :]
    hosts, ports, separator = [], [], ","
    while separator == ",":
        host = _HOST.match(rest)
        if host is None or host[1] == "":
            raise AddressError(shown, "no URL: an IPv6 address is written [::1]")
        if ":" in (host[3] or ""):
            raise AddressError(host[0], "an IPv6 address is written [::1]:5432")
        hosts.append(host[1] or host[2])
        ports.append(host[3] or "")
        separator, rest = rest[host.end() : host.end() + 1], rest[host.end() + 1 :]
    database, _, parameters = rest.partition("?") if separator == "/" else ("", "", rest)
    found |= {"host": ",".join(hosts), "port": ",".join(ports), "dbname": database}
    found = {key: _decoded(text, shown) for key, text in found.items() if text}
    for parameter in parameters.removesuffix("&").split("&") if parameters else ():
        key, equals, value = parameter.partition("=")
        if not equals or "=" in value:
            raise AddressError(shown, "no URL: behind the question mark stand parameters key=value, joined by &")
        found |= [_parameter(_decoded(key, shown), _decoded(value, shown))]
    return found


def service_settings(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What the files say of a connection service, every key of it. Raises AddressError where none names it."""
    files = [environ.get("PGSERVICEFILE") or os.path.join(home(environ), ".pg_service.conf")]
    if environ.get("PGSYSCONFDIR"):
        files.append(os.path.join(environ["PGSYSCONFDIR"], "pg_service.conf"))
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="surrogateescape") as lines:
                text = lines.read()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and file != environ.get("PGSERVICEFILE"):
                continue
            raise AddressError(service, f"the service file {file} cannot be read: {error.strerror}") from None
        found = _section(service, file, text)
        if found is not None:
            return found
    raise AddressError(service, f"no service of this name in {' or '.join(files)} (PGSERVICE, or service= in a URL)")


def several(text: str) -> list[str]:
    """The elements of a list with commas; none of an empty text."""
    return text.split(",") if text else []


def home(environ: Mapping[str, str]) -> str:
    """The home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def _parameter(key: str, value: str) -> tuple[str, str]:
    """A parameter under its own name: the older and the other drivers' words for TLS are sslmode's."""
    if key == "requiressl":
        return "sslmode", "require" if value.startswith("1") else "prefer"
    if key == "ssl" and value in ("true", *SSL_MODES):
        return "sslmode", "require" if value == "true" else value
    return key, value


def _decoded(text: str, shown: str) -> str:
    """Percent-encoding undone."""

    def character(found: re.Match[str]) -> str:
        if not found[1] or found[1] == "00":
            raise AddressError(shown, f"no URL: {text[found.start() : found.start() + 3]} stands for no character")
        return chr(int(found[1], 16))

    if "%" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return _PERCENT.sub(character, raw).encode("latin-1").decode("utf-8", "surrogateescape")


def _section(service: str, file: str, text: str) -> dict[str, str] | None:
    """The first section of that name, None without one."""
    found: dict[str, str] | None = None
    for number, line in _lines(text):
        if line.startswith("["):
            if found is not None:
                break
            if line.startswith(f"[{service}]"):
                found = {}
        elif found is not None:
            key, equals, value = line.partition("=")
            if not equals or key in ("service", "servicefile"):
                raise AddressError(service, f"line {number} of the service file {file} is no setting")
            found.setdefault(key, value)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\n\v\f\r")
        if line and not line.startswith("#"):
            yield number, line
