"""Whether the upstream answers. This is checked once, before a program is started that would only
fail."""

from __future__ import annotations

import os
import socket
from typing import Final

from pgtrace.address import Upstream, bound_path
from pgtrace.errors import UpstreamError

PROBE_S: Final = 5.0


def probe(upstream: Upstream) -> None:
    """Try one TCP (or Unix) connection to each host until one answers. Raises UpstreamError with
    the system's reasons if none does."""
    reasons: dict[str, None] = {}
    for host in upstream.hosts:
        try:
            if host.unix is not None:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                    sock.settimeout(PROBE_S)
                    sock.connect(bound_path(host.socket_path))
            else:
                socket.create_connection((host.hostaddr or host.name, host.port), PROBE_S).close()
        except OSError as error:
            reasons[upstream.about(host, _reason(error))] = None
        else:
            return
    raise UpstreamError(upstream.display, "; ".join(reasons))


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no answer within {PROBE_S:.0f} s"
    return os.strerror(error.errno) if error.errno else str(error)
