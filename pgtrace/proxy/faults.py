"""--fault: the rules applied to one connection.

A rule applies in the line between a socket and its protocol (delay.py), where everything passes in
order. Bytes before the place where it applies are delivered; bytes after it are not. steps() turns
a read into bytes to pass on and the rules that apply between them. apply() ends or stops the
connection.

- `close` and `reset` end both legs, each as soon as its peer has accepted what was written to it.
  `hang` lets nothing pass any more in either direction. Whichever side a rule applies to, bytes
  that had arrived from the other side are delivered too.
- For rules about messages we frame the bytes of both directions. A message passes in the pieces in
  which it arrives, with two exceptions: fewer than five bytes wait for the rest of a header, and a
  message that is compared with a pattern waits until it is whole, up to 256 KiB of it.
- Every time a rule applies, that is a Fact `fault` of its connection, with the rule's text. A rule
  about everything that passes is one fact at the beginning.

The random part of a delay comes from a generator that is seeded with the connection's number, so
two runs are delayed alike.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from time import monotonic_ns
from typing import Final

from pgtrace.capture.record import FAULT, NEITHER, Fact
from pgtrace.faults import ALWAYS, AT_A_MESSAGE, EITHER, Rule
from pgtrace.framing import KEPT_BYTES, Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import FRONTEND
from pgtrace.proxy.fault_rules import FaultRules
from pgtrace.proxy.relay import Leg, Session
from pgtrace.proxy.replies import Replies

PIECES_A_SECOND: Final = 100
"""How often per second a direction with a limited rate gets bytes."""

Step = bytes | Rule


class _Flow:
    """The state of one direction."""

    __slots__ = ("after", "begun", "cut_at", "cutting", "decided", "ended", "held", "passed", "sent")

    def __init__(self) -> None:
        self.held = bytearray()  # bytes of a message that is not decided yet
        self.begun = 0  # bytes of the message that has not ended, including those passed on
        self.decided = False
        self.sent = 0  # bytes of it that have been passed on
        self.cutting: Rule | None = None  # applies inside it,
        self.cut_at = 0  # after that many of its bytes
        self.after: tuple[Rule, ...] = ()  # apply after it
        self.passed = 0  # bytes in total
        self.ended = False


class Faults:
    """The rules, applied to one connection."""

    def __init__(self, rules: FaultRules, session: Session) -> None:
        self._rules = rules
        self._session = session
        self._chance = random.Random(session.number)  # noqa: S311 (no secret)
        self._over = False
        self._stop_answering: Callable[[], None]
        every = rules.rules
        self._at_messages = tuple(rule for rule in every if rule.moment in AT_A_MESSAGE)
        self._bodies = frozenset((rule.side, rule.code) for rule in self._at_messages if rule.pattern)
        self._after_bytes = tuple(rule for rule in every if rule.moment == "bytes")
        self.reset()
        self._timers: list[asyncio.TimerHandle] = []
        always = [rule for rule in every if rule.moment == ALWAYS]
        for rule in always:
            self._note(rule)
        self._delays = tuple([rule for rule in always if rule.action == "delay" and rule.side in (side, EITHER)] for side in (0, 1))
        self.paces = tuple(_pace([rule for rule in always if rule.side in (side, EITHER)]) for side in (0, 1))
        """For each direction: bytes per piece (0: unchanged), ns between two pieces, ns per
        byte."""

    def begin(self, stop_answering: Callable[[], None]) -> float:
        """The driver has connected. Returns how many seconds to let it wait. When a rule applies,
        `stop_answering` makes the start-up answer nothing more."""
        self._stop_answering = stop_answering
        wait_s = 0.0
        for rule in self._rules.rules:
            if rule.moment == "time":
                self._timers.append(self._session.loop.call_later(rule.threshold / 1e9, self._apply_if_unspent, rule))
            elif rule.moment == "connect" and self._rules.spend(rule):
                if rule.action == "delay":
                    wait_s += self.hold(rule) / 1e9
                else:
                    self.apply(rule)
        return wait_s

    def reset(self) -> None:
        """Forget what passed on the previous connection: the driver's first message goes to another
        connection of the upstream."""
        self._flows = (_Flow(), _Flow())
        self._seen: dict[Rule, int] = {}
        self._framer = Framer(kept_bytes=0)
        self._replies = Replies()

    def cancel(self) -> None:
        """The session is over."""
        for timer in self._timers:
            timer.cancel()

    def latency_ns(self, side: int) -> int:
        """How many ns a read of this side is delayed."""
        return sum(self.duration_ns(rule) for rule in self._delays[side])

    def duration_ns(self, rule: Rule) -> int:
        """How many ns a delay lasts this time."""
        return max(0, rule.amount + (self._chance.randint(-rule.spread_ns, rule.spread_ns) if rule.spread_ns else 0))

    def hold(self, rule: Rule) -> int:
        """How many ns everything after the place of a delay waits. The delay is recorded."""
        self._note(rule)
        return self.duration_ns(rule)

    def steps(self, side: int, data: bytes) -> list[Step]:
        """Turn a read into bytes to pass on and rules that apply between them."""
        steps: list[Step] = _joined(self._split_at_messages(side, data)) if self._at_messages else [data]
        return self._split_at_counts(side, steps) if self._after_bytes else steps

    def take_held(self, side: int) -> bytes:
        """The bytes that were still held when a side ended."""
        flow = self._flows[side]
        held, flow.held = bytes(flow.held), bytearray()
        return held

    def end_delay_ns(self, side: int) -> int:
        """How many ns the end of a side is delayed."""
        flow = self._flows[side]
        if flow.ended:
            return 0
        flow.ended = True
        rules = [rule for rule in self._rules.rules if rule.moment == "end" and rule.side in (side, EITHER)]
        return sum(self.hold(rule) for rule in rules)

    def apply(self, rule: Rule) -> None:
        """End or stop the connection now."""
        if self._over:
            return
        self._note(rule)
        self._stop_answering()
        for leg in self._legs:
            if leg.delayed is not None:
                leg.delayed.stop()
        if rule.action != "hang":
            self._end(rule.action)
        elif rule.amount:
            self._timers.append(self._session.loop.call_later(rule.amount / 1e9, self._end, "close"))

    def _apply_if_unspent(self, rule: Rule) -> None:
        if self._rules.spend(rule):
            self.apply(rule)

    def _end(self, how: str) -> None:
        if self._over:
            return
        self._over = True
        if how == "reset":
            self._session.begin_end(NEITHER, "pgtrace")
        else:
            self._session.end(NEITHER)
        for leg in self._legs:
            leg.reset() if how == "reset" else leg.close()

    def _note(self, rule: Rule) -> None:
        self._session.tape.add(Fact(monotonic_ns(), self._session.number, FAULT, rule.text))

    @property
    def _legs(self) -> tuple[Leg, Leg]:
        return self._session.frontend, self._session.backend

    # Messages.

    def _split_at_messages(self, side: int, data: bytes) -> list[Step]:
        flow = self._flows[side]
        steps: list[Step] = []
        position = 0
        for code, _, size in self._framer.feed(side, data):
            before = len(steps)
            stop = len(data) if code == codes.OPAQUE else max(position, position + size - flow.begun)
            self._take_piece(flow, side, code, data[position:stop], steps, whole=True)
            flow.begun = 0
            position = stop
            if any(isinstance(step, Rule) and step.action != "delay" for step in steps[before:]):
                return steps  # nothing after it will pass
        if position < len(data):
            flow.begun += len(data) - position
            self._take_piece(flow, side, self._framer.begun(side), data[position:], steps, whole=False)
        return steps

    def _take_piece(self, flow: _Flow, side: int, code: int, piece: bytes, steps: list[Step], *, whole: bool) -> None:
        """Take the next bytes of a message; with `whole`, its last ones. The code is 0 while it is
        not known."""
        flow.held += piece
        if not flow.decided:
            waits = not code or ((side, code) in self._bodies and len(flow.held) < KEPT_BYTES)
            if waits and not whole:
                return
            flow.decided = True
            self._decide(flow, side, code, steps)
        data, flow.held = bytes(flow.held), bytearray()
        if flow.cutting is not None and flow.sent + len(data) >= flow.cut_at:
            steps += (data[: flow.cut_at - flow.sent], flow.cutting)
            flow.cutting = None
            data = data[flow.cut_at - flow.sent :]
        if data:
            steps.append(data)
        flow.sent += len(data)
        if whole:
            steps += flow.after
            flow.decided, flow.sent, flow.cutting, flow.after = False, 0, None, ()

    def _decide(self, flow: _Flow, side: int, code: int, steps: list[Step]) -> None:
        """Decide what happens before, inside and after a message, now that its type is known."""
        body = bytes(flow.held[4 if code > 255 else 5 :])
        here = [rule for rule in self._at_messages if rule.side == side and rule.code == code and self._matches(rule, body)]
        now = [rule for rule in here if not rule.reply]
        if side == FRONTEND:
            self._replies.sent(code, tuple(rule for rule in here if rule.reply))
            begins: tuple[Rule, ...] = ()
            ends: tuple[Rule, ...] = ()
        else:
            begins, ends = self._replies.received(code)
        before = [rule for rule in (*now, *begins) if rule.moment == "before" and self._rules.spend(rule)]
        steps += before
        flow.after = tuple(rule for rule in (*now, *ends) if rule.moment == "after" and self._rules.spend(rule))
        flow.cutting = next((rule for rule in now if rule.moment == "inside" and self._rules.spend(rule)), None)
        length = int.from_bytes(flow.held[:4], "big") if code > 255 else 1 + int.from_bytes(flow.held[1:5], "big")
        flow.cut_at = max(1, length // 2)

    def _matches(self, rule: Rule, body: bytes) -> bool:
        """Whether a message of the rule's type is the one that the rule means."""
        if not self._rules.matches(rule, body):
            return False
        self._seen[rule] = self._seen.get(rule, 0) + 1
        return rule.number in (0, self._seen[rule])

    # Bytes.

    def _split_at_counts(self, side: int, steps: list[Step]) -> list[Step]:
        """The same steps, with the rules that apply after a number of bytes."""
        counted: list[Step] = []
        for step in steps:
            if not isinstance(step, bytes):
                counted.append(step)
                continue
            counted += self._split_read(side, step)
            self._flows[side].passed += len(step)
        return counted

    def _split_read(self, side: int, data: bytes) -> list[Step]:
        places: list[tuple[int, Rule]] = []
        for rule in self._after_bytes:
            if rule.side in (side, EITHER):
                passed = sum(flow.passed for one, flow in enumerate(self._flows) if rule.side in (one, EITHER))
                place = rule.threshold - passed
                if 0 <= place <= len(data) and self._seen.setdefault(rule, 0) == 0 and self._rules.spend(rule):
                    self._seen[rule] = 1
                    places.append((place, rule))
        steps: list[Step] = []
        done = 0
        for place, rule in sorted(places, key=lambda item: item[0]):
            steps += (data[done:place], rule)
            done = place
        return [*steps, data[done:]]


def _joined(steps: Iterable[Step]) -> list[Step]:
    """The same steps, with adjacent bytes joined: a read that no rule cuts is passed on as one
    read."""
    joined: list[Step] = []
    for kind, run in itertools.groupby(steps, type):
        together = list(run)
        joined += [b"".join(together)] if kind is bytes else together  # type: ignore[arg-type]
    return joined


def _pace(rules: list[Rule]) -> tuple[int, int, float]:
    """Bytes per piece, ns between two pieces, ns per byte."""
    splits = [rule for rule in rules if rule.action == "split"]
    rates = [rule.amount for rule in rules if rule.action == "limit"]
    pieces = [rule.amount for rule in splits] + [max(1, rate // PIECES_A_SECOND) for rate in rates]
    return min(pieces, default=0), max((rule.gap_ns for rule in splits), default=0), 1e9 / min(rates) if rates else 0.0
