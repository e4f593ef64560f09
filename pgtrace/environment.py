"""The environment of a program that must reach PostgreSQL through the recorder.

Programs find their server in three ways: libpq's variables (PGHOST, PGPORT, and PGHOSTADDR or
PGSERVICE, which override them), an address in DATABASE_URL or a variable of their own (a URL, or
libpq's keywords), and an address in their code. This module redirects the first two; it cannot
redirect the last.

- PGHOST and PGPORT name the recorder. PGHOSTADDR and PGSERVICE are removed; the service's other
  settings (user, database, password ...) become PGUSER, PGDATABASE and so on, because in libpq a
  service overrides the environment.
- The driver's leg is plain unless the recorder accepts TLS. The settings that protect a connection
  (`leg` in parameters.py) are then removed from the program's environment, after upstream_of() has
  applied them to the upstream leg or refused them. If there are several addresses, the strictest
  setting counts. `--upstream` overrides all of them.
- Settings that the driver enforces end to end (require_auth) stay. An address keeps its user,
  password, database, options, and every parameter that libpq does not know; only the server
  changes. If the address names a service, the other settings of that service are written into the
  address.
- PGTARGETSESSIONATTRS stays: the driver keeps checking the one server it is given.
- channel_binding=require cannot be met on a plain leg. It is removed only if sslmode=verify-full
  proves the server's identity instead (recorder.py).
- Passwords are looked up by host and port. A private copy of the password file repeats each entry
  for the upstream as an entry for the recorder.

This module starts nothing and writes only that private file.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import Final

from pgtrace.address import TLS_VERSIONS, Host, Upstream, parse_upstream
from pgtrace.conninfo import DIALECTS, Address, keywords, read
from pgtrace.errors import AddressError
from pgtrace.parameters import LEG, PARAMETERS, PLACE, SSL_MODES, TLS_WORDS
from pgtrace.services import home, service_settings
from pgtrace.settingsfile import text_of

PLACE_VARIABLES: Final = tuple(name for key in PLACE if (name := PARAMETERS[key].variable))
_OTHERS_TLS: Final = frozenset({"ssl", "sslaccept", "requiressl"})
"""Parameters of other drivers, and an old one of libpq, that become sslmode."""
_MADE: Final = frozenset(
    {
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcertmode",
        "sslnegotiation",
        "requirepeer",
        "channel_binding",
    }
)
"""Settings about a certificate other than the one made for the driver's leg."""
_STRICTEST: Final = {
    "sslmode": SSL_MODES,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS[::-1],
}
"""Settings that can be ordered by strictness, with their values, weakest first."""
_URL = re.compile(
    r"(?P<scheme>(?:jdbc:)?[A-Za-z0-9+._-]+)://(?P<user>[^@/]*@)?(?P<place>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?",
    re.DOTALL | re.IGNORECASE,
)
_KEYWORD = re.compile(r"\s*(\w+)\s*=")


def upstream_of(asked: Address | None, environ: Mapping[str, str], names: tuple[str, ...]) -> Upstream:
    """The upstream of a program: `asked`, otherwise libpq's variables, otherwise the first of its
    addresses.

    `names` are the variables that may hold an address. The settings in them that protect the
    connection apply unless `asked` says otherwise. Raises AddressError.
    """
    addresses = {name: found for name in names if (found := program_address(environ.get(name, ""), name)) is not None}
    typed: Mapping[str, str] = asked.settings if asked is not None else {}
    service = {"PGSERVICE": Address({"service": environ["PGSERVICE"]})} if environ.get("PGSERVICE") else {}
    wanted = {} if typed.get("sslmode") in ("disable", "allow", "prefer") else _wanted(addresses | service, environ)
    if "sslmode" not in typed:
        for name, address in addresses.items():
            if address.foreign:
                raise AddressError(
                    name, f"{address.foreign[0]} is its driver's own parameter for TLS: say how to reach the server with --upstream"
                )
    if "sslcert" in typed:
        wanted = {key: value for key, value in wanted.items() if key not in ("sslcert", "sslkey", "sslpassword")}
    if asked is not None or any(environ.get(name) for name in PLACE_VARIABLES):
        return parse_upstream(asked, environ, wanted)
    for name, address in addresses.items():
        try:
            return parse_upstream(address.with_settings(address.everything | wanted), environ)
        except AddressError as error:
            raise AddressError(name, str(error)) from None
    return parse_upstream(None, environ, wanted)


