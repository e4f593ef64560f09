"""The counters: flat integers with one meaning everywhere, defined in docs/counting.md.

The session's counts (Tally) become Counters here: messages get their names, and counters of one
kind of message are derived from them. Counters can be added: a driver is the sum of its
connections, a capture the sum of all. They can also be subtracted: what happened between two
moments is the difference of two sums, which is how marks are counted (marks.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

from pgtrace.protocol import codes
from pgtrace.session.effects import SUBTYPED, Tally


@dataclass(slots=True)
class Counters:
    """One set of counters. Times are ns, sizes are bytes, everything else is a number."""

    setup_round_trips: int = 0
    round_trips: int = 0
    queries: int = 0
    syncs: int = 0
    flushes: int = 0
    executions: int = 0
    pipelined_executions: int = 0
    max_pipeline_depth: int = 0
    parses_named: int = 0
    parses_unnamed: int = 0
    binds: int = 0
    describes: int = 0
    executes: int = 0
    closes: int = 0
    statements_live: int = 0
    statements_reused: int = 0
    transactions: int = 0
    rows: int = 0
    copy_in_messages: int = 0
    copy_out_messages: int = 0
    copy_in_rows: int = 0
    copy_out_rows: int = 0
    params_text: int = 0
    params_binary: int = 0
    values_text: int = 0
    values_binary: int = 0
    errors: int = 0
    notices: int = 0
    notifications: int = 0
    frontend_bytes: int = 0
    backend_bytes: int = 0
    wait_ns: int = 0
    client_ns: int = 0
    frontend_messages: dict[str, int] = field(default_factory=dict)
    backend_messages: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_session(cls, tally: Tally, sizes: list[int], statements_live: int, waited: tuple[int, int]) -> Self:
        """The counters of one session, from its tally, the bytes of each side, the number of named
        statements alive, and (wait_ns, client_ns)."""
        frontend, backend = tally.frontend, tally.backend
        return cls(
            setup_round_trips=tally.setup_round_trips,
            round_trips=tally.round_trips,
            queries=frontend.get(0x51, 0),
            syncs=frontend.get(0x53, 0),
            flushes=frontend.get(0x48, 0),
            executions=tally.executions,
            pipelined_executions=tally.pipelined_executions,
            max_pipeline_depth=tally.max_pipeline_depth,
            parses_named=tally.parses_named,
            parses_unnamed=tally.parses_unnamed,
            binds=frontend.get(0x42, 0),
            describes=frontend.get(0x44, 0),
            executes=frontend.get(0x45, 0),
            closes=frontend.get(0x43, 0),
            statements_live=statements_live,
            statements_reused=tally.statements_reused,
            transactions=tally.transactions,
            rows=backend.get(0x44, 0),
            copy_in_messages=frontend.get(0x64, 0),
            copy_out_messages=backend.get(0x64, 0),
            copy_in_rows=tally.copy_in_rows,
            copy_out_rows=tally.copy_out_rows,
            params_text=tally.params_text,
            params_binary=tally.params_binary,
            values_text=tally.values_text,
            values_binary=tally.values_binary,
            errors=backend.get(0x45, 0) + backend.get(codes.VERSION_2_ERROR, 0),
            notices=backend.get(0x4E, 0),
            notifications=backend.get(0x41, 0),
            frontend_bytes=sizes[0],
            backend_bytes=sizes[1],
            wait_ns=waited[0],
            client_ns=waited[1],
            frontend_messages=_named(0, frontend),
            backend_messages=_named(1, backend),
        )

    def add(self, other: Counters) -> None:
        """Add other counters. The pipeline depth becomes the larger one."""
        self._combine(other, 1)
        self.max_pipeline_depth = max(self.max_pipeline_depth, other.max_pipeline_depth)

    def subtract(self, other: Counters) -> None:
        """Subtract the counters of an earlier moment. Values that are not sums (depth, live
        statements) stay."""
        self._combine(other, -1)

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """The flat keys of `stats --json`."""
        return {key: getattr(self, key) for key in KEYS}

    def _combine(self, other: Counters, sign: int) -> None:
        for key in _SUMS:
            setattr(self, key, getattr(self, key) + sign * getattr(other, key))
        if sign > 0:
            self.statements_live += other.statements_live
        for mine, its in ((self.frontend_messages, other.frontend_messages), (self.backend_messages, other.backend_messages)):
            for name, count in its.items():
                left = mine.get(name, 0) + sign * count
                if left:
                    mine[name] = left
                else:
                    mine.pop(name, None)


KEYS = tuple(one.name for one in fields(Counters))
INTEGER_KEYS = KEYS[:-2]
MESSAGES_OF = {
    table: sorted({*codes.NAMES[side].values(), *subtyped.values(), "Unknown"})
    for side, (table, subtyped) in enumerate(zip(KEYS[-2:], (codes.RESPONSE_NAMES, codes.AUTHENTICATION_NAMES), strict=True))
}
"""The keys that the tables of messages may have."""
_SUMS = tuple(key for key in INTEGER_KEYS if key not in ("max_pipeline_depth", "statements_live"))


def _named(side: int, counts: dict[int, int]) -> dict[str, int]:
    named: dict[str, int] = {}
    for key in sorted(counts):
        subtype, code = divmod(key, SUBTYPED)
        name = codes.message_name(side, code, subtype - 1)
        named[name] = named.get(name, 0) + counts[key]
    return named
