"""Which upstream a CancelRequest belongs to.

A cancel arrives on a connection of its own, with the process id and the secret key that the server
gave to the session. We forward it unchanged to the very address that the session is connected to,
because a name may refer to several servers. A cancel with an unknown key goes where a new session
would go, and the server ignores it. The driver's connection then ends when the server closes its
own, as with any session, because drivers take the end for "processed".

Keys are taken from BackendKeyData during the start-up and forgotten with the session. They exist
only in memory: captures hold keyed hashes.
"""

from __future__ import annotations

from pgtrace.proxy.upstream import Endpoint


class CancelKeys:
    """Maps process id and secret key, as the server sent them, to that server's address."""

    __slots__ = ("_endpoints", "_keys")

    def __init__(self) -> None:
        self._endpoints: dict[bytes, Endpoint] = {}
        self._keys: dict[int, bytes] = {}

    def add(self, connection: int, backend_key_data: bytes, endpoint: Endpoint) -> None:
        """Remember the body of a BackendKeyData."""
        self._keys[connection] = backend_key_data
        self._endpoints[backend_key_data] = endpoint

    def forget(self, connection: int) -> None:
        """The session is over: forget its key."""
        key = self._keys.pop(connection, None)
        if key is not None:
            self._endpoints.pop(key, None)

    def find(self, cancel_request: bytes) -> Endpoint | None:
        """The address for which a whole CancelRequest packet is meant; None if its key is
        unknown."""
        return self._endpoints.get(cancel_request[8:])
