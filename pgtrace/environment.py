"""The environment of a program that is to reach PostgreSQL through the recorder.

Programs find their server in three ways: libpq's variables (PGHOST, PGPORT, and PGHOSTADDR or PGSERVICE, which win over them), a URL in DATABASE_URL or
a name of their own, and what is written into their code. The first two are redirected here; the last cannot be.

- PGHOST and PGPORT name the recorder; PGHOSTADDR and PGSERVICE go, and what else the service said (user, database, password ...) becomes PGUSER, PGDATABASE
  and so on: in libpq a service wins over the environment.
- The driver's leg is plain: an sslmode that insists on TLS moves to the upstream leg, and the program gets `disable`.
- A URL keeps its user, password, database and options; only where it leads changes.
- Passwords are looked up by host and port: each entry of the password file that fits the upstream is repeated for the recorder, in a private copy.

Nothing is started here; it is all text in, text out.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping

from pgtrace.address import DEFAULT_PORT, Upstream, parse_upstream, service_settings, split_url

INSISTING = ("require", "verify-ca", "verify-full")
"""sslmodes under which a driver refuses a plain connection."""
_LOCATION = frozenset({"host", "hostaddr", "port"})
_TLS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "sslcrl", "channel_binding", "requiressl"})
_SERVICE_VARIABLES = {
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "client_encoding": "PGCLIENTENCODING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "passfile": "PGPASSFILE",
}


def upstream_of(text: str | None, environ: Mapping[str, str], url_names: tuple[str, ...]) -> Upstream:
    """The upstream of a program: what was asked for, else where libpq's variables lead, else where its URL leads. Raises AddressError."""
    if text is not None or any(environ.get(name) for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")):
        return parse_upstream(text, environ)
    for name in url_names:
        uri = split_url(environ.get(name, ""), name)
        if uri.scheme.partition("+")[0] in ("postgresql", "postgres"):
            return parse_upstream(uri._replace(scheme="postgresql").geturl(), environ)
    return parse_upstream(None, environ)


def redirected(environ: Mapping[str, str], host: str, port: int, url_names: tuple[str, ...]) -> dict[str, str]:
    """The environment with everything that leads to PostgreSQL leading to the recorder. Raises AddressError for an unknown service."""
    changed = dict(environ)
    for key, value in service_settings(environ).items():
        variable = _SERVICE_VARIABLES.get(key)
        if variable is not None:
            changed[variable] = value
    for name in ("PGHOSTADDR", "PGSERVICE"):
        changed.pop(name, None)
    changed["PGHOST"] = host
    changed["PGPORT"] = str(port)
    changed["PGSSLMODE"] = "disable"
    for name in ("PGSSLNEGOTIATION", "PGREQUIRESSL"):
        changed.pop(name, None)
    if changed.get("PGCHANNELBINDING") == "require":
        changed["PGCHANNELBINDING"] = "prefer"
    for name in url_names:
        if name in changed:
            changed[name] = redirected_url(changed[name], host, port)
    return changed


def redirected_url(url: str, host: str, port: int) -> str:
    """A connection URL that leads to the recorder; anything that is no PostgreSQL URL stays as it is."""
    try:
        uri = urllib.parse.urlsplit(url)
    except ValueError:
        return url
    if uri.scheme.partition("+")[0] not in ("postgresql", "postgres", "asyncpg", "psycopg", "cockroachdb"):
        return url
    userinfo = uri.netloc.rpartition("@")[0]
    query = [
        (key, value) for key, value in urllib.parse.parse_qsl(uri.query, keep_blank_values=True) if key not in _LOCATION | _TLS | {"ssl"}
    ]
    shown = f"[{host}]" if ":" in host else host
    place = f"{shown}:{port}"
    if host.startswith("/"):
        query += [("host", host), ("port", str(port))]
        place = ""
    netloc = f"{userinfo}@{place}" if userinfo else place
    return urllib.parse.urlunsplit((uri.scheme, netloc, uri.path, urllib.parse.urlencode(query), uri.fragment))


def repeated_passwords(entries: str, upstream: Upstream, host: str, port: int) -> str:
    """A password file's text, each entry that fits the upstream followed by the same for the recorder."""
    lines: list[str] = []
    for line in entries.splitlines():
        lines.append(line)
        parts = _split(line)
        if line.startswith("#") or len(parts) != len(("host", "port", "database", "user", "password")):
            continue
        hosts = {"*", upstream.host, *({"localhost"} if upstream.unix is not None else ())}
        if parts[0] in hosts and parts[1] in ("*", str(upstream.port)):
            lines.append(":".join([host.replace(":", "\\:"), str(port), *parts[2:]]))
    return "\n".join(lines) + "\n"


def password_file(environ: Mapping[str, str]) -> str:
    """The text of the password file libpq would read, or nothing."""
    path = environ.get("PGPASSFILE") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".pgpass")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def how_to_point(host: str, port: int, upstream: Upstream) -> list[str]:
    """Lines that say how to lead a program to the recorder."""
    place = f"host={host}&port={port}" if host.startswith("/") else ""
    url = f"postgresql:///DATABASE?{place}" if place else f"postgresql://USER@{host}:{port}/DATABASE"
    return [
        f"no connection came through pgtrace; the program may have {upstream.host}:{upstream.port or DEFAULT_PORT} written into its own settings.",
        f"It was given PGHOST={host} PGPORT={port} PGSSLMODE=disable, and DATABASE_URL where that exists.",
        "A program that reads its URL from another variable: pgtrace run --env-url NAME -- COMMAND",
        f"Anything else: have it connect to {url}",
    ]


def _split(line: str) -> list[str]:
    """The fields of a password file's line; a backslash keeps the character behind it, which stays escaped here."""
    parts = [""]
    escaped = False
    for character in line:
        if character == ":" and not escaped:
            parts.append("")
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts
