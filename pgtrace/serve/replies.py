"""The outputs to one driver, in order: bytes, recorded answers, pauses, and the end.

As in a server, answers are held until a flush point, when the driver waits for them. So the driver
sees the same bytes whatever its timing.

An answer is copied from the recording. Two things in it may be replaced: names in the text of an
error or notice, by this driver's names; and, when requests are answered in any order, the
transaction status of the last ReadyForQuery.
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
"""The SQLSTATE for requests that do not match. No other program uses its class."""
PROTOCOL_VIOLATION: Final = "08P01"
_LONGEST_TEXT: Final = 1024 * 1024
_READY_BYTES: Final = 6
_LENGTH: Final = struct.Struct(">I")
_QUOTED: Final = re.compile(rb'"([^"\0]+)"')


class Send(NamedTuple):
    """Send these bytes."""

    data: bytes


class Copy(NamedTuple):
    """Send bytes of the recording."""

    stream: Stream
    offset: int
    size: int


class Pause(NamedTuple):
    """Send nothing for that time, with `--timing`."""

    ns: int


class AwaitCancel(NamedTuple):
    """Send nothing until a CancelRequest comes for this connection."""


class End(NamedTuple):
    """Close the connection."""

    reset: bool = False


Output = Send | Copy | Pause | AwaitCancel | End


class Replies:
    """The outputs of one connection."""

    __slots__ = ("_held", "ended", "outputs")

    def __init__(self) -> None:
        self.outputs: deque[Output] = deque()
        """The outputs that may be written now. The socket takes them from the left."""
        self.ended = False
        """Whether no more outputs will follow."""
        self._held: list[Output] = []

    def send(self, data: bytes) -> None:
        """Add bytes that may be sent at once."""
        self.flush()
        self.outputs.append(Send(data))

    def answer(self, script: Script, step: Step, names: Mapping[bytes, bytes], status: int = 0) -> None:
        """Add a recorded answer. `names` maps recorded names to this driver's; `status` replaces
        that of its last ReadyForQuery.
        """
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
        """Add an ErrorResponse from pgtrace, and with `status` a ReadyForQuery."""
        fields = (("S", severity), ("V", severity), ("C", sqlstate), ("M", f"pgtrace: {message}"), ("D", detail))
        error = backend.ErrorResponse(tuple((name, text.replace("\0", "")) for name, text in fields if text)).wire()
        self.send(error + (b"Z\0\0\0\5" + bytes([status]) if status else b""))

    def flush(self) -> None:
        """Release the held outputs, because the driver waits."""
        self.outputs.extend(self._held)
        self._held.clear()

    def end(self, *, reset: bool = False) -> None:
        """End after the present outputs."""
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
