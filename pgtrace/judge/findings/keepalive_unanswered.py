"""keepalive-unanswered: a replication client does not answer the server's keepalive, so the server
closes the connection after wal_sender_timeout.

Recognised by a Primary keepalive that asks for a reply and that no Standby status update follows
until the end of the connection. Any status update counts as a reply.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Watch, counted, nothing, seconds
from pgtrace.protocol.codes import BACKEND


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._is_reported = False

    def settle(self) -> None:
        connection = self.seen.connection
        asked = connection.keepalive
        if self._is_reported or asked is None or connection.closed_ns is None or connection.asked_to_end:
            return
        self._is_reported = True
        waited_ns = (connection.ended_ns or connection.closed_ns) - asked.time_ns
        by_server = connection.ends[0].side == BACKEND if connection.ends else connection.closed_by == "server"
        note = self.seen.note(KIND)
        note.times += 1
        note.most = max(note.most, waited_ns)
        note.words = "closed by the server" if by_server else "closed by the driver"
        note.show(asked.place, f"a reply is requested; none came in {seconds(waited_ns)}: {note.words}")
        self.seen.row_of(asked.place, KIND)
        self.seen.explain_end(note)


def _what(note: Note) -> str:
    asked = counted(note.times, "replication connection")
    return f"{asked}: the server asked for a reply and got none for {seconds(note.most)}; {note.words}"


KIND: Final = Kind(
    name="keepalive-unanswered",
    unit=FAILED,
    why="A server that gets no reply within wal_sender_timeout assumes that its standby is dead and ends the connection.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(
        Remedy(
            "send a Standby status update when a keepalive asks for one, and at least three times per wal_sender_timeout",
            tried="says-it-is-there",
            clients=("psycopg2", "unknown"),
        ),
    ),
)
