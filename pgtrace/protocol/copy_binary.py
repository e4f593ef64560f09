"""Where the rows of a binary COPY end, in CopyData that may be cut anywhere.

The data is a signature, flags and an extension, then rows. A row is an Int16 count and that many
values, each with an Int32 length, -1 for NULL. An Int16 of -1 ends the data. If the flags say that
rows have OIDs (PostgreSQL 11 and before), one more value comes first and is not counted. After a
wrong signature or a length below -1, row boundaries can no longer be found.

A COPY does not contain the types of its columns, so values stay bytes.

Source: PostgreSQL manual, "COPY", "Binary Format".
"""

from __future__ import annotations

import struct
from typing import Final

from pgtrace.protocol.copy_rows import ROWS_SHOWN, Rows
from pgtrace.protocol.primitives import Field

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_OIDS: Final = 1 << 16
_INT16: Final = struct.Struct(">h").unpack
_INT32: Final = struct.Struct(">i").unpack


class BinaryRows(Rows):
    """The rows of a binary COPY."""

    _SIZES: Final = {"signature": 11, "flags": 4, "extension": 4, "row": 2, "value": 4}

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        """`columns` are the names of the columns, if the statement lists them."""
        super().__init__()
        self._columns = columns
        self._phase = "signature"
        self._head = b""  # bytes of the next number so far
        self._left = 0  # bytes left of a value or of the extension
        self._values = 0  # values left in the row
        self._width = 0
        self._oids = 0

    def feed(self, data: bytes) -> None:
        self._read(data, None)

    def finish(self) -> None:
        """Do nothing: a row ends with its last value, so no row is left open."""

    def fields(self, data: bytes) -> list[Field]:
        found: list[Field] = []
        first = self._ended
        self._read(data, found)
        more = self._ended - first - ROWS_SHOWN
        rows = [place for place, field in enumerate(found) if field.name.startswith("row ")]
        if more > 0 and len(rows) > ROWS_SHOWN:
            place = rows[ROWS_SHOWN]
            found[place:] = [Field(f"{more} more rows", data[found[place].start :], "binary", found[place].start, len(data), 0)]
        return found

    def _read(self, data: bytes, found: list[Field] | None) -> None:
        position = 0
        while position < len(data):
            start = position
            if self._lost or self._phase == "over":
                position = len(data)
                self._add_field(found, "malformed" if self._lost else "after the end", data[start:], "", start, position)
                return
            if self._left:
                position = min(len(data), position + self._left)
                self._left -= position - start
                self._add_field(
                    found, self._name() + (", a part" if self._left else ", its end"), data[start:position], "binary", start, position
                )
                if not self._left:
                    self._ended_value()
                continue
            size = self._SIZES[self._phase]
            position = min(len(data), position + size - len(self._head))
            self._head += data[start:position]
            if len(self._head) < size:
                self._add_field(found, f"{self._phase}, a part", data[start:position], "", start, position)
                return
            head, self._head = self._head, b""
            position = self._number(head, data, start, position, found)

    def _number(self, head: bytes, data: bytes, start: int, position: int, found: list[Field] | None) -> int:
        """Read a whole number, or the signature, and the bytes of its value that are in `data`.
        Returns where the next item begins."""
        phase = self._phase
        if phase == "signature":
            self._lost = head != SIGNATURE
            self._phase = "flags"
            self._add_field(found, phase, head, "Byte11", start, position)
        elif phase == "flags":
            self._oids = int(bool(_INT32(head)[0] & _OIDS))
            self._phase = "extension"
            self._add_field(found, phase, _INT32(head)[0], "Int32", start, position)
        elif phase == "row":
            (count,) = _INT16(head)
            self._add_field(found, "end of data" if count == -1 else f"row {self._ended + 1}", count, "Int16", start, position)
            if count == -1:
                self._phase = "over"
            elif count < 0:
                self._lost = True
            else:
                self._width = self._values = count + self._oids
                self._ended_value(0)
        else:
            (length,) = _INT32(head)
            if length < (-1 if phase == "value" else 0):
                self._lost = True
                self._add_field(found, "malformed", f"a length of {length}", "", start, position)
                return position
            there = min(max(length, 0), len(data) - position)
            self._left = max(length, 0) - there
            value = None if length < 0 else data[position : position + there]
            position += there
            self._add_field(found, self._name() + (", a part" if self._left else ""), value, "Int32 Byten", start, position)
            if not self._left:
                self._ended_value()
        return position

    def _ended_value(self, values: int = 1) -> None:
        """Note that this many values of the row have ended, or that the extension has."""
        if self._phase == "extension":
            self._phase = "row"
            return
        self._values -= values
        self._phase = "value" if self._values else "row"
        self._ended += not self._values

    def _name(self) -> str:
        if self._phase == "extension":
            return "extension"
        place = self._width - self._values - self._oids
        return self._columns[place] if 0 <= place < len(self._columns) else "oid" if place < 0 else f"column {place + 1}"

    def _add_field(self, found: list[Field] | None, name: str, value: object, wire_type: str, start: int, end: int) -> None:
        if found is not None:
            found.append(Field(name, value, wire_type, start, end, int(self._phase == "value" and not name.startswith("row "))))
