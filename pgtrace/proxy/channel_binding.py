"""Channel binding: SCRAM-SHA-256-PLUS binds a login to the TLS connection that it runs in.

A driver on a plain leg must not be offered the server's PLUS. So ChannelBindingFilter removes it
from AuthenticationSASL, the only bytes of a session that pgtrace ever changes.

With TLS on both legs nothing helps. A driver that uses channel binding sees a certificate other
than the server's, and a driver that is not offered PLUS treats that as an attack. Unless the
certificate is the server's own, CHANNEL_BINDING says what you can do.
"""

from __future__ import annotations

import struct
from typing import Final

from pgtrace.protocol import codes

PLUS: Final = b"SCRAM-SHA-256-PLUS"
LONGEST_AUTHENTICATION: Final = 2000
"""libpq's limit for an authentication request."""

CHANNEL_BINDING: Final = (
    "the server offers SCRAM-SHA-256-PLUS and both legs are encrypted with different certificates: a driver that uses channel "
    "binding (libpq by default) will fail. Remedies: a plain driver leg (without --tls), channel_binding=disable in the driver, "
    "the server's own certificate and key (--tls-cert, --tls-key), or --tls pass"
)


class ChannelBindingFilter:
    """Removes SCRAM-SHA-256-PLUS from the server's offer, wherever its bytes are cut.

    It holds back only an incomplete authentication request, and fewer than five bytes of a header.
    """

    __slots__ = ("_held", "_skip", "done")

    def __init__(self) -> None:
        self.done = False
        """Whether there is nothing left to look for."""
        self._held = b""
        self._skip = 0  # bytes left of a message that is not relevant here

    def feed(self, data: bytes) -> list[tuple[bytes | None, bytes]]:
        """The pieces to send, in this order: (None, unchanged bytes) or (original bytes, bytes to
        send instead)."""
        data = self._held + data
        self._held = b""
        position = min(self._skip, len(data))
        self._skip -= position
        while not self.done and position < len(data):
            if position + 5 > len(data):
                self._held = data[position:]
                break
            length = int.from_bytes(data[position + 1 : position + 5], "big")
            stop = position + 1 + length
            if data[position] != 0x52:
                self.done = length < 4 or data[position] in b"EZ"
                self._skip = max(0, stop - len(data))
                position = min(stop, len(data))
                continue
            if not 8 <= length <= LONGEST_AUTHENTICATION:
                self.done = True
            elif stop > len(data):
                self._held = data[position:]
                break
            else:
                subtype = codes.authentication_subtype(data[position + 5 : stop])
                self.done = subtype in (codes.AUTH_OK, codes.AUTH_SASL)
                changed = _without_channel_binding(data[position + 5 : stop]) if subtype == codes.AUTH_SASL else None
                if changed is not None:
                    pieces: list[tuple[bytes | None, bytes]] = [
                        (None, data[:position]),
                        (data[position:stop], changed),
                        (None, data[stop:]),
                    ]
                    return [piece for piece in pieces if piece[1]]
                position = stop
        passed = data[: len(data) - len(self._held)]
        return [(None, passed)] if passed else []


def _without_channel_binding(body: bytes) -> bytes | None:
    """The AuthenticationSASL message to send instead of this body; None if it does not offer
    SCRAM-SHA-256-PLUS.

    This is done by hand, not by protocol/authentication.py: loading construct would hold up all
    sessions for 90 ms when the first one starts, and cost the process 10 MiB.
    """
    mechanisms = body[4:].split(b"\0")
    if PLUS not in mechanisms or mechanisms[-2:] != [b"", b""]:
        return None
    rest = body[:4] + b"\0".join(name for name in mechanisms if name != PLUS)
    return struct.pack(">cI", b"R", len(rest) + 4) + rest
