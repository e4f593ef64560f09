"""What goes to one driver, in order: bytes, recorded answers, pauses, and the end.

Answers are held until the driver waits for them, at a flush point, as a server does. Only then does
it matter when they are written, so the driver sees the same whatever its timing.

An answer is copied from the recording. Two things in it can be changed: names in the text of an
error or notice, which are this driver's own, and the transaction status of the last ReadyForQuery
when requests are answered in any order.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from pgtrace.protocol import backend
from pgtrace.serve.script import TEXTS, Script, Step
from pgtrace.serve.store import Stream

SQLSTATE: Final = "PGT01"
"""What did not match. The class is no other's."""
PROTOCOL_VIOLATION: Final = "08P01"
_LONGEST_TEXT: Final = 1024 * 1024
_READY_BYTES: Final = 6
_LENGTH: Final = struct.Struct(">I")
_QUOTED: Final = re.compile(rb'"([^"\0]+)"')


class Send(NamedTuple):
    """Bytes."""

    data: bytes


class Copy(NamedTuple):
    """Bytes of the recording."""

    stream: Stream
    offset: int
    size: int


class Pause(NamedTuple):
    """Nothing for that time, with `--timing`."""

    ns: int


class AwaitCancel(NamedTuple):
    """Nothing before a CancelRequest comes for this connection."""


class End(NamedTuple):
    """The server closes."""

    reset: bool = False


Output = Send | Copy | Pause | AwaitCancel | End


class Replies:
    """The outputs of one connection."""

    __slots__ = ("_held", "ended", "outputs")

    def __init__(self) -> None:
        self.outputs: deque[Output] = deque()
        """What may be written now. The socket takes from its left."""
        self.ended = False
        """Whether nothing comes after what there is."""
        self._held: list[Output] = []

    def send(self, data: bytes) -> None:
        """Bytes of our own, at once."""
        self.flush()
        self.outputs.append(Send(data))

    def answer(self, script: Script, step: Step, names: Mapping[bytes, bytes], status: int = 0) -> None:
        """A recorded answer. `names` are this driver's for the recorded ones; `status` replaces
        that of its last ReadyForQuery."""
        if step.latency_ns:
            self._held.append(Pause(step.latency_ns))
        if step.index in script.waits:
            self.flush()
            self._held.append(AwaitCancel())
        if not step.length:
            return
        size = step.length
        ready = b""
        if status and step.status and status != step.status:
            size -= _READY_BYTES
            ready = b"Z\0\0\0\5" + bytes([status])
        if step.flags & TEXTS and names and size <= _LONGEST_TEXT:
            self._held.append(Send(renamed(script.answered.read(step.reply, size), names)))
        elif size:
            self._held.append(Copy(script.answered, step.reply, size))
        if ready:
            self._held.append(Send(ready))

    def fail(self, severity: str, message: str, detail: str, status: int = 0, sqlstate: str = SQLSTATE) -> None:
        """An ErrorResponse of our own, and with `status` a ReadyForQuery."""
        fields = (("S", severity), ("V", severity), ("C", sqlstate), ("M", f"pgtrace: {message}"), ("D", detail))
        error = backend.ErrorResponse(tuple((name, text.replace("\0", "")) for name, text in fields if text)).wire()
        self.send(error + (b"Z\0\0\0\5" + bytes([status]) if status else b""))

    def flush(self) -> None:
        """The driver waits: what is held may be written."""
        self.outputs.extend(self._held)
        self._held.clear()

    def end(self, *, reset: bool = False) -> None:
        """Nothing comes after what there is."""
        if not self.ended:
            self.flush()
            self.outputs.append(End(reset))
            self.ended = True


def renamed(messages: bytes, names: Mapping[bytes, bytes]) -> bytes:
    """The messages, with other names between double quotes in errors and notices."""
    parts: list[bytes] = []
    at = 0
    while at + 5 <= len(messages):
        size = 1 + max(4, _LENGTH.unpack_from(messages, at + 1)[0])
        message = messages[at : at + size]
        if message[0] in b"EN":
            body = _QUOTED.sub(lambda found: b'"%b"' % names.get(found[1], found[1]), message[5:])
            message = message[:1] + _LENGTH.pack(len(body) + 4) + body
        parts.append(message)
        at += size
    return b"".join(parts) + messages[at:]
