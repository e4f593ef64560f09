"""The server's side of SCRAM-SHA-256, without channel binding (RFC 5802 and 7677).

The password is stretched once, when the Verifier is made: 4,096 rounds take milliseconds, and every
login would pay for it. Lengths are those of PostgreSQL's own server: a salt of 16 bytes, a nonce of
18.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from typing import Final

MECHANISM: Final = "SCRAM-SHA-256"
_ROUNDS: Final = 4096


class Refused(Exception):
    """The password is wrong, or the messages are not those of SCRAM."""


class Verifier:
    """What a server stores for a password."""

    def __init__(self, password: str) -> None:
        self.salt = secrets.token_bytes(16)
        prepared = unicodedata.normalize("NFKC", password).encode()
        salted = hashlib.pbkdf2_hmac("sha256", prepared, self.salt, _ROUNDS)
        self.stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")


class Login:
    """The state of one login."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._bare = b""
        self._server_first = b""
        self._header = b""
        self._nonce = b""

    @property
    def begun(self) -> bool:
        """Whether the client's first message has come."""
        return bool(self._server_first)

    def first(self, data: bytes) -> bytes:
        """The answer to the client's first message. Raises Refused."""
        flag, _, behind = data.partition(b",")
        name, _, bare = behind.partition(b",")
        if flag not in (b"n", b"y") or b",r=" not in b"," + bare:
            raise Refused
        self._header = b"%b,%b," % (flag, name)
        self._bare = bare
        self._nonce = bare.partition(b"r=")[2].partition(b",")[0] + base64.b64encode(secrets.token_bytes(18))
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, base64.b64encode(self._verifier.salt), _ROUNDS)
        return self._server_first

    def last(self, data: bytes) -> bytes:
        """The answer to the client's last message. Raises Refused."""
        without_proof, _, encoded = data.rpartition(b",p=")
        try:
            proof = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise Refused from None
        expected = b"c=%b,r=%b" % (base64.b64encode(self._header), self._nonce)
        message = b",".join((self._bare, self._server_first, without_proof))
        signature = hmac.digest(self._verifier.stored_key, message, "sha256")
        if without_proof != expected or len(proof) != len(signature):
            raise Refused
        key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(key).digest(), self._verifier.stored_key):
            raise Refused
        return b"v=" + base64.b64encode(hmac.digest(self._verifier.server_key, message, "sha256"))
