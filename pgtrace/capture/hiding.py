"""What is left out of a capture on request: `--redact` blanks contents, `--max-row-bytes` leaves
rows out.

Records come in as the recorder would have written them, with the protocol's own secrets blanked.
Records go out that contain the same with less. This is work for the writer's thread, so it costs
the traffic nothing, and none of it runs unless you ask for it. Lengths and offsets stay, so every
count is the same with and without (tests/capture/test_capture_hiding.py plays every capture of the
repository through it).

- Blanking fails closed. If a message cannot be framed, bytes were lost (a Gap), or the beginning is
  gone (a Resume), the rest of the connection is stored as Opaque. The reading side is less strict
  and resumes after a gap: there a wrong guess is a wrong row on a screen, here it would be a
  password on a disk.
- Rows are left out by whole messages. Once the DataRows of an execution have reached `row_bytes`,
  each further one becomes part of an Elided record, which counts it: the message where its column
  count was read, its bytes where they passed. A read is cut around what is left out, and the pieces
  keep its time. CopyData stays, because it has no columns to count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pgtrace.capture.contents import CHOICES, Contents
from pgtrace.capture.record import DECRYPTED, Close, Data, Elided, Fact, Gap, Made, Opaque, Record, Resume, Rewrite
from pgtrace.capture.redact import Redactor
from pgtrace.framing import LONGEST
from pgtrace.protocol.codes import BACKEND

ALL: Final = "all"
_DATA_ROW: Final = ord("D")
_HEAD: Final = 7
"""The type, length and column count of a DataRow."""
_ENDS: Final = frozenset(b"CIET2")
"""After one of these, the rows of another execution begin. After PortalSuspended the rows of the
same execution continue."""


class Hiding:
    """Turns records into records with less in them."""

    def __init__(self, key: bytes, redact: Iterable[str] = (), row_bytes: int | None = None) -> None:
        """`redact` has words of CHOICES, or ALL. `row_bytes` is how many bytes to keep of the rows
        of one execution."""
        self.chosen = frozenset(CHOICES if ALL in redact else redact)
        self.row_bytes = row_bytes
        self._key = key
        self._connections: dict[int, _Connection] = {}

    def __call__(self, records: Iterable[Record]) -> list[Record]:
        """The records to write instead of these."""
        hidden: list[Record] = []
        for record in records:
            number = getattr(record, "connection", 0)
            if not number:
                if isinstance(record, Gap):
                    for connection in self._connections.values():
                        connection.lose()
                hidden.append(record)
                continue
            if number not in self._connections:
                self._connections[number] = _Connection(self._key, self.chosen, self.row_bytes)
            hidden += self._connections[number].pass_on(record)
            if type(record) is Close:
                del self._connections[number]
        return hidden


class _Connection:
    """The two directions of one connection."""

    def __init__(self, key: bytes, chosen: frozenset[str], row_bytes: int | None) -> None:
        self._redactor = Redactor(key, Contents(chosen) if chosen else None)
        self._redacts = bool(chosen)
        self._is_lost = False
        self._rows = _Rows(row_bytes) if row_bytes is not None else None

    def pass_on(self, record: Record) -> Iterator[Record]:
        if isinstance(record, Data | Made | Rewrite):
            yield from self._stream(record)
            return
        if isinstance(record, Fact) and record.key == DECRYPTED:
            self._redactor.decrypted()
        elif isinstance(record, Gap | Resume):
            self.lose()
        yield record

    def lose(self) -> None:
        """Bytes are missing here."""
        self._is_lost = self._redacts
        if self._rows is not None:
            self._rows.lose()

    def _stream(self, record: Data | Made | Rewrite) -> Iterator[Record]:
        side = BACKEND if isinstance(record, Made) else record.side
        covered = self._redactor.feed(side, record.data) if not self._is_lost else None
        if not self._redacts:
            covered = record.data
        if covered is None:
            yield Opaque(record.time_ns, record.connection, side, record.offset, len(record.data))
        elif isinstance(record, Data) and side == BACKEND and self._rows is not None and self._rows.follows(self._redactor):
            yield from self._rows.cut(record._replace(data=covered))
        else:
            yield record._replace(data=covered)


class _Rows:
    """The backend's direction after start-up: decides which DataRows are left out."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._kept = 0  # bytes of rows of the current execution
        self._head = b""
        self._left = 0  # bytes left of the current body
        self._leaves = False  # the current message is left out
        # Whether the message boundaries are known: not yet (None), yes, not any more.
        self._state: bool | None = None

    def follows(self, redactor: Redactor) -> bool:
        """Whether the message boundaries are known. Call it after each backend read that `redactor`
        was fed."""
        if self._state is None:
            self._state = True if redactor.done and redactor.is_between(BACKEND) else None
            return False
        return self._state

    def lose(self) -> None:
        """Bytes are missing: leave nothing more out."""
        self._state = False

    def cut(self, record: Data) -> Iterator[Record]:
        """The record's bytes, as alternating Data and Elided records."""
        data = record.data
        start = position = messages = columns = 0
        while position < len(data):
            if self._left:
                taken = min(self._left, len(data) - position)
                self._left -= taken
                position += taken
                continue
            if not self._head:
                leaves = data[position] == _DATA_ROW and self._kept >= self._bound
                if leaves != self._leaves:
                    yield from self._piece(record, start, position, messages, columns)
                    start, messages, columns, self._leaves = position, 0, 0, leaves
            wanted = _HEAD if self._leaves else 5
            taken = min(wanted - len(self._head), len(data) - position)
            self._head += data[position : position + taken]
            position += taken
            if len(self._head) < wanted:
                break
            head, self._head = self._head, b""
            code, length = head[0], int.from_bytes(head[1:5], "big")
            self._left = length + 1 - wanted
            if self._left < 0 or length > LONGEST:
                self._state, self._left = False, 0
                break
            if self._leaves:
                messages += 1
                columns += int.from_bytes(head[5:], "big")
            elif code == _DATA_ROW:
                self._kept += length + 1
            elif code in _ENDS:
                self._kept = 0
        if self._state:
            position = len(data)
        yield from self._piece(record, start, position, messages, columns)
        if position < len(data):  # not framed: keep all the rest
            yield record._replace(offset=record.offset + position, data=data[position:])

    def _piece(self, record: Data, start: int, stop: int, messages: int, columns: int) -> Iterator[Record]:
        if start == stop:
            return
        if self._leaves:
            yield Elided(record.time_ns, record.connection, BACKEND, record.offset + start, messages, stop - start, columns)
        else:
            yield record._replace(offset=record.offset + start, data=record.data[start:stop])
