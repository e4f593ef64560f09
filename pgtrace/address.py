"""Where to listen and where PostgreSQL is: the words a user types, as two frozen values.

LISTEN     `:6433` and `6433` are loopback only (127.0.0.1 and ::1), `*:6433` every interface, `host:port`, `[::1]:6433`, port 0 = pick one;
           `unix:/dir` and `/dir` make the socket `/dir/.s.PGSQL.6433`, libpq's naming, `/dir:port` another port.
UPSTREAM   `db`, `db:5432`, `[::1]:5432`, a directory of sockets, `unix:/dir`, `postgresql://host:port/?sslmode=...`. User, password and database of
           a URI are not ours: the driver authenticates end to end. Without an UPSTREAM the environment is read as libpq reads it: a service
           (PGSERVICE) before PGHOST, PGHOSTADDR, PGPORT, and localhost:5432 where nothing is said.
TLS        sslmode, sslrootcert, sslcert, sslkey and sslnegotiation come from the URI, the service, the environment, in this order.

The rule of exposure: through pgtrace the server sees pgtrace's user and address, so whoever can connect to the listener is vouched for by `peer`,
`ident`, `trust` and address rules. check_exposure() refuses what would lend that to others. check_loop() refuses an upstream that is the listener.

The lowest layer; names are resolved in check_loop() alone.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import socket
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgtrace.errors import AddressError

DEFAULT_LISTEN_PORT: Final = 6433
DEFAULT_PORT: Final = 5432
LOOPBACK: Final = ("127.0.0.1", "::1")
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 (only where the user asks for it)
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LONGEST_SOCKET_PATH: Final = 107
"""Bytes a Unix socket's path may have (sun_path without its final zero)."""

_ENVIRONMENT: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslnegotiation": "PGSSLNEGOTIATION",
}


