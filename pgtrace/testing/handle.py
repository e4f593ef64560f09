"""What a test holds in its hands: the `pgtrace` fixture, and the trace of a `record` block.

The fixture is the window of the test itself: from the first line of the test function to its last (setUp and tearDown of a TestCase included, fixtures
not). record() and expect() are windows within it, or within a fixture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgtrace.analysis.counters import Counters
from pgtrace.errors import UsageError
from pgtrace.testing import explain
from pgtrace.testing.budget import Budget
from pgtrace.testing.counted import Counted, Statement, find_statement
from pgtrace.testing.suite import LiveWindow, Suite, costs
from pgtrace.testing.window import summary

NOT_QUIET = "the wire was not quiet after 1 s: counted as it is"
SAW_NOTHING = (
    "no connection came through pgtrace: the code under test has to connect to pgtrace.dsn (or set pgtrace_env, see docs/testing.md)"
)


class Recording(LiveWindow):
    """What a `record` block costs: its counters, statements and round trips. They stay after the block."""


class TestTrace(Counted):
    """The `pgtrace` fixture: where to connect, and what this test has cost so far."""

    __test__ = False

    def __init__(self, suite: Suite, test: str, path: Path) -> None:
        self.suite = suite
        self.test = test
        """The node id."""
        self.path = path
        """The file of the test."""
        self.window: LiveWindow | None = None
        """The test's own window, once its function runs."""
        self.windows: list[LiveWindow] = []
        self.labels: list[str] = []
        """Of its record() blocks."""
        self.budgets: list[Budget] = []
        """Those of its markers."""
        self.explained = False
        """Whether its failure has said what passed already."""

    def __repr__(self) -> str:
        return f"<pgtrace of {self.test}: {summary(self._window.counters) if self.window is not None else 'not begun'}>"

    # What the hooks call.

    def take_markers(self, markers: Iterable[pytest.Mark]) -> str:
        """Take the budgets of markers, the closest first: of one counter the closest counts. What is wrong with them, or nothing."""
        seen: set[str] = set()
        for marker in markers:
            if marker.args:
                return "a budget names its counters: @pytest.mark.pgtrace(round_trips=4)"
            limits = {key: limit for key, limit in marker.kwargs.items() if key not in seen and key != "exact"}
            try:
                self.budgets.append(Budget.of(limits, marker.kwargs.get("exact", False)))
            except UsageError as error:
                return str(error)
            seen.update(limits)
        return ""

    def begin(self) -> None:
        """The test's own window begins."""
        self.window = self.suite.begin(self.test, LiveWindow)

    def end(self) -> int:
        """The test's own window ends; its round trips."""
        self.suite.end(self._window)
        return self._window.round_trips

    def check_markers(self) -> None:
        """Fail where the test is not within the budgets of its markers."""
        self.check(self._window, *self.budgets)

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
        """The connection URL with some of its parts set: url(scheme="postgresql+psycopg")."""
        return self.suite.url(scheme=scheme, user=user, password=password, database=database)

    # What it cost.

    @property
    def counters(self) -> Counters:
        """The counters of this test so far."""
        return self._window.counters

    @property
    def statements(self) -> list[Statement]:
        """What this test has run so far, most round trips first."""
        return self._window.statements

    def statement(self, sql: str, *, driver: str | None = None) -> Statement:
        """The one statement with that SQL, `...` for whatever stands there. Raises NoSuchStatement."""
        return find_statement(self.statements, sql, driver)

    def show(self) -> str:
        """The round trips so far in flight notation."""
        return self._window.show()

    @contextmanager
    def record(self, label: str) -> Iterator[Recording]:
        """A window around a block, under a name of its own: its numbers stay, and can be compared with a golden capture."""
        owner = self.suite.claim(label, self.test)
        if owner != self.test:
            pytest.fail(
                f"pgtrace: the label {label!r} is used by two tests, {owner} and {self.test}: one of them needs another", pytrace=False
            )
        self.labels.append(label)
        with self.suite.window(label, Recording) as window:
            self.windows.append(window)
            yield window

    @contextmanager
    def expect(self, *, exact: bool = False, **limits: int) -> Iterator[LiveWindow]:
        """A budget on a block: expect(round_trips=4). At most that many; with `exact` neither more nor less."""
        budget = Budget.of(limits, exact)
        with self.suite.window(f"{self.test} window {len(self.windows) + 1}", LiveWindow) as window:
            self.windows.append(window)
            yield window
        self.check(window, budget)

    def check(self, window: LiveWindow, *budgets: Budget) -> None:
        """Fail where a window is not within its budgets."""
        if self.suite.saw_nothing and any(budget.limits and any(budget.limits.values()) for budget in budgets):
            pytest.fail(f"pgtrace: {SAW_NOTHING}", pytrace=False)
        exceeded = [excess for budget in budgets for excess in budget.check(window.counters)]
        if exceeded:
            self.fail([*explain.over_budget(window, exceeded)], window)

    def fail(self, lines: list[str], window: LiveWindow) -> None:
        """Fail with that text and where to look closer."""
        self.explained = True
        pytest.fail("\n".join([*lines, "", *self._pointer(window)]), pytrace=False)

    def explanation(self) -> str:
        """What passed in the test, for one that failed for a reason of its own."""
        return "\n".join([*explain.passed(self._window), "", *self._pointer(self._window)])

    def told(self, *, failed: bool) -> dict[str, Any]:
        """What its report carries: plain values, which pass between processes."""
        return {"costs": costs(self.counters), "labels": self.labels, "capture": str(self.suite.capture) if failed else ""}

    def _pointer(self, window: LiveWindow) -> list[str]:
        """Where to look closer; the capture stays from here on."""
        self.suite.keep = True
        lines = [] if window.complete else [NOT_QUIET]
        return [*lines, f"pgtrace open {self.suite.capture}   (mark {window.name})"]

    def finish(self) -> None:
        """Let go of what only this test needs."""
        for window in [*self.windows, *([self.window] if self.window is not None else [])]:
            if (mark := window.interval) is not None:
                mark.forget_statements()

    @property
    def _window(self) -> LiveWindow:
        if self.window is None:
            raise UsageError(
                "a fixture has no numbers of its own: the window of a test begins with its function (use record() or expect())"
            )
        return self.window
