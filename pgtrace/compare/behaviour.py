"""The behaviour of a capture's drivers, step by step, without details that differ each time.

A step is a round trip, or a message outside of one. Two steps are equal if the driver behaved the
same: the same messages for the same statements, with parameters and results in the same formats,
prepared or not, with the same errors. These are not part of a step: times, values, the numbers of
rows, OIDs, process ids, and names that drivers give to statements and portals. Statements are the
same if their fingerprints are (sqltext/groups.py). A transaction shows in its BEGIN, not in every
step inside it.

A notification comes at any time, inside a round trip or between two, so it is always a step of its
own. A stream of CopyData, or of encrypted bytes, is one step in each direction.

Differences between formats are left out, too: AuthenticationOk, which libpq's own trace omits, and
the number of settings that a server reports at start-up are not part of a step. A run of DataRow or
CopyData is one message, as in every flight.

The captures are read once, through the usual session. Each different step has a number, and a
conversation is a list of numbers.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from pgtrace import sqltext
from pgtrace.describe import notation
from pgtrace.protocol import codes, fields
from pgtrace.protocol.codes import BACKEND
from pgtrace.session.effects import Counts
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import FUNCTION_CALL, Statement
from pgtrace.trace.copy_log import CopyLog
from pgtrace.trace.identity import Identity
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.name_log import NameLog
from pgtrace.trace.observer import ConnectionObserver
from pgtrace.trace.row import NO_FLIGHT
from pgtrace.trace.trace import Trace

SETUP: Final = "setup"
ROUND_TRIP: Final = "round_trip"
OTHER: Final = "other"
"""The kind of a step that is not a round trip: a run without a wait, or a single message."""

LONGEST_SQL: Final = 4_000
"""The most characters of a statement that are kept to distinguish it."""
TEXTS_KEPT: Final = 32 * 1024 * 1024
"""The most characters of all statements together; beyond that, statements have only fingerprints.
"""
STEPS_KEPT: Final = 200_000
"""The most steps that are distinguished; beyond that, there is one step per kind."""
KNOWN: Final = 1_000
"""The most steps of repeated exchanges that one connection remembers."""
EARLIER: Final = "(prepared earlier)"
FUNCTION: Final = "(function call)"
_FORMATS: Final = ("", "t", "b", "m")
_AUTHENTICATION: Final = b"R"
_SETTINGS: Final = re.compile(b"S{2,}")
_NOTIFICATION: Final = ord("A")
_STAND_INS: Final = {codes.OPAQUE: "encrypted bytes", codes.UNDECODED: "bytes that are not decoded"}
_STREAMED: Final = frozenset({ord("d"), codes.OPAQUE, codes.UNDECODED})
_UNSAID: Final = frozenset({codes.SSL_REPLY, codes.GSSENC_REPLY})
_ERRORS: Final = frozenset({ord("E"), codes.VERSION_2_ERROR})


class StepPart(NamedTuple):
    """The part of a step about one statement."""

    statement: str
    """Its fingerprint, or the text that replaces its SQL."""
    executions: int
    parses: int
    named: int
    """The number of Parses with a name."""
    simple: bool
    failed: bool
    parameters: str = ""
    """The format of its parameters: "t"ext, "b"inary, "m"ixed, or "" without parameters."""
    results: str = ""


class BehaviourStep(NamedTuple):
    """The behaviour in one round trip or message."""

    kind: str
    flight: str
    parts: tuple[StepPart, ...] = ()
    parameters: str = ""
    """The format of the parameters: "t"ext, "b"inary, "m"ixed, or "" without parameters."""
    results: str = ""
    sqlstate: str = ""
    """The SQLSTATE of its first error."""
    sent: str = ""
    """The driver's half of the round trip's flight; the whole flight if it begins with a reply."""

    @property
    def executions(self) -> int:
        return sum(part.executions for part in self.parts)


@dataclass(slots=True)
class Conversation:
    """The steps of one connection."""

    name: str
    driver: str
    kind: str
    steps: array[int] = field(default_factory=lambda: array("I"))
    """Its steps, as indexes of Behaviour.steps."""
    number: int = 0
    """The connection's number in its capture."""
    round_trips: Sequence[int] | None = None
    """The numbers of the included round trips, from 0 with set-up; None if all are included."""

    def only(self, selected: Sequence[int], steps: Sequence[BehaviourStep]) -> Conversation:
        """A conversation with only these round trips (in rising order), and nothing else. `steps`
        are Behaviour.steps.
        """
        trips = [number for number in self.steps if steps[number].kind != OTHER]
        kept = [place for place in selected if place < len(trips)]
        return replace(self, steps=array("I", map(trips.__getitem__, kept)), round_trips=kept)


