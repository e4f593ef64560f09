"""The effect of each capture record: bytes go to their connection, a mark begins or ends, a gap is
counted.

All times of a trace are ns from its first record. A record that is earlier than the previous one of
its connection gets that one's time, and is counted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.callsites.notes import MARK
from pgtrace.capture.record import (
    FAULT,
    LEG,
    CallSite,
    Close,
    Data,
    Elided,
    End,
    Ended,
    Fact,
    Gap,
    Made,
    Mark,
    Opaque,
    Open,
    Pause,
    Record,
    Resume,
    Rewrite,
    Setting,
)
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.connection import Connection
from pgtrace.trace.connections import Connections
from pgtrace.trace.files import Batch, CaptureFile
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.row import RowKind
from pgtrace.trace.totals import TraceTotals

SETTINGS_KEPT: Final = 1000
LONGEST_SETTING: Final = 4096


class Intake:
    """Takes the records of the captures, and keeps what they say about the recording as a whole."""

    def __init__(self, ledger: Ledger, totals: TraceTotals, connections: Connections) -> None:
        self._ledger = ledger
        self._totals = totals
        self._connections = connections
        self.gaps = 0
        self.dropped_bytes = 0
        self.times_back = 0
        """The number of records with an earlier time than a previous one of their connection."""
        self.is_joined = False
        """Whether the beginning of a connection is missing."""
        self.has_legs = False
        """Whether a recorder had several legs."""
        self.settings: dict[tuple[int, str], str] = {}
        """(number of the file, name) -> the latest value of a setting of its recorder."""
        self.ended: set[int] = set()
        """The numbers of the files whose recording ended regularly."""

    def take(self, batch: Batch) -> None:
        """Take the next records."""
        file, position, records = batch
        ledger, shift_ns, connections = self._ledger, file.shift_ns, file.connections
        if not ledger.start_ns:
            ledger.start_ns = next((record[0] for record in records if type(record) is not CallSite), records[0][0]) + shift_ns
        shift_ns -= ledger.start_ns
        latest_ns = 0
        for record in records:
            if type(record) is Data:  # nearly every record
                time_ns, number, side, offset, data = record
                connection = connections.get(number) or self._connections.begun(file, number, position)
                relative = time_ns + shift_ns
                if relative < connection.last_ns:
                    relative = self._not_back(connection)
                connection.receive(side, relative, data, offset, position)
            else:
                time_ns = record[0]
                self._take_rare(time_ns + shift_ns, position, file, record)
            if time_ns > latest_ns:  # noqa: PLR1730 - a call for each record
                latest_ns = time_ns
        ledger.end_ns = max(ledger.end_ns, latest_ns + file.shift_ns)

    def _not_back(self, connection: Connection) -> int:
        """The time to use for a record that is earlier than its connection's last."""
        self.times_back += 1
        return connection.last_ns

    def _take_rare(self, relative: int, position: int, file: CaptureFile, record: Record) -> None:
        known = file.connections.get(getattr(record, "connection", 0))
        # A Pause is written only when it has lasted a while.
        if known is not None and relative < known.last_ns and not isinstance(record, Pause):
            relative = self._not_back(known)
        begun = self._connections.begun
        if isinstance(record, Open):
            connection = begun(file, record.connection, position)
            connection.listener, connection.upstream = record.listener, record.server or record.upstream
            connection.client = record.client
            connection.opened_ns = connection.last_ns = relative
        elif isinstance(record, Rewrite):
            begun(file, record.connection, position).receive(record.side, relative, record.data, record.offset, position)
        elif isinstance(record, Made):
            begun(file, record.connection, position).receive(BACKEND, relative, record.data, record.offset, position)
        elif isinstance(record, Close):
            connection = begun(file, record.connection, position)
            connection.closed_by = {FRONTEND: "driver", BACKEND: "server"}.get(record.side, "pgtrace")
            connection.close(relative)
            file.full_buffers.closed(record.connection)
        elif isinstance(record, CallSite):
            if record.flags & MARK:
                self._ledger.call_sites.unit(relative, record)
            elif self._ledger.draws:
                self._ledger.call_sites.note(file.number, relative, record)
        elif isinstance(record, Pause):
            file.disk_waits.note(relative, record)
            file.full_buffers.note(relative, record)
        elif isinstance(record, Ended):
            begun(file, record.connection, position).ended(record.side, record.how, relative)
        elif isinstance(record, Fact):
            connection = begun(file, record.connection, position)
            if record.key == FAULT:
                self._ledger.event(RowKind.FAULT, f"fault: {record.value}", relative, position, connection.index)
            else:
                connection.learn(record.key, record.value)
                self.has_legs = self.has_legs or record.key == LEG
                self._connections.changed(connection)
        elif isinstance(record, Opaque):
            session = begun(file, record.connection, position).session
            if session is not None:
                session.opaque(record.side, relative, record.length)
        elif isinstance(record, Gap):
            self._gap(relative, position, file, record)
        elif isinstance(record, Mark):
            self._mark(relative, position, file, record)
        elif isinstance(record, Setting):
            if (file.number, record.key) in self.settings or len(self.settings) < SETTINGS_KEPT:
                self.settings[file.number, record.key[:LONGEST_SETTING]] = record.value[:LONGEST_SETTING]
        elif isinstance(record, Resume):
            self.is_joined = True
            begun(file, record.connection, position).resume(relative, record.startup, record.replies, record.offsets)
        elif isinstance(record, End):
            self.ended.add(file.number)
        elif isinstance(record, Elided):
            session = begun(file, record.connection, position).session
            if session is not None:
                session.elided(relative, record.messages, record.bytes, record.columns)

    def _mark(self, relative: int, position: int, file: CaptureFile, record: Mark) -> None:
        marks, place = self._ledger.marks.files[file.number], len(self._ledger.rows)
        if record.begin:
            marks.begin(record.name, (file.number, record.id), relative, place)
        else:
            marks.end((file.number, record.id), relative, place)
        self._ledger.event(RowKind.MARK, record.name if record.begin else f"{record.name} ends", relative, position)

    def _gap(self, relative: int, position: int, file: CaptureFile, record: Gap) -> None:
        self.gaps += 1
        self.dropped_bytes += record.bytes
        concerned = [self._connections.numbered(file, record.connection)] if record.connection else list(self._totals.open.values())
        # A record without bytes (a mark) leaves the streams whole.
        for connection in concerned if record.bytes else []:
            if connection is not None and connection.file == file.number:
                connection.gap(relative)
        one = concerned[0] if len(concerned) == 1 else None
        where = f" on {one.name}" if one is not None and record.connection else ""
        side = f" of {'FB'[record.side]}" if record.side in (FRONTEND, BACKEND) else ""
        lost = f"{record.bytes:,} bytes" if record.bytes else f"{record.records:,} record{'' if record.records == 1 else 's'} without bytes"
        text = f"gap  {lost}{side} not recorded{where}".replace(",", " ")
        self._ledger.event(RowKind.GAP, text, relative, position, one.index if one is not None else 0)
