"""The machine without the cache, with an observer of each message: which message each reply
answers, and which messages the backend discarded.

The queue of what is owed has the answer: a reply answers the first item, ReadyForQuery the item
that it ends. Each item keeps the message it was made from (`asked`), as an object of the observer.
CopyDone and CopyFail replace the message that began their COPY, because they are what the following
replies answer. If the message that began the COPY is not known, the first CopyData replaces it.
Nothing here decides what a message means.

It can begin in the middle of a connection: at a round trip, with what was owed then
(Effect.owed_before). Earlier items have no message.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pgtrace.framing import Frame
from pgtrace.protocol import answers
from pgtrace.session import owed
from pgtrace.session.bodies import Bodies
from pgtrace.session.cache import Reads
from pgtrace.session.machine import NO_MESSAGES, Machine
from pgtrace.session.owed import Owed

_READY, _COPY_DATA = b"Zd"
M = TypeVar("M")


class Watched(Machine, Generic[M]):
    """One connection from its beginning, or from a round trip on. `M` is the observer's object for
    a message."""

    def __init__(self, before: bytes = b"", offsets: tuple[int, int] = (0, 0)) -> None:
        """`before` and `offsets` are Effect.owed_before and Passage.offsets of the round trip to
        begin with."""
        super().__init__(None, Reads())
        queue, self._copying, self._skipping, self._copy_both = owed.restored(before)
        self._owed.extend(queue)
        self._offsets = list(offsets)

    @property
    def bodies(self) -> Bodies:
        """The cache of bodies."""
        return self._bodies

    @property
    def due(self) -> Owed | None:
        """The item that is answered next; None if nothing is owed."""
        return self._owed[0] if self._owed else None

    @property
    def copies_in(self) -> bool:
        """Whether the backend is in copy-in mode, and the driver has not ended the data."""
        return self._copying is not None

    def sent(self, time_ns: int, frame: Frame, message: M) -> bool:
        """Take the driver's next message. Returns whether the backend will discard it."""
        copying, latest = self._copying, self._owed[-1] if self._owed else None
        both = self._owed[0] if self._copy_both and self._owed else None
        self._frontend(time_ns, [frame])
        if self._owed and self._owed[-1] is not latest:
            self._owed[-1].asked = message
        elif frame[0] in answers.COPY_ENDS and (item := both or copying) is not None:
            item.asked = message
        elif frame[0] == _COPY_DATA and copying is not None and copying.asked is None:
            copying.asked = message
        return self._skipping and frame[0] in answers.DISCARDED

    def received(self, time_ns: int, frame: Frame) -> tuple[Owed | None, list[Any]]:
        """Take the server's next message. Returns the item that it answers, and the messages that
        the backend discarded because of it."""
        code = frame[0]
        queue = self._owed
        before = list(queue) if code in (_READY, answers.ERROR) or code in answers.COPY_IN else [queue[0]] if queue else []
        self._backend(time_ns, [frame])
        if not before or code in answers.ASYNCHRONOUS or code in NO_MESSAGES:
            return None, []
        if code == _READY:
            ended = before[: len(before) - len(queue)]
            return next((item for item in reversed(ended) if item.kind in owed.ANSWERED_BY_READY), None), []
        if code in answers.COPY_IN:
            self._take_over(before)
        skipped = before[1 : len(before) - len(queue)] if code == answers.ERROR and (queue or self._skipping) else []
        return before[0], [item.asked for item in skipped if item.asked is not None]

    def _take_over(self, before: list[Owed]) -> None:
        """Make the CopyDone that was sent ahead the message that the following replies answer."""
        for item in before[1:]:
            if item.kind == owed.COPY_END and item not in self._owed:
                before[0].asked = item.asked
                return
