"""Copy mode: whose turn it is, and which flush points there are.

Copy mode is the backend's, at the moment it reads a message. `_copying` is the item whose CopyInResponse was seen and whose data has not ended; what the
driver sent ahead waits in the queue as COPY_DATA or COPY_END until the reply to what precedes it decides. CopyInResponse and CopyBothResponse hand the
turn to the frontend: what led to them is answered, and Sync and Flush that the backend reads before the next CopyDone or CopyFail are swallowed.
"""

from __future__ import annotations

from pgtrace.session import owed
from pgtrace.session.events import Statement
from pgtrace.session.owed import Owed
from pgtrace.session.state import State

_IN, _OUT, _BOTH = b"GHW"
_LONGEST_COUNT = 19


class Copying(State):
    """COPY in, out and both ways."""

    def _copy_data(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._may_copy() and self._owed[-1].kind != owed.COPY_DATA:
            self._owe(owed.COPY_DATA, time_ns)

    def _copy_end(self, time_ns: int, body: bytes) -> None:
        if self._copy_both and self._owed:
            self._copy_both = False
            self._end_simple_copy(self._owed[0], time_ns)
        elif self._copying is not None:
            item, self._copying = self._copying, None
            if item.kind == owed.QUERY:
                self._end_simple_copy(item, time_ns)
        elif self._may_copy():
            self._owe(owed.COPY_END, time_ns)

    def _copied(self, item: Owed) -> Statement | None:
        """The statement that copies."""
        if item.kind == owed.EXECUTE:
            return self._portal_statement(item.portal)
        return item.parts[0] if item.parts else item.statement

    def _copy_began(self, item: Owed, code: int, body: bytes) -> None:
        item.copy_mode = code
        self._copy_told = True
        self.observer.copy_began(self.round_trips.current or self.round_trips.last, code, body, self._copied(item))

    def _copy_ended(self) -> None:
        if self._copy_told:
            self._copy_told = False
            self.observer.copy_ended()

    def _count_copied(self, item: Owed, tag: str) -> None:
        """The server's own count of the rows that were copied: of the tag, for data that passed here."""
        mode, item.copy_mode = item.copy_mode, 0
        word, _, count = tag.partition(" ")
        if word != "COPY" or len(count) > _LONGEST_COUNT or not (count.isascii() and count.isdigit()):
            return
        if mode == _IN:
            self._tally.copy_in_rows += int(count)
        elif mode == _OUT:
            self._tally.copy_out_rows += int(count)

    def _end_simple_copy(self, item: Owed, time_ns: int) -> None:
        item.copy_flush_points += 1
        item.flushed_ns = time_ns
        self.round_trips.flush_point(time_ns)

    def _copy_in_response(self, time_ns: int, body: bytes) -> None:
        if not self._owed or self._owed[0].kind not in (owed.QUERY, owed.EXECUTE):
            return
        queue = self._owed
        item = queue[0]
        self._copy_began(item, _IN, body)
        item.copying = True
        self._hand_over(item)
        ended: Owed | None = None
        while len(queue) > 1 and queue[1].kind in (owed.COPY_DATA, owed.COPY_END, owed.SYNC, owed.FLUSH):
            ahead = queue[1]
            del queue[1]
            if ahead.kind in (owed.SYNC, owed.FLUSH):
                self.round_trips.withdraw()
            elif ahead.kind == owed.COPY_END:
                ended = ahead
                break
        if ended is None:
            self._copying = item
        elif item.kind == owed.QUERY:
            self._end_simple_copy(item, ended.sent_ns)
        self.round_trips.settle(time_ns)

    def _hand_over(self, item: Owed) -> None:
        """The turn goes to the frontend: what led to it is answered. An Execute answered by it is a flush point."""
        if item.kind == owed.EXECUTE:
            self.round_trips.flush_point(item.sent_ns)
            self.round_trips.answered()
            item.flushed_ns = item.flushed_ns or item.sent_ns
            if item not in self._unflushed:  # the flush point behind the data is still to come, unless all was sent ahead
                self._unflushed.append(item)
        elif item.flush_point:
            item.flush_point = False
            self.round_trips.answered()
        self.round_trips.answered(item.copy_flush_points)
        item.copy_flush_points = 0

    def _copy_out_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind in (owed.QUERY, owed.EXECUTE):
            self._copy_began(self._owed[0], _OUT, body)

    def _copy_both_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind in (owed.QUERY, owed.EXECUTE):
            self._copy_began(self._owed[0], _BOTH, body)
            self._copy_both = True
            self._hand_over(self._owed[0])
            self.round_trips.settle(time_ns)
