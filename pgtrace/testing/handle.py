"""The interface for tests: the `pgtrace` fixture, and the recording of a `record` block.

The fixture is the window of the test itself: from the first line of the test function to its last
(setUp and tearDown of a TestCase included, fixtures not). record() and expect() are windows within
it, or within a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgtrace import behind, sanitise
from pgtrace.ask import filter as filters
from pgtrace.ask.budgets import Budget, check_counter
from pgtrace.errors import PgTraceError, UsageError
from pgtrace.inspect import details
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.testing import explain, golden, serving
from pgtrace.testing.counted import Counted, Statement, find_statement
from pgtrace.testing.rendering import summary
from pgtrace.testing.selected import Selected
from pgtrace.testing.suite import LiveWindow, Suite, costs
from pgtrace.trace.counters import Counters

NOT_QUIET = "the traffic did not stop within 1 s: counts are as of now"
SAW_NOTHING = (
    "no connection went through pgtrace: make the code under test connect to pgtrace.dsn (or set pgtrace_env, see docs/testing.md)"
)


def budgets_of(limits: Mapping[str, Any], exact: Any, where: str) -> list[Budget]:
    """Budgets as written in Python: round_trips=4. Raises UsageError."""
    if not isinstance(exact, bool):
        raise UsageError(f"{where}: exact={exact!r}: True or False")
    for counter, limit in limits.items():
        check_counter(counter, "capture", where)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise UsageError(f"{where}: {counter}={limit!r}: a whole number, 0 or more")
    return [Budget(counter, limit, exact, where=where) for counter, limit in limits.items()]


def in_ci() -> bool:
    """Whether this runs in CI, where new files would be lost."""
    return any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "GITHUB_ACTIONS"))


class Recording(LiveWindow):
    """The counters, statements and round trips of a `record` block. They stay available after the
    block.
    """

    test: TestTrace

    def assert_matches(self, name: str | None = None) -> None:
        """Fail if the behaviour differs from the golden capture `captures/NAME.trace` beside the
        test. Without a name, the label is used.

        A golden that does not exist yet is written. With --pgtrace-update, so is one that differs.
        In CI nothing is written.
        """
        __tracebackhide__ = True
        self.test.compare(self, name or self.name)


class TestTrace(Counted):
    """The `pgtrace` fixture: where to connect, and the cost of this test so far."""

    __test__ = False

    def __init__(self, suite: Suite, test: str, path: Path) -> None:
        self.suite = suite
        self.test = test
        """The node id of the test."""
        self.path = path
        """The file of the test."""
        self.window: LiveWindow | None = None
        """The test's own window, once its function runs."""
        self.windows: list[LiveWindow] = []
        self.labels: list[str] = []
        """The labels of its record() blocks."""
        self.budgets: dict[str, list[Budget]] = {}
        """Filter of a marker -> its budgets; the empty filter selects everything."""
        self.written: list[str] = []
        """Goldens that it has written."""
        self.explained = False
        """Whether its failure has already shown the round trips."""

    def __repr__(self) -> str:
        return f"<pgtrace of {self.test}: {summary(self._window.counters) if self.window is not None else 'not begun'}>"

    # What the hooks call.

    def take_markers(self, markers: Iterable[pytest.Mark]) -> str:
        """Take the budgets of markers, closest first; for each counter the closest marker counts.
        Returns an error message, or an empty string.
        """
        seen: set[tuple[str, str]] = set()
        for marker in markers:
            if marker.args:
                return "a budget names its counters: @pytest.mark.pgtrace(round_trips=4)"
            about = marker.kwargs.get("filter", "")
            limits = {key: limit for key, limit in marker.kwargs.items() if (about, key) not in seen and key not in ("exact", "filter")}
            try:
                filters.parse(about)
                self.budgets.setdefault(about, []).extend(budgets_of(limits, marker.kwargs.get("exact", False), "@pytest.mark.pgtrace"))
            except UsageError as error:
                return str(error)
            seen.update((about, key) for key in limits)
        return ""

    def begin(self) -> None:
        """Begin the test's own window."""
        self.explained = False
        self.window = self.suite.begin(self.test, LiveWindow)

    def end(self) -> int:
        """End the test's own window. Returns its round trips."""
        self.suite.end(self._window)
        return self._window.round_trips

    def check_markers(self) -> None:
        """Fail if the test exceeds the budgets of its markers."""
        for about, budgets in self.budgets.items():
            self.check(self._window, budgets, about)

    # Where to connect.

    @property
    def host(self) -> str:
        """Where the recorder listens: 127.0.0.1, or the directory of a socket."""
        return self.suite.recorder.host

    @property
    def port(self) -> int:
        """The recorder's port."""
        return self.suite.recorder.port

    @property
    def dsn(self) -> str:
        """The connection URL: postgresql://user:password@127.0.0.1:port/database."""
        return self.suite.url()

    def url(self, *, scheme: str | None = None, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
        """The connection URL with some of its parts replaced: url(scheme="postgresql+psycopg")."""
        return self.suite.url(scheme=scheme, user=user, password=password, database=database)

    # What it cost.

    @property
    def counters(self) -> Counters:
        """The counters of this test so far."""
        return self._window.counters

    @property
    def statements(self) -> list[Statement]:
        """The statements of this test so far, most round trips first."""
        return self._window.statements

    def statement(self, sql: str, *, driver: str | None = None) -> Statement:
        """The only statement with that SQL, with `...` for any text. Raises NoSuchStatement if none
        or several match.
        """
        return find_statement(self.statements, sql, driver)

    def where(self, text: str) -> Selected:
        """The round trips of this test so far that a filter selects: where("driver:asyncpg and
        error"). Raises FilterError.
        """
        return self._window.where(text)

    def show(self) -> Shown:
        """The round trips so far in flight notation."""
        return self._window.show()

    @contextmanager
    def record(self, label: str) -> Iterator[Recording]:
        """A window around a block, under its own name. Its numbers stay, and can be compared with a
        golden capture. If something in it could not be recorded, the test fails at its end."""
        owner = self.suite.claim(label, self.test)
        if owner != self.test:
            pytest.fail(f"pgtrace: the label {label!r} is used by two tests, {owner} and {self.test}: rename one of them", pytrace=False)
        self.labels.append(label)
        with self.suite.window(label, Recording) as window:
            window.test = self
            self.windows.append(window)
            yield window
        self._must_be_whole(window)

    @contextmanager
    def serve(self, name: str, **options: Any) -> Iterator[serving.Serving | TestTrace]:
        """A recorded server around a block: connect to its `dsn`. The block needs no PostgreSQL,
        but this fixture does; with the marker `pgtrace_serve` nothing needs it. With
        --pgtrace-update, or if there is no recording yet, the block runs against PostgreSQL and
        becomes the recording. Fails if a driver sends something else.

        `options` are those of `pgtrace serve`: order="any", any_values=True, timing="real". Raises
        UsageError, CaptureError.
        """
        served = serving.Serving(serving.path_of(self.path, name), options)
        if self.suite.settings.update or not (served.path.exists() or in_ci()):
            with self.record(f"serve {name}") as window:
                yield self
            self.write_recording(window, served.path)
            return
        try:
            with served:
                yield served
        finally:
            if served.mismatches:
                pytest.fail(sanitise.lines(served.lines()), pytrace=False)

    def write_recording(self, window: LiveWindow, path: Path) -> None:
        """Write what passed in a window as a recording to serve."""
        serving.record(window, path)
        self.written.append(_shown(path))

    @contextmanager
    def expect(self, *, filter: str = "", exact: bool = False, **limits: int) -> Iterator[LiveWindow]:
        """A budget on a block: expect(round_trips=4). At most that many; with `exact` exactly that
        many; only of what `filter` selects.

        Raises UsageError, FilterError.
        """
        budgets = budgets_of(limits, exact, "expect")
        filters.parse(filter)
        with self.suite.window(f"{self.test} window {len(self.windows) + 1}", LiveWindow) as window:
            self.windows.append(window)
            yield window
        self.check(window, budgets, filter)

    def check(self, window: LiveWindow, budgets: Sequence[Budget], about: str = "") -> None:
        """Fail if a window, or what a filter selects of it, exceeds its budgets."""
        if self.suite.saw_nothing and any(budget.limit for budget in budgets):
            pytest.fail(f"pgtrace: {SAW_NOTHING}", pytrace=False)
        self._must_be_whole(window)
        counted = window.where(about) if about else window
        broken = explain.exceeded(counted.counters, budgets)
        if broken:
            self.fail(explain.over_budget(window, counted, broken), window)

    def compare(self, window: LiveWindow, name: str) -> None:
        """Fail if a window does not behave like its golden."""
        self._must_be_whole(window)
        try:
            path, lines = self._compared(window, name)
        except (PgTraceError, details.NotKept) as error:
            path, lines = Path(name), [str(error) or details.NOT_KEPT]
        if lines:
            again = f"if this is intended: run pytest --pgtrace-update, review the change to {path.name} and commit it"
            self.fail([f"pgtrace: {name} differs from {_shown(path)}", *lines, "", *explain.passed(window), "", again], window)

    def _compared(self, window: LiveWindow, name: str) -> tuple[Path, list[str]]:
        """The golden and the differences now. Writes the golden if that is wanted."""
        path = golden.path_of(self.path, name)
        owner = self.suite.claim(os.fspath(path), self.test)
        if owner != self.test:
            return path, [f"it is also the golden of {owner}: one of the two tests needs another"]
        text, update = golden.text_of(window, self.path.parent), self.suite.settings.update
        if not path.exists() and in_ci() and not update:
            return path, ["it does not exist: run the test once on your machine, review what it wrote, and commit it"]
        lines = golden.differences(path, text) if path.exists() else []
        if not path.exists() or (lines and update):
            golden.write(path, text)
            self.written.append(_shown(path))
            return path, []
        return path, lines

    def fail(self, lines: list[str], window: LiveWindow) -> None:
        """Fail with that text and a pointer to the capture."""
        self.explained = True
        pytest.fail(sanitise.lines([*lines, "", *self._pointer(window)]), pytrace=False)

    def _must_be_whole(self, window: LiveWindow) -> None:
        """Fail if something of a window was not recorded: the counts would be too low."""
        if window.lost:
            lost = behind.losses(self.suite.recorder.stats(), self.suite.recorder.when_behind)
            self.fail([f"pgtrace: {lost or behind.INCOMPLETE}"], window)

    def explanation(self) -> Shown:
        """The round trips of a test that failed for another reason; empty if nothing passed, or if
        it has been said.
        """
        if self.explained or not self._window.connections:
            return EMPTY
        self.explained = True
        return sanitise.lines([*explain.passed(self._window), "", *self._pointer(self._window)])

    def as_dict(self) -> dict[str, Any]:
        """The contents of its report: plain values, which pass between processes."""
        return {
            "costs": costs(self.counters),
            "labels": self.labels,
            "written": self.written,
            "capture": str(self.suite.capture) if self.explained else "",
        }

    def _pointer(self, window: LiveWindow) -> list[str]:
        """A pointer to the capture, which is kept from here on."""
        self.suite.keep = True
        lines = [] if window.complete else [NOT_QUIET]
        return [*lines, f"pgtrace open {self.suite.capture}   (mark {window.name})"]

    def finish(self) -> None:
        """Drop what only this test needs."""
        for window in [*self.windows, *([self.window] if self.window is not None else [])]:
            if (mark := window.interval) is not None:
                mark.forget_statements()

    @property
    def own_window(self) -> LiveWindow:
        """The test's own window. Raises UsageError before its function runs."""
        return self._window

    @property
    def _window(self) -> LiveWindow:
        if self.window is None:
            raise UsageError(
                "a fixture has no counts of its own, because a test's window begins with its function: use record() or expect()"
            )
        return self.window


def _shown(path: Path) -> str:
    return os.path.relpath(path)
