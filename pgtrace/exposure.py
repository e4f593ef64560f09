"""Which listener lends this user's identity to others, and which one is its own upstream.

To the server every connection comes from pgtrace: from its host, and wherever the upstream leg can
prove who pgtrace is, from its user. Whoever reaches the listener is then taken for that user. What
an upstream leg can prove:

| source | where |
|---|---|
| a Unix socket | any host of the upstream, the first or a later one: `peer` asks the kernel whose the connection is |
| a client certificate somebody named | sslcert in `--upstream` (URL or keywords), in a service, in PGSSLCERT, with every sslmode but `disable`, over TCP |
| a client certificate nobody named | `~/.postgresql/postgresql.crt`, where it exists, in the same cases; libpq presents it whenever the server asks |
| the host | always: `trust` and address rules; a matter for other machines only, users of this one come from this address anyway |

GSS is not among them: pgtrace answers GSSENCRequest itself and has no GSS on the upstream leg; a
GSS or SSPI login passes through from the driver, with the driver's own credentials. Nor is `ident`
over TCP, which nobody here can see: a server that asks an ident daemon on this machine hears
pgtrace's user for each connection. Before such a server listen on a socket (docs/connections.md
says so).

So three things can go for a listener, and exposure() says which:

- ALL are served. Nothing is lent to users of this machine, or the listener is a socket in a
  directory, whose mode (0600) keeps others out, or `--allow-others`.
- OWN connections are served, others refused, where an identity was named: it would be lent. That
  needs the kernel to say whose a connection is (proxy/admission.py): Linux does, for loopback ports
  and for abstract sockets, which have no mode. Elsewhere such a listener is refused.
- OWN connections get the certificate, others are served without it (OWN_GET_CERTIFICATE), where
  nobody named it. A file that happens to lie in the home directory must not close a port that was
  meant for everybody here, and nobody can know before the upstream is asked whether its server
  wants the certificate at all. Where the kernel does not say whose a connection is, the certificate
  is used for none.

A listener beyond loopback always needs `--allow-others`. check_loop() resolves names.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from enum import StrEnum
from typing import Final

from pgtrace.address import Host, Listen, Upstream
from pgtrace.errors import AddressError


class Served(StrEnum):
    """Whom a listener serves, and with what."""

    ALL = "all"
    OWN = "own"
    OWN_GET_CERTIFICATE = "own get the certificate"


KERNEL_TELLS: Final = sys.platform == "linux"
"""Whether the kernel says whose a connection is."""


def named_identity(upstream: Upstream) -> str:
    """What somebody named that proves to the server who pgtrace is, in words; empty where there is nothing."""
    if upstream.unix is not None:
        return "a Unix socket"
    return f"the client certificate {upstream.sslcert}" if upstream.presents_certificate and not upstream.sslcert_is_from_home else ""


def exposure(listen: Listen, upstream: Upstream, allow_others: bool) -> Served:
    """Whom this listener may serve. Raises AddressError where it would lend pgtrace's own identity to others and cannot help it."""
    if allow_others or (listen.unix is not None and not listen.is_abstract):
        return Served.ALL
    if listen.beyond_loopback:
        raise AddressError(
            listen.display,
            "other machines could connect here, and the server would take them for this one: listen on loopback or say --allow-others",
        )
    identity = named_identity(upstream)
    if identity and not KERNEL_TELLS:
        raise AddressError(
            listen.display,
            f"behind {identity} the server takes whoever connects here for your own user: listen on a socket (unix:/dir) or say --allow-others",
        )
    if identity:
        return Served.OWN
    return Served.OWN_GET_CERTIFICATE if upstream.presents_certificate else Served.ALL


def about(served: Served, upstream: Upstream) -> str:
    """What the user should know about whom a listener serves, in one line; empty where it is everybody."""
    if served is Served.OWN:
        return (
            f"only connections of your own user are served: behind {named_identity(upstream)} the server would take others for you; "
            "--allow-others serves them"
        )
    if served is Served.OWN_GET_CERTIFICATE:
        whom = "only for connections of your own user" if KERNEL_TELLS else "for no connection to this port"
        return f"{upstream.sslcert} is used {whom}: nobody named it. sslcert= in --upstream names it, --allow-others uses it for everybody"
    return ""


def check_loop(listen: Listen, upstream: Upstream) -> None:
    """Refuse an upstream that is the listener itself: the first connection would never end."""
    for host in upstream.hosts:
        if _is_listener(host, listen):
            raise AddressError(host.display, "the upstream is the address pgtrace listens on: choose another LISTEN or UPSTREAM")


def _is_listener(host: Host, listen: Listen) -> bool:
    if listen.port != host.port or (listen.unix is None) != (host.unix is None):
        return False
    if listen.unix is not None and host.unix is not None:
        return listen.unix == host.unix or (not listen.is_abstract and os.path.realpath(listen.unix) == os.path.realpath(host.unix))
    targets = _addresses(host.hostaddr or host.name, host.port)
    listening = {address for name in listen.hosts for address in _addresses(name, listen.port)}
    everywhere = any(ipaddress.ip_address(address).is_unspecified for address in listening)
    return any(target in listening or (everywhere and _is_local(target)) for target in targets)


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
