"""The messages of one row, read from the capture again on request.

Bounds: of a run of DataRow or CopyData the first RUN_KEPT are messages of their own; one line
counts the rest. After MESSAGES_KEPT messages the list ends and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pgtrace.framing import KEPT_BYTES
from pgtrace.inspect import types
from pgtrace.inspect.message import MessageView
from pgtrace.inspect.walk import NotKept, Walker, passed
from pgtrace.trace.row import RUN_KEPT, RowKind
from pgtrace.trace.trace import Trace

__all__ = ["NOT_KEPT", "Details", "NotKept", "read", "scan"]

_WITHOUT_MESSAGES: Final = frozenset({RowKind.MARK, RowKind.GAP, RowKind.CLOSED, RowKind.FAULT})
MESSAGES_KEPT: Final = 5_000
NOT_KEPT: Final = "bytes no longer kept"
NEVER_KEPT: Final = "bytes that cannot be read are counted, not kept"


@dataclass(slots=True)
class Details:
    """The messages of a row in the order in which they passed, and a note about them."""

    messages: list[MessageView] = field(default_factory=list)
    note: str = ""


def read(trace: Trace, place: int, run_kept: int = RUN_KEPT) -> Details:
    """The details of the row at this place, with the first `run_kept` messages of each run."""
    details = Details()
    if trace.rows[place].shape.kind in _WITHOUT_MESSAGES:
        return details
    walker = Walker(trace, place, run_kept, types.of_row(trace, place))
    entry = trace.rows.entry(place)
    not_kept = NEVER_KEPT if trace.rows[place].shape.kind is RowKind.OPAQUE else NOT_KEPT
    try:
        for side, code, body, size, offset, time_ns in passed(trace, place):
            inside = offset >= entry.offsets[side]
            if inside and len(details.messages) >= MESSAGES_KEPT:
                details.note = f"the first {MESSAGES_KEPT:,} messages"
                break
            walker.take(details.messages if inside else [], side, code, body, size, offset, time_ns)
    except NotKept:
        details.note = not_kept
    if not details.messages and (entry.sent_bytes or entry.received_bytes) and not details.note:
        details.note = not_kept
    return details


def scan(trace: Trace, place: int, kept_bytes: int = KEPT_BYTES) -> Iterator[MessageView]:
    """The messages of the row at this place one by one, however many: none is counted together with
    others or left out. Each has the first `kept_bytes` of its body. Raises NotKept."""
    if trace.rows[place].shape.kind in _WITHOUT_MESSAGES:
        return
    walker = Walker(trace, place, RUN_KEPT, types.of_row(trace, place))
    starts = trace.rows.entry(place).offsets
    for side, code, body, size, offset, time_ns in passed(trace, place, kept_bytes):
        views: list[MessageView] = []
        walker.take(views, side, code, body, size, offset, time_ns)
        if offset >= starts[side]:
            yield from views
