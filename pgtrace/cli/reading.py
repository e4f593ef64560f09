"""What the reading commands have in common: captures read with a progress bar where that takes long, and losses told on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from pgtrace.analysis.trace import Trace
from pgtrace.cli.imports import Imports
from pgtrace.cli.progress import turns

_STEP_S = 0.2


def read(files: Iterable[Path], *, timeline: bool = True, quiet: bool = False) -> Trace:
    """The captures, read to their present end; what is no capture is imported first. Raises CaptureError."""
    imports = Imports(tuple(files))
    with imports.ending_on_interrupt():
        if len(imports.names) > 1:
            turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
        trace = Trace.open(imports.paths, timeline=timeline, names=imports.names)
        turns(lambda: imports.step() | trace.update(_STEP_S), lambda: _progress(imports, trace), "reading", quiet=quiet)
    imports.tell()
    return trace


def _progress(imports: Imports, trace: Trace) -> float | None:
    if imports.running:
        return imports.progress
    return trace.read_bytes / max(1, trace.size_bytes)


def warn_of_losses(trace: Trace) -> None:
    """What is missing from a capture, on stderr."""
    if trace.torn_bytes:
        click.echo(f"pgtrace: the capture ends in {trace.torn_bytes} bytes of half a block; everything before is complete", err=True)
    if trace.gaps:
        click.echo(f"pgtrace: {trace.gaps} gaps, {trace.dropped_bytes} bytes were not recorded: counts are lower bounds", err=True)
