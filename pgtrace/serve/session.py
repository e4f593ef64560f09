"""One driver's connection, without I/O: start-up, login, and the choice of its answers.

receive() takes bytes; the bytes to write are in `replies.outputs`. No bytes make it raise: anything
that is not PostgreSQL ends the connection, as with a server.

- SSLRequest and GSSENCRequest are answered `N`.
- The driver is trusted or, with a password, logs in by SCRAM-SHA-256. A recording has no passwords,
  and its SCRAM messages belong to other nonces.
- The recorded process id is kept, because rows may repeat it. The cancel key is new, so that a
  CancelRequest finds the connection it was given to.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from typing import Final

from pgtrace.framing import Framer
from pgtrace.protocol import authentication as auth
from pgtrace.protocol import codes, heads
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.serve.anyorder import AnyOrder, Units
from pgtrace.serve.choice import Choice, Reservation
from pgtrace.serve.inorder import InOrder
from pgtrace.serve.mismatch import Mismatch, not_a_message
from pgtrace.serve.recording import Recording
from pgtrace.serve.replies import AwaitCancel, Replies
from pgtrace.serve.requests import FLUSH_POINTS, KEPT_BYTES, Requests
from pgtrace.serve.scram import MECHANISM, Login, Refused, Verifier

MOST_BEFORE_LOGIN: Final = 16 * 1024
_HEADER_BYTES: Final = 5
_MOST_HELD: Final = 1000
_HEADER: Final = struct.Struct(">I")


class Keys:
    """The cancel keys of the connections that are open."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}

    def give(self, session: Session, process_id: bytes, length: int) -> bytes:
        """A new key for a connection."""
        key = process_id + secrets.token_bytes(length)
        self._sessions[key] = session
        return key

    def forget(self, key: bytes) -> None:
        """Remove the key of a connection that is over."""
        self._sessions.pop(key, None)

    def cancel(self, key: bytes) -> None:
        """Handle a CancelRequest."""
        if (session := self._sessions.get(key)) is not None:
            session.cancelled()


