"""Where to listen and where PostgreSQL is: the text a user types, as two frozen values.

LISTEN     `:6433` and `6433` listen on loopback only (127.0.0.1 and ::1), `*:6433` on every
           interface; `host:port` and `[::1]:6433` name one; port 0 picks a free one.
           `unix:/dir` and `/dir` create the socket `/dir/.s.PGSQL.6433` (libpq's naming),
           `/dir:port` another port; `unix:@name` and `@name` do the same in Linux' abstract
           namespace.
UPSTREAM   `db`, `db:5432`, `[::1]:5432`, a directory of sockets, `unix:/dir`, `@name`, or several
           of these separated by commas; `postgresql://...` or `host=...` as libpq reads it. User,
           password and database of the address are not used: the driver authenticates end to end.
           Without UPSTREAM the environment is read as libpq reads it (services.py), with
           localhost:5432 as the default.
TLS        sslmode, sslrootcert and every other parameter that protects the connection (`leg` in
           parameters.py) come from the URI, the service or the environment, in this order. A
           setting that pgtrace cannot apply is refused by name.

Hosts are tried in the given order, each with all addresses of its name, until one accepts the
connection. Only the driver can find out which host is primary or standby (target_session_attrs),
after it has authenticated; it keeps checking the host it was given.

This module neither resolves names nor uses the network. exposure.py refuses unsafe pairs of LISTEN
and UPSTREAM.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

from pgtrace import conninfo, services
from pgtrace.conninfo import Address
from pgtrace.errors import AddressError
from pgtrace.parameters import DEFAULT_PORT, SSL_MODES, TLS_WORDS
from pgtrace.services import Settings, several

DEFAULT_LISTEN_PORT: Final = 6433
MOST_LEGS: Final = 26
"""Legs are named by one letter each."""
LOOPBACK: Final = ("127.0.0.1", "::1")
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 (only where the user asks for it)
LONGEST_SOCKET_PATH: Final = 107
"""The longest path of a Unix socket, in bytes (sun_path without its final zero)."""
TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
TLS_BOUNDS: Final = (("ssl_min_protocol_version", "TLSv1.2"), ("ssl_max_protocol_version", ""))
"""The parameters and their defaults."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_MOST_DIGITS: Final = 20
_LISTEN: Final = re.compile(r"(?:unix:|(?=[/@]))[/@]?[^@=?&;#'\"\\,\s]*|[\w.:%*\[\]-]*")
_DIRECTORY: Final = re.compile(r"[/@][^=?&;@]*")
_HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(?:%[\w.-]+)?")


def display_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def socket_path(directory: str, port: int) -> str:
    """The path of the socket for `port` in `directory`, in libpq's naming. It begins with @ if the
    socket is abstract."""
    return os.path.join(directory, f".s.PGSQL.{port}")


def bound_path(path: str) -> str:
    """The path as the system expects it: an abstract one begins with a zero byte."""
    return f"\0{path[1:]}" if path.startswith("@") else path


@dataclass(frozen=True, slots=True)
class Listen:
    """Where drivers connect: TCP hosts, or the directory of a Unix socket."""

    hosts: tuple[str, ...]
    port: int
    unix: str | None = None
    """The directory of the socket, or `@name` for an abstract one; `hosts` is then empty."""

    @property
    def is_abstract(self) -> bool:
        """Whether this is an abstract socket, which has no file, so any local user can connect to
        it."""
        return self.unix is not None and self.unix.startswith("@")

    @property
    def display(self) -> str:
        if self.unix is not None:
            return f"unix:{socket_path(self.unix, self.port)}"
        if self.hosts == LOOPBACK:
            return f":{self.port}"
        return f"*:{self.port}" if self.hosts == EVERYWHERE else display_address(self.hosts[0], self.port)

    @property
    def beyond_loopback(self) -> bool:
        """Whether another machine may reach it; every name except localhost counts."""
        return not all(_is_loopback(host) for host in self.hosts)


