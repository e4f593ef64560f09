"""A run of frontend messages, and what it counts for itself while it is open.

From what it has counted it makes an Effect, by its key, an Exchange and a Passage. roundtrips.py
decides when.
"""

from __future__ import annotations

from typing import Any, Final

from pgtrace.session.departure import Departure
from pgtrace.session.effects import FIRST_LETTER, Effect, Key, Odd
from pgtrace.session.events import CUT, FLIGHT_MESSAGES_KEPT, SKIPPED, Exchange, Part, Passage, new_passage
from pgtrace.session.failures import Failure
from pgtrace.session.statements import Portal, Statement

LONGEST_HASHED: Final = 256 * 1024
"""The most bytes of a round trip that are hashed for Passage.values."""
HASHED: Final = 4096
"""Bytes are hashed in blocks of this size, so the hash does not depend on how reads were cut."""
_TAGS_KEPT: Final = 8
_COPY_DATA: Final = ord("d")


class Run:
    """A run of frontend messages during which something was always unanswered. It is a round trip
    if it has a flush point."""

    __slots__ = (
        "block_began", "block_end", "bound", "closed_ns", "copies_received", "copies_sent",
        "copy_in_rows", "copy_out_rows", "copying", "departure", "depth", "error", "errors",
        "executions", "failures", "first", "first_answer_ns", "first_flush_ns", "flush_points",
        "formats", "is_frozen", "note", "offsets", "opened_ns", "owed_before", "own_executions",
        "params_binary", "params_text", "parses_named", "parses_unnamed", "parts", "passed_binary",
        "passed_text", "portals", "prepares", "received", "received_bytes", "received_odd",
        "reported", "reuses", "rows", "sent", "sent_bytes", "sent_odd", "setup",
        "statements_reused", "status", "status_before", "tags", "transactions", "uncertain",
        "unhashed", "values", "values_binary", "values_text", "waited_ns", "warnings",
    )  # fmt: skip

    def __init__(self, opened_ns: int, *, setup: bool, offsets: tuple[int, int], status: str, note: Any = None) -> None:
        self.opened_ns = opened_ns
        self.setup = setup
        self.offsets = offsets
        self.status_before = self.status = status
        self.note = note
        self.first_flush_ns = self.flush_points = self.depth = self.own_executions = self.sent_bytes = self.received_bytes = 0
        self.rows = self.errors = self.formats = self.bound = self.waited_ns = self.values = 0
        self.values_text = self.values_binary = self.passed_text = self.passed_binary = self.params_text = self.params_binary = 0
        self.copies_sent = self.copies_received = self.executions = self.parses_named = self.parses_unnamed = self.statements_reused = 0
        self.transactions = self.copy_in_rows = self.copy_out_rows = 0
        self.tags: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.failures: tuple[Failure, ...] = ()
        self.first_answer_ns: int | None = None
        self.closed_ns: int | None = None
        self.departure: Departure | None = None
        self.first: Statement | None = None
        self.copying: Statement | None = None
        self.reported: tuple[Exchange, Passage] | None = None
        self.block_began = self.prepares = self.reuses = self.uncertain = self.is_frozen = False
        self.block_end = ""
        self.owed_before = self.error = self.unhashed = b""
        self.sent = bytearray()
        self.received = bytearray()
        self.sent_odd: dict[int, int] | None = None
        self.received_odd: dict[int, int] | None = None
        self.parts: dict[Statement, Part] = {}
        self.portals: dict[str, Portal] = {}

    # events.py and effects.py describe most of the attributes. executions: executions that ended,
    # including those ended by a message outside the run; own_executions: without those.
    # passed_text, passed_binary: values of the rows that arrived. copies_sent, copies_received:
    # CopyData messages that are not in the flight. bound: Binds of named statements. values_text,
    # values_binary: values of the executions that ended in it. reported: the latest report of it.
    # is_frozen: it has been reported, so late changes go to a copy. values: the hash of the whole
    # blocks that the driver sent; unhashed: the bytes after the last whole block.

    def part(self, statement: Statement) -> Part:
        """The Part of a statement, made if needed."""
        found = self.parts.get(statement)
        if found is None:
            found = self.parts[statement] = Part(statement)
        return found

    def carries(self, statement: Statement) -> None:
        """Note that the run contains a message of this statement."""
        found = self.parts.get(statement)
        if found is None:
            found = self.parts[statement] = Part(statement)
        found.is_carried = True

    def skips(self, times: int) -> None:
        """Note that the backend discarded `times` executions."""
        room = max(0, FLIGHT_MESSAGES_KEPT - len(self.received))
        self.received += bytes([SKIPPED]) * min(times, room)
        if times > room and self.received[-1:] != bytes([CUT]):
            self.received.append(CUT)

    def asks(self, wire: bytes) -> None:
        """Add whole messages of the driver that belong to the run to its hash."""
        if not self.unhashed and len(wire) <= HASHED:
            self.unhashed = wire
        elif self.sent_bytes <= LONGEST_HASHED:
            self.values, self.unhashed = _hashed(self.values, self.unhashed + wire)

    def sends(self, letter: int, message: int) -> None:
        """Note a sent message that its letter in the flight does not identify."""
        self.sent_odd = _add(self.sent, self.sent_odd, letter, message)

    def sends_pairs(self, first: int, second: int, times: int) -> None:
        """Note that two messages were sent alternately, `times` times each."""
        self.sent_odd = _add_pairs(self.sent, self.sent_odd, first, second, times)

    def receives_pairs(self, first: int, second: int, times: int) -> None:
        """Note that two messages were received alternately, `times` times each."""
        self.received_odd = _add_pairs(self.received, self.received_odd, first, second, times)

    def tagged(self, tag: str) -> None:
        """Note the tag of a command that is complete."""
        short = tag.rstrip("0123456789 ")
        if short not in self.tags[-1:] and len(self.tags) < _TAGS_KEPT:
            self.tags += (short,)

    def receives(self, letter: int, message: int) -> None:
        """Note a received message that its letter in the flight does not identify."""
        self.received_odd = _add(self.received, self.received_odd, letter, message)

    def key(self) -> Key:
        """The key of its effect so far."""
        formats = self.formats or (1 if self.values_text else 0) | (2 if self.values_binary else 0)
        look = (
            bytes(self.sent), bytes(self.received), self.setup, self.flush_points > 0, self.depth, self.own_executions, self.errors,
            self.prepares,
            self.reuses, formats, self.status_before, self.status, self.block_began, self.block_end, self.uncertain, self.owed_before,
            self.tags, self.warnings, bool(self.portals) and any(self.portals),
        )  # fmt: skip
        depth, is_round_trip, setup = self.depth, self.flush_points > 0, self.setup
        numbers = (
            1 if is_round_trip and setup else 0, 1 if is_round_trip and not setup else 0, self.executions,
            depth - 1 if is_round_trip and depth else 0,
            depth if is_round_trip else 0, self.parses_named, self.parses_unnamed, self.statements_reused, self.transactions,
            self.params_text, self.params_binary, self.copy_in_rows, self.copy_out_rows,
        )  # fmt: skip
        rows, text, binary, exact = self.rows, self.passed_text, self.passed_binary, False
        if text or binary:
            if rows and not text % rows and not binary % rows:
                text, binary = text // rows, binary // rows
            else:
                exact = True
        return look, numbers, (text, binary), exact, _odd(self.sent_odd, self.copies_sent), _odd(self.received_odd, self.copies_received)

    def exchange(self, effect: Effect) -> Exchange:
        """What has happened in it so far."""
        portals = tuple(self.portals.values()) if self.portals else ()
        exchange = Exchange(effect, tuple(self.parts.values()), portals, first=self.first)
        exchange.copying, exchange.error, exchange.failures = self.copying, self.error, self.failures
        return exchange

    def passage(self) -> Passage:
        """Its times and sizes so far."""
        return new_passage(Passage, (
            self.note, self.opened_ns, self.first_flush_ns, self.first_answer_ns, self.closed_ns, self.waited_ns, self.offsets, self.rows,
            self.sent_bytes, self.received_bytes, self._values(), self.departure, self.reported,
        ))  # fmt: skip

    def _values(self) -> int:
        is_known = not self.setup and not self.uncertain and self.sent_bytes <= LONGEST_HASHED
        return _value(self.values, self.unhashed) if is_known else 0


