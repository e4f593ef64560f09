"""The pytest plugin: options, fixtures, the marker, and the hooks that put a window around each
test.

pytest imports this module in every run of an environment that has pgtrace, so it imports only
pytest. The first test that uses pgtrace loads the rest: suite.py (the recorder of the process,
windows), handle.py (the fixture), explain.py (what a failure says).

- The recorder starts with the first test that uses one of our fixtures or the marker; with
  `pgtrace_env`, before any conftest is read.
- From then on each test is a mark with its node id as name, whether it uses pgtrace or not:
  `pgtrace stats --by mark` shows the suite test by test.
- The window of a test is its call: fixtures are set up before it and torn down after it.
- With pytest-xdist each worker has a recorder. The controller has none and collects the reports.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pgtrace.testing.handle import TestTrace
    from pgtrace.testing.serving import Serving
    from pgtrace.testing.suite import Settings, Suite

_SUITE = pytest.StashKey["Suite"]()
_TEST = pytest.StashKey["TestTrace"]()
_SERVED = pytest.StashKey["Serving"]()
_WORKER = "PYTEST_XDIST_WORKER"
_MARKER = (
    "pgtrace(*, filter='', exact=False, COUNTER=N): the most that the whole test may cost, in any counter of pgtrace: "
    "round_trips=4, errors=0"
)

_SERVE_MARKER = "pgtrace_serve(name, *, order='strict', any_values=False): a server out of captures/NAME.trace is in PostgreSQL's place"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgtrace", "PostgreSQL round trips (pgtrace)")
    group.addoption(
        "--pgtrace-upstream", metavar="ADDR", help="PostgreSQL: db:5432, a URL, or `embedded`; default: PGHOST ..., else embedded."
    )
    group.addoption("--pgtrace-listen", metavar="LISTEN", help="Where drivers connect: 127.0.0.1:0 for drivers without Unix sockets.")
    group.addoption(
        "--pgtrace-allow-others", action="store_true", help="Serve other users too, although the server will treat them as you."
    )
    group.addoption("--pgtrace-rtt", metavar="DURATION", help="Add network delay, half each way: 20ms.")
    group.addoption(
        "--pgtrace-when-behind",
        choices=["drop", "wait"],
        help="If the disk is too slow: drop what does not fit, or make the traffic wait (the default).",
    )
    group.addoption("--pgtrace-captures", metavar="DIR", help="Keep the captures in this directory. Default: only those of failed tests.")
    group.addoption("--pgtrace-update", action="store_true", help="Rewrite golden captures instead of comparing with them.")
    group.addoption("--pgtrace-no-call-sites", action="store_true", help="Do not note which line of code sends each statement.")
    group.addoption("--pgtrace-costs", action="store_true", help="List the cost of each test (-v does too).")
    parser.addini("pgtrace_upstream", "PostgreSQL, as --pgtrace-upstream.")
    parser.addini("pgtrace_listen", "Where drivers connect, as --pgtrace-listen.")
    parser.addini("pgtrace_rtt", "Network delay to add, as --pgtrace-rtt.")
    parser.addini("pgtrace_when_behind", "drop or wait, as --pgtrace-when-behind.")
    parser.addini("pgtrace_env", "Variables with a connection URL that should point to pgtrace from the start: DATABASE_URL.", type="args")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    if early_config.getini("pgtrace_env") and not _is_controller(early_config):
        # a wrapper runs before every other plugin's: pytest-django reads its settings here
        _suite(early_config)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", _SERVE_MARKER)
    if _is_controller(config):
        config.pluginmanager.register(_Controller(), "pgtrace-controller")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = getattr(item, "fixturenames", None)
        if names is not None and "pgtrace" not in names and any(item.get_closest_marker(name) for name in ("pgtrace", "pgtrace_serve")):
            names.append("pgtrace")


@pytest.fixture(scope="session")
def pgtrace_upstream() -> str | None:
    """Where PostgreSQL is, as in --pgtrace-upstream. Override it if only a fixture knows: for a
    container, or a server that another plugin starts.
    """
    return None


@pytest.fixture
def pgtrace(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The cost of this test on the wire: where to connect (`dsn`), counters so far (`round_trips`),
    windows (`record`, `expect`). With the marker `pgtrace_serve`, a recorded server: `dsn`, `url`,
    `host`, `port`.
    """
    serving = _served(request.node)
    if serving is None:
        _suite_of(request.config, request.getfixturevalue("pgtrace_upstream"))
        yield _test(request.node)
        return
    from pgtrace.errors import PgTraceError

    try:
        serving.start()
    except PgTraceError as error:
        pytest.fail(f"pgtrace: {error}", pytrace=False)
    request.node.stash[_SERVED] = serving
    try:
        yield serving
    finally:
        serving.stop()


