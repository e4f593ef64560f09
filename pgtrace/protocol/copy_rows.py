"""Where the rows of a COPY end, in CopyData that may be cut anywhere: text and CSV here, binary in
copy_binary.py.

CopyData is a stream: one message may hold several rows or a part of one. Feed a reader the messages
of one COPY in order; after each message it knows how many rows have ended. It looks only for the
ends. fields() shows the contents of rows on request.

- Text: a row is a line. A backslash escapes the next byte, so an escaped line break does not end a
  row. The first line break decides whether lines end in `\\n` (or `\\r\\n`) or in `\\r`. A line of
  `\\.` ends the data.
- CSV: the same with quotes instead of backslashes; a line break inside quotes is data. The escape
  byte is special only inside quotes, and it escapes any byte. If quote and escape are the same
  byte, two in sequence are read as the end of a quoted part and the beginning of another.
- A first line that names the columns (HEADER) is not a row. When the data ends, what follows the
  last line break is a row.

Not handled: client encodings whose trailing bytes look like a backslash (SJIS, BIG5, GBK, ...).
With these, a byte may be mistaken for an escape.

Source: PostgreSQL manual, "COPY", "File Formats"; the server's copyfromparse.c for what it accepts.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from typing import Final, Self

from pgtrace.protocol.primitives import Field

ROWS_SHOWN: Final = 100
"""The most rows of one message that are shown as a field each; the rest are one field."""
_MARKER: Final = b"\\."


class Rows(ABC):
    """A reader of one COPY's data. `rows` is the number of rows that have ended, or None once row
    boundaries cannot be found any more."""

    def __init__(self) -> None:
        self._ended = 0
        self._lost = False

    @property
    def rows(self) -> int | None:
        return None if self._lost else self._ended

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Read the next bytes of the COPY."""

    @abstractmethod
    def finish(self) -> None:
        """Note that the data has ended. What follows the last line break is then a row."""

    def lose(self) -> None:
        """Note that bytes are missing here. `rows` is None from now on."""
        self._lost = True

    @abstractmethod
    def fields(self, data: bytes) -> list[Field]:
        """Read the next bytes, as feed() does, and return the rows and parts of rows in them. Each
        field begins where the previous one ended."""

    def twin(self) -> Self:
        """A copy of the reader, at the same place in the data."""
        return copy.copy(self)


