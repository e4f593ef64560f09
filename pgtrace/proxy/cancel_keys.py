"""Which upstream a CancelRequest belongs to.

A cancel comes on a connection of its own, with the process id and the secret key the server gave to the session. It is forwarded unchanged, to the
very address that session is connected to: a name may stand for several servers. A key nobody knows goes where a new session would go; the server
ignores it. The driver's connection then ends when the server closes its one, as with any session, because drivers take the end for "processed".

Keys are taken from BackendKeyData in the start-up phase and forgotten with the session. They live in memory only: captures hold keyed hashes.
"""

from __future__ import annotations

from pgtrace.proxy.upstream import Endpoint


class CancelKeys:
    """Process id and secret key, as sent by the server, to the address of that server."""

    __slots__ = ("_endpoints", "_keys")

    def __init__(self) -> None:
        self._endpoints: dict[bytes, Endpoint] = {}
        self._keys: dict[int, bytes] = {}

    def add(self, connection: int, backend_key_data: bytes, endpoint: Endpoint) -> None:
        """Remember the body of a BackendKeyData."""
        self._keys[connection] = backend_key_data
        self._endpoints[backend_key_data] = endpoint

    def forget(self, connection: int) -> None:
        """The session is over."""
        key = self._keys.pop(connection, None)
        if key is not None:
            self._endpoints.pop(key, None)

    def find(self, cancel_request: bytes) -> Endpoint | None:
        """The address a whole CancelRequest packet is meant for, None where its key is unknown."""
        return self._endpoints.get(cancel_request[8:])
