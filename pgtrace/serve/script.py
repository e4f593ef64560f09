"""One recorded connection as a script: its requests in order, and the bytes that answered each.

A step is one frontend message after start-up, with the part of the backend's stream that answered
it. The parts follow each other without a gap, because the backend answers in order. Consecutive
CopyData are one step. Messages that the backend sent unprompted while nothing was owed are a step
with code 0.

Steps whose answer is complete are packed and written to the store, so a long connection does not
stay in memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from pgtrace.serve.store import Store, Stream

UNPROMPTED: Final = 0
"""The code of a step without a request."""

TEXTS: Final = 1
"""Flag: its answer has an ErrorResponse or a NoticeResponse, which may repeat a name."""
IDLE: Final = 2
"""Flag: it asks for nothing (requests.Idle), so it is not compared."""
COPY_IN: Final = 4
"""Flag: its answer ends by handing the turn to the driver's CopyData."""
COPY_BOTH: Final = 8
"""Flag: the same, and both sides copy."""
FAILS: Final = 16
"""Flag: an ErrorResponse after which the backend discards everything up to the next Sync."""
BREAKS: Final = 64
"""Flag: an ErrorResponse that ended the driver's COPY."""
LAST: Final = 32
"""Flag: a FATAL or PANIC error. The backend closes."""

_PACKED: Final = struct.Struct(">BBBBQIQQQQI16s")
_CHUNK: Final = 4096


@dataclass(slots=True)
class Step:
    """A request, with the place of its answer."""

    code: int
    request: int = 0
    """Where the message begins in the frontend's stream, header included."""
    size: int = 0
    """Bytes of the message; of CopyData, bytes of data."""
    key: bytes = b""
    reply: int = 0
    """Where the answer begins in the backend's stream."""
    length: int = 0
    """Bytes of the answer."""
    latency_ns: int = 0
    """The time from the latest request or answer before it to its answer, in ns."""
    flags: int = 0
    before: int = 0
    """Transaction status before it, as in ReadyForQuery; 0 before the first."""
    status: int = 0
    """Transaction status in its ReadyForQuery; 0 without one."""
    sent_ns: int = 0
    """When it was sent."""
    after: int = -1
    """The latest step that had an answer when it was sent."""
    index: int = -1
    """Its place in the script."""

    @property
    def asks(self) -> bool:
        """Whether it is a request that counts."""
        return self.code != UNPROMPTED and not self.flags & IDLE

    def pack(self) -> bytes:
        return _PACKED.pack(
            self.code, self.flags, self.before, self.status, self.request, min(self.size, 0xFFFFFFFF),
            self.reply, self.length, self.latency_ns, self.sent_ns, self.after + 1, self.key,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes, index: int) -> Step:
        code, flags, before, status, request, size, reply, length, latency_ns, sent_ns, after, key = _PACKED.unpack(data)
        return cls(code, request, size, key, reply, length, latency_ns, flags, before, status, sent_ns, after - 1, index)


class Steps:
    """The steps of a script, in order."""

    __slots__ = ("_chunks", "_open", "_packed", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._chunks: list[int] = []
        self._packed = 0
        self._open: list[Step] = []

    def __len__(self) -> int:
        return self._packed + len(self._open)

    def __getitem__(self, index: int) -> Step:
        if index >= self._packed:
            return self._open[index - self._packed]
        data = self._store.read(self._chunks[index // _CHUNK] + index % _CHUNK * _PACKED.size, _PACKED.size)
        return Step.unpack(data, index)

    def append(self, step: Step) -> None:
        """Add a step that may still be answered."""
        step.index = len(self)
        self._open.append(step)

    def settle(self, before: int) -> None:
        """No step before that one changes any more."""
        while len(self._open) >= 2 * _CHUNK and self._packed + _CHUNK <= before:
            self._chunks.append(self._store.append(b"".join([step.pack() for step in self._open[:_CHUNK]])))
            del self._open[:_CHUNK]
            self._packed += _CHUNK


@dataclass(slots=True)
class Script:
    """One recorded connection."""

    number: int
    """The connection's number in the capture, from 1."""
    requested: Stream
    """The frontend's bytes."""
    answered: Stream
    """The backend's bytes."""
    steps: Steps
    parameters: tuple[tuple[str, str], ...] = ()
    """Start-up parameters."""
    version: int = 3 << 16
    """The protocol version that both sides spoke."""
    startup: list[bytes] = field(default_factory=list)
    """The backend's messages of start-up, without authentication."""
    asks_password: bool = False
    """Whether the server asked for a password."""
    fails: bool = False
    """Whether start-up ended with an error."""
    served: bool = False
    """Whether it can be served: its start-up is complete."""
    closes: bool = False
    """Whether the backend ended the connection."""
    resets: bool = False
    """Whether it ended it with a reset."""
    leaves: bool = False
    """Whether the driver ended it."""
    opened_ns: int = 0
    ended_ns: int = 0
    """When the driver connected, and when the connection was over; 0 if that was not seen."""
    requests: int = 0
    """Requests that count."""
    reached: int = 0
    """The most of them that one driver got past."""
    waits: set[int] = field(default_factory=set)
    """Steps that were answered after a CancelRequest."""

    def message(self, step: Step, kept_bytes: int) -> tuple[bytes, int]:
        """The body of a step's request, at most `kept_bytes` of it, and the size on the wire."""
        return self.requested.read(step.request + 5, min(step.size - 5, kept_bytes)), step.size

    @property
    def begins(self) -> bool:
        """Whether the server speaks first: it sends something unprompted, or closes."""
        return self.steps[0].code == UNPROMPTED if len(self.steps) else self.closes

    def first_request(self) -> int:
        """The index of the first step that asks for something, or the number of steps."""
        index = 0
        while index < len(self.steps) and not self.steps[index].asks:
            index += 1
        return index
