"""Makes scripts from a capture, one for each recorded connection.

The session's machine (session/watched.py) knows to which request each answer belongs. The rules for
the scripts are:

- Bytes from the first message after start-up to the next request's answer belong to that request.
  NoticeResponse, NotificationResponse and ParameterStatus belong to the request that was being
  answered, or to no request while nothing was owed.
- An error that interrupts a COPY from the driver belongs to the CopyData that led to it, so it is
  sent when that data has arrived.
- An answer with 57014 waits for a CancelRequest if the recording has one for that connection.

A connection without a start-up, or with bytes that were not recorded or cannot be read, is not
served; `unserved` says why. Captures without their values are refused.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Final

from pgtrace.capture.golden import is_golden
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import (
    DECRYPTED,
    RST,
    Close,
    Data,
    Elided,
    Ended,
    Fact,
    Gap,
    Made,
    Opaque,
    Open,
    Record,
    Resume,
    Rewrite,
    Setting,
)
from pgtrace.errors import CaptureError
from pgtrace.framing import Frame, Framer
from pgtrace.protocol import answers, codes, fields, heads
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.serve.requests import KEPT_BYTES, CopyRun, Idle, Options, Requests
from pgtrace.serve.script import BREAKS, COPY_BOTH, COPY_IN, FAILS, IDLE, LAST, TEXTS, UNPROMPTED, Script, Step, Steps
from pgtrace.serve.store import Store, Stream
from pgtrace.session import owed
from pgtrace.session.watched import Watched

MOST_CONNECTIONS: Final = 100_000
"""The most connections of a recording that are served."""
_UNTYPED: Final = frozenset({codes.SSL_REQUEST, codes.GSSENC_REQUEST, codes.SSL_REPLY, codes.GSSENC_REPLY})
_EXTENDED: Final = frozenset({owed.PARSE, owed.BIND, owed.DESCRIBE, owed.EXECUTE, owed.CLOSE, owed.FLUSH, owed.COPY_END})
_COPY_ENDS: Final = b"cf"
_STARTUP: Final = struct.Struct(">I")
_PIECE: Final = 1024 * 1024
_FIRST: Final = 64
_BLANKS: Final = (b" NNNN", b" 'BBBB'")
_CANCELLED: Final = "57014"
_LONGEST_STARTUP: Final = 256 * 1024
_CUT: Final = "some of its bytes were not recorded"
_ENCRYPTED: Final = "its bytes are encrypted, or not PostgreSQL's"
_NO_BEGINNING: Final = "its beginning was not recorded"
REDACTED: Final = "was recorded with --redact {what}, so it has not the values that drivers would get: record it without"
ELIDED: Final = "was recorded with --max-row-bytes, so rows are missing: record it without"


class Recording:
    """The scripts of a capture."""

    def __init__(self, path: str, name: str, options: Options) -> None:
        """Prepare to read the capture at `path`; messages call it `name`. Raises CaptureError."""
        self.name = name
        self.options = options
        self.store = Store()
        self.scripts: list[Script] = []
        """The connections that can be served, in the order in which they opened."""
        self.unserved: Counter[str] = Counter()
        """Reason -> how many connections cannot be served because of it."""
        self.cancels = 0
        """Recorded CancelRequests."""
        self.torn_bytes = 0
        """Bytes of a last block that is cut off."""
        self._reader = CaptureReader(path, follow=False)
        self._connections: dict[int, _Connection] = {}
        self._seen = 0
        self._cancel_keys: list[bytes] = []
        self._cancelled: list[tuple[Script, int, bytes]] = []

    def step(self) -> bool:
        """Read on. Returns False at the end. Raises CaptureError."""
        blocks = self._reader.read()
        for block in blocks:
            for record in block.records:
                self._take(record)
        if blocks:
            return True
        for connection in list(self._connections.values()):
            self._end(connection)
        self.torn_bytes = self._reader.torn_bytes
        self._reader.close()
        self._settle_cancels()
        if not self.scripts:
            why = ", ".join(self.unserved) or "it has no session"
            raise CaptureError(self.name, f"nothing in it can be served: {why}")
        self.scripts.sort(key=lambda script: script.number)
        return False

    @property
    def progress(self) -> float:
        """The share that has been read, from 0 to 1."""
        return self._reader.read_bytes / max(1, self._reader.size_bytes)

    @property
    def unrequested(self) -> int:
        """Recorded requests that no driver has asked for in recorded order."""
        return sum(script.requests - script.reached for script in self.scripts)

    def close(self) -> None:
        """Release the bytes."""
        self._reader.close()
        self.store.close()

    def _take(self, record: Record) -> None:
        if isinstance(record, Setting):
            if record.key == "redact" and record.value:
                raise CaptureError(self.name, REDACTED.format(what=record.value))
            return
        if isinstance(record, Elided):
            raise CaptureError(self.name, ELIDED)
        number = getattr(record, "connection", None)
        if isinstance(record, Gap) and not number:
            for each in self._connections.values():
                each.lose(_CUT)
        elif isinstance(record, Open | Resume) and number not in self._connections and number is not None:
            if self._seen < MOST_CONNECTIONS:
                self._seen += 1
                self._connections[number] = _Connection(self, number)
            else:
                self.unserved[f"only {MOST_CONNECTIONS:,} connections are served"] += 1
        if number is not None and (connection := self._connections.get(number)) is not None:
            connection.take(record)
            if isinstance(record, Close):
                self._end(connection)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection.script.number]
        connection.end()
        if connection.script.served:
            self.scripts.append(connection.script)
        elif connection.why:
            self.unserved[connection.why] += 1

    def cancel_requested(self, key: bytes) -> None:
        """A CancelRequest with that process id and key was recorded."""
        self.cancels += 1
        self._cancel_keys.append(key)

    def step_cancelled(self, script: Script, step: int, key: bytes) -> None:
        """A step failed with 57014."""
        self._cancelled.append((script, step, key))

    def _settle_cancels(self) -> None:
        """Decide which answers wait for a CancelRequest. A golden has no keys, so there it may be
        any of them.
        """
        left = Counter(self._cancel_keys)
        for script, index, key in self._cancelled:
            if not left[key]:
                key = next((other for other, times in left.items() if times and self.options.blanked), b"")
            if left[key]:
                left[key] -= 1
                script.waits.add(index)


class _Connection:
    """One connection while it is read."""

    def __init__(self, recording: Recording, number: int) -> None:
        self._recording = recording
        store = recording.store
        self.script = Script(number, Stream(store), Stream(store), Steps(store))
        self.why = ""
        """Why it cannot be served."""
        self._framer = Framer(kept_bytes=KEPT_BYTES)
        self._machine: Watched[Step | None] = Watched()
        self._requests = Requests(recording.options)
        self._idle = Idle()
        self._at = [0, 0]
        self._login = True
        self._is_lost = False
        self._begun_before = False
        self._key = b""
        self._latest: Step | None = None  # the latest step with a request
        self._copy: CopyRun | None = None
        self._current = -1  # the latest step that has an answer
        self._waited_ns = 0
        self._status = 0
        self._startup_bytes = 0

    def take(self, record: Record) -> None:
        """Its next record."""
        self.script.opened_ns = self.script.opened_ns or record.time_ns
        self.script.ended_ns = record.time_ns
        if isinstance(record, Data | Rewrite):
            self._data(record.side, record.time_ns, record.data)
        elif isinstance(record, Made):
            self._data(BACKEND, record.time_ns, record.data)
        elif isinstance(record, Opaque):
            self.lose(_ENCRYPTED)
        elif isinstance(record, Gap):
            self.lose(_CUT)
        elif isinstance(record, Resume):
            self._resume(record)
        elif isinstance(record, Fact):
            if record.key == DECRYPTED:
                self._framer.decrypted()
        elif isinstance(record, Ended) or (isinstance(record, Close) and record.side == BACKEND):
            self._ended(record.side, record.how)

    def lose(self, why: str) -> None:
        """Nothing can be read from here on."""
        if not self._is_lost and (not self.script.served or self._login):
            self.why, self.script.served = why, False
        self._is_lost = True

    def end(self) -> None:
        """It has ended, or the capture has."""
        self._end_copy()
        script = self.script
        if not script.served and not self.why and script.parameters:
            self.why = "its start-up has no answer"
        script.requested.settle()
        script.answered.settle()

    def _ended(self, side: int, how: str) -> None:
        script = self.script
        if side == BACKEND and not script.leaves:
            script.closes = True
            script.resets = script.resets or how == RST
        elif side == FRONTEND:
            script.leaves = True

    def _resume(self, record: Resume) -> None:
        if self._at != [0, 0] or self.script.requested.length:
            return  # repeated at the beginning of a segment
        if record.offsets != (0, 0):
            self.lose(_NO_BEGINNING)
            return
        self._data(FRONTEND, record.time_ns, record.startup)
        self._data(BACKEND, record.time_ns, record.replies)
        self._begun_before = True

    def _data(self, side: int, time_ns: int, data: bytes) -> None:
        if self._is_lost:
            return
        (self.script.requested, self.script.answered)[side].append(data)
        for frame in self._framer.feed(side, data):
            start = self._at[side]
            self._at[side] += frame[2]
            if frame[0] == codes.OPAQUE:
                self.lose(_ENCRYPTED)
                return
            if side == FRONTEND:
                self._frontend(time_ns, frame, start)
            else:
                self._backend(time_ns, frame, start)

    def _frontend(self, time_ns: int, frame: Frame, start: int) -> None:
        code, body, size = frame
        step: Step | None = None
        if code == codes.STARTUP_MESSAGE:
            if (read := heads.startup(body)) is not None:
                self.script.version, self.script.parameters = read
        elif code == codes.CANCEL_REQUEST:
            self._recording.cancel_requested(body[4:])
        elif code < 256 and code not in b"pX":
            step = self._request(code, body, size, start, time_ns)
        if code == ord("X"):
            self.script.leaves = True
        self._waited_ns = time_ns
        self._machine.sent(time_ns, frame, step)

    def _request(self, code: int, body: bytes, size: int, start: int, time_ns: int) -> Step | None:
        """The step of a message; None for CopyData of a COPY in both directions, and for messages
        that ask for nothing.
        """
        script = self.script
        if self._idle.asks_nothing(code, copying=self._machine.copies_in):
            if self._copy is None:
                self._append(Step(code, start, size, flags=IDLE), time_ns)
            return None
        if code == ord("d"):
            if self._copies_both():
                return None
            if self._copy is None:
                self._copy = CopyRun()
                self._append(Step(code, start, 0), time_ns)
            self._copy.add(body, size)
            assert self._latest is not None
            self._latest.size = self._copy.bytes
            return self._latest
        self._end_copy()
        self._append(Step(code, start, size, self._requests.key(code, body, size)), time_ns)
        script.steps.settle(self._current)
        return self._latest

    def _append(self, step: Step, time_ns: int) -> None:
        step.before, step.sent_ns, step.after = self._status, time_ns, self._current
        if step.asks:
            self._latest = step
            self.script.requests += 1
        self.script.steps.append(step)

    def _end_copy(self) -> None:
        if self._copy is not None and self._latest is not None:
            self._latest.key = self._copy.key(self._recording.options)
        self._copy = None

    def _copies_both(self) -> bool:
        due = self._machine.due
        return due is not None and due.asked is not None and bool(due.asked.flags & COPY_BOTH)

    def _backend(self, time_ns: int, frame: Frame, start: int) -> None:
        code, body, size = frame
        due = self._machine.due
        kind = due.kind if due is not None else -1
        asked: Step | None = due.asked if due is not None else None
        copying = due is not None and due.copying
        item, _ = self._machine.received(time_ns, frame)
        if code in _UNTYPED:
            return
        if self._login:
            self._begin(code, body)
            return
        if self._begun_before and not self._at[FRONTEND] and code == ord("Z"):
            self._status = body[0] if body else 0
            return
        if item is not None and code not in answers.COPY_IN:
            asked = item.asked
        if copying and code not in answers.COPY_IN and self._latest is not None and self._latest.code in b"dcf":
            asked = self._latest
        step = self._answered_step(asked, time_ns, start)
        step.length = start + size - step.reply
        if code == ord("G"):
            self._swallow(step)
        self._note(step, code, body, kind)
        if code == ord("E") and step.code == ord("d"):
            step.flags |= BREAKS
        if step.flags & FAILS or code == ord("Z"):
            self._end_copy()

    def _swallow(self, began: Step) -> None:
        """The server is in copy mode, so Sync and Flush that were sent ahead ask for nothing."""
        steps = self.script.steps
        for index in range(began.index + 1, len(steps)):
            if (step := steps[index]).code in _COPY_ENDS:
                return
            if step.code in b"SH" and step.asks:
                step.flags |= IDLE
                self.script.requests -= 1

    def _answered_step(self, asked: Step | None, time_ns: int, start: int) -> Step:
        """The step to which the next bytes belong; never earlier than a step that has an answer."""
        steps = self.script.steps
        if asked is not None and asked.index < self._current:
            asked = steps[self._current]
        if asked is None:
            latest = steps[len(steps) - 1] if len(steps) else None
            if latest is not None and latest.code == UNPROMPTED:
                asked = latest
            elif latest is not None and latest.index > self._current:
                asked = latest  # no request owes it, but one has come since
            else:
                self._end_copy()
                asked = Step(UNPROMPTED)
                asked.before = self._status
                steps.append(asked)
        if not asked.length:
            asked.reply = start
            asked.latency_ns = max(0, time_ns - self._waited_ns)
        self._current = asked.index
        self._waited_ns = time_ns
        return asked

    def _note(self, step: Step, code: int, body: bytes, kind: int) -> None:
        """Note the properties that the server needs of this message of an answer."""
        if code == ord("Z"):
            step.status = self._status = body[0] if body else 0
        elif code == ord("W"):
            step.flags |= COPY_BOTH
        elif code == ord("G"):
            step.flags |= COPY_IN
        elif code == ord("N"):
            step.flags |= TEXTS
        elif code == ord("E"):
            step.flags |= TEXTS
            error = fields.error_fields(body)
            if error.get("V", error.get("S", "")) in ("FATAL", "PANIC"):
                step.flags |= LAST
                self.script.closes = True
            elif kind in _EXTENDED:
                step.flags |= FAILS
            if error.get("C") == _CANCELLED:
                self._recording.step_cancelled(self.script, step.index, self._machine.key)

    def _begin(self, code: int, body: bytes) -> None:
        """A message of start-up."""
        script = self.script
        if code == codes.VERSION_2_ERROR:
            return
        if code == ord("R"):
            script.asks_password = script.asks_password or codes.authentication_subtype(body) > 0
            return
        self._startup_bytes += len(body)
        if self._startup_bytes > _LONGEST_STARTUP:
            self.lose("its start-up is too long")
            return
        script.startup.append(bytes([code]) + _STARTUP.pack(len(body) + 4) + body)
        if code == ord("v") and (minor := int.from_bytes(body[:4], "big") & 0xFFFF) < script.version & 0xFFFF:
            script.version = 3 << 16 | minor
        if code in b"ZE":
            self._login = False
            script.served = bool(script.parameters)
            script.fails = code == ord("E")
            self._status = body[0] if code == ord("Z") and body else 0


def is_blanked(path: str) -> bool:
    """Whether a FILE is a golden in which numbers and bytes that differ from run to run are
    blanked.
    """
    try:
        with open(path, "rb") as file:
            before = b""
            while piece := file.read(_PIECE):
                if not before and not is_golden(piece[:_FIRST]):
                    return False
                if any(mark in before + piece for mark in _BLANKS):
                    return True
                before = piece[-_FIRST:]
    except OSError:
        return False
    return False