@pytest.fixture(scope="session")
def pgtrace_url(request: pytest.FixtureRequest, pgtrace_upstream: str | None) -> str:
    """The connection URL through pgtrace, for engines and pools that live as long as the run."""
    return _suite_of(request.config, pgtrace_upstream).url()


@pytest.fixture(scope="session")
def pgtrace_postgres(request: pytest.FixtureRequest, pgtrace_upstream: str | None) -> Iterator[Any]:
    """The throw-away PostgreSQL, directly and not through pgtrace: `url()`, `environment()`,
    `host`, `port`, `user`, ... If tests use another server, this starts one of its own."""
    from pgtrace.testing.suite import throw_away_server

    suite = _suite_of(request.config, pgtrace_upstream)
    if suite.server is not None:
        yield suite.server
        return
    with throw_away_server() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if _SUITE not in item.config.stash or _SERVED in item.stash:
        return (yield from _against_recording(item))
    test = _test(item)
    test.begin()
    try:
        result = yield
    finally:
        item.user_properties.append(("pgtrace_round_trips", test.end()))
    test.check_markers()
    if (recorded := _recording_of(item)) is not None:
        test.write_recording(test.own_window, recorded.path)
    return result


def _against_recording(item: pytest.Item) -> Generator[None, object, object]:
    """The call of a test without a recorder. A served test fails if its driver sends something
    else, even if the test itself passes.
    """
    try:
        return (yield)
    finally:
        if (serving := item.stash.get(_SERVED, None)) is not None and serving.stop():
            from pgtrace.sanitise import lines

            pytest.fail(lines(serving.lines()), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    test = item.stash.get(_TEST, None)
    if test is None or test.window is None:
        return report
    if report.when == "call":
        if report.failed and (text := test.explanation()):
            report.sections.append(("pgtrace", text))
        report.pgtrace = test.as_dict()  # type: ignore[attr-defined]
    elif report.when == "teardown":
        test.finish()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind) if hasattr(report, "pgtrace")]
    if not reports:
        return
    from pgtrace.testing.summary import summary_lines

    verbose = config.getoption("pgtrace_costs") or terminalreporter.verbosity > 0
    lines = summary_lines([(report.nodeid, report.pgtrace) for report in reports], costs=verbose, kept=config.getoption("pgtrace_captures"))
    if lines:
        terminalreporter.section("pgtrace")
        for line in lines:
            terminalreporter.line(line)


def _recording_of(item: pytest.Item) -> Serving | None:
    """The recording that the marker names."""
    marker = item.get_closest_marker("pgtrace_serve")
    if marker is None:
        return None
    from pgtrace.errors import PgTraceError
    from pgtrace.testing.serving import Serving as Process
    from pgtrace.testing.serving import path_of

    try:
        if len(marker.args) != 1 or not isinstance(marker.args[0], str):
            raise TypeError('it has one name: @pytest.mark.pgtrace_serve("checkout.trace")')
        return Process(path_of(item.path, marker.args[0]), dict(marker.kwargs))
    except (PgTraceError, TypeError) as error:
        pytest.fail(f"pgtrace: {error}", pytrace=False)


