"""What many rows share, kept once and in memory: their shapes and labels (row.py), by number.

Both tables are bounded. Rows beyond a bound have no flight or text here; their details, read from
the capture on request, do have them.
"""

from __future__ import annotations

from typing import Final

from pgtrace.trace.row import GROUPS_KEPT, LONGEST_SQL, NO_FLIGHT, Label, RowKind, Shape, Share

SHAPES_KEPT: Final = 50_000
LABELS_KEPT: Final = 100_000
LABEL_BYTES_KEPT: Final = 48 * 1024 * 1024
SHARES_KEPT: Final = 1_000
SHAPE_BYTES_KEPT: Final = 16 * 1024 * 1024

_NUMBER_BYTES: Final = 40
_FAILURE_BYTES: Final = 200
_SHARE_BYTES: Final = 150


class Interned:
    """The shapes and labels of a trace."""

    def __init__(self) -> None:
        self._shapes: list[Shape] = [Shape(RowKind.RUN, NO_FLIGHT)]
        self._shape_numbers: dict[Shape, int] = {}
        self._shape_bytes = 0
        self.labels: list[Label] = [Label("… not kept: too many different texts")]
        self._label_numbers: dict[Label, int] = {}
        self._label_bytes = 0
        self._shares: dict[tuple[Share, ...], tuple[Share, ...]] = {}
        """The shares of the latest labels: rows with different texts may have equal shares."""

    def shape_at(self, number: int) -> Shape:
        """The shape with this number."""
        return self._shapes[number]

    def label_at(self, number: int) -> Label:
        """The label with this number."""
        return self.labels[number]

    def shape(self, shape: Shape) -> int:
        """The number of a shape. Beyond the bound, the number of the same shape without its flight;
        there are few of these."""
        number = self._shape_numbers.get(shape)
        if number is None:
            size = len(shape.sent) + len(shape.received) + len(shape.flight) + len(shape.owed_before)
            if shape.flight != NO_FLIGHT and (len(self._shapes) >= SHAPES_KEPT or self._shape_bytes + size > SHAPE_BYTES_KEPT):
                return self.shape(
                    shape._replace(flight=NO_FLIGHT, sent_flight=NO_FLIGHT, sent=b"", received=b"", statement="", owed_before=b"")
                )
            self._shape_bytes += size
            number = self._shape_numbers[shape] = len(self._shapes)
            self._shapes.append(shape)
        return number

    def label(self, label: Label) -> int:
        """The number of a label."""
        number = self._label_numbers.get(label)
        if number is None:
            sql, sqlstate, message, groups, end, failures, others, shares = label
            label = Label(
                sql[:LONGEST_SQL],
                sqlstate[:LONGEST_SQL],
                message[:LONGEST_SQL],
                groups[:GROUPS_KEPT],
                end,
                failures,
                others[: max(0, GROUPS_KEPT - len(groups))],
                self._shared(shares[:GROUPS_KEPT]),
            )
            size = len(label.sql) + len(label.sqlstate) + len(label.message) + len(label.end)
            size += _NUMBER_BYTES * len(label.groups + label.others) + _SHARE_BYTES * len(label.shares)
            size += sum(_FAILURE_BYTES + len(one.routine) + len(one.name) for one in label.failures)
            if len(self.labels) >= LABELS_KEPT or self._label_bytes + size > LABEL_BYTES_KEPT:
                return 0
            self._label_bytes += size
            number = self._label_numbers[label] = len(self.labels)
            self.labels.append(label)
        return number

    def _shared(self, shares: tuple[Share, ...]) -> tuple[Share, ...]:
        """The first of all equal shares."""
        if len(self._shares) >= SHARES_KEPT:
            self._shares.clear()
        return self._shares.setdefault(shares, shares)
