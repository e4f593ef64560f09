"""A golden as a capture: libpq's trace text turned into the records that a recorder would have
written.

Everything on a connection between two changes of direction becomes one read, a millisecond after
the previous one, so the round trips are the same again. What the text does not have is filled in:

- AuthenticationOk, which libpq never prints, is added before the first message that only a
  logged-in session gets.
- The start-up of a connection that began before the text becomes a Resume, and a ReadyForQuery that
  is not counted.
- A row whose fields the text leaves out, because it is too long, becomes an Elided record. Any
  other such message is filled with zeros, up to a bound.
- What regress mode blanked: see protocol/pqtrace/reading.py. The process id of a cancel key is the
  connection's number, so a CancelRequest finds its session.

A `#` line is the beginning of a connection, a note about its end, or without meaning. Text without
any such line is one connection, as in libpq's own files.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final

import pgtrace
from pgtrace.capture.record import Close, Data, Elided, End, Fact, Open, Record, Resume
from pgtrace.capture.versions import VERSION, Header
from pgtrace.errors import CaptureError, NewerCapture
from pgtrace.protocol.authentication import AuthenticationOk
from pgtrace.protocol.backend import ReadyForQuery
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.pqtrace import reading
from pgtrace.protocol.startup import StartupMessage

GOLDEN_VERSION: Final = 1
TITLE: Final = "# pgtrace golden"
CLOSED: Final = "# closed without Terminate"
_BEGINS: Final = re.compile(rb"# pgtrace golden |[FB]\t(?:\d+|NN)\t[A-Z]")
_TITLE: Final = re.compile(rb"# pgtrace golden (\d{1,9})")
_BLANK: Final = re.compile(rb"\n+")
_SECTION: Final = re.compile(rb"# connections?(?: \d+)?: ([A-Za-z0-9][A-Za-z0-9_.+-]{0,39})")
_CANCELS: Final = re.compile(rb", cancels connection (\d{1,6})\b")
_STATUS: Final = re.compile(rb"begun before, in a (failed )?transaction")
_READ_BYTES: Final = 64 * 1024
_MOST_BYTES: Final = 24 * 1024 * 1024
"""The most text that is kept without a whole message in it. The exporter writes up to 4 MiB of
fields, with at most four characters per byte."""
_FEW_ZEROS: Final = 512
_ZEROS: Final = tuple(bytes(_FEW_ZEROS << step) for step in range(7, -1, -1))
"""Zeros that replace what the text does not have, longest first. Each piece exists once, however
many records use it."""
_MOST_ZEROS: Final = 256 * 1024 * 1024
"""The most bytes of zeros that replace messages' missing contents, besides 64 KiB of each
message."""
_MOST_EARLY: Final = 1024 * 1024
"""The most bytes kept of what the backend says before the frontend's first message."""
_MS: Final = 1_000_000
_FIRST: Final = frozenset({"StartupMessage", "SSLRequest", "GSSENCRequest", "CancelRequest"})
_LOGGED_IN: Final = frozenset({"ParameterStatus", "BackendKeyData", "ReadyForQuery"})
_KEYS: Final = {"BackendKeyData": 5, "CancelRequest": 8}
"""Messages with a cancel key, and where it begins in them."""
_REQUESTS: Final = frozenset({"SSLRequest", "GSSENCRequest"})
_ROW: Final = "DataRow"
_ENDS: Final = frozenset({"Terminate", "CancelRequest"})


def is_golden(first: bytes) -> bool:
    """Whether a file that begins with these bytes is libpq's trace text."""
    return _BEGINS.match(first) is not None


