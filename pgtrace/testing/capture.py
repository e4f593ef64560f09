"""Captures as Python objects.

    with Capture("checkout.pgtrace") as capture:
        capture.round_trips
        capture.statement("SELECT ... $1").parses
        capture.mark("checkout").round_trips
        print(capture)

Several files are read as one. A file may be anything that the reading commands accept: a capture, a
directory of segments, a pcap or a golden. The latter two are first imported into a private
temporary capture, and packet files that are pieces of one recording become one. A capture may still
be growing: update() reads what has been written since.

The statements of a mark are counted in a second reading, when you ask for the mark, because a
reader does not keep statements for every mark.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pgtrace import sanitise
from pgtrace.capture.importing import Import, is_capture
from pgtrace.capture.pieces import recordings
from pgtrace.errors import AnyPath, UsageError
from pgtrace.inspect import types
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.parameters import DEFAULT_PORT
from pgtrace.report import stats
from pgtrace.sanitise import Shown
from pgtrace.temporary import PrivateDirectory
from pgtrace.testing.counted import Counted, Statement, find_statement
from pgtrace.testing.rendering import as_html, flight_lines, summary
from pgtrace.testing.selected import Selected
from pgtrace.testing.window import Window
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.row import Row
from pgtrace.trace.trace import Trace


class NoSuchMark(UsageError, LookupError):
    """The capture has no mark with that name. The message lists its marks."""

    def __init__(self, name: str, there: Iterable[str]) -> None:
        names = ", ".join(map(repr, there))
        super().__init__(f"no mark {name!r}; {f'the marks are {names}' if names else 'there are no marks'}")
        self.name = name


class Capture(Counted):
    """One or several captures that have been read; a context manager that closes them."""

    def __init__(self, *paths: AnyPath, ports: Iterable[int] = (DEFAULT_PORT,), keylog: AnyPath | None = None) -> None:
        """Read the files as they are now. `ports` are servers' ports, to include connections in a
        pcap that began before it. `keylog` is a file of TLS secrets for packets (SSLKEYLOGFILE).
        Raises CaptureError, MissingExtra.
        """
        if not paths:
            raise UsageError("Capture() needs a path: Capture('checkout.pgtrace')")
        self._opened = ExitStack()
        files = recordings([os.fspath(path) for path in paths])
        self._names = [name for name, *_ in files]
        secrets = os.fspath(keylog) if keylog is not None else None
        with ExitStack() as opened:
            self._paths = [_readable(name, beside, frozenset(ports), secrets, opened) for name, *beside in files]
            self.trace = self._trace()
            self._advice = Advice(self.trace)
            opened.callback(self.trace.close)
            self._opened = opened.pop_all()
        self.update()

    def update(self) -> bool:
        """Read what has been written since. Returns whether there was anything new."""
        changed = self.trace.update()
        while self.trace.update():
            pass
        types.read_ahead(self.trace)
        return changed

    def read_until(self, position: int) -> None:
        """Read on until that position of the capture, for Recorder.quiet()."""
        self.trace.read_until(position)

    @property
    def quiet(self) -> bool:
        """Whether no connection was owed a reply at the point read so far."""
        return self.trace.quiet

    @property
    def counters(self) -> Counters:
        return self.trace.totals()

    @property
    def connections(self) -> list[Connection]:
        """Every connection: `driver`, `user`, `database`, `application_name`, ..."""
        for connection in self.trace.connections:
            connection.refresh()
        return list(self.trace.connections)

    @property
    def drivers(self) -> dict[str, Counters]:
        """Counters by driver, most round trips first."""
        return {driver: counters for driver, _, counters in self.trace.drivers()}

    @property
    def statements(self) -> list[Statement]:
        """The statements that ran, most round trips first."""
        return list(map(Statement.of, self.trace.statements()))

    def statement(self, sql: str, *, driver: str | None = None) -> Statement:
        """The only statement with that SQL, in any layout, with any values, or with `...` for any
        text. Raises NoSuchStatement if none or several match.
        """
        return find_statement(self.statements, sql, driver)

    @property
    def marks(self) -> dict[str, Counters]:
        """Counters by mark, in the order in which the marks ended."""
        return mark_counters(self.trace)

    def mark(self, name: str) -> Window:
        """The traffic while the marks with that name were open. Raises NoSuchMark."""
        if not self.trace.marks.intervals(name):
            raise NoSuchMark(name, self.marks)
        again = self._trace()
        self._opened.callback(again.close)
        again.marks.watched.add(name)
        while again.update():
            pass
        return Window(again, name)

    def where(self, text: str) -> Selected:
        """The round trips that a filter selects: where("driver:asyncpg and error"). Raises
        FilterError.
        """
        return Selected(self.trace, text, range(len(self.trace.rows)))

    @property
    def timeline(self) -> list[Row]:
        """Every row: the round trips, and everything else that happened."""
        return list(self.trace.rows)

    @property
    def findings(self) -> list[Finding]:
        """The findings (`name`, `driver`, `cost`, `what`, `evidence`, `remedies`): failures first,
        then by cost.
        """
        self._advice.update()
        return self._advice.findings()

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: the recordings are finished, read to their end, and without
        gaps.
        """
        return self.trace.complete

    def show(self) -> Shown:
        """The round trips in flight notation, one per line."""
        return sanitise.lines(flight_lines(self.trace, self.timeline))

    def json(self) -> dict[str, Any]:
        """The object of `stats --json`."""
        return stats.as_dict(self.trace)

    def close(self) -> None:
        """Close the files and remove what was imported. Closing twice is fine."""
        self._opened.close()

    def _trace(self) -> Trace:
        return Trace.open(self._paths, names=self._names)

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<Capture {', '.join(self._names)}: {summary(self.counters)}>"

    def _repr_html_(self) -> str:
        """The HTML that notebooks show."""
        return as_html(self._names, self.counters, self.drivers, self.findings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _readable(name: str, beside: list[str], ports: frozenset[int], keylog: str | None, opened: ExitStack) -> str:
    """The path of the capture, imported if the file is not one."""
    if is_capture(name):
        return name
    directory = opened.enter_context(PrivateDirectory())
    path = os.path.join(directory, "capture")
    with Import(name, path, named=ports, beside=beside, keylog=keylog) as one:
        while one.step():
            pass
    return path