@dataclass(frozen=True, slots=True)
class Host:
    """One host where PostgreSQL may be."""

    name: str
    """The name in the certificate and in the password file: a name, an address, or the directory of
    a socket."""
    port: int = DEFAULT_PORT
    unix: str | None = None
    """The directory of its sockets, or `@name`; `name` is then the same."""
    hostaddr: str | None = None
    """The address to connect to; `name` is then only a name."""

    @property
    def display(self) -> str:
        return f"unix:{self.socket_path}" if self.unix is not None else display_address(self.name, self.port)

    @property
    def socket_path(self) -> str:
        """The path of its Unix socket; call it only if `unix` is set."""
        return socket_path(self.unix or "", self.port)


@dataclass(frozen=True, slots=True)
class Upstream:
    """PostgreSQL or a pooler, and how to encrypt the connection to it."""

    hosts: tuple[Host, ...]
    """The hosts, in the order in which they are tried."""
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslnegotiation: str = "postgres"
    sslcert_is_from_home: bool = False
    """Whether the certificate is the default one in ~/.postgresql, not one that the user named."""
    sslpassword: str = field(default="", repr=False)
    """The key's passphrase; never shown."""
    sslcrl: str | None = None
    sslcrldir: str | None = None
    sslsni: bool = True
    ssl_min_protocol_version: str = "TLSv1.2"
    ssl_max_protocol_version: str = ""
    sslkeylogfile: str | None = None
    requirepeer: str | None = None
    """The user that a server behind a Unix socket must run as."""
    channel_binding: str = "prefer"
    """The driver's own setting. pgtrace takes no part in channel binding, but may have to report
    that the setting cannot be met."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The inverse of dataclasses.asdict()."""
        return cls(**values | {"hosts": tuple(Host(**host) for host in values["hosts"])})

    @property
    def display(self) -> str:
        return ",".join(host.display for host in self.hosts)

    def about(self, host: Host, reason: str) -> str:
        """`reason`, with the host's name first if there are several hosts."""
        return reason if len(self.hosts) == 1 else f"{host.display}: {reason}"

    @property
    def unix(self) -> str | None:
        """The directory of the first Unix socket among its hosts; None if there is none."""
        return next((host.unix for host in self.hosts if host.unix is not None), None)

    @property
    def presents_certificate(self) -> bool:
        """Whether a server that asks for a client certificate gets one on this leg. The server may
        then take everyone who connects for this user."""
        return self.sslcert is not None and self.sslmode != "disable" and any(host.unix is None for host in self.hosts)

    @property
    def host(self) -> str:
        """The name of the first host."""
        return self.hosts[0].name

    @property
    def port(self) -> int:
        """The port of the first host."""
        return self.hosts[0].port


@dataclass(frozen=True, slots=True)
class Leg:
    """One listener and its upstream. A capture with several of them shows a pooler's sides."""

    listen: Listen
    upstream: Upstream

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The inverse of dataclasses.asdict()."""
        listen = Listen(**values["listen"] | {"hosts": tuple(values["listen"]["hosts"])})
        return cls(listen, Upstream.of(values["upstream"]))

    @property
    def display(self) -> str:
        return f"{self.listen.display}={self.upstream.display}"


def leg_letter(index: int) -> str:
    """The name of one of a capture's legs, in their order: A, B, ..."""
    return chr(ord("A") + index)


def parse_listen(text: str, default_port: int = DEFAULT_LISTEN_PORT) -> Listen:
    """Parse a LISTEN. Raises AddressError."""
    if not _LISTEN.fullmatch(text):
        raise AddressError("", "not a LISTEN: give a port (:6433), host:port, or the directory of a socket (unix:/dir)")
    if text.startswith(("unix:", "/", "@")):
        directory, port = _directory(text, text.removeprefix("unix:"), default_port)
        return Listen((), port, directory)
    host, port_text = _host_and_port(text, ":" + text if text.isdigit() else text)
    port = _port(host or text, port_text, default_port, lowest=0, may_be_shown=True)
    if not host:
        return Listen(LOOPBACK, port)
    if host == "*":
        return Listen(EVERYWHERE, port)
    _check_host(host)
    return Listen((host,), port)


