"""A port for a server that cannot find one for itself, such as PostgreSQL or PgBouncer."""

from __future__ import annotations

import random
import socket
from typing import Final

_OWN: Final = range(20_000, 32_000)
"""Ports below those that Linux, macOS and Windows assign automatically. An automatic port could be
taken by any new connection between being found and being used.
"""
_TRIES: Final = 100


def free_port(host: str = "127.0.0.1") -> int:
    """A free port of that address which the system does not assign automatically."""
    for port in (*random.sample(_OWN, _TRIES), 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise OSError(f"{host}: no port is free")
