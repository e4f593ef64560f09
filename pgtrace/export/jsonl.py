"""A capture as lines of JSON: lossless, editable, and readable by `pgtrace import`.

capture/jsonl/ defines the format; docs/jsonl.md describes it for users. Several captures may share
connection numbers and have different clocks, so only one is exported at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pgtrace import sanitise
from pgtrace.capture.jsonl.cutting import Cutter, Line, first_line
from pgtrace.errors import UsageError
from pgtrace.export import Piece
from pgtrace.trace.trace import Trace

_AT_ONCE = 500


def export(trace: Trace) -> Iterator[Piece]:
    """Every record of the capture, one line per message. Raises UsageError for several captures."""
    if len(trace.files) > 1:
        raise UsageError("--to jsonl takes one capture at a time")
    (header,) = trace.headers
    cutter = Cutter(header.monotonic_ns)
    lines = [first_line(header)]
    for time_ns, _, record in trace.recorded():
        lines += cutter.feed(record)
        if len(lines) >= _AT_ONCE:
            yield _piece(lines, (time_ns - trace.start_ns) / max(1, trace.duration_ns))
            lines = []
    yield _piece(lines + cutter.finish(), 1.0)


def _piece(lines: list[Line], done: float) -> Piece:
    return Piece("".join([sanitise.json(msgspec.json.encode(line).decode()) + "\n" for line in lines]), done)
