"""What the reading commands have in common: captures read with a progress bar where that takes long, and losses told on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from pgtrace.analysis.trace import Trace

_PATIENCE_S = 1.0
_STEP_S = 0.2


def read(files: Iterable[Path], *, timeline: bool = True, quiet: bool = False) -> Trace:
    """The captures, read to their present end. Raises CaptureError."""
    trace = Trace.open(files, timeline=timeline)
    started = time.monotonic()
    while trace.update(_STEP_S):
        if not quiet and time.monotonic() - started > _PATIENCE_S and sys.stderr.isatty():
            _read_with_bar(trace)
    return trace


def _read_with_bar(trace: Trace) -> None:
    with click.progressbar(length=max(1, trace.size_bytes), label="reading", file=sys.stderr) as bar:
        done = 0
        while trace.update(_STEP_S):
            bar.update(trace.read_bytes - done)
            done = trace.read_bytes


def warn_of_losses(trace: Trace) -> None:
    """What is missing from a capture, on stderr."""
    if trace.torn_bytes:
        click.echo(f"pgtrace: the capture ends in {trace.torn_bytes} bytes of half a block; everything before is complete", err=True)
    if trace.gaps:
        click.echo(f"pgtrace: {trace.gaps} gaps, {trace.dropped_bytes} bytes were not recorded: counts are lower bounds", err=True)
