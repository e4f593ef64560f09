"""Finds the first difference between a driver's COPY data and the recorded data, in words.

The driver's data is compared as it arrives, however it is cut into messages, so only the part
around the first difference is kept. For text the difference is reported by row. Rows of binary data
cannot be found without types, so there it is reported by byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgtrace.describe import arguments
from pgtrace.framing import Framer
from pgtrace.protocol.codes import FRONTEND
from pgtrace.serve.requests import KEPT_BYTES
from pgtrace.serve.script import Script, Step

_PIECE: Final = 64 * 1024
_AROUND: Final = 60
_BINARY: Final = b"PGCOPY\n\xff\r\n\0"
IGNORED: Final = "--any-values ignores it"


class CopyDifference:
    """The first difference of one COPY's data."""

    __slots__ = ("_after", "_at", "_begins", "_found", "_line", "_now", "_pieces", "_recorded", "_row")

    def __init__(self, script: Script, step: Step) -> None:
        """Compare with the recorded data of `step`."""
        self._pieces = _data(script, step)
        self._recorded = b""  # recorded data that is not compared yet
        self._at = 0
        self._row = 1
        self._begins = b""
        self._line = b""
        self._found = False
        self._after = self._now = b""

    def add(self, body: bytes) -> None:
        """Compare the driver's next data."""
        if self._found:
            self._now += body[: _AROUND - len(self._now)]
            return
        recorded = self._read(len(body))
        if recorded[: len(body)] == body:
            self._pass(body)
            self._recorded = recorded[len(body) :]
            return
        shorter = min(len(recorded), len(body))
        same = next((at for at in range(shorter) if recorded[at] != body[at]), shorter)
        self._pass(body[:same])
        self._found = True
        self._recorded = recorded[same:]
        self._after, self._now = self._read(_AROUND)[:_AROUND], body[same : same + _AROUND]

    def words(self) -> str:
        """The difference in words, once the driver's data has ended; empty if it is in bytes that
        were not kept.
        """
        if not self._found:
            self._after = self._read(_AROUND)[:_AROUND]
        if self._after == self._now:
            return ""
        if (self._begins + self._after).startswith(_BINARY):
            before, now = (f"\\x{one[:16].hex()}" if one else "nothing more" for one in (self._after, self._now))
            return f"copy data from byte {self._at + 1}: recorded {before}, now {now}; {IGNORED}"
        before, now = (self._shown(one) for one in (self._after, self._now))
        return f"row {self._row} of the copy data: recorded {before}, now {now}; {IGNORED}"

    def _shown(self, after: bytes) -> str:
        row, ended, _ = after.partition(b"\n")
        if not (self._line or row or ended):
            return "no such row"
        return f"'{arguments.text(self._line + row)}'" if self._line + row else "an empty row"

    def _read(self, size: int) -> bytes:
        """At least that much of the recorded data, if there is as much."""
        parts, length = [self._recorded], len(self._recorded)
        while length < size and (piece := next(self._pieces, b"")):
            parts.append(piece)
            length += len(piece)
        self._recorded = b"".join(parts)
        return self._recorded

    def _pass(self, same: bytes) -> None:
        self._begins += same[: len(_BINARY) - len(self._begins)]
        self._at += len(same)
        self._row += same.count(b"\n")
        self._line = (self._line + same).rpartition(b"\n")[2][-_AROUND:] if len(same) < _PIECE else same.rpartition(b"\n")[2][-_AROUND:]


def _data(script: Script, step: Step) -> Iterator[bytes]:
    """The recorded data, up to a message that was not kept whole."""
    framer, at, left = Framer.typed(kept_bytes=KEPT_BYTES), step.request, step.size
    while left > 0 and (piece := script.requested.read(at, _PIECE)):
        at += len(piece)
        for code, body, size in framer.feed(FRONTEND, piece):
            if code != ord("d") or left <= 0:
                continue
            if len(body) != size - 5:
                return
            left -= len(body)
            if body:
                yield body
