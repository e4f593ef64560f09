"""The effect of a round trip, without what belongs to one session: its flight, flags and exact
counts.

A round trip counts for itself while it is open (roundtrips.py). When it closes, its key gives an
Effect with the flight and the flags, and Counts with the numbers. Equal ones are one object.
Drivers repeat themselves, so a few hundred objects represent millions of round trips, and sums over
round trips are sums over Counts.

Often only the rows of a result differ between executions. So if every DataRow has the same number
of values, Counts exclude the DataRows and contain the number of values per row instead; the passage
has the number of rows.

Memory is bounded: beyond COUNTS_BYTES, Counts are not kept and their number is UNKNOWN. They can
still be summed, but the number alone does not identify them. Beyond LOOK_BYTES, and for long
flights, an Effect is not kept either.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from pgtrace.protocol.codes import BACKEND

COUNTS_BYTES: Final = 24 * 1024 * 1024
LOOK_BYTES: Final = 8 * 1024 * 1024
LONGEST_LOOK: Final = 1024
"""The most messages of a flight that is kept."""
UNKNOWN: Final = 0
"""The number of Counts that are not kept."""
SUBTYPED: Final = 1000
"""The tally key of an Authentication message or a `p` is SUBTYPED times (subtype + 1), plus the
type byte."""
_ROW: Final = ord("D")
_ROWS: Final = b"D"
FIRST_LETTER: Final = 0x10
"""Lower bytes in a flight are not type bytes."""
_OVERHEAD_BYTES: Final = 400
_ITEM_BYTES: Final = 100
"""The bytes that one entry of a table takes, including its numbers."""


NUMBERS: Final = (
    "setup_round_trips", "round_trips", "executions", "pipelined_executions", "max_pipeline_depth", "parses_named", "parses_unnamed",
    "statements_reused", "transactions", "params_text", "params_binary", "copy_in_rows", "copy_out_rows",
)  # fmt: skip
"""The single numbers in Counts, in this order: that of Run.key()."""


class Tally:
    """Counts that need the protocol state. Messages are counted by code; Authentication and `p` by
    code and subtype."""

    __slots__ = ("backend", "frontend", *NUMBERS, "values_binary", "values_text")

    def __init__(self) -> None:
        self.frontend: defaultdict[int, int] = defaultdict(int)
        self.backend: defaultdict[int, int] = defaultdict(int)
        self.setup_round_trips = self.round_trips = self.executions = self.pipelined_executions = self.max_pipeline_depth = (
            self.parses_named
        ) = self.parses_unnamed = self.statements_reused = self.transactions = self.params_text = self.params_binary = self.values_text = (
            self.values_binary
        ) = self.copy_in_rows = self.copy_out_rows = 0

    def copy(self) -> Tally:
        """A copy of the current counts."""
        other = Tally()
        other.add(self, 1)
        return other

    def add(self, other: Tally, times: int) -> None:
        """Add `other` `times` times; the depth becomes the larger of the two."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for mine, its in ((self.frontend, other.frontend), (self.backend, other.backend)):
            for key, count in its.items():
                if count:
                    mine[key] += times * count
        self.max_pipeline_depth = max(self.max_pipeline_depth, other.max_pipeline_depth)


_SUMS: Final = tuple(name for name in Tally.__slots__ if name not in ("frontend", "backend", "max_pipeline_depth"))
_SUMMED: Final = tuple((place, name) for place, name in enumerate(NUMBERS) if name != "max_pipeline_depth")
_DEPTH: Final = NUMBERS.index("max_pipeline_depth")
_PARAMS: Final = NUMBERS.index("params_text"), NUMBERS.index("params_binary")

Odd = tuple[tuple[int, int], ...]
"""For one side: message codes, and how often each came in addition to those in the flight."""
_Table = tuple[tuple[int, int], ...]
_Counts = tuple[tuple[int, ...], tuple[int, int], bool, _Table, _Table]


_NONE: Final = (0,) * len(NUMBERS)


class Counts:
    """The counts of one round trip, or of one message outside any round trip. Immutable and
    shared."""

    __slots__ = ("_counts", "number")

    def __init__(self, counts: _Counts, number: int) -> None:
        self._counts = counts
        self.number = number
        """Its number in Effects, or UNKNOWN."""

    @property
    def parameters(self) -> tuple[int, int]:
        """The numbers of parameters in text and in binary."""
        return self._counts[0][_PARAMS[0]], self._counts[0][_PARAMS[1]]

    def add_to(self, tally: Tally, times: int, rows: int) -> None:
        """Add the counts of `times` round trips that had `rows` DataRows in total."""
        numbers, (text, binary), exact, frontend, backend = self._counts
        for place, name in _SUMMED:
            if numbers[place]:
                setattr(tally, name, getattr(tally, name) + times * numbers[place])
        if times:
            tally.max_pipeline_depth = max(tally.max_pipeline_depth, numbers[_DEPTH])
        for mine, its in ((tally.frontend, frontend), (tally.backend, backend)):
            for code, count in its:
                mine[code] += times * count
        if rows:
            tally.backend[_ROW] += rows
        values = times if exact else rows
        tally.values_text += values * text
        tally.values_binary += values * binary


Look = tuple[
    bytes, bytes, bool, bool, int, int, int, bool, bool, int, str, str, bool, str, bool, bytes, tuple[str, ...], tuple[str, ...], bool
]  # fmt: skip
"""The attributes of an Effect from `sent` on, in their order."""


