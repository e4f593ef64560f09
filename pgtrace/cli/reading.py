"""What the reading commands have in common: captures read with a progress bar where that takes long, and losses told on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from pgtrace.analysis.filter import Filter, Selection
from pgtrace.analysis.filter.counting import CountedTrace
from pgtrace.analysis.trace import Trace

_PATIENCE_S = 1.0
_STEP_S = 0.2


def read(files: Iterable[Path], *, timeline: bool = True, quiet: bool = False) -> Trace:
    """The captures, read to their present end. Raises CaptureError."""
    trace = Trace.open(files, timeline=timeline)
    _read_on(trace, quiet)
    return trace


def select(trace: Trace, chosen: Filter) -> Iterator[int]:
    """The places of the rows that a filter selects; those nobody can decide any more are told on stderr. Raises FilterError."""
    selection = chosen.over(trace)
    yield from selection.places()
    _warn_of_undecided(selection)


def count(trace: Trace, chosen: Filter, *, quiet: bool = False) -> Trace:
    """The same captures, counting only the round trips that a filter selects. Raises CaptureError, FilterError."""
    selection = chosen.over(trace)
    counted = CountedTrace(selection)
    _read_on(counted, quiet)
    _warn_of_undecided(selection)
    return counted


def _read_on(trace: Trace, quiet: bool) -> None:
    started = time.monotonic()
    while trace.update(_STEP_S):
        if not quiet and time.monotonic() - started > _PATIENCE_S and sys.stderr.isatty():
            _read_with_bar(trace)


def _read_with_bar(trace: Trace) -> None:
    with click.progressbar(length=max(1, trace.size_bytes), label="reading", file=sys.stderr) as bar:
        done = 0
        while trace.update(_STEP_S):
            bar.update(trace.read_bytes - done)
            done = trace.read_bytes


def _warn_of_undecided(selection: Selection) -> None:
    if selection.undecided:
        click.echo(
            f"pgtrace: {selection.undecided} round trips are left out: whether the filter holds for them is in bytes no longer kept",
            err=True,
        )


def warn_of_losses(trace: Trace) -> None:
    """What is missing from a capture, on stderr."""
    if trace.torn_bytes:
        click.echo(f"pgtrace: the capture ends in {trace.torn_bytes} bytes of half a block; everything before is complete", err=True)
    if trace.gaps:
        click.echo(f"pgtrace: {trace.gaps} gaps, {trace.dropped_bytes} bytes were not recorded: counts are lower bounds", err=True)
