"""The environment of a program that is to reach PostgreSQL through the recorder.

Programs find their server in three ways: libpq's variables (PGHOST, PGPORT, and PGHOSTADDR or PGSERVICE, which win over them), an address in DATABASE_URL or
a variable of their own (a URL, or libpq's keywords), and what is written into their code. The first two are redirected here; the last cannot be.

- PGHOST and PGPORT name the recorder; PGHOSTADDR and PGSERVICE go, and what else the service said (user, database, password ...) becomes PGUSER, PGDATABASE
  and so on: in libpq a service wins over the environment.
- The driver's leg is plain, unless the recorder takes TLS: what protects a connection (`leg` in parameters.py) then goes from the program's environment, and
  upstream_of() has put it in force on the upstream leg, or has refused it. Of several addresses the strictest counts. `--upstream` comes before all of them.
- What the driver enforces itself, end to end (require_auth), stays. An address keeps its user, password, database and options, and every parameter that libpq
  does not know; only where it leads changes. What a service it names says besides stands in the address then.
- PGTARGETSESSIONATTRS stays: the driver goes on checking the one server it is given.
- channel_binding=require cannot be kept on a plain leg. It is taken away only where sslmode=verify-full proves the server's identity instead (recorder.py).
- Passwords are looked up by host and port: each entry of the password file that fits the upstream is repeated for the recorder, in a private copy.

Nothing is started here; it is text in, text out, and that one private file.
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

PLACE_VARIABLES: Final = tuple(name for key in PLACE if (name := PARAMETERS[key].variable))
_OTHERS_TLS: Final = frozenset({"ssl", "sslaccept", "requiressl"})
"""Words of other drivers, and an old one of libpq, that become sslmode."""
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
"""What says something about another certificate than the one that was made for the driver's leg."""
_STRICTEST: Final = {
    "sslmode": SSL_MODES,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS[::-1],
}
"""Settings of which the strictest can be told: their words from the weakest."""
_URL = re.compile(
    r"(?P<scheme>(?:jdbc:)?[A-Za-z0-9+._-]+)://(?P<user>[^@/]*@)?(?P<place>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?",
    re.DOTALL | re.IGNORECASE,
)
_KEYWORD = re.compile(r"\s*(\w+)\s*=")


def upstream_of(asked: Address | None, environ: Mapping[str, str], names: tuple[str, ...]) -> Upstream:
    """The upstream of a program: what was asked for, else where libpq's variables lead, else where the first of its addresses does.

    `names` are the variables that may hold an address. What these say to protect the connection is in force on it, where `asked` says nothing else.
    Raises AddressError.
    """
    addresses = {name: found for name in names if (found := program_address(environ.get(name, ""), name)) is not None}
    typed: Mapping[str, str] = asked.settings if asked is not None else {}
    service = {"PGSERVICE": Address({"service": environ["PGSERVICE"]})} if environ.get("PGSERVICE") else {}
    wanted = {} if typed.get("sslmode") in ("disable", "allow", "prefer") else _wanted(addresses | service, environ)
    if "sslmode" not in typed:
        for name, address in addresses.items():
            if address.foreign:
                raise AddressError(
                    name, f"{address.foreign[0]} is its driver's own word for TLS: say how to reach the server with --upstream"
                )
    if "sslcert" in typed:
        wanted = {key: value for key, value in wanted.items() if key not in ("sslcert", "sslkey", "sslpassword")}
    if asked is not None or any(environ.get(name) for name in PLACE_VARIABLES):
        return parse_upstream(asked, environ, wanted)
    for name, address in addresses.items():
        try:
            return parse_upstream(address.saying(address.everything | wanted), environ)
        except AddressError as error:
            raise AddressError(name, str(error)) from None
    return parse_upstream(None, environ, wanted)


