"""Recognises COPYs of one row each, one after the other: a loop over rows, for n+1.

A COPY takes one round trip, or two if the driver waits for CopyInResponse. Its command tag says how
many rows it brought.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgtrace.inspect import details
from pgtrace.inspect.walk import NotKept
from pgtrace.judge.findings.kind import PAUSE_NS, Step
from pgtrace.protocol.codes import BACKEND
from pgtrace.trace.row import Shape
from pgtrace.trace.turns import REPEATS

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_COMMAND_COMPLETE: Final = ord("C")
_TAG_BYTES: Final = 256
_ONE: Final = b"COPY 1\0"
BEGINS: Final = b"G"
COPY: Final = ("COPY",)


class Copies:
    """The latest COPYs of one text, as long as nothing else comes and each copies one row."""

    def __init__(self) -> None:
        self._begun: Step | None = None
        """The round trip up to CopyInResponse, if it was a separate one."""
        self._copies: list[tuple[Step, ...]] = []
        self._key = ""
        self._is_loop = False

    @property
    def is_open(self) -> bool:
        """Whether the next round trip is to be passed to take(), whatever it is."""
        return bool(self._copies) or self._begun is not None

    @staticmethod
    def cares(shape: Shape) -> bool:
        """Whether the round trip is a COPY from the driver, or its beginning."""
        return shape.received.endswith(BEGINS) or (shape.tags == COPY and b"c" in shape.sent)

    def take(self, step: Step, trace: Trace) -> list[tuple[tuple[Step, ...], bool]]:
        """Add the next round trip. Returns the COPYs that are now known to be a loop, each with
        whether it is the first.
        """
        if step.only_prepares:
            return []
        begun, self._begun = self._begun, None
        first = begun or step
        follows = first.pause_ns is not None and (first.shape.status_before == "T" or first.pause_ns <= PAUSE_NS)
        if not self.cares(step.shape) or step.shape.errors or not follows:
            self._forget()
        if not self.cares(step.shape) or step.shape.errors:
            return []
        if step.shape.received.endswith(BEGINS):
            self._begun = step
            return []
        if step.key != self._key or step.shape.status != step.shape.status_before:
            self._forget()
        self._key = step.key
        if not step.key or not _brings_one(step, trace):
            self._forget()
            return []
        copy = (step,) if begun is None else (begun, step)
        if self._is_loop:
            return [(copy, False)]
        self._copies.append(copy)
        if len(self._copies) < REPEATS:
            return []
        self._is_loop = True
        copies, self._copies = self._copies, [copy]
        return [(one, not number) for number, one in enumerate(copies)]

    def _forget(self) -> None:
        self._copies, self._is_loop, self._key = [], False, ""


def _brings_one(step: Step, trace: Trace) -> bool:
    """Whether its command tag, read from the capture again, says that it copied one row."""
    try:
        views = details.scan(trace, step.place, _TAG_BYTES)
        return [view.body for view in views if view.side == BACKEND and view.code == _COMMAND_COMPLETE] == [_ONE]
    except NotKept:
        return False