class TextRows(Rows):
    """The rows of a text COPY: lines, with a backslash as escape."""

    _word = "text"

    def __init__(self, *, header: bool = False) -> None:
        super().__init__()
        # Without these bytes, and once lines are known to end in \n, counting line breaks is
        # enough.
        self._special: tuple[bytes, ...] = (b"\\",)
        self._header = header  # the line that names the columns has not been read yet
        self._line_break = b""  # \n or \r: the byte that ends a line, empty while not known
        # the last byte was a \r, and the next byte decides whether it ends the line
        self._return_pending = False
        self._taken = False  # an escape applies to the first byte of the next data
        self._head = b""  # the first bytes of the current line
        self._over = False  # the end marker has been read

    def feed(self, data: bytes) -> None:
        known = self._line_break == b"\n" and not (self._header or self._taken or self._over or self._head[:1] == b"\\")
        if known and self._is_plain(data):
            self._ended += data.count(b"\n")
            begun = data.rfind(b"\n") + 1
            self._head = data[begun : begun + 4] if begun else (self._head + data[:4])[:4]
        else:
            self._ends(data)

    def finish(self) -> None:
        if self._return_pending:
            self._return_pending = False
            self._end_line(b"")
        elif self._head:
            self._end_line(b"")

    def fields(self, data: bytes) -> list[Field]:
        found: list[Field] = []
        position = self._resolve_return(data)
        if position:
            found.append(self._field("line break", data, 0, position))
        began, before = bool(self._head), self._ended
        ahead = self.twin()
        shown = [position + end for end in ahead._ends(data[position:])]
        # a single line does not show which line break the data uses
        self._line_break = ahead._line_break
        for number, end in enumerate(shown):
            if number == ROWS_SHOWN:
                break
            header, over = self._header, self._over
            self._ends(data[position:end])
            name = "header" if header else f"row {self._ended}" if self._ended > before else "end of data"
            before = self._ended
            found.append(self._field("after the end" if over else name + (", its end" if began else ""), data, position, end))
            began = False
            position = end
        self._ends(data[position:])
        if position < len(data):
            left = len(shown) - ROWS_SHOWN
            name = f"{left} more rows" if left > 0 else "after the end" if self._over else f"row {self._ended + 1}, a part"
            found.append(self._field(name, data, position, len(data)))
        return found

    def _is_plain(self, data: bytes) -> bool:
        return not any(byte in data for byte in self._special)

    def _field(self, name: str, data: bytes, start: int, end: int) -> Field:
        return Field(name, data[start:end].rstrip(b"\r\n").decode("utf-8", "surrogateescape"), self._word, start, end, 0)

    def _ends(self, data: bytes) -> list[int]:
        """Read the next bytes and return where lines end in them, after their line breaks."""
        ends: list[int] = []
        start = position = self._resolve_return(data)
        while (at := self._next_break(data, position)) >= 0:
            position = at + 1
            if not self._line_break:
                if data[at : at + 1] == b"\n":
                    self._line_break = b"\n"
                elif position == len(data):
                    self._return_pending = True
                    break
                elif data[position : position + 1] == b"\n":
                    self._line_break = b"\n"
                    position += 1
                else:
                    self._line_break = b"\r"
            self._end_line(data[start : min(at, start + 4)])
            ends.append(position)
            start = position
        if len(self._head) < 4:
            self._head += data[start : start + 4 - len(self._head)]
        return ends

    def _resolve_return(self, data: bytes) -> int:
        """Decide whether the \\r that ended the previous data was a whole line break. Returns how
        many of the next bytes belong to it."""
        if not self._return_pending or not data:
            return 0
        self._return_pending = False
        self._line_break = b"\n" if data[:1] == b"\n" else b"\r"
        self._end_line(b"")
        return int(self._line_break == b"\n")

    def _end_line(self, rest: bytes) -> None:
        line, self._head = self._head + rest, b""
        if self._header:
            self._header = False
        elif self._is_marker(line.rstrip(b"\r")):
            self._over = True
        elif not self._over:
            self._ended += 1

    def _is_marker(self, line: bytes) -> bool:
        return line == _MARKER

    def _next_break(self, data: bytes, position: int) -> int:
        """The position of the next byte that ends a line, or that may end one while the line break
        is not known; -1 if there is no such byte."""
        if self._taken and position < len(data):
            self._taken = False
            position += 1
        pattern = _TEXT[self._line_break]
        while match := pattern.search(data, position):
            if match[0][:1] != b"\\":
                return match.start()
            position = match.end()
            if len(match[0]) == 1:
                self._taken = True
                return -1
        return -1


_BREAKS: Final = {b"": rb"[\r\n]", b"\n": rb"\n", b"\r": rb"\r"}
_TEXT: Final = {known: re.compile(rb"\\[\s\S]?|" + breaks) for known, breaks in _BREAKS.items()}


class CsvRows(TextRows):
    """The rows of a CSV COPY: lines, with line breaks allowed inside quotes."""

    _word = "CSV"

    def __init__(self, *, header: bool = False, quote: bytes = b'"', escape: bytes = b'"', marker: bool = False) -> None:
        """`marker`: whether a line of `\\.` ends the data, as it does before PostgreSQL 18."""
        super().__init__(header=header)
        self._special = (b"\\", quote)
        self._marker = marker
        self._quoted = False
        self._quote = quote
        self._outside = {known: re.compile(re.escape(quote) + b"|" + breaks) for known, breaks in _BREAKS.items()}
        self._inside = re.compile(re.escape(quote) + (b"|" + re.escape(escape) + rb"[\s\S]?" if escape != quote else b""))

    def _is_plain(self, data: bytes) -> bool:
        return not self._quoted and super()._is_plain(data)

    def _is_marker(self, line: bytes) -> bool:
        return self._marker and line == _MARKER

    def _next_break(self, data: bytes, position: int) -> int:
        if self._taken and position < len(data):
            self._taken = False
            position += 1
        while match := (self._inside if self._quoted else self._outside[self._line_break]).search(data, position):
            position = match.end()
            if match[0] == self._quote:
                self._quoted = not self._quoted
            elif not self._quoted:
                return match.start()
            elif len(match[0]) == 1:
                self._taken = True
                return -1
        return -1
