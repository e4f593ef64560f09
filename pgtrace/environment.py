"""The environment of a program that is to reach PostgreSQL through the recorder.

Programs find their server in three ways: libpq's variables (PGHOST, PGPORT, and PGHOSTADDR or PGSERVICE, which win over them), a URL in DATABASE_URL or
a name of their own, and what is written into their code. The first two are redirected here; the last cannot be.

- PGHOST and PGPORT name the recorder; PGHOSTADDR and PGSERVICE go, and what else the service said (user, database, password ...) becomes PGUSER, PGDATABASE
  and so on: in libpq a service wins over the environment.
- The driver's leg is plain, unless the recorder takes TLS: an sslmode that insists on TLS moves to the upstream leg, and the program gets `disable`.
- A URL keeps its user, password, database and options; only where it leads changes. What a service it names says besides stands in the URL then.
- PGTARGETSESSIONATTRS stays: the driver goes on checking the one server it is given.
- Passwords are looked up by host and port: each entry of the password file that fits the upstream is repeated for the recorder, in a private copy.

Nothing is started here; it is text in, text out, and that one private file.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping

from pgtrace.address import Host, Upstream, parse_upstream
from pgtrace.conninfo import home, service_settings, url_settings
from pgtrace.errors import AddressError

INSISTING = ("require", "verify-ca", "verify-full")
"""sslmodes under which a driver refuses a plain connection."""
_LOCATION = frozenset({"host", "hostaddr", "port"})
_TLS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "sslcrl", "channel_binding", "requiressl"})
_URL = re.compile(r"(?P<scheme>[A-Za-z0-9+.-]+)://(?P<user>[^@/]*@)?(?P<place>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
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
        url = plain_url(environ.get(name, ""))
        if url is not None:
            try:
                return parse_upstream(url, environ)
            except AddressError as error:
                raise AddressError(name, str(error)) from None
    return parse_upstream(None, environ)


def plain_url(text: str) -> str | None:
    """A connection URL as libpq writes it, `postgresql+asyncpg://` and the like too; None where it is none."""
    scheme, _, rest = text.partition("://")
    return f"postgresql://{rest}" if scheme.partition("+")[0] in ("postgresql", "postgres") else None


def redirected(environ: Mapping[str, str], host: str, port: int, url_names: tuple[str, ...], *, tls: str | None = None) -> dict[str, str]:
    """The environment with everything that leads to PostgreSQL leading to the recorder. Raises AddressError for an unknown service.

    `tls`: the recorder takes the driver's TLS, so its sslmode stays; what to trust, or empty where that is not ours to say. None: the leg is plain.
    """
    changed = dict(environ)
    if environ.get("PGSERVICE"):
        for key, value in service_settings(environ["PGSERVICE"], environ).items():
            variable = _SERVICE_VARIABLES.get(key)
            if variable is not None:
                changed[variable] = value
    for name in ("PGHOSTADDR", "PGSERVICE"):
        changed.pop(name, None)
    changed["PGHOST"] = host
    changed["PGPORT"] = str(port)
    if tls is None:
        changed["PGSSLMODE"] = "disable"
    elif tls:
        changed["PGSSLROOTCERT"] = tls
        changed["PGCHANNELBINDING"] = "disable"  # this certificate is not the server's: a login bound to it would be refused
    for name in ("PGSSLNEGOTIATION", "PGREQUIRESSL"):
        changed.pop(name, None)
    if tls is None and changed.get("PGCHANNELBINDING") == "require":
        changed["PGCHANNELBINDING"] = "prefer"
    for name in url_names:
        if name in changed:
            changed[name] = redirected_url(changed[name], host, port, environ, keeps_sslmode=tls is not None)
    return changed


def redirected_url(url: str, host: str, port: int, environ: Mapping[str, str], *, keeps_sslmode: bool = False) -> str:
    """A connection URL that leads to the recorder; anything that is no PostgreSQL URL stays as it is. Raises AddressError for an unknown service."""
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"].partition("+")[0] not in ("postgresql", "postgres", "asyncpg", "psycopg", "cockroachdb"):
        return url
    left_out = _LOCATION | _TLS | {"ssl", "service"}
    if keeps_sslmode:
        left_out -= {"sslmode"}
    kept = [one for one in (parts["query"] or "").split("&") if one and one.partition("=")[0] not in left_out]
    kept += _of_its_service(url, environ)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = parts["path"]
    if host.startswith("/"):
        kept += [f"host={urllib.parse.quote(host, safe='')}", f"port={port}"]
        place, path = "", path or "/"
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{parts['scheme']}://{parts['user'] or ''}{place}{path}{query}"


def with_parts(
    url: str, *, scheme: str | None = None, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """A connection URL with some of its parts set; the others stay. Every URL that redirected_url() gives can be taken apart here."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise AddressError(url.rpartition("@")[2], "no URL: postgresql://user:password@host:port/database")
    own_user, colon, own_password = (parts["user"] or "").removesuffix("@").partition(":")
    login = own_user if user is None else urllib.parse.quote(user, safe="")
    if password is not None:
        login += ":" + urllib.parse.quote(password, safe="")
    elif user is None:
        login += colon + own_password
    path = parts["path"] if database is None else "/" + urllib.parse.quote(database, safe="")
    query = f"?{parts['query']}" if parts["query"] else ""
    return f"{scheme or parts['scheme']}://{login}{'@' if login else ''}{parts['place']}{path}{query}"


def _of_its_service(url: str, environ: Mapping[str, str]) -> list[str]:
    """Parameters for what the service named in a URL says besides the place, and the URL does not."""
    if "service=" not in url:
        return []
    own = url_settings(url)
    if "service" not in own:
        return []
    said = service_settings(own["service"], environ)
    return [f"{key}={urllib.parse.quote(text, safe='')}" for key, text in said.items() if key not in _LOCATION | _TLS | set(own)]


def repeated_passwords(entries: str, upstream: Upstream, host: str, port: int) -> str:
    """A password file's text, each entry that fits the upstream followed by the same for the recorder."""
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
    """Whether an entry for that host and port is for this one."""
    return host in ("*", one.name, "localhost" if one.unix is not None else one.name) and port in ("*", str(one.port))


def password_file(environ: Mapping[str, str]) -> str:
    """The text of the password file libpq would read, or nothing."""
    path = environ.get("PGPASSFILE") or os.path.join(home(environ), ".pgpass")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def give_passwords(variables: dict[str, str], upstream: Upstream, host: str, port: int, directory: str) -> None:
    """Have PGPASSFILE name a private copy of the password file, where there is one, with the upstream's entries for the recorder too."""
    entries = password_file(variables)
    if not entries:
        return
    path = os.path.join(directory, "pgpass")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(repeated_passwords(entries, upstream, host, port))
    variables["PGPASSFILE"] = path


def how_to_point(host: str, port: int, upstream: Upstream) -> list[str]:
    """Lines that say how to lead a program to the recorder."""
    place = f"host={host}&port={port}" if host.startswith("/") else ""
    url = f"postgresql:///DATABASE?{place}" if place else f"postgresql://USER@{host}:{port}/DATABASE"
    return [
        f"no connection came through pgtrace; the program may have {upstream.display} written into its own settings.",
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
