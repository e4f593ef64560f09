"""Shared by the reading commands: reads captures, with a progress bar if that takes long, and
reports losses on stderr.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pgtrace import behind
from pgtrace.capture.importing import is_capture
from pgtrace.capture.inputs import STDIN
from pgtrace.cli.imports import Imports, ending_on_interrupt, temporary_directory
from pgtrace.cli.options import in_context
from pgtrace.cli.output import print_stderr
from pgtrace.cli.progress import turns
from pgtrace.trace.connections import OPEN_KEPT
from pgtrace.trace.feed import Completed, Feed
from pgtrace.trace.marks import OPEN_KEPT as MARKS_KEPT
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter, Selection
    from pgtrace.ask.filter.rowcounting import RowCounts
    from pgtrace.legs.joins import Joins

_STEP_S = 0.2
_TURN_BYTES = 1024 * 1024
_LOOK_AGAIN_S = 0.1
_BEGINNING_BYTES = 64 * 1024
_JOINED_AT_ONCE_BYTES = 32 * 1024 * 1024
"""The largest captures whose pooler sides are joined before a screen opens."""
AnyTrace = TypeVar("AnyTrace", bound=Trace)


def read(
    files: Iterable[Path], *, timeline: bool = True, statements: bool = True, redact: Collection[str] = (), quiet: bool = False
) -> Trace:
    """Read captures to their current end. Other files are imported first. With `redact`, blanked
    copies are read. Raises CaptureError.
    """
    return read_as(Trace, files, timeline=timeline, statements=statements, redact=redact, quiet=quiet)


def read_as(
    kind: type[AnyTrace],
    files: Iterable[Path],
    *,
    timeline: bool = True,
    statements: bool = True,
    redact: Collection[str] = (),
    quiet: bool = False,
) -> AnyTrace:
    """Like read(), but as a trace of that class. Raises CaptureError."""
    with ending_on_interrupt() as begun:
        imports = Imports(tuple(files), begun)
        if len(imports.names) > 1 or redact:
            turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
        paths = [_redacted(path, redact, quiet=quiet) for path in imports.paths] if redact else imports.paths
        still = paths if redact else imports.captures
        trace = kind.open(paths, timeline=timeline, statements=statements, names=imports.names, still=still)
        turns(lambda: imports.step() | trace.update(_STEP_S), lambda: _progress(imports, trace), "reading", quiet=quiet)
    imports.warn_of_losses()
    return trace


def _redacted(path: str, redact: Collection[str], *, quiet: bool) -> str:
    """A private, blanked copy of a capture, removed when the command ends. Raises CaptureError."""
    from pgtrace.capture.redacted import RedactedCopy

    with closing(RedactedCopy(path, os.path.join(temporary_directory(), "capture"), redact)) as copy:
        turns(copy.step, lambda: copy.done, "redacting", quiet=quiet)
        return copy.path


def read_joined(
    files: Iterable[Path], *, timeline: bool = True, statements: bool = True, quiet: bool = False
) -> tuple[Trace, Joins | None]:
    """Read captures that may have both sides of a pooler. If they do, the server's side is not
    counted a second time, and stderr says so. `--no-join` counts both. Raises CaptureError.
    """
    paths = tuple(files)
    trace = read(paths, timeline=timeline or len(paths) > 1, statements=statements, quiet=quiet)
    if in_context("no_join", False) or (len(paths) < 2 and not trace.has_legs):
        return trace, None
    if not trace.timeline:
        trace = _read_again(trace, trace.once_more(timeline=True), quiet=quiet)
    joins = join(trace, quiet=quiet)
    if joins is None:
        return trace, None
    counted = _read_again(trace, trace.once_more(joins.connections), quiet=quiet)
    joins.use_trace(counted)
    return counted, joins


def _read_again(trace: Trace, again: Trace, *, quiet: bool) -> Trace:
    """Read the same captures again as another trace."""
    turns(lambda: again.update(_STEP_S), lambda: again.read_bytes / max(1, again.size_bytes), "counting", quiet=quiet)
    trace.close()
    return again


def read_with_legs(files: Sequence[Path], *, quiet: bool = False) -> tuple[Trace, Joins | None] | None:
    """Read captures that may have both sides of a pooler, for their rows. Returns None without
    reading for standard input and for a single file with one leg. Raises CaptureError.
    """
    names = [os.fspath(file) for file in files]
    if in_context("no_join", False) or STDIN in names:
        return None
    if len(names) == 1:
        if not is_capture(names[0]):
            return None
        with closing(Trace.open(names, timeline=False, still=names)) as beginning:
            beginning.update(budget_bytes=_BEGINNING_BYTES)
            if not beginning.has_legs:
                return None
    trace = read(files, quiet=quiet)
    return trace, join(trace, quiet=quiet)


def joined_at_once(paths: Sequence[str], names: Sequence[str], *, quiet: bool = False) -> Joins | None:
    """The joins of a pooler's two sides, for a screen that reads these captures itself. None if
    they still grow, or are so large that the screen would have to wait."""
    if in_context("no_join", False) or sum(map(_size, paths)) > _JOINED_AT_ONCE_BYTES:
        return None
    if len(paths) == 1:
        with closing(Trace.open(paths, timeline=False, still=paths)) as beginning:
            beginning.update(budget_bytes=_BEGINNING_BYTES)
            if not beginning.has_legs:
                return None
    with closing(Trace.open(paths, names=names, still=paths)) as trace:
        while trace.update():
            pass
        return join(trace, quiet=quiet) if trace.ended else None


def _size(path: str) -> int:
    if os.path.isdir(path):
        return sum(entry.stat().st_size for entry in os.scandir(path))
    return os.path.getsize(path)


def join(trace: Trace, *, quiet: bool = False) -> Joins | None:
    """The joins of a trace, also reported on stderr; None if no two sides belong together."""
    from pgtrace.legs.joins import find
    from pgtrace.report.joins import lines

    joins = find(trace)
    if joins is not None and not quiet:
        print_stderr(*(f"pgtrace: {line}; --no-join counts both sides" for line in lines(joins)))
    return joins


def select(trace: Trace, chosen: Filter, places: Sequence[int], joins: Joins | None = None) -> Iterator[int]:
    """The places that a filter selects. The number of those that cannot be decided any more is
    reported on stderr. Raises FilterError."""
    selection = chosen.over(trace, joins.connections if joins is not None else None)
    yield from selection.among(places)
    warn_of_undecided(selection)


def count_rows(trace: Trace, chosen: Filter, *, quiet: bool = False) -> RowCounts | None:
    """The totals of the round trips that a filter selects; None if they need a second reading.
    Raises CaptureError, FilterError.
    """
    from pgtrace.ask.filter.rowcounting import RowCounts

    selection = chosen.over(trace)
    counted = RowCounts(selection)
    turns(lambda: counted.update(_STEP_S), lambda: counted.progress, "counting", quiet=quiet)
    if not counted.is_exact:
        return None
    warn_of_undecided(selection)
    return counted


def count(trace: Trace, chosen: Filter, *, quiet: bool = False) -> Trace:
    """Read the same captures again, counting only the round trips that a filter selects. Raises
    CaptureError, FilterError."""
    from pgtrace.ask.filter.counting import CountedTrace

    selection = chosen.over(trace)
    counted = CountedTrace(selection)
    turns(lambda: counted.update(_STEP_S), lambda: counted.read_bytes / max(1, counted.size_bytes), "counting", quiet=quiet)
    warn_of_undecided(selection)
    return counted


def rows(
    files: Iterable[Path], *, follow: bool = False, quiet: bool = False, on_progress: Callable[[float | None], None] = lambda _: None
) -> Iterator[tuple[Trace, Sequence[int]]]:
    """Yield the trace with places of its rows, repeatedly while it is read: for files in their
    order, for standard input each row when it is complete.

    Without `follow` it ends at the end that the files had at the beginning. With `follow` it also
    yields rows that are recorded later, each when it is complete, until the recordings have ended.

    `on_progress` is called with the progress. Raises CaptureError.
    """
    names = [os.fspath(file) for file in files]
    with ending_on_interrupt() as begun:
        imports = Imports(names, begun)
        if len(imports.names) > 1:
            turns(imports.step, lambda: imports.progress, "importing", quiet=quiet)
        trace = Trace.open(imports.paths, names=imports.names, still=() if follow else imports.captures)
        for places in _as_completed(imports, trace, follow=follow) if follow or names == [STDIN] else _in_order(imports, trace):
            on_progress(_progress(imports, trace))
            yield trace, places
    imports.warn_of_losses()


def _in_order(imports: Imports, trace: Trace) -> Iterator[Sequence[int]]:
    """Rows of files, one turn after the turn that completed them, because by then the driver of a
    new connection is usually known.

    Turns are measured in bytes, so the same file gives the same lines.
    """
    from pgtrace.inspect import types

    feed = Feed(trace)
    listed = before = 0
    while imports.step() | trace.update(budget_bytes=_TURN_BYTES):
        types.read_ahead(trace)
        feed.advance()
        first, ready, before = listed, before, feed.seen
        listed = max(listed, min([ready, *feed.open[:1]]))
        yield range(first, listed)
    yield range(listed, len(trace.rows))


def _as_completed(imports: Imports, trace: Trace, *, follow: bool) -> Iterator[Sequence[int]]:
    """Rows of a growing recording; complete rows do not wait for open ones."""
    from pgtrace.inspect import types

    completed = Completed(Feed(trace))
    running = True
    while True:
        grew = trace.update(budget_bytes=_TURN_BYTES)
        types.read_ahead(trace)
        last = not running and not grew
        yield completed.places(with_open=last)
        if last:
            break
        if grew:
            continue
        running = imports.step()  # waits for more data
        if not running and follow and not trace.ended:
            running = True
            time.sleep(_LOOK_AGAIN_S)


def _progress(imports: Imports, trace: Trace) -> float | None:
    if imports.running:
        return imports.progress
    return trace.read_bytes / max(1, trace.size_bytes)


def warn_of_undecided(selection: Selection) -> None:
    if selection.undecided:
        print_stderr(f"pgtrace: {selection.undecided} round trips are left out: deciding the filter needs bytes that are no longer kept")


def is_whole(trace: Trace) -> bool:
    """Whether a capture is complete, so that its counts can be relied on. Reports on stderr what is
    missing.
    """
    if trace.gaps:
        print_stderr(f"pgtrace: {behind.gaps(trace.gaps, trace.dropped_bytes)}")
        return False
    warn_of_losses(trace)
    if trace.complete:
        return True
    why = "the recording has no end" if not trace.torn_bytes else "its end is cut off"
    if trace.is_joined:
        why = "the beginning of a connection is missing"
    print_stderr(f"pgtrace: {behind.INCOMPLETE}: {why}, so counts are lower bounds")
    return False


def print_sizes(trace: Trace) -> None:
    """Print a line for each capture, as `-v` of several commands does."""
    from pgtrace.describe.arguments import counted

    for name, number, counters in trace.file_counters():
        print_stderr(
            f"pgtrace: {name}: {counted(number, 'connection')}, {counted(counters.round_trips, 'round trip')} and "
            f"{counters.setup_round_trips} for set-up, {counted(counters.frontend_bytes + counters.backend_bytes, 'byte')}"
        )


def warn_of_losses(trace: Trace) -> None:
    """Report on stderr what is missing from a capture."""
    if trace.torn_bytes:
        print_stderr(f"pgtrace: {behind.torn(trace.torn_bytes)}")
    if trace.marks.uncounted:
        print_stderr(f"pgtrace: {trace.marks.uncounted} marks are not counted: more than {MARKS_KEPT} were open at once")
    if trace.put_aside:
        print_stderr(
            f"pgtrace: more than {OPEN_KEPT} connections were open at once: those idle longest were continued as after a gap "
            f"({trace.put_aside} times)"
        )
    if trace.times_back:
        records = "1 record says" if trace.times_back == 1 else f"{trace.times_back} records say"
        print_stderr(f"pgtrace: {records} an earlier time than the one before; it is treated as equal, so durations are not exact")
    if trace.gaps:
        print_stderr(f"pgtrace: {trace.gaps} gaps, {trace.dropped_bytes} bytes were not recorded: counts are lower bounds")