def about_upstream(asked: Address | None, upstream: Upstream, environ: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """Lines about what a program's own addresses have to do with its upstream: one that leads elsewhere while nobody asked for another, and one that decides
    how an upstream that was asked for is encrypted."""
    addresses = {name: found for name in names if (found := program_address(environ.get(name, ""), name)) is not None}
    if asked is None:
        return [
            f"{name} leads to {own.display}, but PGHOST, PGPORT or PGSERVICE win: its program goes to {upstream.display}; --upstream decides"
            for name, address in addresses.items()
            if (own := parse_upstream(address, environ)).hosts != upstream.hosts
        ]
    if "sslmode" in asked.settings or upstream.sslmode in ("disable", "allow", "prefer"):
        return []
    saying = [name for name, address in addresses.items() if "sslmode" in address.settings]
    return (
        [f"{saying[0]} says sslmode={upstream.sslmode}, which holds for --upstream too; sslmode=disable in --upstream says otherwise"]
        if saying
        else []
    )


def program_address(text: str, name: str = "") -> Address | None:
    """What a program's variable says where it holds an address of PostgreSQL, as a URL or in keywords; None where it does not. Raises AddressError."""
    url, keyword = _URL.fullmatch(text.strip()), _KEYWORD.match(text)
    if not (_is_postgres(url["scheme"]) if url is not None else keyword is not None and keyword[1] in PARAMETERS):
        return None
    try:
        return read(text, is_programs=True)
    except AddressError as error:
        raise AddressError(name, str(error)) from None


def _wanted(addresses: Mapping[str, Address], environ: Mapping[str, str]) -> dict[str, str]:
    """What these ask for to protect the connection: the strictest of all. Raises AddressError where it cannot be told which that is."""
    wanted: dict[str, str] = {}
    for name, address in addresses.items():
        said = address.everything
        service = said.get("service")
        for key, value in ((service_settings(service, environ) if service else {}) | said).items():
            if key not in LEG or not value:
                continue
            if key == "sslmode":
                value = TLS_WORDS.get(value, value)
            words = _STRICTEST.get(key, ())
            if key in wanted and value != wanted[key]:
                if value not in words or wanted[key] not in words:
                    raise AddressError(name, f"its {key} is not that of {next(iter(addresses))}: say which one with --upstream")
                value = max(value, wanted[key], key=words.index)
            wanted[key] = value
    return wanted


def redirected(environ: Mapping[str, str], host: str, port: int, names: tuple[str, ...], *, tls: str | None = None) -> dict[str, str]:
    """The environment with everything that leads to PostgreSQL leading to the recorder. Raises AddressError for an unknown service.

    `tls`: None: the driver's leg is plain. Else the recorder takes the driver's TLS: the certificate to trust, or empty where the driver verifies what it did.
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
        changed["PGCHANNELBINDING"] = "disable"  # this certificate is not the server's: a login bound to it would be refused
    for name in names:
        if name in changed:
            changed[name] = redirected_url(changed[name], host, port, environ, tls=tls)
    return changed


def redirected_url(text: str, host: str, port: int, environ: Mapping[str, str], *, tls: str | None = None) -> str:
    """An address of PostgreSQL that leads to the recorder; anything else stays as it is. Raises AddressError for an unknown service."""
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
    """The parameters that go from a program's environment; `tls` as redirected() has it."""
    if tls is None:
        return PLACE | (LEG - {"gssencmode"}) | _OTHERS_TLS  # gssencmode=require was refused, the others ask for nothing
    return PLACE | (_MADE if tls else {"requirepeer"})


def _is_postgres(scheme: str) -> bool:
    return scheme.lower().removeprefix("jdbc:").partition("+")[0] in DIALECTS


def with_parts(
    url: str, *, scheme: str | None = None, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """A connection URL with some of its parts set; the others stay. Every URL that redirected_url() gives can be taken apart here."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise AddressError("", "no URL: postgresql://user:password@host:port/database")
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
    }  # a parameter would override what stands before it
    left_out = {key for key, part in said_here.items() if part is not None}
    kept = [one for one in (parts["query"] or "").split("&") if one and urllib.parse.unquote(one.partition("=")[0]) not in left_out]
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{scheme or parts['scheme']}://{login}{'@' if login else ''}{parts['place']}{path}{query}"


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
