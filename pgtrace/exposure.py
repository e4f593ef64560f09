"""What must not be: a listener that lends this user's identity to others, and one that is its own upstream.

Through pgtrace the server sees pgtrace's user and address, so whoever can connect to the listener is vouched for by `peer`, `ident`, `trust` and address rules.
check_exposure() refuses what would lend that to others. A socket in a directory has a mode that keeps others out; an abstract one has none: any user of this
machine can connect to it, as to a loopback port. check_loop() resolves names.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from pgtrace.address import Host, Listen, Upstream
from pgtrace.errors import AddressError


def check_exposure(listen: Listen, upstream: Upstream, allow_others: bool) -> None:
    """Refuse a listener that lends pgtrace's own identity to others, unless `allow_others`."""
    if allow_others or (listen.unix is not None and not listen.is_abstract):
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