def values_of(wire: bytes) -> int:
    """Passage.values of a round trip in which the driver sent these bytes."""
    return _value(*_hashed(0, wire)) if len(wire) <= LONGEST_HASHED else 0


def _value(values: int, rest: bytes) -> int:
    return hash((values, rest)) if values else hash(rest)


def _hashed(values: int, wire: bytes) -> tuple[int, bytes]:
    """Hash the blocks that these bytes fill. Returns the hash and the remaining bytes."""
    at = 0
    while len(wire) - at > HASHED:
        values = hash((values, wire[at : at + HASHED]))
        at += HASHED
    return values, wire[at:] if at else wire


def _add(flight: bytearray, odd: dict[int, int] | None, letter: int, message: int) -> dict[int, int]:
    odd = {} if odd is None else odd
    if len(flight) >= FLIGHT_MESSAGES_KEPT:
        if len(flight) == FLIGHT_MESSAGES_KEPT:
            flight.append(CUT)
    else:
        flight.append(letter)
        if letter >= FIRST_LETTER:
            odd[letter] = odd.get(letter, 0) - 1
    odd[message] = odd.get(message, 0) + 1
    return odd


def _add_pairs(flight: bytearray, odd: dict[int, int] | None, first: int, second: int, times: int) -> dict[int, int] | None:
    room = FLIGHT_MESSAGES_KEPT - len(flight)
    if 2 * times <= room:
        flight += bytes((first, second)) * times
        return odd
    for _ in range(times):
        for code in (first, second):
            if len(flight) < FLIGHT_MESSAGES_KEPT:
                flight.append(code)
            else:
                odd = _add(flight, odd, code, code)
    return odd


def _odd(odd: dict[int, int] | None, copies: int) -> Odd:
    if odd is None and not copies:
        return ()
    counted = dict(odd or ())
    if copies:
        counted[_COPY_DATA] = counted.get(_COPY_DATA, 0) + copies
    return tuple(sorted(counted.items()))