def _served(item: pytest.Item) -> Serving | None:
    """The recorded server of a test. None if it has none, or if its recording is to be written."""
    serving = _recording_of(item)
    if serving is None or item.config.known_args_namespace.pgtrace_update:
        return None
    from pgtrace.testing.handle import in_ci

    return serving if serving.path.exists() or in_ci() else None


class _Controller:
    """In the controller process of pytest-xdist: checks the labels of all workers. Each worker
    itself refuses a label that another of its tests has used.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._shared: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for label in getattr(report, "pgtrace", {}).get("labels", ()):
            owner = self._owners.setdefault(label, report.nodeid)
            if owner != report.nodeid:
                self._shared.setdefault(label, [owner]).append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._shared and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for label, tests in self._shared.items():
            terminalreporter.line(f"pgtrace: ERROR: the label {label!r} is used by several tests: {', '.join(tests)}", red=True)


def _is_controller(config: pytest.Config) -> bool:
    """Whether this is the controller of pytest-xdist; its workers get the same arguments."""
    options = config.known_args_namespace
    spreads = getattr(options, "numprocesses", None) or getattr(options, "tx", None) or getattr(options, "dist", "no") != "no"
    return bool(spreads) and _WORKER not in os.environ


def _suite(config: pytest.Config, upstream: str | None = None) -> Suite:
    """The recorder of this process, started when first needed. `upstream` comes from a fixture; the
    command line and the configuration take precedence.
    """
    suite = config.stash.get(_SUITE, None)
    if suite is not None and upstream is not None and suite.settings.upstream is None:
        raise pytest.UsageError("pgtrace: the fixture pgtrace_upstream comes too late: with pgtrace_env the recorder has started before it")
    if suite is None:
        from pgtrace.errors import PgTraceError
        from pgtrace.testing.suite import Suite as Started

        try:
            suite = config.stash[_SUITE] = Started(_settings(config, upstream))
        except PgTraceError as error:
            raise pytest.UsageError(f"pgtrace: {error}") from None
        # pytest_unconfigure is not called if another plugin's raises
        config.add_cleanup(suite.stop)
    return suite


def _suite_of(config: pytest.Config, upstream: str | None) -> Suite:
    """Like _suite(), for a fixture: an error is one line, without the source of this module."""
    try:
        return _suite(config, upstream)
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)


def _settings(config: pytest.Config, upstream: str | None) -> Settings:
    """The options and the configuration. They are kept in no other variable, because a traceback
    with locals would show passwords.
    """
    from pgtrace.testing.suite import Settings as Said

    options = config.known_args_namespace
    return Said(
        upstream=options.pgtrace_upstream or config.getini("pgtrace_upstream") or upstream,
        when_behind=options.pgtrace_when_behind or config.getini("pgtrace_when_behind") or "wait",
        rtt=options.pgtrace_rtt or config.getini("pgtrace_rtt") or None,
        env=tuple(config.getini("pgtrace_env")),
        captures=Path(options.pgtrace_captures).absolute() if options.pgtrace_captures else None,
        update=options.pgtrace_update,
        call_sites=not options.pgtrace_no_call_sites,
        worker=os.environ.get(_WORKER, ""),
        listen=options.pgtrace_listen or config.getini("pgtrace_listen") or None,
        allow_others=options.pgtrace_allow_others,
    )


def _test(item: pytest.Item) -> TestTrace:
    """The TestTrace of a test."""
    test = item.stash.get(_TEST, None)
    if test is None:
        from pgtrace.testing.handle import TestTrace as Handle

        test = item.stash[_TEST] = Handle(_suite(item.config), item.nodeid, item.path)
        if wrong := test.take_markers(item.iter_markers("pgtrace")):
            pytest.fail(f"pgtrace: {wrong}", pytrace=False)
    return test
