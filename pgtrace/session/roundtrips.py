"""When a round trip opens and closes, how long the driver waited, and the reports to the observer.

The rules are those of the glossary. A run opens with the first frontend message sent while no run
is open. Each of its flush points must be answered. When none is pending any more, and there was at
least one, the run is a round trip and closes. `withdraw` takes back a Sync or Flush that copy mode
swallowed. The clock of `wait_ns` runs while a flush point is pending, from the end of set-up on.
departure.py has the rules for a side that ends its direction in the meantime.

A run counts for itself. When it has closed, it is reported with its Counts. The sums of a session
are the sums over these Counts and over the messages outside any run.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.departure import TERMINATE, Departure
from pgtrace.session.effects import Counts, Effects, Key, Tally, unfinished
from pgtrace.session.events import Exchange, Observer, Passage, new_passage
from pgtrace.session.run import HASHED, Run, values_of
from pgtrace.session.statements import Statement

PORTALS_TOLD: Final = 64
"""The most portals that are reported for one round trip."""
_USES: Final = 1_000
"""The most different Counts of a session that are kept apart before they are added up."""


class RoundTrips:
    """The open round trip of one session, if any, and the sums over all its round trips."""

    __slots__ = (
        "_aside", "_departed", "_effect", "_is_after_end", "_key", "_reported_ns", "_total", "_uses",
        "_waiting_since", "current", "departure", "effects", "last", "late", "observer", "over_ns",
        "pending", "reading", "settled_ns", "setup", "started_ns", "undecided",
    )  # fmt: skip

    def __init__(self, observer: Observer, effects: Effects) -> None:
        self.observer = observer
        self.effects = effects
        self._aside: Run | None = None
        """Counts that belong to no round trip."""
        self._key: Key | None = None
        self._effect = effects.idle
        """The latest effect and its key. The next round trip usually has the same."""
        self._total = Tally()
        self._uses: dict[Counts, list[int]] = {}
        """Reported Counts that are not in the total yet: how often, and with how many DataRows."""
        self.current: Run | None = None
        self.last: Run | None = None
        """The latest closed round trip, while nothing has been sent since: a late reply still
        belongs to it."""
        self.late: Run | None = None
        """The latest closed round trip, if it has a late reply that is not reported yet."""
        self.reading: Run | None = None
        """The latest closed round trip, while a late message of it is processed."""
        self.departure: Departure | None = None
        """The end that came while the latest round trip was open."""
        self._departed: Run | None = None
        """The round trip during which that end came."""
        self.undecided: Run | None = None
        """The answered round trip for which it is not known yet whether its driver was still
        there."""
        self.over_ns: int | None = None
        """When the driver's part of the session was over, as far as known."""
        self._is_after_end = False
        """Whether the open round trip was sent after the session was over."""
        self.pending = 0
        self.setup = True
        self.started_ns: int | None = None
        """When set-up was over."""
        self.settled_ns = 0
        """The time with a flush point open, up to the last moment at which the clock stopped."""
        self._reported_ns = 0
        """The part of that time which is already reported."""
        self._waiting_since = 0

    def open(self, time_ns: int, offsets: tuple[int, int], status: str, note: Any) -> Run:
        self.last = self.departure = None
        self._is_after_end = self.over_ns is not None
        self.current = opened = Run(time_ns, setup=self.setup, offsets=offsets, status=status, note=note)
        return opened

    def flush_point(self, time_ns: int) -> None:
        """The open run has one more flush point, sent at `time_ns`."""
        current = self.current
        if current is None:
            return
        current.flush_points += 1
        if current.flush_points == 1:
            current.first_flush_ns = time_ns
        if not self.pending:
            self._waiting_since = time_ns
        self.pending += 1

    def answered(self, flush_points: int = 1) -> None:
        self.pending -= min(flush_points, self.pending)

    def withdraw(self) -> None:
        """A pending flush point does not count after all. If another one was counted before, the
        run is still a round trip."""
        self.answered()
        if self.current is not None and self.current.flush_points > 1:
            self.current.flush_points -= 1

    def settle(self, time_ns: int) -> None:
        """Close the round trip if everything is answered."""
        current = self.current
        if not self.pending and current is not None and current.flush_points:
            self._stop_clock(time_ns)
            self._answered(current, time_ns)

    @property
    def inside(self) -> Run | None:
        """The round trip of the current message: the open one, or the latest closed one for a late
        message."""
        return self.current or self.reading

    @property
    def counting(self) -> Run:
        """The run that counts what the current message does."""
        found = self.current or self.reading or self._aside
        if found is None:
            found = self._aside = Run(0, setup=self.setup, offsets=(0, 0), status="")
        return found

    def about(self) -> Run | None:
        """The round trip that a reply belongs to: the open one, or the latest closed one, which is
        then reported again."""
        if self.current is not None or self.last is None:
            return self.current
        if self.last.is_frozen:
            self.last.is_frozen = False
            self.last.parts = {statement: copy(part) for statement, part in self.last.parts.items()}
        self.late = self.last
        return self.last

    def report_late(self) -> None:
        """Report the round trip of a late reply again."""
        late, self.late, self.reading = self.late, None, None
        if late is not None:
            self._report(late)

    def repeat(
        self,
        exchange: Exchange,
        note: Any,
        sent_ns: int,
        answered_ns: int,
        offsets: tuple[int, int],
        wire: bytes,
        received_bytes: int,
        rows: int,
    ) -> None:
        """A known exchange happened again: all of it was sent at one moment and answered at
        another."""
        self.last = None
        self._waiting_since = answered_ns
        waited_ns = answered_ns - sent_ns
        self.settled_ns += waited_ns
        self._reported_ns += waited_ns
        counts = exchange.effect.counts
        use = self._uses.get(counts) or self._use(counts)
        use[0] += 1
        use[1] += rows
        sent_bytes = len(wire)
        values = hash(wire) if sent_bytes <= HASHED else values_of(wire)
        self.observer.happened(
            exchange,
            new_passage(Passage, (
                note, sent_ns, sent_ns, answered_ns, answered_ns, waited_ns, offsets, rows, sent_bytes, received_bytes, values, None, None
            )),
        )  # fmt: skip

    def count_answered_run(self, time_ns: int) -> None:
        """An ErrorResponse answered the copy data of the open run: it counts as a round trip
        although it has no flush point."""
        if self.current is not None and not self.current.flush_points:
            self.flush_point(time_ns)
            self.answered()
            self.settle(time_ns)

    def end(self, time_ns: int) -> None:
        """Everything is answered: the connection ended, or a FATAL error arrived. A run without a
        flush point stays open."""
        self.pending = 0
        self.settle(time_ns)

    def over(self, time_ns: int) -> None:
        """The connection has ended, which answers everything. An open run without a flush point
        ends without becoming a round trip."""
        if self.undecided is not None:
            self._decide(reached=True)
        elif self.departure is not None and self.current is self._departed:
            self._decide(reached=False)
            self.pending = 0
            self.current, self.last = None, self.current
            self._settle_departure(self.departure)
        self.end(time_ns)
        if self.current is not None:
            self._close(self.current, time_ns)

    def ends(self, time_ns: int, side: int, how: str, waits_for: str, *, for_good: bool) -> None:
        """A direction ends, or the driver sends Terminate. `for_good`: nothing that comes later
        reaches the driver."""
        if how != TERMINATE and (side == FRONTEND or for_good) and self.over_ns is None:
            self.over_ns = time_ns
        if self.departure is None and self.current is not None:
            self._stop_clock(time_ns)
            self.departure = self.current.departure = Departure(time_ns, side, how, waits_for, is_after_end=self._is_after_end)
            self._departed = self.current
        # An answer that has already passed reached a driver that was still there.
        if for_good and (self.undecided is None or side == FRONTEND):
            self._decide(reached=False)

    def driver_sends(self) -> None:
        """The driver sends more, so it is still there."""
        departure, departed = self.departure, self._departed
        if departure is None or departed is None or departure.reached is not None:
            return
        self._decide(reached=True)
        self.over_ns = self.departure = departed.departure = self._departed = None

    def lose(self, time_ns: int) -> None:
        """Bytes are missing from here on. What was open ends and is marked uncertain. What was
        answered is not reported again."""
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
        """The time with a flush point open between the end of set-up and `time_ns`."""
        runs = self.pending and self.started_ns is not None and self.departure is None
        return self.settled_ns + (max(0, time_ns - self._waiting_since) if runs else 0)

    def unreported_ns(self, time_ns: int) -> int:
        """The part of waited_ns() that is not reported yet."""
        return self.waited_ns(time_ns) - self._reported_ns

    def waited(self, statement: Statement, started_ns: int, ended_ns: int) -> bool:
        """Report how long the driver waited for an execution. Returns True if the wait was 0,
        because its answer came with another one."""
        departure = self.departure
        wait_ns = max(0, ended_ns - started_ns) if departure is None else departure.wait_ns(started_ns, ended_ns)
        if wait_ns:
            self.observer.waited(statement, wait_ns)
        elif wait_ns is None and departure is not None:
            departure.held.append((statement, started_ns, ended_ns))
        return wait_ns == 0

    # Sums.

    def alone(self, side: int, message: int) -> Counts:
        """The counts of a message outside any round trip."""
        counts = self.effects.alone(side, message)
        if self._aside is not None:
            aside, self._aside = self._aside, None
            if side == FRONTEND:
                aside.sent_odd = {message: 1}
            else:
                aside.received_odd = {message: 1}
            counts = self.effects.of(aside.key()).counts
        self._count(counts, 1, 0)
        return counts

    def sum(self) -> Tally:
        """The sum of all counts."""
        sums = Tally()
        for counts, (times, rows) in self._uses.items():
            counts.add_to(sums, times, rows)
        sums.add(self._total, 1)
        for run in (self.current, self._aside):
            if run is not None:
                unfinished(run.key()).counts.add_to(sums, 1, run.rows)
        return sums

    def open_so_far(self) -> tuple[Exchange, Passage] | None:
        """The open round trip so far, if there is one."""
        if self.current is None:
            return None
        return self.current.exchange(unfinished(self.current.key())), self.current.passage()

    def _count(self, counts: Counts, times: int, rows: int) -> None:
        use = self._uses.get(counts) or self._use(counts)
        use[0] += times
        use[1] += rows

    def _use(self, counts: Counts) -> list[int]:
        if len(self._uses) >= _USES:
            for one, (times, rows) in self._uses.items():
                one.add_to(self._total, times, rows)
            self._uses.clear()
        use = self._uses[counts] = [0, 0]
        return use

    # Reports.

    def _report(self, run: Run) -> None:
        if run.reported is not None:
            exchange, passage = run.reported
            self._count(exchange.effect.counts, -1, -passage.rows)
            run.reported = exchange, passage._replace(replaces=None)
        run.waited_ns += self.settled_ns - self._reported_ns
        self._reported_ns = self.settled_ns
        key = run.key()
        if key != self._key:
            self._key, self._effect = key, self.effects.of(key)
        exchange = run.exchange(self._effect)
        self._count(exchange.effect.counts, 1, run.rows)
        passage = run.passage()
        run.reported = exchange, passage
        run.is_frozen = True
        self.observer.happened(exchange, passage)

    def _stop_clock(self, time_ns: int) -> None:
        if self.started_ns is not None and self.departure is None:
            self.settled_ns += max(0, time_ns - self._waiting_since)
            self._waiting_since = time_ns

    def _answered(self, current: Run, time_ns: int) -> None:
        departure = self.departure
        if departure is None:
            self._close(current, time_ns)
            return
        departure.answered_ns = time_ns
        self.current = None
        self.last = self.undecided = current
        if departure.reached is None:
            self._report(current)
        else:
            self._settle_departure(departure)

    def _decide(self, *, reached: bool) -> None:
        """It is now known whether the driver was still there when the round trip was answered."""
        departure = self.departure
        if departure is None or departure.reached is not None:
            return
        departure.reached = reached
        for statement, started_ns, ended_ns in departure.held:
            self.observer.waited(statement, departure.wait_ns(started_ns, ended_ns) or 0)
        departure.held.clear()
        if self.undecided is not None:
            self._settle_departure(departure)

    def _settle_departure(self, departure: Departure) -> None:
        """Close the round trip at the moment at which its waiting stopped."""
        current, self.undecided = self._departed, None
        stopped_ns = departure.stopped_ns
        assert current is not None
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
        self._report(current)

    def _close(self, current: Run, time_ns: int) -> None:
        current.closed_ns = time_ns
        self.current = None
        self.last = current
        self._report(current)