def display_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def socket_path(directory: str, port: int) -> str:
    """The socket of `port` in `directory`, named as libpq names it."""
    return os.path.join(directory, f".s.PGSQL.{port}")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where drivers connect: TCP hosts, or the directory of a Unix socket."""

    hosts: tuple[str, ...]
    port: int
    unix: str | None = None
    """The directory of the socket; then `hosts` is empty."""

    @property
    def display(self) -> str:
        if self.unix is not None:
            return f"unix:{socket_path(self.unix, self.port)}"
        if self.hosts == LOOPBACK:
            return f":{self.port}"
        return f"*:{self.port}" if self.hosts == EVERYWHERE else display_address(self.hosts[0], self.port)

    @property
    def beyond_loopback(self) -> bool:
        """Whether another machine may reach it; a name counts unless it is localhost."""
        return not all(_is_loopback(host) for host in self.hosts)


@dataclass(frozen=True, slots=True)
class Upstream:
    """PostgreSQL or a pooler, and how to encrypt on the way to it."""

    host: str
    port: int = DEFAULT_PORT
    unix: str | None = None
    """The directory of its sockets; then `host` is that directory too."""
    hostaddr: str | None = None
    """Connect here; `host` is then only the name the certificate must carry."""
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslnegotiation: str = "postgres"

    @property
    def display(self) -> str:
        return f"unix:{self.socket_path}" if self.unix is not None else display_address(self.host, self.port)

    @property
    def socket_path(self) -> str:
        """The path of its Unix socket; only where `unix` is set."""
        return socket_path(self.unix or "", self.port)


def parse_listen(text: str, default_port: int = DEFAULT_LISTEN_PORT) -> Listen:
    """What LISTEN means; AddressError where it means nothing."""
    if text.startswith(("unix:", "/")):
        directory, port = _directory(text, text.removeprefix("unix:"), default_port)
        return Listen((), port, directory)
    host, port_text = _host_and_port(text, ":" + text if text.isdigit() else text)
    port = _port(text, port_text, default_port, lowest=0)
    if not host:
        return Listen(LOOPBACK, port)
    _check_host(host)
    return Listen(EVERYWHERE if host == "*" else (host,), port)


def parse_upstream(text: str | None, environ: Mapping[str, str]) -> Upstream:
    """What UPSTREAM means, or the environment where it is None; AddressError where it means nothing."""
    service = service_settings(environ) if text is None else {}
    settings = {key: environ[name] for key, name in _ENVIRONMENT.items() if environ.get(name)} | service
    if text is None:
        return _upstream(settings.get("host") or settings.get("hostaddr") or "localhost", settings, environ)
    for key in ("host", "hostaddr", "port"):
        settings.pop(key, None)
    if text.startswith(("postgresql://", "postgres://")):
        uri = split_url(text, text.rpartition("@")[2])
        query = dict(urllib.parse.parse_qsl(uri.query))
        netloc = uri.netloc.rpartition("@")[2]
        host, port = _host_and_port(netloc, netloc)
        settings |= {key: value for key, value in query.items() if key in _ENVIRONMENT}
        if port and "port" not in query:
            settings["port"] = port
        return _upstream(urllib.parse.unquote(query.get("host") or host or query.get("hostaddr") or "localhost"), settings, environ)
    if text.startswith(("unix:", "/")):
        directory, port_number = _directory(text, text.removeprefix("unix:"), DEFAULT_PORT)
        return _upstream(directory, settings | {"port": str(port_number)}, environ)
    host, port = _host_and_port(text, text)
    return _upstream(host or "localhost", settings | ({"port": port} if port else {}), environ)


def split_url(url: str, shown: str) -> urllib.parse.SplitResult:
    """The parts of a URL; AddressError, with what is `shown` in its place (it may hold a password), where it cannot be taken apart."""
    try:
        return urllib.parse.urlsplit(url)
    except ValueError as error:
        raise AddressError(shown, f"no URL: {str(error)[:1].lower()}{str(error)[1:]}") from None


def service_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What the connection service named by PGSERVICE says, every key of it; empty without PGSERVICE.

    The files are libpq's: PGSERVICEFILE or `~/.pg_service.conf`, then `pg_service.conf` in PGSYSCONFDIR. AddressError where none names it.
    """
    name = environ.get("PGSERVICE")
    if not name:
        return {}
    files = [environ.get("PGSERVICEFILE") or os.path.join(_home(environ), ".pg_service.conf")]
    if environ.get("PGSYSCONFDIR"):
        files.append(os.path.join(environ["PGSYSCONFDIR"], "pg_service.conf"))
    for file in files:
        parser = configparser.RawConfigParser(comment_prefixes=("#",), delimiters=("=",), strict=False, empty_lines_in_values=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise AddressError(name, f"the service file {file} cannot be read: {str(error).splitlines()[0]}") from None
        if parser.has_section(name):
            return dict(parser.items(name))
    raise AddressError(name, f"no service of this name in {' or '.join(files)} (PGSERVICE)")


def check_exposure(listen: Listen, upstream: Upstream, allow_others: bool) -> None:
    """Refuse a listener that lends pgtrace's own identity to others, unless `allow_others`."""
    if allow_others or listen.unix is not None:
        return
    if upstream.unix is not None:
        raise AddressError(
            listen.display,
            "behind a Unix socket the server takes whoever connects here for your own user: listen on a socket (unix:/dir) "
            "or say --allow-others",
        )
    if listen.beyond_loopback:
        raise AddressError(
            listen.display,
            "other machines could connect here, and the server would take them for this one: listen on loopback or say --allow-others",
        )


def check_loop(listen: Listen, upstream: Upstream) -> None:
    """Refuse an upstream that is the listener itself: the first connection would never end."""
    if listen.port != upstream.port or (listen.unix is None) != (upstream.unix is None):
        return
    if listen.unix is not None and upstream.unix is not None:
        same = os.path.realpath(listen.unix) == os.path.realpath(upstream.unix)
    else:
        targets = _addresses(upstream.hostaddr or upstream.host, upstream.port)
        listening = {address for host in listen.hosts for address in _addresses(host, listen.port)}
        everywhere = any(ipaddress.ip_address(address).is_unspecified for address in listening)
        same = any(target in listening or (everywhere and _is_local(target)) for target in targets)
    if same:
        raise AddressError(upstream.display, "the upstream is the address pgtrace listens on: choose another LISTEN or UPSTREAM")


def _upstream(host: str, settings: Mapping[str, str], environ: Mapping[str, str]) -> Upstream:
    if "," in host or "," in settings.get("port", ""):
        raise AddressError(host, "several hosts: name the one to trace")
    sslmode = settings.get("sslmode", "prefer")
    if sslmode not in SSL_MODES:
        raise AddressError(sslmode, f"no sslmode: one of {', '.join(SSL_MODES)}")
    sslnegotiation = settings.get("sslnegotiation", "postgres")
    if sslnegotiation not in ("postgres", "direct"):
        raise AddressError(sslnegotiation, "no sslnegotiation: postgres or direct")
    if sslnegotiation == "direct" and SSL_MODES.index(sslmode) < SSL_MODES.index("require"):
        raise AddressError(sslnegotiation, f"sslnegotiation=direct needs sslmode=require or more, not {sslmode}")
    port = _port(host, settings.get("port", ""), DEFAULT_PORT, lowest=1)
    unix = host if host.startswith("/") and not settings.get("hostaddr") else None
    if unix is not None:
        _check_path(host, unix, port)
    else:
        _check_host(settings.get("hostaddr") or host)
    home = os.path.join(_home(environ), ".postgresql")
    cert = settings.get("sslcert") or _existing(os.path.join(home, "postgresql.crt"))
    return Upstream(
        host=host,
        port=port,
        unix=unix,
        hostaddr=settings.get("hostaddr"),
        sslmode=sslmode,
        sslrootcert=settings.get("sslrootcert") or _existing(os.path.join(home, "root.crt")),
        sslcert=cert,
        sslkey=settings.get("sslkey") or (_existing(os.path.join(home, "postgresql.key")) if cert else None),
        sslnegotiation=sslnegotiation,
    )


def _directory(text: str, rest: str, default_port: int) -> tuple[str, int]:
    directory, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit():
        directory, port = rest, ""
    if not directory.startswith("/"):
        raise AddressError(text, "the directory of a Unix socket is an absolute path")
    number = _port(text, port, default_port, lowest=1)
    _check_path(text, directory, number)
    return os.path.normpath(directory), number


def _check_path(text: str, directory: str, port: int) -> None:
    if len(os.fsencode(socket_path(directory, port))) > LONGEST_SOCKET_PATH:
        raise AddressError(text, f"too long for a Unix socket (at most {LONGEST_SOCKET_PATH} bytes): use a shorter directory")


def _check_host(host: str) -> None:
    """Refuse what no resolver takes for a question."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise AddressError(host, "no host name: between two dots stand 1 to 63 characters") from None


def _host_and_port(text: str, rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise AddressError(text, "an IPv6 address is written [::1]:5432")
        return host, tail[1:]
    if rest.count(":") > 1:
        raise AddressError(text, "an IPv6 address is written [::1]:5432")
    host, _, port = rest.partition(":")
    return host, port


def _port(text: str, port: str, default: int, *, lowest: int) -> int:
    if not port:
        return default
    if not (port.isascii() and port.isdigit() and lowest <= int(port) <= 65535):
        raise AddressError(text, f"{port!r} is no port: a number from {lowest} to 65535")
    return int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses(host: str, port: int) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _is_local(address: str) -> bool:
    """Whether this machine has that address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _existing(path: str) -> str | None:
    return path if os.path.exists(path) else None
