"""An end that comes while a round trip is open: when the driver stopped waiting, which only later
events show.

- A reset by either side ends the waiting at once. So does an end by the server or by pgtrace
  itself: nothing more reaches the driver.
- A driver that ends its direction (FIN, close_notify, Terminate) may keep reading or be gone; both
  look alike. It was gone if what is sent to it later is answered by a reset, or if the connection
  ends with answers missing. Its end then ended the waiting; otherwise the last answer did.

Only times follow from this. Later messages are counted as if there had been no end. The clock of
the waiting stops at the end until this is decided, so sums of waiting times never decrease.
"""

from __future__ import annotations

from typing import Final

from pgtrace.session.statements import Statement

TERMINATE: Final = "Terminate"
"""How a driver's direction ended if only its Terminate was seen, not the end of the stream."""
HELD: Final = 10_000
"""The most executions whose waiting time stays undecided; for further ones it ends with the
departure."""


class Departure:
    """One end that came while a round trip was open."""

    __slots__ = ("answered_ns", "at_ns", "held", "how", "reached", "side", "unheard", "waits_for")

    def __init__(self, at_ns: int, side: int, how: str, waits_for: str, *, unheard: bool) -> None:
        self.at_ns = at_ns
        self.side = side
        """The side that ended it; NEITHER is pgtrace."""
        self.how = how
        """As named in capture/record.py, or TERMINATE."""
        self.waits_for = waits_for
        """The message whose answer was owed."""
        self.unheard = unheard
        """Whether the other side had ended before the round trip began, so that nothing could
        answer it."""
        self.answered_ns: int | None = None
        """When the last answer passed; None while one is missing."""
        self.reached: bool | None = None
        """Whether that answer reached the driver; None until decided."""
        self.held: list[tuple[Statement, int, int]] = []
        """Executions that have ended since: the statement, start and end of each."""

    @property
    def stopped_ns(self) -> int | None:
        """When the waiting stopped; None until known."""
        if self.reached is None:
            return None
        return self.answered_ns if self.reached else self.at_ns

    def wait_ns(self, started_ns: int, ended_ns: int) -> int | None:
        """How long an execution between these moments was waited for; None until known."""
        if self.reached is None and len(self.held) < HELD:
            return None
        return max(0, (ended_ns if self.reached else min(ended_ns, self.at_ns)) - started_ns)
