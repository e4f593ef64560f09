"""Which listeners would let others act as this user, and which listener is its own upstream.

To the server every connection comes from pgtrace: from its host, and from its user if the upstream
leg can prove that. The server then takes anyone who reaches the listener for that user. An upstream
leg can prove this by:

| source | where |
|---|---|
| a Unix socket | any host of the upstream: `peer` asks the kernel who connects |
| a client certificate the user named | sslcert in `--upstream`, a service or PGSSLCERT; over TCP, unless sslmode is `disable` |
| the default client certificate | `~/.postgresql/postgresql.crt`, if it exists, in the same cases, as libpq does |
| the host | always: `trust` and address rules; for other machines only, as local users connect from this address anyway |

GSS is not among them: pgtrace answers GSSENCRequest itself and has no GSS on the upstream leg. A
GSS or SSPI login passes through with the driver's own credentials. `ident` over TCP is not among
them either, because pgtrace cannot see it: a server that asks an ident daemon on this machine gets
pgtrace's user for each connection. In front of such a server, listen on a socket
(docs/connections.md).

exposure() decides between three results:

- ALL: every connection is served, if local users gain nothing, if the listener is a socket in a
  directory, whose mode (0600) keeps others out, or with `--allow-others`.
- OWN: own connections are served and others refused, if the user named an identity. The kernel must
  then say who connects (proxy/admission.py): Linux does, for loopback ports and for abstract
  sockets, which have no mode. On other systems such a listener is refused.
- OWN_GET_CERTIFICATE: every connection is served, but only own ones use the default certificate. A
  file that happens to exist in the home directory must not close a port meant for every local user,
  and it is unknown whether the server wants the certificate until it asks. If the kernel does not
  say who connects, no connection uses the certificate.

A listener beyond loopback always needs `--allow-others`. check_legs() resolves names.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from pgtrace.address import MOST_LEGS, Host, Leg, Listen, Upstream
from pgtrace.errors import AddressError


class Served(StrEnum):
    """Which connections a listener serves."""

    ALL = "all"
    OWN = "own"
    OWN_GET_CERTIFICATE = "own get the certificate"


KERNEL_TELLS: Final = sys.platform == "linux"
"""Whether the kernel says which user owns a connection."""


def named_identity(upstream: Upstream) -> str:
    """The identity that the user named and that proves to the server who pgtrace is, as text; empty
    if there is none."""
    if upstream.unix is not None:
        return "a Unix socket"
    return f"the client certificate {upstream.sslcert}" if upstream.presents_certificate and not upstream.sslcert_is_from_home else ""


def exposure(listen: Listen, upstream: Upstream, allow_others: bool) -> Served:
    """Which connections this listener may serve. Raises AddressError if it would let others act as
    pgtrace's own user."""
    if allow_others or (listen.unix is not None and not listen.is_abstract):
        return Served.ALL
    if listen.beyond_loopback:
        raise AddressError(
            listen.display,
            "other machines could connect here, and the server would take them for this one: listen on loopback or use --allow-others",
        )
    identity = named_identity(upstream)
    if identity and not KERNEL_TELLS:
        raise AddressError(
            listen.display,
            f"through {identity} the server takes anyone who connects here for your own user: listen on a socket (unix:/dir) or use "
            f"--allow-others",
        )
    if identity:
        return Served.OWN
    return Served.OWN_GET_CERTIFICATE if upstream.presents_certificate else Served.ALL


def about(served: Served, upstream: Upstream) -> str:
    """One line about which connections a listener serves, for the user; empty if it serves all."""
    if served is Served.OWN:
        return (
            f"only connections of your own user are served: through {named_identity(upstream)} the server would take others for you; "
            "--allow-others serves them"
        )
    if served is Served.OWN_GET_CERTIFICATE:
        whom = "only for connections of your own user" if KERNEL_TELLS else "for no connection to this port"
        return (
            f"{upstream.sslcert} is used {whom}: it is the default certificate. "
            "Name it with sslcert= in --upstream, or use it for everybody with --allow-others"
        )
    return ""


def check_loop(listen: Listen, upstream: Upstream) -> None:
    """Refuse an upstream that is the listener itself, which would connect to itself for ever."""
    for host in upstream.hosts:
        if _is_listener(host, listen):
            raise AddressError(host.display, "the upstream is the address pgtrace listens on: choose another LISTEN or UPSTREAM")


def check_legs(legs: Sequence[Leg]) -> None:
    """Refuse legs that share an address, and legs that lead back to themselves. A leg may lead to
    another leg's listener as long as the last of them leads elsewhere."""
    if len(legs) > MOST_LEGS:
        raise AddressError("", f"{len(legs)} legs at once: at most {MOST_LEGS}")
    for leg in legs:
        check_loop(leg.listen, leg.upstream)
    for index, leg in enumerate(legs):
        for other in legs[:index]:
            if _share(leg.listen, other.listen):
                raise AddressError(leg.listen.display, "two legs listen there: give each of them an address of its own")
    leads_to = [
        [place for place, other in enumerate(legs) if any(_is_listener(host, other.listen) for host in leg.upstream.hosts)] for leg in legs
    ]
    for start, leg in enumerate(legs):
        reached: set[int] = set()
        waiting = list(leads_to[start])
        while waiting:
            place = waiting.pop()
            if place == start:
                raise AddressError(
                    leg.display, "the legs lead back to this listener: one of them needs a pooler or a server as its UPSTREAM"
                )
            if place not in reached:
                reached.add(place)
                waiting += leads_to[place]


def _share(one: Listen, other: Listen) -> bool:
    """Whether two listeners would use the same address. Port 0 is a different free port each
    time."""
    if one.port != other.port or not one.port or (one.unix is None) != (other.unix is None):
        return False
    if one.unix is not None and other.unix is not None:
        return _is_listener(Host(one.unix, one.port, unix=one.unix), other)
    here, there = ({address for name in listen.hosts for address in _addresses(name, listen.port)} for listen in (one, other))
    everywhere = any(ipaddress.ip_address(address).is_unspecified for address in here | there)
    return everywhere or bool(here & there)


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
    """Whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