class Behaviour(Trace):
    """A trace that is read for the drivers' behaviour, not for its cost: call update(), then
    conversations(). It has no timeline.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        timeline: bool = False,
        statements: bool = False,
        names: Iterable[str | os.PathLike[str]] | None = None,
        still: Collection[str] = (),
        apart: Collection[int] = (),
    ) -> None:
        """The connections with the indexes `apart` are in no conversation."""
        super().__init__(paths, timeline=False, statements=False, names=names, still=still, observer=self._observe, apart=apart)
        self.steps: list[BehaviourStep] = []
        """All different steps."""
        self.is_cut = False
        """Whether there were more than STEPS_KEPT steps, so that differences may be missed."""
        self.texts: dict[str, str] = {}
        """Fingerprint -> normalised SQL, up to TEXTS_KEPT."""
        self.in_transaction: set[str] = set()
        """Statements after which a transaction was open."""
        self._done: list[_Done] = []
        """The steps of each connection, by its index."""
        self._numbers: dict[BehaviourStep, int] = {}
        self._text_room = TEXTS_KEPT

    def conversations(self) -> list[Conversation]:
        """The steps of each connection so far, in the order in which they began, with open round
        trips in their present state.
        """
        return [
            Conversation(one.name, one.driver, one.kind, done.so_far(), one.number)
            for one, done in zip(self.connections, self._done, strict=True)
            if one.index not in self.apart
        ]

    def _observe(self, ledger: Ledger, who: Identity, began: list[int], names: NameLog, copies: CopyLog) -> ConnectionObserver:
        if who.index == len(self._done):
            self._done.append(_Done())
        return _StepObserver(self, self._done[who.index], ledger, who, began, names, copies)

    def number(self, step: BehaviourStep) -> int:
        """The number of a step."""
        found = self._numbers.get(step)
        if found is None:
            if len(self.steps) >= STEPS_KEPT and step.flight != NO_FLIGHT:
                self.is_cut = True
                return self.number(BehaviourStep(step.kind, NO_FLIGHT))
            found = self._numbers[step] = len(self.steps)
            self.steps.append(step)
        return found

    def statement(self, statement: Statement) -> str:
        """The key of a statement."""
        if statement.sql is None:
            return FUNCTION if statement is FUNCTION_CALL else EARLIER
        fingerprint = sqltext.fingerprint(statement.sql)
        if self._text_room > 0 and fingerprint not in self.texts:
            text = sqltext.normalise(statement.sql)[:LONGEST_SQL]
            self._text_room -= len(text)
            self.texts[fingerprint] = text
        return fingerprint


class _Done:
    """The steps of one connection so far."""

    __slots__ = ("observer", "steps")

    def __init__(self) -> None:
        self.steps = array("I")
        self.observer: _StepObserver | None = None
        """The observer of its session, while the session lasts."""

    def so_far(self) -> array[int]:
        """Its steps, with the open round trip in its present state."""
        open_step = self.observer.open_step() if self.observer is not None else None
        return array("I", [*self.steps, *([open_step] if open_step is not None else [])])


class _StepObserver(ConnectionObserver):
    """Records the steps of one session."""

    __slots__ = ("_known", "_latest_at", "_notified", "_steps", "_stream", "_trace")

    def __init__(
        self, trace: Behaviour, done: _Done, ledger: Ledger, who: Identity, began: list[int], names: NameLog, copies: CopyLog
    ) -> None:
        super().__init__(ledger, who, began, names, copies)
        done.observer = self
        self._trace = trace
        self._steps = done.steps
        self._known: dict[Exchange, int] = {}  # steps of repeated exchanges
        self._latest_at = 0  # the place of the latest round trip
        self._notified = 0  # notifications in it that are already steps
        self._stream: set[int] = set()  # steps of the current stream

    def open_step(self) -> int | None:
        """The step for the open round trip in its present state; None if none is open."""
        so_far = self.who.session.open_so_far() if self.who.session is not None else None
        return self._step(so_far[0]) if so_far is not None else None

    # What the session reports.

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        super().happened(exchange, passage)
        number = self._known.get(exchange)
        if number is None:
            number = self._step(exchange)
            if exchange.rows_differ:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[exchange] = number
        if passage.replaces is None:
            self._latest_at, self._notified = len(self._steps), 0
            self._steps.append(number)
            self._stream.clear()
        else:
            self._steps[self._latest_at] = number
        for _ in range(exchange.effect.received.count(_NOTIFICATION) - self._notified):
            self._steps.append(self._trace.number(_alone(BACKEND, _NOTIFICATION)))
            self._notified += 1

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        super().alone(side, code, body, size, time_ns, counts)
        if code in _UNSAID:
            return
        number = self._trace.number(_alone(side, code, body))
        if code not in _STREAMED:
            self._stream.clear()
        elif number in self._stream:
            return
        else:
            self._stream.add(number)
        self._steps.append(number)

    def _step(self, exchange: Exchange) -> int:
        effect = exchange.effect
        sent, received = effect.sent, effect.received.replace(bytes([_NOTIFICATION]), b"")
        kind = SETUP if effect.setup else ROUND_TRIP
        if not effect.is_round_trip:
            kind = OTHER
        if effect.setup:
            received = _SETTINGS.sub(b"S", received)
            if b"Z" in received:
                received = received.replace(_AUTHENTICATION, b"")
        text, binary = effect.counts.parameters
        flight = notation.flight(sent, received)
        return self._trace.number(
            BehaviourStep(
                kind,
                flight,
                self._parts(exchange),
                _FORMATS[bool(text) + 2 * bool(binary)],
                _FORMATS[effect.formats],
                fields.error_fields(exchange.error).get("C", "") if exchange.error else "",
                notation.flight(sent, b"") if sent else flight,
            )
        )

    def _parts(self, exchange: Exchange) -> tuple[StepPart, ...]:
        known = self._trace.statement
        ran: Counter[str] = Counter()
        parsed: Counter[str] = Counter()
        named: Counter[str] = Counter()
        failed: set[str] = set()
        parameters: Counter[str] = Counter()
        results: Counter[str] = Counter()
        simple: dict[str, bool] = {}
        copying = [exchange.copying] if exchange.copying is not None else []
        for statement in (*exchange.statements, *copying):
            simple.setdefault(known(statement), statement.simple)
        for part in exchange.parts:
            one = known(part.statement)
            ran[one] += part.executions
            parsed[one] += part.parses
            named[one] += part.parses if part.statement.name else 0
            parameters[one] |= part.parameters
            results[one] |= part.results or bool(part.values_text) + 2 * bool(part.values_binary)
            if part.errors:
                failed.add(one)
            if part.ended:
                simple.setdefault(one, part.statement.simple)
        if exchange.effect.status in ("T", "E"):
            self._trace.in_transaction.update(simple)
        return tuple(
            StepPart(one, ran[one], parsed[one], named[one], is_simple, one in failed, _FORMATS[parameters[one]], _FORMATS[results[one]])
            for one, is_simple in simple.items()
        )


def _alone(side: int, code: int, body: bytes = b"") -> BehaviourStep:
    """The step for a message outside round trips."""
    name = _STAND_INS.get(code) or codes.message_name(side, code, codes.authentication_subtype(body))
    sqlstate = fields.error_fields(body).get("C", "") if side == BACKEND and code in _ERRORS else ""
    return BehaviourStep(OTHER, f"← {name}" if side == BACKEND else name, sqlstate=sqlstate)
