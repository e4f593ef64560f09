"""The CopyData of one row of the timeline, read in order, each with its contents.

A row may begin in the middle of a COPY or a stream; the connection's log knows what applied then
(copy_log.py). From there on the row's own messages decide: a copy response begins another COPY, a
Relation names a table, Stream Start and Stream Stop open and close a streamed transaction. Data
sent ahead of its CopyInResponse belongs to the COPY whose response comes next in the row, as it
does for the backend.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pgtrace.describe import arguments
from pgtrace.describe.copy_contents import COPY_BOTH, COPY_IN, Contents
from pgtrace.describe.copy_messages import Change, CopyPayload, message_inside
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.copy_rows import Rows
from pgtrace.protocol.primitives import Field
from pgtrace.protocol.replication import pgoutput
from pgtrace.trace.copy_log import CopyLog

_HEADER_BYTES: Final = 5


class RowsInside(CopyPayload):
    """Rows of a COPY. `reader` is at the beginning of the CopyData; `rows` rows end in it, and in
    the CopyData that joined it. None if their number is not known any more."""

    def __init__(self, reader: Rows, data: bytes, rows: int | None) -> None:
        self.reader = reader
        self.data = data
        self.rows = rows

    @property
    def argument(self) -> str:
        if self.rows is None:
            return arguments.text(self.data)
        count = arguments.counted(self.rows, "row") if self.rows else "no end of a row"
        return f"{count}  {arguments.text(self.data)}"

    def fields(self) -> list[Field]:
        return self.reader.twin().fields(self.data)


class RowsEnd(CopyPayload):
    """A CopyDone. `total` is the number of rows, including a last line without a line break."""

    def __init__(self, total: int) -> None:
        self.total = total

    @property
    def argument(self) -> str:
        return arguments.counted(self.total, "row")

    def fields(self) -> list[Field]:
        return []


class CopyReading:
    """The contents of the CopyData of the row at one place."""

    def __init__(self, copies: CopyLog, place: int) -> None:
        self._copies = copies
        self._place = place
        self._contents, self._to_come = copies.contents_at(place)
        self._sent_ahead = 0  # the number of COPYs whose data came before their response
        self._in_stream = copies.in_stream_at(place)
        self._relations: dict[int, pgoutput.Relation | None] = {}
        self._rows: Rows | None = None
        self._begin_rows()

    def responded(self) -> None:
        """A CopyInResponse, CopyOutResponse or CopyBothResponse arrived."""
        if self._sent_ahead:
            self._sent_ahead -= 1
        else:
            self._next()

    def data(self, side: int, body: bytes, size: int, run: CopyPayload | None = None) -> CopyPayload | None:
        """The contents of a CopyData with this body. `size` bytes of it passed, header included.

        Pass `run` if it will not be shown but joins a run of others: the contents of the CopyData
        that represents the run. Rows are added to it.
        """
        if side == FRONTEND and (self._contents is None or not self._contents.comes_from(side)) and self._may_be_ahead():
            self._sent_ahead += 1
            self._next()
        contents = self._contents
        if contents is None or not contents.comes_from(side):
            return None
        if contents.mode == COPY_BOTH or contents.family is not None:
            return self._message(contents, side, body)
        reader = self._rows
        if reader is None:
            return None
        shown = run if isinstance(run, RowsInside) else RowsInside(reader.twin(), body, 0)
        before = reader.rows
        reader.feed(body)
        if size > len(body) + _HEADER_BYTES:
            reader.lose()
        after = reader.rows
        shown.rows = None if shown.rows is None or before is None or after is None else shown.rows + after - before
        return shown

    def done(self, side: int) -> CopyPayload | None:
        """The contents of a CopyDone that ends rows: how many there were. Otherwise None."""
        if self._rows is None or self._contents is None or not self._contents.comes_from(side):
            return None
        self._rows.finish()
        rows, self._rows = self._rows.rows, None
        if self._contents.mode == COPY_IN:
            self._contents = None
        return RowsEnd(rows) if rows is not None else None

    def _may_be_ahead(self) -> bool:
        return bool(self._to_come) and self._to_come[0].mode == COPY_IN

    def _next(self) -> None:
        self._contents = self._to_come.pop(0) if self._to_come else None
        self._in_stream = False
        self._begin_rows()

    def _begin_rows(self) -> None:
        rows = self._contents.rows if self._contents is not None else None
        self._rows = rows.twin() if rows is not None else None

    def _message(self, contents: Contents, side: int, body: bytes) -> CopyPayload | None:
        found = message_inside(contents, side, body, partial(self._relation, self._relations), in_stream=self._in_stream)
        if isinstance(found, Change):
            if found.kind is pgoutput.StreamStart or found.kind is pgoutput.StreamStop:
                self._in_stream = found.kind is pgoutput.StreamStart
            # For later messages: earlier changes keep the old relations.
            elif (relation := found.relation) is not None:
                self._relations = {**self._relations, relation.relation_oid: relation}
        return found

    def _relation(self, known: dict[int, pgoutput.Relation | None], oid: int) -> pgoutput.Relation | None:
        if oid not in known:
            known[oid] = self._copies.relation_at(oid, self._place)
        return known[oid]
