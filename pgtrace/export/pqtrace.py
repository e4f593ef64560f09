"""A trace in libpq's trace format: the text of golden.py as a file.

Bytes from the wire are written unchanged, whatever their encoding, as libpq does. So the pieces are
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pgtrace.export import Piece, golden
from pgtrace.export.rules import Rule
from pgtrace.trace.trace import Trace

_LINES_AT_ONCE = 500
_LINES_A_ROW = 8
"""An estimate, only for the progress bar."""


def export(
    trace: Trace,
    *,
    places: Iterable[int] | None = None,
    mark: str | None = None,
    order: str = golden.Order.OPENED,
    rules: Sequence[Rule] = (),
    plain: bool = False,
    everything: bool = False,
) -> Iterator[Piece]:
    """The text in pieces. Raises UsageError."""
    lines = golden.lines(trace, places=places, mark=mark, order=order, rules=rules, plain=plain, everything=everything)
    done, total = 0, max(1, len(trace.rows))
    while some := list(islice(lines, _LINES_AT_ONCE)):
        done += len(some)
        yield Piece("".join([f"{line}\n" for line in some]).encode("utf-8", "surrogateescape"), min(1.0, done / (_LINES_A_ROW * total)))