class Session:
    """One driver's connection."""

    def __init__(
        self,
        number: int,
        recording: Recording,
        choice: Choice,
        keys: Keys,
        *,
        units: Units | None = None,
        verifier: Verifier | None = None,
        on_mismatch: Callable[[Mismatch], None] = lambda _: None,
        on_repeat: Callable[[int], None] = lambda _: None,
        on_refused: Callable[[str], None] = lambda _: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """With `units`, requests are answered in any order. `on_mismatch` is called with
        mismatches, `on_repeat` with a recorded connection that is used again, `on_refused` with the
        user whose password is wrong, and `wake` after a cancel.
        """
        self.number = number
        self.replies = Replies()
        self.cancel_received = False
        """Whether a CancelRequest came that nothing has used."""
        self._recording = recording
        self._choice = choice
        self._keys = keys
        self._units = units
        self._verifier = verifier
        self._login: Login | None = None
        self._on_mismatch = on_mismatch
        self._on_repeat = on_repeat
        self._on_refused = on_refused
        self._wake = wake
        self._framer = Framer(kept_bytes=KEPT_BYTES)
        self._key = b""
        self._received = 0
        self._ready = False
        self._reservation: Reservation | None = None
        self._held: list[tuple[int, bytes, int]] = []
        self._player: InOrder | AnyOrder | None = None
        self._version = 0
        self._cancels = False
        self._latest = b""  # the latest bytes: an incomplete header
        self._parameters: tuple[tuple[str, str], ...] = ()

    @property
    def ready(self) -> bool:
        """Whether start-up is over."""
        return self._ready

    def receive(self, data: bytes) -> None:
        """Take bytes from the driver."""
        if self.replies.ended:
            return
        if not self._ready:
            self._received += len(data)
            if self._received > MOST_BEFORE_LOGIN + len(data):
                self.replies.end()
                return
        for code, body, size in self._framer.feed(FRONTEND, data):
            if self.replies.ended:
                return
            if self._ready and code == codes.OPAQUE:
                self._end_malformed((self._latest + data)[-size:])
            elif self._ready and code < codes.STARTUP_MESSAGE:
                self._typed(code, body, size)
            else:
                self._untyped(code, body)
        self._latest = (self._latest + data)[-4:]
        unfinished = self._framer.unfinished_bytes(FRONTEND)
        if self._ready and unfinished >= _HEADER_BYTES and (begun := self._framer.begun(FRONTEND)) not in codes.FRONTEND_NAMES:
            self._end_malformed(bytes([begun]))
        if not self._ready and unfinished > MOST_BEFORE_LOGIN:
            self.replies.end()

    def cancelled(self) -> None:
        """A CancelRequest came for this connection."""
        outputs = self.replies.outputs
        self.cancel_received = bool(outputs) and any(isinstance(output, AwaitCancel) for output in outputs)
        self._wake()

    def disconnected(self, *, hung_up: bool = True) -> None:
        """Called when the driver is gone; without `hung_up`, because the server closed."""
        self._keys.forget(self._key)
        self._decide()
        if hung_up and self._ready and not self.replies.ended and (size := self._framer.unfinished_bytes(FRONTEND)):
            begun = self._framer.begun(FRONTEND) if size >= _HEADER_BYTES else self._latest[-size]
            self._on_mismatch(not_a_message(self._where(), f"{size:,} bytes of {_of_type(begun)}, and then the end"))
        if self._reservation is not None:
            self._choice.release(self._reservation)
            self._reservation = None

    @property
    def began(self) -> bool:
        """Whether there was a start-up, or a CancelRequest."""
        return bool(self._version) or self._cancels

    def _untyped(self, code: int, body: bytes) -> None:
        if code in (codes.SSL_REQUEST, codes.GSSENC_REQUEST):
            self.replies.send(b"N")
        elif code == codes.CANCEL_REQUEST:
            self._cancels = True
            self._keys.cancel(body[4:])
            self.replies.end()
        elif code == codes.STARTUP_MESSAGE:
            self._startup(body)
        elif code == ord("p") and self._login is not None:
            self._password(self._login, body)
        else:
            self.replies.end()

    def _startup(self, body: bytes) -> None:
        read = heads.startup(body)
        if read is None or read[0] >> 16 != 3:
            self.replies.fail("FATAL", "only protocol 3 is supported", "")
            self.replies.end()
            return
        self._version, self._parameters = read
        self._reservation = self._choice.reserve(self._parameters)
        script = self._reservation.script
        for message in script.startup:
            if message[0] == ord("v"):
                self.replies.send(message)
        if self._verifier is not None and (script.asks_password or not script.fails):
            self._login = Login(self._verifier)
            self.replies.send(auth.AuthenticationSASL((MECHANISM,)).wire())
        else:
            self._enter()

    def _password(self, login: Login, body: bytes) -> None:
        try:
            if not self._nonce_sent(login, body):
                return
        except (Refused, MalformedMessage):
            self._on_refused(dict(self._parameters).get("user", ""))
            self.replies.fail("FATAL", "password authentication failed", "the password is that of --password-file")
            self.replies.end()

    def _nonce_sent(self, login: Login, body: bytes) -> bool:
        """Handle one of SCRAM's two messages. Returns whether the login is complete. Raises
        Refused, MalformedMessage.
        """
        if not login.begun:
            first = auth.SASLInitialResponse.parse(body)
            if first.mechanism != MECHANISM or first.data is None:
                raise Refused
            self.replies.send(auth.AuthenticationSASLContinue(login.first(first.data)).wire())
            return False
        self.replies.send(auth.AuthenticationSASLFinal(login.last(body)).wire())
        self._enter()
        return True

    def _enter(self) -> None:
        """Send the recorded start-up, after the login."""
        assert self._reservation is not None
        script = self._reservation.script
        messages = [message for message in script.startup if message[0] != ord("v")]
        if not script.fails:
            messages.insert(0, auth.AuthenticationOk().wire())
        self.replies.send(b"".join(self._replace_key(message) if message[0] == ord("K") else message for message in messages))
        if script.fails:
            self._choice.release(self._reservation)
            self._reservation = None
            self.replies.end()
            return
        self._ready = True
        if self._units is not None:
            self._player = AnyOrder(self.number, self._recording, self._units, self.replies, self._on_mismatch)
        elif script.begins:
            self._decide()

    def _replace_key(self, message: bytes) -> bytes:
        length = min(len(message) - 9, 4 if self._version & 0xFFFF < 2 else 256)
        self._key = self._keys.give(self, message[5:9], length)
        return b"K" + _HEADER.pack(len(self._key) + 4) + self._key

    def _typed(self, code: int, body: bytes, size: int) -> None:
        if code == ord("X"):
            self._decide()
            self.replies.end()
            return
        if code == ord("p") or code not in codes.FRONTEND_NAMES:
            self._end_malformed(bytes([code]))
            return
        if self._player is not None:
            self._player.take(code, body, size)
            return
        if code == ord("H") and not self._held:
            return  # no password was asked for
        self._held.append((code, body, size))
        if code in FLUSH_POINTS or code == ord("d") or len(self._held) >= _MOST_HELD or size > KEPT_BYTES:
            self._decide()

    def _end_malformed(self, data: bytes) -> None:
        """End the connection, because its bytes are not a message: the type, or also the length, is
        impossible.
        """
        self._decide()
        if self.replies.ended:
            return
        length = f", length {int.from_bytes(data[1:5], 'big'):,}" if len(data) >= 5 else ""
        found = not_a_message(self._where(), f"{_of_type(data[0])}{length}")
        self._on_mismatch(found)
        self.replies.fail("FATAL", "this is not a message of the protocol", found.got, sqlstate=found.sqlstate)
        self.replies.end()

    def _where(self) -> str:
        player = self._player
        return f"connection {self.number}" + (f" (recorded connection {player.script.number})" if isinstance(player, InOrder) else "")

    def _decide(self) -> None:
        """Choose the recorded connection, and answer the first requests."""
        if self._player is not None or self._reservation is None or not self._ready:
            return
        requests = Requests(self._recording.options)
        keys = [requests.key(*one) for one in self._held if one[0] != ord("d")]
        script = self._choice.commit(self._reservation, keys)
        if self._reservation.is_repeat:
            self._on_repeat(script.number)
        self._reservation = None
        self._player = InOrder(self.number, script, self.replies, self._recording.options, self._on_mismatch)
        self._player.begin()
        for one in self._held:
            self._player.take(*one)
        self._held.clear()


def _of_type(code: int) -> str:
    name = codes.FRONTEND_NAMES.get(code)
    return f"a message with the type byte 0x{code:02x}" if name is None else f"{name} (0x{code:02x})"