class Golden:
    """A golden that is becoming a capture."""

    def __init__(self, path: str) -> None:
        """`path` is for error messages."""
        self.connections = 0
        self._path = path
        self._text = b""
        self._tried = 0  # the length of the text when no whole message was found in it
        self._zeros = 0
        self._lines = 0  # lines before the rest of the text
        self._now_ns = time.time_ns()
        self.header: Header | None = Header(VERSION, os.urandom(4), self._now_ns, self._now_ns, pgtrace.__version__, "")
        self._records: list[Record] = []
        self._open = False
        self._status, self._driver, self._cancels = "I", "", 0
        self._logging_in = False
        self._closed = False
        self._offsets = [0, 0]
        self._side = FRONTEND
        self._read = bytearray()
        self._early = b""
        self._begun_before = False

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data`, the next bytes of the file, completes. Raises CaptureError and
        NewerCapture."""
        self._text += data
        if len(self._text) >= 2 * self._tried or len(self._text) > _MOST_BYTES:
            self._read_messages(final=False)
        return self._take_records()

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The remaining records at the end of the file. Raises CaptureError."""
        if self._text and not self._text.endswith(b"\n"):
            self._text += b"\n"
        self._read_messages(final=True)
        self._end_connection()
        if not cut:
            self._records.append(End(self._now_ns))
        return self._take_records()

    def notes(self) -> list[str]:
        """Always empty: a golden has nothing to note."""
        return []

    def nothing_found(self) -> str:
        return "contains no message in libpq's trace format"

    def _take_records(self) -> list[Record]:
        records, self._records = self._records, []
        return records

    def _read_messages(self, *, final: bool) -> None:
        """Take every whole message. A message may continue in the bytes to come."""
        text, at = self._text, 0
        while at < len(text):
            end = text.find(b"\n", at) + 1
            if not end:
                if len(text) - at > _MOST_BYTES:
                    raise self._error(at, "is longer than any message of a golden")
                break
            if blank := _BLANK.match(text, at):
                end = blank.end()
            elif text.startswith((b"#", b"mismatched message length: "), at):
                self._comment(text[at:end])
            else:
                try:
                    read = reading.message(text, at)
                except reading.NoMessage as error:
                    if final or len(text) - at > _MOST_BYTES:
                        raise self._error(at, f"is not a message in libpq's trace format: {error}") from None
                    break
                end = read.end
                if end >= len(text) and not final:
                    break  # the next lines may belong to it
                if read.missing > len(_ZEROS[0]):
                    self._zeros += read.missing if read.name != _ROW else 0
                    if self._zeros > _MOST_ZEROS:
                        raise self._error(at, f"lacks {read.missing} bytes that its length counts")
                self._message(read.side, read.name, read.data, read.missing)
            at = end
        self._lines += text.count(b"\n", 0, at)
        self._text = text[at:]
        self._tried = len(self._text)

    def _error(self, at: int, reason: str) -> CaptureError:
        return CaptureError(self._path, f"line {self._lines + self._text.count(10, 0, at) + 1} {reason}")

    def _comment(self, line: bytes) -> None:
        if title := _TITLE.match(line):
            if int(title[1]) > GOLDEN_VERSION:
                raise NewerCapture(self._path, int(title[1]), GOLDEN_VERSION)
        elif section := _SECTION.match(line):
            self._end_connection()
            self._driver = section[1].decode("ascii")
            cancels = _CANCELS.search(line)
            self._cancels = int(cancels[1]) if cancels else 0
            status = _STATUS.search(line)
            self._status = "I" if status is None else "E" if status[1] else "T"
        elif line.startswith(CLOSED.encode()):
            self._closed = True

    def _message(self, side: int, name: str, data: bytes, missing: int) -> None:
        if not self._open:
            self._begin_connection(name)
        if name in _KEYS:
            data = self._keyed(data, _KEYS[name], self.connections if side == BACKEND else self._cancels)
        # The backend's text before the frontend's first message goes into the first round trip.
        if self._begun_before:
            if side == BACKEND and len(self._early) + missing <= _MOST_EARLY:
                self._early += data + bytes(missing)
                return
            self._begun_before = False
        if side == BACKEND and self._logging_in and name in _LOGGED_IN | {"AuthenticationOk"}:
            self._logging_in = False
            if name != "AuthenticationOk":
                data = AuthenticationOk().wire() + data
        if name == "StartupMessage":
            self._logging_in, self._closed = True, False
        self._closed = self._closed or name in _ENDS
        if side != self._side or len(self._read) >= _READ_BYTES:
            self._flush(1 if side != self._side else 0)
            self._side = side
            if side == BACKEND and self._early:
                data, self._early = self._early + data, b""
        self._read += data
        if missing <= _FEW_ZEROS:
            self._read += bytes(missing)
        elif name == _ROW:
            del self._read[-len(data) :]
            self._flush(0)
            size = len(data) + missing
            self._records.append(Elided(self._now_ns, self.connections, side, self._offsets[side], 1, size, 0))
            self._offsets[side] += size
        else:
            self._flush(0)
            for piece in _ZEROS:
                while missing >= len(piece):
                    self._append(piece)
                    missing -= len(piece)
            self._read += bytes(missing)

    @staticmethod
    def _keyed(data: bytes, at: int, number: int) -> bytes:
        """The message with this process id, if its own was blanked."""
        return data if any(data[at : at + 4]) else data[:at] + number.to_bytes(4, "big") + bytes(len(data) - at - 4)

    def _begin_connection(self, name: str) -> None:
        self._open, self._logging_in = True, False
        # A client that only asked for encryption left after the answer.
        self._closed = name in _REQUESTS
        self._offsets, self._side = [0, 0], FRONTEND
        self.connections += 1
        self._now_ns += _MS
        self._records.append(Open(self._now_ns, self.connections, "", "", "", "", self._now_ns))
        if self._driver:
            self._records.append(Fact(self._now_ns, self.connections, "driver", self._driver))
        self._begun_before = name not in _FIRST
        if self._begun_before:
            ready = ReadyForQuery(self._status)
            startup, replies = StartupMessage(3 << 16, ()).wire(), AuthenticationOk().wire() + ReadyForQuery("I").wire()
            self._records.append(Resume(self._now_ns, self.connections, startup, (0, 0), replies))
            self._side = BACKEND
            self._read += ready.wire()

    def _end_connection(self) -> None:
        if not self._open:
            return
        self._read += self._early if self._side == BACKEND else b""
        self._early = b""
        self._flush(1)
        if self._closed:
            self._records.append(Close(self._now_ns, self.connections, FRONTEND, "FIN"))
        self._open = False
        self._status, self._driver, self._cancels = "I", "", 0

    def _flush(self, ms: int) -> None:
        """Turn the collected bytes into one read."""
        self._now_ns += ms * _MS
        if self._read:
            self._append(bytes(self._read))
            self._read.clear()

    def _append(self, data: bytes) -> None:
        side = self._side
        self._records.append(Data(self._now_ns, self.connections, side, self._offsets[side], data))
        self._offsets[side] += len(data)