def parse_upstream(text: str | Address | None, environ: Mapping[str, str], wanted: Mapping[str, str] = NOTHING) -> Upstream:
    """Parse an UPSTREAM; None means the environment. Raises AddressError, which contains no value
    of the text.

    `wanted`: how to protect the leg if UPSTREAM does not say it, by libpq's names. It overrides the
    service and the environment.
    """
    address = conninfo.read(text) if isinstance(text, str) else text or Address()
    if address.foreign and "sslmode" not in address.settings:
        raise AddressError(
            "", f"{address.foreign[0]} is another driver's parameter, which libpq does not have: use sslmode={'|'.join(SSL_MODES)}"
        )
    address = address.with_settings({**wanted, **address.everything})
    if address.hosts is None:
        return _upstream(services.settings(address, environ), environ)
    # For hosts alone, only the encryption settings of the environment count.
    settings = services.settings(address, {name: value for name, value in environ.items() if name != "PGSERVICE"})
    for key in ("host", "hostaddr", "port"):
        settings.pop(key, None)
    hosts, ports = [], []
    for one in address.hosts.split(","):
        if one.startswith(("unix:", "/", "@")):
            directory, number = _directory(one, one.removeprefix("unix:"), DEFAULT_PORT)
            host, port = directory, str(number)
        else:
            host, port = _host_and_port(one, one)
        hosts.append(host)
        ports.append(port)
    settings |= {"host": ",".join(hosts), "port": ",".join(ports)}
    return _upstream(settings, environ)


def _upstream(settings: Settings, environ: Mapping[str, str]) -> Upstream:
    hosts = _hosts(settings)
    sslmode = settings.get("sslmode") or "prefer"
    if sslmode not in SSL_MODES:
        settings["sslmode"] = TLS_WORDS.get(sslmode, sslmode)
        sslmode = _one_of(settings, "sslmode", SSL_MODES)
    sslnegotiation = _one_of(settings, "sslnegotiation", ("postgres", "direct"))
    if sslnegotiation == "direct" and SSL_MODES.index(sslmode) < SSL_MODES.index("require"):
        raise AddressError("", f"{settings.name('sslnegotiation')}=direct needs sslmode=require or more, not {sslmode}")
    if _one_of(settings, "gssencmode", ("prefer", "disable", "require")) == "require":
        raise AddressError("", f"{settings.name('gssencmode')}=require: pgtrace has no GSS encryption; use TLS (sslmode), or leave it out")
    sslcertmode = _one_of(settings, "sslcertmode", ("allow", "disable", "require"))
    if sslcertmode == "require":
        raise AddressError(
            "", f"{settings.name('sslcertmode')}=require: pgtrace cannot see whether the server asked for a certificate; leave it out"
        )
    lowest, highest = (_one_of(settings, key, TLS_VERSIONS, default) for key, default in TLS_BOUNDS)
    if highest and TLS_VERSIONS.index(lowest) > TLS_VERSIONS.index(highest):
        raise AddressError("", f"{settings.name('ssl_min_protocol_version')} is above {settings.name('ssl_max_protocol_version')}")
    home = os.path.join(services.home(environ), ".postgresql")
    root = settings.get("sslrootcert") or _existing(os.path.join(home, "root.crt"))
    crl, crl_directory = settings.get("sslcrl") or None, settings.get("sslcrldir") or None
    if not crl and not crl_directory and root not in (None, "system"):
        crl = _existing(os.path.join(home, "root.crl"))
    cert = None if sslcertmode == "disable" else settings.get("sslcert") or _existing(os.path.join(home, "postgresql.crt"))
    return Upstream(
        hosts=hosts,
        sslmode=sslmode,
        sslrootcert=root,
        sslcert=cert,
        sslkey=settings.get("sslkey") or (_existing(os.path.join(home, "postgresql.key")) if cert else None),
        sslnegotiation=sslnegotiation,
        sslcert_is_from_home=cert is not None and not settings.get("sslcert"),
        sslpassword=settings.get("sslpassword", ""),
        sslcrl=crl,
        sslcrldir=crl_directory,
        sslsni=(settings.get("sslsni") or "1").startswith("1"),
        ssl_min_protocol_version=lowest,
        ssl_max_protocol_version=highest,
        sslkeylogfile=settings.get("sslkeylogfile") or None,
        requirepeer=settings.get("requirepeer") or None,
        channel_binding=_one_of(settings, "channel_binding", ("prefer", "disable", "require")),
    )