def about_upstream(asked: Address | None, upstream: Upstream, environ: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """Notes about a program's own addresses and its upstream.

    One note if an address names another server and you gave no upstream; another if an address
    decides how the given upstream is encrypted.
    """
    addresses = {name: found for name in names if (found := program_address(environ.get(name, ""), name)) is not None}
    if asked is None:
        return [
            f"{name} leads to {own.display}, but PGHOST, PGPORT or PGSERVICE override it: its program goes to {upstream.display}; "
            f"use --upstream to choose"
            for name, address in addresses.items()
            if (own := parse_upstream(address, environ)).hosts != upstream.hosts
        ]
    if "sslmode" in asked.settings or upstream.sslmode in ("disable", "allow", "prefer"):
        return []
    saying = [name for name, address in addresses.items() if "sslmode" in address.settings]
    return (
        [f"{saying[0]} says sslmode={upstream.sslmode}, which also applies to --upstream; put sslmode=disable in --upstream to change that"]
        if saying
        else []
    )


def program_address(text: str, name: str = "") -> Address | None:
    """The address of PostgreSQL in a program's variable, a URL or keywords; None if the text is not
    such an address. Raises AddressError."""
    url, keyword = _URL.fullmatch(text.strip()), _KEYWORD.match(text)
    if not (_is_postgres(url["scheme"]) if url is not None else keyword is not None and keyword[1] in PARAMETERS):
        return None
    try:
        return read(text, is_programs=True)
    except AddressError as error:
        raise AddressError(name, str(error)) from None


def _wanted(addresses: Mapping[str, Address], environ: Mapping[str, str]) -> dict[str, str]:
    """The strictest settings for protecting the connection. Raises AddressError if two cannot be
    compared."""
    wanted: dict[str, str] = {}
    for name, address in addresses.items():
        given = address.everything
        service = given.get("service")
        for key, value in ((service_settings(service, environ) if service else {}) | given).items():
            if key not in LEG or not value:
                continue
            if key == "sslmode":
                value = TLS_WORDS.get(value, value)
            words = _STRICTEST.get(key, ())
            if key in wanted and value != wanted[key]:
                if value not in words or wanted[key] not in words:
                    raise AddressError(name, f"its {key} is not that of {next(iter(addresses))}: choose one with --upstream")
                value = max(value, wanted[key], key=words.index)
            wanted[key] = value
    return wanted


def redirected(environ: Mapping[str, str], host: str, port: int, names: tuple[str, ...], *, tls: str | None = None) -> dict[str, str]:
    """The environment, changed so that everything in it that leads to PostgreSQL leads to the
    recorder. Raises AddressError for an unknown service.

    `tls`: None if the driver's leg is plain. Otherwise the recorder accepts TLS from the driver:
    the certificate to trust, or empty if the driver verifies as before.
    """
    changed = dict(environ)
    left_out = _left_out(tls)
    if environ.get("PGSERVICE"):
        for key, value in service_settings(environ["PGSERVICE"], environ).items():
            variable = PARAMETERS[key].variable
            if variable is not None and key not in left_out:
                changed[variable] = value
    for key in left_out & PARAMETERS.keys() - {"channel_binding"}:
        changed.pop(PARAMETERS[key].variable or "", None)
    changed["PGHOST"] = host
    changed["PGPORT"] = str(port)
    if tls is None:
        changed.pop("PGREQUIRESSL", None)
        changed["PGSSLMODE"] = "disable"
        if changed.get("PGCHANNELBINDING") == "require":
            changed["PGCHANNELBINDING"] = "prefer"
    elif tls:
        changed["PGSSLROOTCERT"] = tls
        # A login bound to this certificate, which is not the server's, would be refused.
        changed["PGCHANNELBINDING"] = "disable"
    for name in names:
        if name in changed:
            changed[name] = redirected_url(changed[name], host, port, environ, tls=tls)
    return changed


def redirected_url(text: str, host: str, port: int, environ: Mapping[str, str], *, tls: str | None = None) -> str:
    """An address of PostgreSQL, changed to lead to the recorder; any other text is returned
    unchanged. Raises AddressError for an unknown service."""
    address = program_address(text)
    if address is None:
        return text
    left_out = _left_out(tls)
    service = address.settings.get("service")
    added = {key: value for key, value in service_settings(service, environ).items() if key not in left_out} if service else {}
    added = {key: value for key, value in added.items() if key not in address.everything}
    parts = _URL.fullmatch(text.strip())
    if parts is None:
        kept = {key: value for key, value in address.everything.items() if key not in left_out}
        return keywords({"host": host, "port": str(port)} | kept | added)
    query = [one for one in (parts["query"] or "").split("&") if one and urllib.parse.unquote(one.partition("=")[0]) not in left_out]
    query += [f"{key}={urllib.parse.quote(value, safe='')}" for key, value in added.items()]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = parts["path"]
    if host.startswith("/"):
        query += [f"host={urllib.parse.quote(host, safe='')}", f"port={port}"]
        place, path = "", path or "/"
    return f"{parts['scheme']}://{parts['user'] or ''}{place}{path}{'?' if query else ''}{'&'.join(query)}"


def _left_out(tls: str | None) -> frozenset[str]:
    """The parameters to remove from a program's environment; `tls` as in redirected()."""
    if tls is None:
        # gssencmode=require was refused; the other values require nothing.
        return PLACE | (LEG - {"gssencmode"}) | _OTHERS_TLS
    return PLACE | (_MADE if tls else {"requirepeer"})


def _is_postgres(scheme: str) -> bool:
    return scheme.lower().removeprefix("jdbc:").partition("+")[0] in DIALECTS


def with_parts(
    url: str, *, scheme: str | None = None, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """A connection URL with some of its parts replaced. Accepts every URL that redirected_url()
    returns."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise AddressError("", "not a URL: postgresql://user:password@host:port/database")
    own_user, colon, own_password = (parts["user"] or "").removesuffix("@").partition(":")
    login = own_user if user is None else urllib.parse.quote(user, safe="")
    if password is not None:
        login += ":" + urllib.parse.quote(password, safe="")
    elif user is None:
        login += colon + own_password
    path = parts["path"] if database is None else "/" + urllib.parse.quote(database, safe="")
    said_here = {
        "user": user,
        "password": password if user is None else "",
        "dbname": database,
    }  # a parameter overrides the part before the `?`
    left_out = {key for key, part in said_here.items() if part is not None}
    kept = [one for one in (parts["query"] or "").split("&") if one and urllib.parse.unquote(one.partition("=")[0]) not in left_out]
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{scheme or parts['scheme']}://{login}{'@' if login else ''}{parts['place']}{path}{query}"


def repeated_passwords(entries: str, upstream: Upstream, host: str, port: int) -> str:
    """A password file's text in which each entry for the upstream is followed by the same entry for
    the recorder."""
    lines: list[str] = []
    for line in entries.splitlines():
        lines.append(line)
        parts = _split(line)
        if line.startswith("#") or len(parts) != len(("host", "port", "database", "user", "password")):
            continue
        if any(_fits(one, parts[0], parts[1]) for one in upstream.hosts):
            lines.append(":".join([host.replace(":", "\\:"), str(port), *parts[2:]]))
    return "\n".join(lines) + "\n"


def _fits(one: Host, host: str, port: str) -> bool:
    """Whether an entry for that host and port applies to `one`."""
    return host in ("*", one.name, "localhost" if one.unix is not None else one.name) and port in ("*", str(one.port))


def password_file(environ: Mapping[str, str]) -> str:
    """The text of the password file that libpq would read, if it is a regular file; otherwise
    empty."""
    path = environ.get("PGPASSFILE") or os.path.join(home(environ), ".pgpass")
    try:
        return text_of(path, "surrogateescape") if os.path.isfile(path) else ""
    except OSError:
        return ""


def give_passwords(variables: dict[str, str], upstream: Upstream, host: str, port: int, directory: str) -> None:
    """Set PGPASSFILE to a private copy of the password file, if there is one, that also has the
    upstream's entries for the recorder."""
    entries = password_file(variables)
    if not entries:
        return
    path = os.path.join(directory, "pgpass")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(repeated_passwords(entries, upstream, host, port))
    variables["PGPASSFILE"] = path


def how_to_point(host: str, port: int, upstream: Upstream) -> list[str]:
    """Lines that explain how to point a program to the recorder."""
    place = f"host={host}&port={port}" if host.startswith("/") else ""
    url = f"postgresql:///DATABASE?{place}" if place else f"postgresql://USER@{host}:{port}/DATABASE"
    return [
        f"no connection came through pgtrace; the program may have {upstream.display} in its own settings.",
        f"It was given PGHOST={host} PGPORT={port} PGSSLMODE=disable, and DATABASE_URL where that exists.",
        "A program that reads its URL from another variable: pgtrace run --env-url NAME -- COMMAND",
        f"Anything else: have it connect to {url}",
    ]


def _split(line: str) -> list[str]:
    """The fields of a line in a password file; backslash escapes stay unchanged."""
    parts = [""]
    escaped = False
    for character in line:
        if character == ":" and not escaped:
            parts.append("")
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts
