"""When a round trip opens, when it closes, and how long the driver waited.

The rules are those of the glossary. A run opens with the first frontend message sent while none is open. Each flush point it carries has to be
answered; when none is pending any more, and there was one, the run is a round trip and closes. `withdraw` takes back a Sync or Flush that turned
out to be swallowed by copy mode. The clock of `wait_ns` runs while a flush point is pending, from the end of set-up on. Where one side ends its
direction meanwhile, departure.py has the rules.
"""

from __future__ import annotations

from typing import Any

from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.departure import TERMINATE, Departure
from pgtrace.session.events import Observer, RoundTrip, Tally


class RoundTrips:
    """The open round trip of one session, if any, and the sums over all."""

    __slots__ = (
        "_is_unheard", "_tally", "_waiting_since", "current", "departure", "last", "observer", "over_ns", "pending", "repeated_ns", "settled_ns", "setup",
        "started_ns", "undecided",
    )  # fmt: skip

    def __init__(self, observer: Observer, tally: Tally) -> None:
        self.observer = observer
        self._tally = tally
        self.current: RoundTrip | None = None
        self.last: RoundTrip | None = None
        """The latest closed one, while nothing was sent since: a late reply still belongs to it."""
        self.departure: Departure | None = None
        """The end that came while the latest round trip was open."""
        self.undecided: RoundTrip | None = None
        """The one that is answered, while it is not known whether its driver was still there."""
        self.over_ns: int | None = None
        """When the driver's part of the session was over, as far as that is known."""
        self._is_unheard = False
        """Whether the open round trip was sent after the session was over."""
        self.pending = 0
        self.setup = True
        self.started_ns: int | None = None
        """When set-up was over."""
        self.settled_ns = 0
        """Time with a flush point open, known exchanges aside, up to the last moment at which the clock stopped."""
        self.repeated_ns = 0
        """The same of known exchanges."""
        self._waiting_since = 0

    def open(self, time_ns: int, offsets: tuple[int, int], status: str, note: Any) -> RoundTrip:
        self.last = self.departure = None
        self._is_unheard = self.over_ns is not None
        self.current = opened = RoundTrip(time_ns, setup=self.setup, offsets=offsets, status=status, note=note)
        return opened

    def flush_point(self, time_ns: int) -> None:
        """The open run has one more flush point, sent at that time."""
        current = self.current
        if current is None:
            return
        current.flush_points += 1
        if current.flush_points == 1:
            current.first_flush_ns = time_ns
            self._count(current)
        if not self.pending:
            self._waiting_since = time_ns
        self.pending += 1

    def answered(self, flush_points: int = 1) -> None:
        self.pending -= min(flush_points, self.pending)

    def withdraw(self) -> None:
        """A pending flush point was none after all; another one, counted before, keeps the run a round trip."""
        self.answered()
        if self.current is not None and self.current.flush_points > 1:
            self.current.flush_points -= 1

    def settle(self, time_ns: int) -> None:
        """Close the round trip if everything is answered."""
        current = self.current
        if not self.pending and current is not None and current.flush_points:
            self._stop_clock(time_ns)
            self._answered(current, time_ns)

    def repeated(self, sent_ns: int, time_ns: int) -> None:
        """There was a known exchange: sent at one moment, answered at another."""
        if time_ns > sent_ns:
            self.repeated_ns += time_ns - sent_ns
        self._waiting_since = time_ns
        self.last = None

    def count_answered_run(self, time_ns: int) -> None:
        """The open run carried copy data, and an ErrorResponse answered it: it counts although it has no flush point."""
        if self.current is not None and not self.current.flush_points:
            self.flush_point(time_ns)
            self.answered()
            self.settle(time_ns)

    def end(self, time_ns: int) -> None:
        """Everything is answered: the connection ended, or a FATAL said so. A run without a flush point ends as none."""
        self.pending = 0
        self.settle(time_ns)

    def over(self, time_ns: int) -> None:
        """The connection has ended: that answers everything, and what is open without a flush point ends as none."""
        departure = self.departure
        if self.undecided is not None:
            self._decide(reached=True)
        elif departure is not None and self.current is departure.round_trip:
            self._decide(reached=False)
            self.pending = 0
            self.current, self.last = None, self.current
            self._settle_departure(departure)
        self.end(time_ns)
        if self.current is not None:
            self._close(self.current, time_ns)

    def ends(self, time_ns: int, side: int, how: str, waits_for: str, *, for_good: bool) -> None:
        """A direction ends, or the driver says that it leaves; `for_good` where nothing that comes later reaches the driver."""
        if how != TERMINATE and (side == FRONTEND or for_good) and self.over_ns is None:
            self.over_ns = time_ns
        if self.departure is None and self.current is not None:
            self._stop_clock(time_ns)
            self.departure = self.current.departure = Departure(self.current, time_ns, side, how, waits_for, unheard=self._is_unheard)
        if for_good and (self.undecided is None or side == FRONTEND):  # an answer that has come stays with a driver that was there
            self._decide(reached=False)

    def stays(self) -> None:
        """The driver sends on, so it was there."""
        departure = self.departure
        if departure is None or departure.reached is not None:
            return
        self._decide(reached=True)
        self.over_ns = self.departure = departure.round_trip.departure = None

    def lose(self, time_ns: int) -> None:
        """Bytes are missing from here on: what was open ends, marked. Of what was answered nothing more is heard."""
        if self.undecided is not None:
            self._decide(reached=True)
        if self.current is not None:
            self.current.uncertain = True
            self._stop_clock(time_ns)
            self.pending = 0
            self._decide(reached=True)
            self._close(self.current, time_ns if self.departure is None else self.departure.stopped_ns or time_ns)
            self.departure = None
        self.last = None

    def setup_over(self, time_ns: int) -> None:
        self.setup = False
        self.started_ns = time_ns
        self._waiting_since = time_ns

    def waited_ns(self, time_ns: int) -> int:
        """Time with a flush point open between the end of set-up and that moment."""
        runs = self.pending and self.started_ns is not None and self.departure is None
        return self.settled_ns + self.repeated_ns + (max(0, time_ns - self._waiting_since) if runs else 0)

    def _count(self, current: RoundTrip) -> None:
        if current.setup:
            self._tally.setup_round_trips += 1
        else:
            self._tally.round_trips += 1
        self._tally.pipelined_executions += max(0, current.depth - 1)
        self._tally.max_pipeline_depth = max(self._tally.max_pipeline_depth, current.depth)
        self.observer.counted(current)

    def _stop_clock(self, time_ns: int) -> None:
        if self.started_ns is not None and self.departure is None:
            self.settled_ns += max(0, time_ns - self._waiting_since)
            self._waiting_since = time_ns

    def _answered(self, current: RoundTrip, time_ns: int) -> None:
        departure = self.departure
        if departure is None:
            self._close(current, time_ns)
            return
        departure.answered_ns = time_ns
        self.current = None
        self.last = self.undecided = current
        if departure.reached is None:
            self.observer.closed(current)
        else:
            self._settle_departure(departure)

    def _decide(self, *, reached: bool) -> None:
        """It is known now whether the driver was still there when it was answered."""
        departure = self.departure
        if departure is None or departure.reached is not None:
            return
        departure.reached = reached
        for execution, started_ns, ended_ns in departure.held:
            execution.wait_ns = departure.wait_ns(started_ns, ended_ns)
            self.observer.waited(execution)
        departure.held.clear()
        if self.undecided is not None:
            self._settle_departure(departure)

    def _settle_departure(self, departure: Departure) -> None:
        """Close the round trip at the moment at which its waiting stopped."""
        current, self.undecided = departure.round_trip, None
        stopped_ns = departure.stopped_ns
        assert stopped_ns is not None
        if departure.reached:
            if not current.setup and self.started_ns is not None:
                self.settled_ns += max(0, stopped_ns - max(departure.at_ns, current.first_flush_ns))
            if self.over_ns is not None:
                self.over_ns = max(self.over_ns, stopped_ns)
        else:
            current.first_flush_ns = min(current.first_flush_ns, stopped_ns)
            if current.first_answer_ns is not None and current.first_answer_ns > stopped_ns:
                current.first_answer_ns = None
        current.closed_ns = stopped_ns
        self.observer.closed(current)

    def _close(self, current: RoundTrip, time_ns: int) -> None:
        current.closed_ns = time_ns
        self.current = None
        self.last = current
        self.observer.closed(current)
