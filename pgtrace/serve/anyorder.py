"""Answers requests in any order, on any connection.

A unit is the messages that a driver sends up to a flush point: `PDH`, `BES`, a Query, an Execute
that begins a COPY from the driver. The answer is that of the same unit in the recording: the first
time the first one, the second time the second; the last one is repeated. Names are compared by the
text they stand for, the data of a COPY with the unit that began it. Messages that ask for nothing,
or that the server discarded after an error, are left out. The transaction status of a connection
follows from its answered units: a unit that began a block when it was recorded begins one here.

A unit that is not in the recording is answered with an error, and the connection continues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgtrace.serve.copydata import CopyDifference
from pgtrace.serve.mismatch import Mismatch, malformed, of_request
from pgtrace.serve.recording import Recording
from pgtrace.serve.replies import PROTOCOL_VIOLATION, SQLSTATE, Replies
from pgtrace.serve.requests import FLUSH_POINTS, KEPT_BYTES, CopyRun, Idle, Requests, unit_key
from pgtrace.serve.script import COPY_BOTH, COPY_IN, FAILS, LAST, Script, Step

_IDLE, _OPEN, _FAILED = b"ITE"
_MOST: Final = 100_000
Place = tuple[Script, int, int]
"""A script, and the first and the last step of a unit."""


class Units:
    """The units of a recording, found by their keys."""

    def __init__(self, recording: Recording) -> None:
        self._places: dict[bytes, list[Place]] = {}
        self._used: dict[bytes, int] = {}
        self._copied: dict[bytes, tuple[Script, Step]] = {}
        for script in recording.scripts:
            self._add(script)

    def _add(self, script: Script) -> None:
        context, first = b"", 0
        keys: list[bytes] = []
        steps, skipping = script.steps, False
        for index in range(len(steps)):
            step = steps[index]
            if not step.asks:
                continue
            if skipping:
                skipping = step.code != ord("S")
                continue
            if not keys:
                first = index
            keys.append(step.key)
            if step.code == ord("d") and context:
                self._copied.setdefault(context, (script, step))
            if step.code in FLUSH_POINTS or step.flags & COPY_IN:
                key = unit_key([context, *keys])
                self._places.setdefault(key, []).append((script, first, index))
                flags = 0
                for one in range(first, index + 1):
                    flags |= steps[one].flags
                copies = flags & COPY_IN
                skipping = bool(flags & FAILS) and step.code != ord("S")
                context = key if copies and step.code not in b"cf" else b""
                keys = []

    @property
    def unrequested(self) -> int:
        """The number of recorded requests that no driver has sent."""
        return sum(
            script.steps[index].asks
            for key, places in self._places.items()
            for script, first, last in places[self._used.get(key, 0) :]
            for index in range(first, last + 1)
        )

    def copied(self, key: bytes) -> CopyDifference | None:
        """A comparison of COPY data with the first recorded data of a unit that began a COPY."""
        found = self._copied.get(key)
        return CopyDifference(*found) if found is not None else None

    def has(self, key: bytes) -> bool:
        """Whether the recording has that unit."""
        return key in self._places

    def next(self, key: bytes) -> Place | None:
        """The next place of a unit."""
        places = self._places.get(key)
        if places is None:
            return None
        used = self._used.get(key, 0)
        self._used[key] = used + 1
        return places[min(used, len(places) - 1)]


class AnyOrder:
    """One driver's connection."""

    def __init__(
        self, connection: int, recording: Recording, units: Units, replies: Replies, on_mismatch: Callable[[Mismatch], None]
    ) -> None:
        self._connection = connection
        self._units = units
        self._options = recording.options
        self._replies = replies
        self._on_mismatch = on_mismatch
        self._requests = Requests(recording.options)
        self._idle = Idle()
        self._names: dict[bytes, bytes] = {}
        self._batch: list[tuple[int, bytes]] = []
        self._keys: list[bytes] = []
        self._copy: CopyRun | None = None
        self._difference: CopyDifference | None = None
        self._context = b""
        self._status = _IDLE
        self._skipping = self._copies_both = False

    def take(self, code: int, body: bytes, size: int) -> None:
        """Take the driver's next message."""
        if self._replies.ended:
            return
        if self._idle.asks_nothing(code, copying=bool(self._context) and not self._copies_both):
            return
        if self._skipping:
            if code != ord("S"):
                return
            self._skipping = False
            self._send_ready()
            return
        if code == ord("d"):
            if self._context and not self._copies_both:
                if self._copy is None:
                    self._copy, self._difference = CopyRun(), self._units.copied(self._context)
                self._copy.add(body, size)
                if self._difference is not None:
                    self._difference.add(body)
            return
        if self._copy is not None:
            self._keys.append(self._copy.key(self._options))
            self._batch.append((ord("d"), b""))
            self._copy = None
        if code in b"cf" and not self._context:
            return
        self._batch.append((code, body[:KEPT_BYTES]))
        self._keys.append(self._requests.key(code, body, size))
        begins_copy = code == ord("E") and self._units.has(unit_key([self._context, *self._keys]))
        if code in FLUSH_POINTS or begins_copy or len(self._batch) >= _MOST:
            self._answer(code)
            self._batch.clear()
            self._keys.clear()
            self._difference = None

    def _answer(self, code: int) -> None:
        if len(self._batch) == 1 and code == ord("S"):
            self._send_ready()
            return
        key = unit_key([self._context, *self._keys])
        place = self._units.next(key)
        self._context = b""
        if place is None:
            self._report_mismatch(code)
            return
        script, first, last = place
        steps = [step for index in range(first, last + 1) if (step := script.steps[index]).asks]
        self._learn(script, steps)
        after = next((step.status for step in reversed(steps) if step.status), 0)
        if after:
            self._status = _status_after(self._status, steps[0].before, after)
        for step in steps:
            self._replies.answer(script, step, self._names, self._status)
        index = last + 1
        while index < len(script.steps) and not (step := script.steps[index]).asks:
            steps.append(step)
            self._replies.answer(script, step, self._names)
            index += 1
        self._replies.flush()
        flags = 0
        for step in steps:
            flags |= step.flags
        if flags & LAST:
            self._replies.end(reset=script.resets)
        if flags & (COPY_IN | COPY_BOTH) and code not in b"cf":
            self._context, self._copies_both = key, bool(flags & COPY_BOTH)
        self._skipping = bool(flags & FAILS) and code != ord("S")

    def _learn(self, script: Script, steps: list[Step]) -> None:
        for step, (code, body) in zip(steps, self._batch, strict=False):
            if code in b"PB" and (name := body.partition(b"\0")[0]):
                recorded = script.message(step, KEPT_BYTES)[0].partition(b"\0")[0]
                if recorded != name:
                    self._names[recorded] = name

    def _report_mismatch(self, code: int) -> None:
        request = next((of_request(*one) for one in self._batch if one[0] in b"QP"), of_request(*self._batch[0]))
        where = f"connection {self._connection}: this is not in the recording:"
        detail = self._difference.words() if self._difference is not None else ""
        wrong = next((words for one in self._batch if (words := malformed(*one))), "")
        found = Mismatch(where, "any of its requests", request, wrong or detail, PROTOCOL_VIOLATION if wrong else SQLSTATE)
        self._on_mismatch(found)
        self._status = _FAILED if self._status != _IDLE else _IDLE
        extended = code not in b"QFS"
        self._replies.fail("ERROR", "this request is not in the recording", request, 0 if extended else self._status, found.sqlstate)
        self._skipping = extended and code not in b"cf"

    def _send_ready(self) -> None:
        self._replies.send(b"Z\0\0\0\5" + bytes([self._status]))
        self._batch.clear()
        self._keys.clear()


def _status_after(status: int, before: int, after: int) -> int:
    """The status after a unit that changed it from `before` to `after` when it was recorded."""
    if after == before:
        return status
    if after == _FAILED:
        return _FAILED if status != _IDLE else _IDLE
    return after