class Effect:
    """The effect of a round trip. Immutable and shared."""

    __slots__ = (
        "block_began", "block_end", "counts", "depth", "errors", "executions", "formats", "is_round_trip", "note", "owed_before",
        "portal", "prepares",
        "received", "reuses", "sent", "setup", "status", "status_before", "tags", "uncertain", "warnings",
    )  # fmt: skip

    sent: bytes
    """One byte for each frontend message. A run of CopyData is one byte; events.py lists the bytes
    for messages without a type byte."""
    received: bytes
    """The same for the backend. A run of DataRow is also one byte."""
    setup: bool
    """Whether the round trip began before the first ReadyForQuery."""
    is_round_trip: bool
    """Whether it has a flush point. A run of messages without a flush point is not a round trip,
    because the driver does not wait for it."""
    depth: int
    executions: int
    errors: int
    prepares: bool
    """Whether it contains the Parse of a named statement."""
    reuses: bool
    """Whether it contains a Bind of a named statement beyond its first."""
    formats: int
    """The formats of its results: 1 for text, 2 for binary, 3 for both, 0 without results."""
    status_before: str
    status: str
    """The transaction status after it, from its latest ReadyForQuery."""
    block_began: bool
    """Whether a transaction block began in it."""
    block_end: str
    """The command tag that ended a transaction block in it, or empty."""
    uncertain: bool
    """Whether bytes are missing inside it."""
    owed_before: bytes
    """What was still owed when it began (owed.before()), after a Flush or a COPY."""
    tags: tuple[str, ...]
    """The first few command tags without their numbers. Consecutive equal tags count once."""
    warnings: tuple[str, ...]
    """The distinct SQLSTATEs of its warnings."""
    portal: bool
    """Whether it binds a named portal."""

    def __init__(self, counts: Counts, look: Look) -> None:
        self.counts = counts
        (
            self.sent, self.received, self.setup, self.is_round_trip, self.depth, self.executions, self.errors, self.prepares, self.reuses,
            self.formats, self.status_before, self.status, self.block_began, self.block_end, self.uncertain, self.owed_before,
            self.tags, self.warnings, self.portal,
        ) = look  # fmt: skip
        self.note: Any = None
        """Free for the observer's use."""


Key = tuple[Look, tuple[int, ...], tuple[int, int], bool, Odd, Odd]
"""The key of an Effect: its look; the NUMBERS; the values in text and in binary; whether those are
the values of all rows together, not of each row; and the messages that are not in the flights."""


class Effects:
    """All the effects in one reading of captures."""

    def __init__(self) -> None:
        self._counts: dict[_Counts, Counts] = {}
        self._by_number: list[Counts | None] = [None]
        self._counts_bytes = 0
        self._effects: dict[Key, Effect] = {}
        self._look_bytes = 0
        self.nothing = self._known((_NONE, (0, 0), False, (), ()))
        """The Counts of index rows that count no message."""
        self.idle = Effect(self.nothing, (b"", b"", False, False, 0, 0, 0, False, False, 0, "", "", False, "", False, b"", (), (), False))

    def __getitem__(self, number: int) -> Counts | None:
        """The Counts with this number; None for UNKNOWN."""
        return self._by_number[number]

    def of(self, key: Key) -> Effect:
        """The effect with this key."""
        return self._effects.get(key) or self._new(key)

    def alone(self, side: int, message: int) -> Counts:
        """The counts of one message outside any round trip. `message` is a key of a Tally."""
        tables = ((), ((message, 1),)) if side == BACKEND else (((message, 1),), ())
        return self._known((_NONE, (0, 0), False, *tables))

    def _new(self, key: Key) -> Effect:
        effect = Effect(self._known(_counted(key)), key[0])
        length = len(effect.sent) + len(effect.received) + len(effect.owed_before)
        size = _OVERHEAD_BYTES + length
        if length <= LONGEST_LOOK and self._look_bytes + size <= LOOK_BYTES:
            self._look_bytes += size
            self._effects[key] = effect
        return effect

    def _known(self, counted: _Counts) -> Counts:
        counts = self._counts.get(counted)
        if counts is None:
            size = _OVERHEAD_BYTES + _ITEM_BYTES * (len(counted[3]) + len(counted[4]))
            if self._counts_bytes + size > COUNTS_BYTES:
                return Counts(counted, UNKNOWN)
            self._counts_bytes += size
            counts = self._counts[counted] = Counts(counted, len(self._by_number))
            self._by_number.append(counts)
        return counts


def unfinished(key: Key) -> Effect:
    """The effect of a round trip that is still open. It is not kept."""
    return Effect(Counts(_counted(key), UNKNOWN), key[0])


def _counted(key: Key) -> _Counts:
    (sent, received, *_), numbers, values, exact, sent_odd, received_odd = key
    return numbers, values, exact, _table(sent, sent_odd), _table(received.replace(_ROWS, b""), received_odd)


def _table(flight: bytes, odd: Odd) -> _Table:
    """How often each message came."""
    counted = {code: flight.count(code) for code in set(flight) if code >= FIRST_LETTER}
    for code, times in odd:
        counted[code] = counted.get(code, 0) + times
    return tuple(sorted((code, times) for code, times in counted.items() if times))
