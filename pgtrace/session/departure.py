"""An end that comes while a round trip is open. Only later events show when the driver stopped
waiting.

- A reset by either side ends the waiting immediately. So does an end by the server or by pgtrace
  itself: nothing more reaches the driver.
- A driver that ends its direction (FIN, close_notify, Terminate) may keep reading or be gone; both
  look alike. It was gone if data sent to it later is answered by a reset, or if the connection ends
  with answers missing. Its end then ended the waiting; otherwise the last answer did.

Only times follow from this. Later messages are counted as if the end had not happened. The clock of
the waiting stops at the end until this is decided, so sums of waiting times never decrease.
"""

from __future__ import annotations

from typing import Final

from pgtrace.session.statements import Statement

TERMINATE: Final = "Terminate"
"""How a driver's direction ended, if only its Terminate was seen and not the end of the stream."""
HELD: Final = 10_000
"""The most executions whose waiting time stays undecided. For further ones it ends with the
departure."""


class Departure:
    """An end that came while a round trip was open."""

    __slots__ = ("answered_ns", "at_ns", "held", "how", "is_after_end", "reached", "side", "waits_for")

    def __init__(self, at_ns: int, side: int, how: str, waits_for: str, *, is_after_end: bool) -> None:
        self.at_ns = at_ns
        self.side = side
        """The side that ended the connection; NEITHER means pgtrace."""
        self.how = how
        """How it ended: a name from capture/record.py, or TERMINATE."""
        self.waits_for = waits_for
        """The message whose answer was owed."""
        self.is_after_end = is_after_end
        """Whether the other side had ended before the round trip began, so nothing could answer
        it."""
        self.answered_ns: int | None = None
        """When the last answer passed; None while an answer is missing."""
        self.reached: bool | None = None
        """Whether that answer reached the driver; None until decided."""
        self.held: list[tuple[Statement, int, int]] = []
        """Executions that have ended since then: the statement, start and end of each."""

    @property
    def stopped_ns(self) -> int | None:
        """When the waiting stopped; None until known."""
        if self.reached is None:
            return None
        return self.answered_ns if self.reached else self.at_ns

    def wait_ns(self, started_ns: int, ended_ns: int) -> int | None:
        """How long the driver waited for an execution that ran between these moments; None until
        known."""
        if self.reached is None and len(self.held) < HELD:
            return None
        return max(0, (ended_ns if self.reached else min(ended_ns, self.at_ns)) - started_ns)
