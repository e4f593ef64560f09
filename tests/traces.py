"""Captures as traces that were read to their ends."""

from __future__ import annotations

from pathlib import Path

from pgtrace.trace.trace import Trace


def fully_read(*paths: Path, timeline: bool = True) -> Trace:
    """These captures as one trace. Whoever asks for it closes it."""
    trace = Trace.open(paths, timeline=timeline)
    while trace.update():
        pass
    return trace
