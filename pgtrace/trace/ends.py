"""How a connection ended, in words: which side ended it, how, and what was waited for.

Captures of version 1.0, and packet captures that do not show the end, have no Ended record: the end
then has no time, and it is unknown whether a driver left early.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pgtrace.capture.record import LOST, NEITHER, RST
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.effects import Effect
from pgtrace.session.events import Passage

SIDES: Final = {FRONTEND: "driver", BACKEND: "server", NEITHER: "pgtrace"}
UNKNOWN: Final = "end time unknown"
UNDECIDED: Final = "driver has ended its direction"
"""While it is unknown whether the driver keeps reading."""


class DirectionEnd(NamedTuple):
    """The end of one direction: the side, how (capture/record.py), and when, in ns since the trace
    began."""

    side: int
    how: str
    time_ns: int

    @property
    def by(self) -> str:
        """The side in words: `driver`, `server` or `pgtrace`."""
        return SIDES.get(self.side, "pgtrace")

    @property
    def may_read(self) -> bool:
        """Whether this is the end of the driver's direction, after which it may still read."""
        return self.side == FRONTEND and self.how not in (RST, LOST)


def in_words(ends: tuple[DirectionEnd, ...], closed_by: str, fatal: str, *, silent: bool, asked: bool) -> str:
    """How a connection ended, such as `closed by the server (FIN) after 25P03`; without a known
    end, which side closed it.

    `fatal` is the SQLSTATE of an earlier FATAL error, if any. `silent`: the driver sent no
    Terminate although it should have. `asked`: it sent Terminate before any end; the server's own
    end is then the answer to that.
    """
    if asked and not fatal and ends and ends[0].side == BACKEND and ends[0].how not in (RST, LOST):
        return "closed by the driver (Terminate)"
    after = f" after {fatal}" if fatal else ""
    by = ends[0].by if ends else closed_by
    without = " without Terminate" if silent and by == SIDES[FRONTEND] else ""
    if not ends:
        return f"closed by {_the(by)}{without}{after}, {UNKNOWN}"
    how = ends[0].how
    if how == LOST:
        return f"{_the(by)} was lost{after}: no answer for too long"
    return f"{_verb(how)} by {_the(by)}{_in_brackets(how)}{without if how != RST else ''}{after}"


def departure_in_words(effect: Effect, passage: Passage) -> str:
    """What happened to a round trip that was open when a side ended its direction, such as `driver
    left while waiting for Execute; the server worked on for 3.0 s`. Empty if that did not
    happen."""
    departure = passage.departure
    if departure is None or not effect.is_round_trip:
        return ""
    if departure.reached is None:
        return UNDECIDED
    if departure.reached:
        return f"{UNDECIDED} and read the answer"
    if departure.is_after_end and departure.answered_ns is None:
        return "sent after the server had closed; no answer came"
    waiting = f"while waiting for {departure.waits_for}" if departure.waits_for else "in the middle"
    if departure.side != FRONTEND:
        return f"{_verb(departure.how)} by {_the(SIDES.get(departure.side, 'pgtrace'))}{_in_brackets(departure.how)} {waiting}"
    who = {RST: "reset by the driver", LOST: "the driver was lost"}.get(departure.how, "driver left")
    if departure.answered_ns is None:
        return f"{who} {waiting}; {'the answer is not complete' if effect.received else 'no answer came'}"
    return f"{who} {waiting}; the server worked on for {_span(departure.answered_ns - departure.at_ns)}"


def _verb(how: str) -> str:
    return "reset" if how == RST else "closed"


def _in_brackets(how: str) -> str:
    return "" if how == RST else f" ({how})"


def _the(who: str) -> str:
    return who if who == "pgtrace" else f"the {who}"


def _span(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.1f} s" if duration_ns >= 1e9 else f"{duration_ns / 1e6:.0f} ms"