def _one_of(settings: Settings, key: str, words: Sequence[str], default: str | None = None) -> str:
    """The value of a setting that must be one of `words`. If it is not set: `default`, or the first
    word."""
    value = settings.get(key) or (words[0] if default is None else default)
    if value == default or value in words:
        return value
    for word in words:
        if words is TLS_VERSIONS and value.lower() == word.lower():
            return word
    variable = settings.name(key)
    if variable == key:
        raise AddressError(key, f"use one of {', '.join(words)}")
    raise AddressError(value, f"not a valid {key} ({variable}): use one of {', '.join(words)}")


def _hosts(settings: Settings) -> tuple[Host, ...]:
    """The hosts that libpq would try, in its order: one for each address, otherwise one for each
    name, otherwise one."""
    for one in several(settings.get("host", "")):
        if one.startswith(("/", "@")):
            _check_directory(one)
        elif one:
            _check_host(one)
    names, addresses, ports = (several(settings.get(key, "")) for key in ("host", "hostaddr", "port"))
    if settings.name("port") != "port":
        for port in ports:
            _port(settings.name("port"), port.strip(), DEFAULT_PORT, lowest=1, may_be_shown=True)
    count = len(addresses) or len(names) or 1
    if names and len(names) != count:
        raise AddressError("", f"{len(names)} host names do not match {count} addresses (hostaddr)")
    if len(ports) > 1 and len(ports) != count:
        raise AddressError("", f"{len(ports)} ports do not match {count} hosts: give one for all, or one for each")
    return tuple(map(_host, names or [""] * count, addresses or [""] * count, ports * count if len(ports) == 1 else ports or [""] * count))


def _host(name: str, address: str, port: str) -> Host:
    number = _port(name or address or "localhost", port.strip(), DEFAULT_PORT, lowest=1)
    if address:
        _check_host(address)
        return Host(name or address, number, hostaddr=address)
    if name.startswith(("/", "@")):
        _check_path(name, name, number)
        return Host(name, number, unix=name)
    _check_host(name or "localhost")
    return Host(name or "localhost", number)


def _directory(text: str, rest: str, default_port: int) -> tuple[str, int]:
    directory, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit():
        directory, port = rest, ""
    if not directory.startswith(("/", "@")):
        raise AddressError(text, "the directory of a Unix socket is an absolute path")
    number = _port(directory, port, default_port, lowest=1)
    _check_path(text, directory, number)
    return os.path.normpath(directory) if directory.startswith("/") else directory, number


def _check_directory(directory: str) -> None:
    """Refuse text that cannot be a directory of sockets. The text may be part of a secret, so the
    error does not repeat it."""
    if not _DIRECTORY.fullmatch(directory):
        raise AddressError("", "not a directory of sockets: its name cannot contain = ? & ; @")


def _check_path(text: str, directory: str, port: int) -> None:
    if directory.startswith("@") and sys.platform != "linux":
        raise AddressError(text, "only Linux has abstract sockets (@name)")
    if len(os.fsencode(socket_path(directory, port))) > LONGEST_SOCKET_PATH:
        raise AddressError(text, f"too long for a Unix socket (at most {LONGEST_SOCKET_PATH} bytes): use a shorter directory")


def _check_host(host: str) -> None:
    """Refuse text that cannot be a host name. The text may be part of a secret, so the error does
    not repeat it."""
    if not _HOST.fullmatch(host):
        raise AddressError("", "not a host name: it has letters, digits, dots and hyphens")
    try:
        host.encode("idna")
    except UnicodeError:
        raise AddressError(host, "not a host name: 1 to 63 characters between two dots") from None


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


def _port(text: str, port: str, default: int, *, lowest: int, may_be_shown: bool = False) -> int:
    """The port number. The text in an address may be part of a secret, so the error repeats it only
    if it looks like a port."""
    if not port:
        return default
    is_number = port.isascii() and port.isdigit()
    if not (is_number and len(port) <= _MOST_DIGITS and lowest <= int(port) <= 65535):
        quoted = f"{port!r} is " if may_be_shown or (is_number and len(port) <= len("65535")) else ""
        raise AddressError(text, f"{quoted}not a port: a number from {lowest} to 65535")
    return int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _existing(path: str) -> str | None:
    return path if os.path.exists(path) else None
