"""Records of TLS 1.2 and 1.3 with the AEAD suites: from a secret to keys, from a protected record
to its plain bytes.

| | TLS 1.2 | TLS 1.3 |
|---|---|---|
| secret | CLIENT_RANDOM, the master secret | a traffic secret for each side and phase |
| keys | PRF "key expansion" | HKDF-Expand-Label "key", "iv" |
| nonce | AES: 4 bytes of key block, 8 of the record; ChaCha20: 12 xor the number | 12 xor the record's number |
| authenticated | number, type, version, plain length | the record's header |

The `cryptography` package does the arithmetic. Sources: RFC 5246, 5288, 6655, 7905, 8446 (7.1 to
7.3 and 5.2).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final, Protocol

GCM, CCM, CCM_8, CHACHA = "GCM", "CCM", "CCM_8", "CHACHA20"


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite: its AEAD, the number of bytes in a key, and the hash for deriving keys."""

    aead: str
    key_bytes: int
    hash: str

    @property
    def tag_bytes(self) -> int:
        """The length of the authentication tag after the text."""
        return 8 if self.aead == CCM_8 else 16


_GCM_128, _GCM_256, _CHACHA = Suite(GCM, 16, "sha256"), Suite(GCM, 32, "sha384"), Suite(CHACHA, 32, "sha256")
_CCM_128, _CCM_256, _CCM_8_128, _CCM_8_256 = (Suite(aead, size, "sha256") for aead in (CCM, CCM_8) for size in (16, 32))
SUITES_1_3: Final = {0x1301: _GCM_128, 0x1302: _GCM_256, 0x1303: _CHACHA, 0x1304: _CCM_128, 0x1305: _CCM_8_128}
SUITES_1_2: Final = (
    dict.fromkeys((0x009C, 0x009E, 0x00A2, 0x00A8, 0x00AA, 0xC02B, 0xC02D, 0xC02F, 0xC031), _GCM_128)
    | dict.fromkeys((0x009D, 0x009F, 0x00A3, 0x00A9, 0x00AB, 0xC02C, 0xC02E, 0xC030, 0xC032), _GCM_256)
    | dict.fromkeys((0xCCA8, 0xCCA9, 0xCCAA, 0xCCAB, 0xCCAC, 0xCCAD), _CHACHA)
    | dict.fromkeys((0xC09C, 0xC09E, 0xC0AC), _CCM_128)
    | dict.fromkeys((0xC09D, 0xC09F, 0xC0AD), _CCM_256)
    | dict.fromkeys((0xC0A0, 0xC0A2, 0xC0AE), _CCM_8_128)
    | dict.fromkeys((0xC0A1, 0xC0A3, 0xC0AF), _CCM_8_256)
)


class _Aead(Protocol):
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...


class Keys:
    """The keys of one direction in one phase."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes, secret: bytes | None) -> None:
        """`secret` is the traffic secret of TLS 1.3, from which the next keys are derived; None
        with TLS 1.2."""
        self.number = 0
        self._suite = suite
        self._aead = _aead(suite, key)
        self._iv = iv
        self._secret = secret

    def open(self, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        """The type and plain bytes of a protected record; None if these keys do not open it."""
        from cryptography.exceptions import InvalidTag

        try:
            kind, plain = self._open_1_3(head, body) if self._secret is not None else self._open_1_2(head, body)
        except (InvalidTag, ValueError, IndexError):
            return None
        self.number += 1
        return kind, plain

    def next(self) -> Keys:
        """The keys after a KeyUpdate."""
        assert self._secret is not None
        return keys_1_3(self._suite, _expand(self._suite.hash, self._secret, b"traffic upd", hashlib.new(self._suite.hash).digest_size))

    def _open_1_3(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._aead.decrypt(self._nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def _open_1_2(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        nonce = self._nonce()
        if self._suite.aead != CHACHA:
            nonce, body = self._iv + body[:8], body[8:]
        size = len(body) - self._suite.tag_bytes
        if size < 0:
            raise ValueError
        return head[0], self._aead.decrypt(nonce, body, struct.pack(">Q", self.number) + head[:3] + struct.pack(">H", size))

    def _nonce(self) -> bytes:
        iv = self._iv.rjust(12, b"\0")
        return (int.from_bytes(iv, "big") ^ self.number).to_bytes(12, "big")


def keys_1_3(suite: Suite, secret: bytes) -> Keys:
    """The keys from a traffic secret."""
    return Keys(suite, _expand(suite.hash, secret, b"key", suite.key_bytes), _expand(suite.hash, secret, b"iv", 12), secret)


def keys_1_2(suite: Suite, master: bytes, client_random: bytes, server_random: bytes) -> tuple[Keys, Keys]:
    """The keys of the client and those of the server."""
    iv_bytes = 12 if suite.aead == CHACHA else 4
    size = suite.key_bytes
    block = _prf(suite.hash, master, b"key expansion" + server_random + client_random, 2 * (size + iv_bytes))
    ivs = block[2 * size :]
    return Keys(suite, block[:size], ivs[:iv_bytes], None), Keys(suite, block[size : 2 * size], ivs[iv_bytes:], None)


def _aead(suite: Suite, key: bytes) -> _Aead:
    from cryptography.hazmat.primitives.ciphers import aead

    if suite.aead == GCM:
        return aead.AESGCM(key)
    return aead.ChaCha20Poly1305(key) if suite.aead == CHACHA else aead.AESCCM(key, suite.tag_bytes)


def _expand(name: str, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    found, block, number = b"", b"", 1
    while len(found) < size:
        block = hmac.digest(secret, block + info + bytes((number,)), name)
        found += block
        number += 1
    return found[:size]


def _prf(name: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """P_hash of TLS 1.2."""
    found, chain = b"", seed
    while len(found) < size:
        chain = hmac.digest(secret, chain, name)
        found += hmac.digest(secret, chain + seed, name)
    return found[:size]
