"""Decrypts the TLS of one connection of a pcap. The Followed object that it feeds sees what a
recorder that terminated TLS would have seen.

- Until TLS begins, bytes pass unchanged: requests for encryption and their replies. TLS begins
  after an `S`, or immediately with a ClientHello.
- From then on bytes are held until both secrets are found, up to HELD_BYTES, and ALL_HELD_BYTES for
  all connections together: a key log may be written a moment after the packets. Then the connection
  is reported as decrypted, and plain bytes pass, with offsets of their own. If the secrets are not
  found, everything passes encrypted, as it would without a key log.
- A record belongs to the packet that completes it: the plain bytes of one packet are one piece,
  with its time.
- TLS 1.3: a side's keys change after its Finished, and with each KeyUpdate. If only the second
  secret is known, records before it are skipped. A HelloRetryRequest is a ServerHello that decides
  nothing. TLS 1.2: keys apply after ChangeCipherSpec.
- close_notify ends its direction; the FIN after it adds nothing.
- Each connection that cannot be decrypted has one reason, counted in Tls.reasons. After a loss, or
  a record that cannot be decrypted, a connection is opaque to its end.

It never raises, whatever the bytes are. Sources: RFC 8446, 5246; PostgreSQL manual, "SSL Session
Encryption".
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import Final

from pgtrace.capture.followed import Followed
from pgtrace.capture.record import CLOSE_NOTIFY, DECRYPTED, FIN
from pgtrace.capture.tcp import Taker
from pgtrace.capture.tls.ciphers import SUITES_1_2, SUITES_1_3, Keys, Suite, keys_1_2, keys_1_3
from pgtrace.capture.tls.hello import (
    CLIENT_HELLO,
    HANDSHAKE,
    RECORD_HEAD,
    SERVER_HELLO,
    TLS_1_2,
    TLS_1_3,
    Hello,
    client_hello,
    server_hello,
)
from pgtrace.capture.tls.keylog import KeyLog
from pgtrace.errors import MissingExtra
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

HELD_BYTES: Final = 64 * 1024
ALL_HELD_BYTES: Final = 16 * 1024 * 1024
_LONGEST_RECORD: Final = (1 << 14) + 2048
_LONGEST_HANDSHAKE: Final = 128 * 1024
_CHANGE, _ALERT, _APPLICATION = 20, 21, 23
_FINISHED, _KEY_UPDATE = 20, 24
_CLOSE_NOTIFY_ALERT: Final = 0
_MOST_SKIPPED: Final = 64
_REQUESTS: Final = {code.to_bytes(4, "big"): reply for code, reply in ((codes.SSL_REQUEST_CODE, b"S"), (codes.GSSENC_REQUEST_CODE, b"G"))}
_LABELS: Final = (
    (b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_HANDSHAKE_TRAFFIC_SECRET"),
    (b"CLIENT_TRAFFIC_SECRET_0", b"SERVER_TRAFFIC_SECRET_0"),
)
_MASTER: Final = b"CLIENT_RANDOM"

NO_SECRETS: Final = "their secrets are not in the key log"
NO_BEGINNING: Final = "they began before the capture"
LOST: Final = "some of their bytes are missing"
WRONG: Final = "the secrets in the key log do not match"
NO_TLS: Final = "their TLS is not recognised"


class Tls:
    """The state that the connections of one capture share. Raises MissingExtra if the package that
    decrypts is not installed."""

    def __init__(self, keylog: KeyLog) -> None:
        if not is_available():
            raise MissingExtra("keylog", "decrypting TLS")
        self.keylog = keylog
        self.reasons: Counter[str] = Counter()
        """Why connections stay encrypted: each reason, with the number of connections."""
        self.held_bytes = 0


def is_available() -> bool:
    """Whether the package that decrypts is installed."""
    return importlib.util.find_spec("cryptography") is not None


class _Side:
    """One direction of TLS."""

    __slots__ = ("buffer", "changed", "closed", "handshake", "is_end_reported", "keys", "later", "skipped")

    def __init__(self) -> None:
        self.buffer = b""  # of records that are incomplete, or wait for secrets
        self.handshake = b""  # of handshake messages that are incomplete
        self.keys: Keys | None = None
        self.later: Keys | None = None  # TLS 1.3: the keys after the Finished
        self.changed = False  # TLS 1.2: a ChangeCipherSpec has passed
        self.skipped = 0  # records of a handshake whose secret is not known
        self.closed = False  # it sent close_notify
        self.is_end_reported = False  # its end has been reported


class Decrypting:
    """Decrypts a connection before a Followed receives it."""

    __slots__ = (
        "_client",
        "_held",
        "_held_bytes",
        "_inner",
        "_offsets",
        "_replies",
        "_request",
        "_server",
        "_sides",
        "_suite",
        "_take",
        "_tls",
    )

    def __init__(self, inner: Followed, tls: Tls, *, seen: bool) -> None:
        """`seen`: whether the connection's beginning was seen."""
        self._inner = inner
        self._tls = tls
        self._take: Taker = self._take_startup if seen else self._take_joined
        self._replies: list[bytes] = []  # replies that would begin encryption
        self._request = b""
        self._offsets = [0, 0]  # plain bytes passed on
        self._sides = (_Side(), _Side())
        # The bytes that passed since TLS began; None once it is decided whether they can be
        # decrypted.
        self._held: list[tuple[int, int, int, bytes]] | None = None
        self._held_bytes = 0
        self._client: Hello | None = None
        self._server: Hello | None = None
        self._suite: Suite | None = None

    @property
    def latest_ns(self) -> int:
        """The time of the latest bytes it received."""
        return self._inner.latest_ns

    def take(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take the next bytes of a side, as they were on the wire."""
        self._take(side, time_ns, offset, data)

    def lose(self, side: int, time_ns: int, offset: int, size: int) -> None:
        """Bytes of a side are missing."""
        if self._held is not None:
            self._fail(LOST)
        elif self._take == self._take_records:
            self._fail(LOST)
            offset = self._offsets[side]
            self._offsets[side] += size
        elif self._take == self._take_encrypted:
            offset = self._offsets[side]
            self._offsets[side] += size
        else:
            self._take = self._inner.take
        self._inner.lose(side, time_ns, offset, size)

    def ended(self, side: int, time_ns: int, how: str) -> None:
        """A direction has ended."""
        self._stop_waiting()
        if not (self._sides[side].closed and how == FIN):
            self._inner.ended(side, time_ns, how)

    def finish(self) -> None:
        """Nothing more will come for now."""
        self._stop_waiting()
        self._inner.finish()

    def close(self, side: int, time_ns: int, how: str) -> None:
        """The connection is over."""
        self._stop_waiting()
        self._inner.close(side, time_ns, how)

    # Before TLS.

    def _take_joined(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take the first bytes of a connection without a beginning. They show whether it is
        encrypted, and no more."""
        if data[:1] == bytes((_APPLICATION,)) and data[1:2] == b"\3":
            self._tls.reasons[NO_BEGINNING] += 1
        self._take = self._inner.take
        self._inner.take(side, time_ns, offset, data)

    def _take_startup(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take bytes while encryption may still be requested."""
        if side == FRONTEND and not (self._request or self._replies) and data[0] == HANDSHAKE:
            self._begin()
            self._take(side, time_ns, offset, data)
            return
        begins = len(data)
        if side == FRONTEND:
            self._request += data
            while len(self._request) >= 8:
                reply = _REQUESTS.get(self._request[4:8])
                if reply is None:
                    self._take = self._inner.take  # a StartupMessage, or something else
                    break
                self._replies.append(reply)
                self._request = self._request[8:]
        else:
            expected = self._replies.pop(0) if self._replies else b""
            if data[:1] == expected == b"S":
                begins = 1
            elif data != b"N":
                self._take = self._inner.take
        self._offsets[side] += begins
        self._inner.take(side, time_ns, offset, data[:begins])
        if side == BACKEND and self._take == self._take_startup and data[:1] == b"S":
            self._begin()
            if begins < len(data):
                self._take(side, time_ns, offset + begins, data[begins:])

    def _begin(self) -> None:
        self._held = []
        self._take = self._take_records

    # TLS.

    def _take_records(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take bytes of TLS: complete records become plain bytes."""
        if self._held is None:
            self._open(side, time_ns, data)
            return
        self._held.append((side, time_ns, offset, data))
        self._held_bytes += len(data)
        self._tls.held_bytes += len(data)
        self._open(side, time_ns, data)
        if self._held is None:
            return
        if self._server is not None and any(one.buffer for one in self._sides) and self._find_keys():
            self._release()
        elif self._held_bytes > HELD_BYTES or self._tls.held_bytes > ALL_HELD_BYTES:
            self._stop_waiting()

    def _release(self) -> None:
        """Pass on the bytes that waited for the keys, in the order in which they arrived."""
        held = self._take_held()
        waiting = [len(one.buffer) for one in self._sides]
        passed = [sum(len(piece[3]) for piece in held if piece[0] == side) - waiting[side] for side in (FRONTEND, BACKEND)]
        for one in self._sides:
            one.buffer = b""
        for side, time_ns, offset, data in held:
            begins = min(passed[side], len(data))
            passed[side] -= begins
            if begins < len(data):
                self._take(side, time_ns, offset, data[begins:])

    def _open(self, side: int, time_ns: int, data: bytes) -> None:
        this = self._sides[side]
        buffer = this.buffer + data if this.buffer else data
        at = 0
        plain: list[bytes] = []
        while len(buffer) >= at + RECORD_HEAD:
            head = buffer[at : at + RECORD_HEAD]
            size = head[3] << 8 | head[4]
            if not _CHANGE <= head[0] <= 24 or head[1] != 3 or size > _LONGEST_RECORD:
                self._fail(NO_TLS)
                break
            if len(buffer) < at + RECORD_HEAD + size:
                break
            if not self._take_record(side, head, buffer[at + RECORD_HEAD : at + RECORD_HEAD + size], plain):
                break
            at += RECORD_HEAD + size
        if plain:
            text = b"".join(plain)
            self._inner.take(side, time_ns, self._offsets[side], text)
            self._offsets[side] += len(text)
        this.buffer = buffer[at:] if self._take == self._take_records else b""
        if self._take == self._take_encrypted:
            self._take_encrypted(side, time_ns, 0, buffer[at:])
        if this.closed and not this.is_end_reported:
            this.is_end_reported = True
            self._inner.ended(side, time_ns, CLOSE_NOTIFY)

    def _take_record(self, side: int, head: bytes, body: bytes, plain: list[bytes]) -> bool:
        """Process one record. Returns True if the next one may be read. Its application data is
        added to `plain`."""
        this = self._sides[side]
        kind = head[0]
        if not self._is_protected(this, kind):
            if kind == _CHANGE:
                this.changed = self._server is not None and self._server.version == TLS_1_2
            elif kind == HANDSHAKE:
                return self._take_messages(side, body)
            return kind != _APPLICATION or self._fail(NO_TLS)
        if self._held is not None:
            return False  # it waits for the secrets
        opened = this.keys.open(head, body) if this.keys is not None else None
        if opened is None and this.later is not None:
            opened = this.later.open(head, body)
            if opened is not None:
                this.keys, this.later = this.later, None
            elif this.keys is None and this.skipped < _MOST_SKIPPED:
                this.skipped += 1
                return True  # part of the handshake, whose secret is not known
        if opened is None:
            return self._fail(WRONG)
        kind, text = opened
        if kind == _APPLICATION:
            if text:
                plain.append(text)
            return True
        if kind == HANDSHAKE:
            return self._take_messages(side, text)
        if kind == _ALERT and text[1:2] == bytes((_CLOSE_NOTIFY_ALERT,)):
            this.closed = True
        return True

    def _is_protected(self, this: _Side, kind: int) -> bool:
        if self._server is None:
            return False
        return kind == _APPLICATION if self._server.version == TLS_1_3 else this.changed

    def _take_messages(self, side: int, body: bytes) -> bool:
        """Process handshake messages, protected or not. Returns True if the next record may be
        read."""
        this = self._sides[side]
        this.handshake += body
        while len(this.handshake) >= 4:
            kind, size = this.handshake[0], int.from_bytes(this.handshake[1:4], "big")
            if size > _LONGEST_HANDSHAKE:
                return self._fail(NO_TLS)
            if len(this.handshake) < 4 + size:
                break
            message, this.handshake = this.handshake[4 : 4 + size], this.handshake[4 + size :]
            if not self._take_message(side, kind, message):
                return False
        return True

    def _take_message(self, side: int, kind: int, body: bytes) -> bool:
        this = self._sides[side]
        if this.keys is not None or this.later is not None:
            if kind == _FINISHED and this.later is not None:
                this.keys, this.later = this.later, None
            elif kind == _KEY_UPDATE and this.keys is not None and this.later is None and self._server is not None:
                this.keys = this.keys.next()
            elif kind in (CLIENT_HELLO, SERVER_HELLO):
                return self._fail("they renegotiated")
            return True
        if kind == CLIENT_HELLO and side == FRONTEND:
            self._client = client_hello(body)
        elif kind == SERVER_HELLO and side == BACKEND:
            hello = server_hello(body)
            if hello is None:
                return self._fail(NO_TLS)
            if not hello.is_retry:
                return self._apply_choice(hello)
        return True

    def _apply_choice(self, hello: Hello) -> bool:
        """Apply the server's choice of version and cipher suite. Returns False if it is not
        supported."""
        if hello.version not in (TLS_1_2, TLS_1_3):
            return self._fail(f"{_version(hello.version)} is not supported")
        self._suite = (SUITES_1_3 if hello.version == TLS_1_3 else SUITES_1_2).get(hello.suite)
        if self._suite is None:
            return self._fail(f"cipher suite {hello.suite:#06x} is no AEAD")
        if self._client is None:
            return self._fail(NO_TLS)
        self._server = hello
        return True

    def _find_keys(self) -> bool:
        """Whether both sides' secrets are known now."""
        client, server, suite = self._client, self._server, self._suite
        assert client is not None
        assert server is not None
        assert suite is not None
        find = self._tls.keylog.find
        if server.version == TLS_1_2:
            master = find(client.random, _MASTER)
            if master is None:
                return False
            for side, keys in zip(self._sides, keys_1_2(suite, master, client.random, server.random), strict=True):
                side.keys = keys
        else:
            secrets = [[find(client.random, label) for label in labels] for labels in _LABELS]
            if None in secrets[1]:
                return False
            for side, early, late in zip(self._sides, *secrets, strict=True):
                side.keys = keys_1_3(suite, early) if early is not None else None
                side.later = keys_1_3(suite, late or b"")
        self._inner.fact(DECRYPTED, _version(server.version))
        return True

    def _stop_waiting(self) -> None:
        """Stop waiting for secrets: what is held stays encrypted."""
        if self._held is not None:
            self._fail(NO_SECRETS if self._server is not None else NO_TLS)

    def _take_held(self) -> list[tuple[int, int, int, bytes]]:
        """Stop holding, and return what was held."""
        held, self._held = self._held or [], None
        self._tls.held_bytes -= self._held_bytes
        self._held_bytes = 0
        return held

    def _fail(self, reason: str) -> bool:
        """The connection stays encrypted from here on. Returns False."""
        self._tls.reasons[reason] += 1
        if self._held is None:
            self._take = self._take_encrypted
            return False
        self._take = self._inner.take
        for piece in self._take_held():
            self._inner.take(*piece)
        return False

    def _take_encrypted(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Count bytes after something that could not be decrypted."""
        self._inner.opaque(side, self._offsets[side], len(data))
        self._offsets[side] += len(data)


def _version(number: int) -> str:
    return {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}.get(number, "this version of TLS")
