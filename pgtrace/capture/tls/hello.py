"""The two messages of a TLS handshake that are sent in the clear, as far as needed: which version,
which cipher suite, which application protocol.

A driver that opens with a ClientHello whose ALPN is `postgresql` can only want PostgreSQL, whatever
its port. Sources: RFC 5246, 7301, 8446.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
RANDOM_BYTES: Final = 32
RECORD_HEAD: Final = 5
TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304
POSTGRESQL: Final = b"postgresql"
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest."""
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43


@dataclass(frozen=True, slots=True)
class Hello:
    """The contents of a hello. `suite` and `version` are the server's choice; they are 0 for a
    client."""

    random: bytes
    version: int = 0
    suite: int = 0
    alpn: tuple[bytes, ...] = ()

    @property
    def is_retry(self) -> bool:
        """Whether the server asks for another ClientHello."""
        return self.random == _RETRY


def is_postgresql(payload: bytes) -> bool | None:
    """Whether these first bytes of a stream are a ClientHello that asks for PostgreSQL; None if
    there are too few to decide."""
    if len(payload) < RECORD_HEAD + 1:
        return None if payload[:2] == b"\x16\x03"[: len(payload)] else False
    if payload[:2] != b"\x16\x03" or payload[RECORD_HEAD] != CLIENT_HELLO:
        return False
    length = int.from_bytes(payload[3:5], "big")
    found = client_hello(payload[RECORD_HEAD + 4 : RECORD_HEAD + length])
    if found is None or len(payload) < RECORD_HEAD + length:
        return None if len(payload) < RECORD_HEAD + length <= 1 << 14 else False
    return POSTGRESQL in found.alpn


def client_hello(body: bytes) -> Hello | None:
    """Parse a ClientHello without its message header; None if it is malformed."""
    try:
        at = 2 + RANDOM_BYTES
        at += 1 + body[at]  # session
        at += 2 + _word(body, at)  # suites
        at += 1 + body[at]  # compression
        names: list[bytes] = []
        for kind, value in _extensions(body, at):
            if kind == _ALPN:
                place = 2
                while place < len(value):
                    names.append(value[place + 1 : place + 1 + value[place]])
                    place += 1 + value[place]
        return Hello(body[2 : 2 + RANDOM_BYTES], alpn=tuple(names))
    except (IndexError, struct.error):
        return None


def server_hello(body: bytes) -> Hello | None:
    """Parse a ServerHello, as client_hello() does."""
    try:
        version = _word(body, 0)
        at = 2 + RANDOM_BYTES
        at += 1 + body[at]
        suite = _word(body, at)
        for kind, value in _extensions(body, at + 3):
            if kind == _SUPPORTED_VERSIONS:
                version = _word(value, 0)
        return Hello(body[2 : 2 + RANDOM_BYTES], version, suite)
    except (IndexError, struct.error):
        return None


def _extensions(body: bytes, at: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    if at >= len(body):
        return found  # there may be no extensions
    end = at + 2 + _word(body, at)
    at += 2
    while at + 4 <= min(end, len(body)):
        kind, length = struct.unpack_from(">HH", body, at)
        found.append((kind, body[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
