"""An end that comes while a round trip is open: when the driver stopped waiting, which is known only from what follows.

- A reset, of either side, ends the waiting at once. So does an end of the server's or of pgtrace's own: nothing more reaches the driver.
- A driver that ends its direction (FIN, close_notify, Terminate) may go on reading, or be gone: both look alike. It was gone where what is sent to it
  later is answered by a reset, or where the connection ends with answers missing: then its end ended the waiting, else the last answer did.

Only times follow from this. What still comes is counted as if there had been no end, and the clock of the waiting stands still from the end on until it
is decided: sums of waiting times never go down.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.statements import Statement

TERMINATE: Final = "Terminate"
"""How a driver's direction ended, where it was its own word and no end of the stream has been seen."""
HELD: Final = 10_000
"""Executions whose waiting time waits for the decision; that of any more ends with the departure."""


class Departure:
    """One end that came while a round trip was open."""

    __slots__ = ("answered_ns", "at_ns", "held", "how", "reached", "side", "unheard", "waits_for")

    def __init__(self, at_ns: int, side: int, how: str, waits_for: str, *, unheard: bool) -> None:
        self.at_ns = at_ns
        self.side = side
        """Who ended it; NEITHER is pgtrace."""
        self.how = how
        """As capture/record.py names it, or TERMINATE."""
        self.waits_for = waits_for
        """The message whose answer was owed."""
        self.unheard = unheard
        """Whether the other side had ended before the round trip was opened: nothing could answer it."""
        self.answered_ns: int | None = None
        """When the last answer passed; None as long as one is missing."""
        self.reached: bool | None = None
        """Whether that answer reached the driver; None until it is decided."""
        self.held: list[tuple[Statement, int, int]] = []
        """Executions that ended since: the statement, start and end of each."""

    @property
    def is_drivers(self) -> bool:
        """Whether the driver ended its direction, and may have read on."""
        return self.side == FRONTEND

    @property
    def stopped_ns(self) -> int | None:
        """When the waiting stopped; None until that is known."""
        if self.reached is None:
            return None
        return self.answered_ns if self.reached else self.at_ns

    def wait_ns(self, started_ns: int, ended_ns: int) -> int | None:
        """How long an execution between these moments was waited for; None until it is known."""
        if self.reached is None and len(self.held) < HELD:
            return None
        return max(0, (ended_ns if self.reached else min(ended_ns, self.at_ns)) - started_ns)
