"""The handle on a recorder: starts the process, sends it requests over its pipes, ends it.

    with Recorder(upstream="db:5432", write="checkout.pgtrace") as recorder:
        with recorder.mark("checkout"):
            check_out(recorder.url(user="shop", database="shop"))
    Capture("checkout.pgtrace").mark("checkout").round_trips

The process is pgtrace/proxy. This module imports nothing of it; control.py starts it and talks to
it. If our own process dies without stop(), the recorder continues until its last session has ended,
and cleans up after itself.

You can call the methods from any thread. Requests raise RecorderError if the process is gone or
does not answer. Without `write` the capture is temporary, in a directory that only this user can
enter, and stop() removes it.

Without `listen` the recorder uses any free port of 127.0.0.1. If the server learns this user's
identity (over a Unix socket, or from a client certificate), anyone who connects would be taken for
this user. Then it listens on a socket in a directory that only this user can enter (exposure.py).
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self, TypedDict

from pgtrace import callsites, conninfo, marking, variant
from pgtrace.address import (
    DEFAULT_LISTEN_PORT,
    Leg,
    Listen,
    Upstream,
    parse_listen,
    parse_upstream,
    socket_path,
)
from pgtrace.behind import DROP, WAIT, WORDS
from pgtrace.certificates import KEY_FILE, DriverTls, issue
from pgtrace.control import ANSWER_S, Control
from pgtrace.durations import duration_ns
from pgtrace.environment import redirected_url, with_parts
from pgtrace.errors import AddressError, AnyPath, OutputExists, RecorderError, UsageError
from pgtrace.exposure import Served, check_legs, exposure, named_identity
from pgtrace.faults import Rule
from pgtrace.last import CAPTURE
from pgtrace.temporary import PrivateDirectory, sweep

STOP_S: Final = 60.0
"""How long a recorder may take to write what it holds. It ends by itself if its disk accepts no
data for a few seconds."""
WAITING_S: Final = 90.0
"""How long an answer may take if traffic waits for the disk: 30 s without a byte, and then the
bytes that wait."""
REDACTIONS: Final = ("params", "rows", "literals", "all")
"""The contents that can be blanked in a capture on request."""
STARTUP_TIMEOUT_S: Final = 60.0
"""How long a driver may take to send a complete start-up: the default of the server's
authentication_timeout."""
SHORTEST_STARTUP_TIMEOUT_S: Final = 1.0
"""The shortest time that is accepted, as in the server."""
DEFAULT_KEEP_BYTES: Final = 1 << 30
"""The most bytes that a temporary capture keeps."""


class Flushed(NamedTuple):
    """Everything that had reached the recorder at `time_ns` is in the capture, up to `position`."""

    position: int
    time_ns: int
    write_error: str | None = None
    """What could not be written since the previous flush: the disk's error, or why a record was
    refused."""


class Recording(TypedDict, total=False):
    """How to record: the arguments of a Recorder that all recording commands have in common."""

    write: AnyPath | None
    keep_bytes: int | None
    rtt_ns: int
    allow_others: bool
    tls: DriverTls
    faults: Sequence[Rule]
    when_behind: str
    redact: Collection[str]
    max_row_bytes: int | None
    startup_timeout_s: float
    label: str | None


class Following(Protocol):
    """The part of a trace that quiet() needs. The trace follows the capture."""

    def read_until(self, position: int) -> object: ...

    @property
    def quiet(self) -> bool: ...


class Recorder:
    """A recorder process; a context manager that starts and stops it."""

    def __init__(
        self,
        listen: Listen | str | None = None,
        upstream: Upstream | str | None = None,
        *,
        write: AnyPath | None = None,
        keep_bytes: int | None = None,
        rtt: str | None = None,
        rtt_ns: int = 0,
        allow_others: bool = False,
        tls: DriverTls = DriverTls(),  # noqa: B008 (frozen)
        faults: Sequence[Rule] = (),
        dial_first: bool = False,
        when_behind: str = DROP,
        redact: Collection[str] = (),
        max_row_bytes: int | None = None,
        startup_timeout_s: float = STARTUP_TIMEOUT_S,
        url: str | None = None,
        directory: PrivateDirectory | None = None,
        call_sites: bool = False,
        marks: bool = False,
        takes_marks: bool = False,
        label: str | None = None,
        more_legs: Sequence[Leg] = (),
    ) -> None:
        """Nothing is started yet. `listen` and `upstream` are LISTEN and UPSTREAM as on the command
        line; without `upstream`, libpq's variables count.

        - `keep_bytes` makes the capture a directory of segments of that total size; a temporary
          capture always is one.
        - `rtt` is a duration as on the command line ("20ms"), `rtt_ns` the same as a number.
        - `faults` are rules from faults.parse().
        - `dial_first` connects to the upstream before a driver is answered, and resets the driver
          if that fails.
        - `when_behind` decides what happens if the capture's disk is too slow. "drop": traffic
          never waits, and records that do not fit become a counted gap. "wait": traffic waits, as
          long as the disk accepts data.
        - `redact` has words of REDACTIONS: what to blank in the capture besides the protocol's own
          secrets.
        - With `max_row_bytes`, the rows of each execution beyond that size are left out of the
          capture.
        - A driver that has not sent a complete start-up after `startup_timeout_s` is closed.
        - url() repeats the user, password and database of `url`; without it those of `upstream`, or
          otherwise those of libpq's variables.
        - `directory` is where a temporary capture is made; stop() removes it.
        - With `call_sites`, the capture has the lines of code that a Python program notes, if it
          runs with call_site_variables().
        - With `marks`, the capture has the marks that a program itself sets, under the same
          variables.
        - With `takes_marks`, other processes of this user may set marks (`pgtrace mark`).
        - `label` names the variant that is captured.
        - `more_legs` are further listeners with their upstreams, recorded in the same capture on
          the same clock: the other side of a pooler. `rtt`, `tls` and `faults` are for all legs.

        Raises AddressError and UsageError.
        """
        if unknown := [word for word in redact if word not in REDACTIONS] if not isinstance(redact, str) else [redact]:
            raise UsageError(f"{unknown[0]!r} cannot be redacted: give a list of {', '.join(REDACTIONS)}")
        if startup_timeout_s < SHORTEST_STARTUP_TIMEOUT_S:
            raise UsageError(
                f"a start-up timeout of {startup_timeout_s:g} s is too short: at least {SHORTEST_STARTUP_TIMEOUT_S:g}s, with its unit"
            )
        self.redact = tuple(redact)
        self.label = variant.checked(label) if label is not None else None
        self.startup_timeout_s = startup_timeout_s
        self.max_row_bytes = max_row_bytes
        self.upstream = upstream if isinstance(upstream, Upstream) else parse_upstream(upstream, os.environ)
        typed = conninfo.as_url(upstream, conninfo.read(upstream)) if isinstance(upstream, str) else None
        self._url = url or typed or _environment_url()
        self.listen = listen if isinstance(listen, Listen) else parse_listen(listen or "127.0.0.1:0")
        self._wants_socket = listen is None and not allow_others and bool(named_identity(self.upstream))
        self.rtt_ns = duration_ns(rtt) if rtt is not None else rtt_ns
        self.allow_others = allow_others
        self.served = [Served.ALL]
        """Which connections each leg serves, once the recorder has been started."""
        self.tls = tls
        self.faults = tuple(faults)
        self.dial_first = dial_first
        if when_behind not in WORDS:
            raise UsageError(f"when_behind={when_behind!r}: {' or '.join(WORDS)}")
        self.when_behind = when_behind
        self._answer_s = WAITING_S if when_behind == WAIT else ANSWER_S
        self.authority: Path | None = None
        """The certificate that a driver has to trust (sslrootcert), if one was made for the
        listener."""
        self.addresses: list[str] = []
        """Where it listens: "127.0.0.1:6433", "[::1]:6433", "unix:/dir/.s.PGSQL.6433"; with several
        legs, where the first one does."""
        self.addresses_of_legs: list[list[str]] = []
        """The addresses of each leg."""
        self.port = self.listen.port
        self.fits: int | None = None
        """How many connections fit, given how many files the recorder may open; None if nothing
        limits them."""
        self._more_legs = tuple(more_legs)
        self._write = Path(write) if write is not None else None
        self._keep_bytes = keep_bytes if write is not None else keep_bytes or DEFAULT_KEEP_BYTES
        self._temporary = directory
        self._wants_call_sites = call_sites
        self._wants_marks = marks
        self._takes_marks = takes_marks
        self._marks: PrivateDirectory | None = None
        self._call_sites: PrivateDirectory | None = None
        self._certificates: PrivateDirectory | None = None
        self._socket_directory: PrivateDirectory | None = None
        self._capture = self._write
        self._control: Control | None = None

    def start(self) -> None:
        """Start the process and wait until it listens.

        Raises AddressError (a listener that lends this user's identity to others, an upstream that
        is the listener), ListenError, OutputExists, CaptureError, RecorderError.
        """
        if self._wants_socket:
            self._socket_directory = PrivateDirectory(holds=socket_path("", DEFAULT_LISTEN_PORT))
            self.listen = Listen((), DEFAULT_LISTEN_PORT, self._socket_directory.path)
        try:
            self._start()
        except BaseException:
            self._end(0)
            raise

    def _start(self) -> None:
        for leg in self.legs:
            check_channel_binding(leg.upstream, self.tls)
        self.served = [exposure(leg.listen, leg.upstream, self.allow_others) for leg in self.legs]
        check_legs(self.legs)
        if self._write is not None and os.path.lexists(self._write):
            raise OutputExists(self._write)
        sweep()
        if self._write is None:
            self._temporary = self._temporary or PrivateDirectory()
            self._capture = Path(self._temporary.path) / CAPTURE
        self._launch()

    def _launch(self) -> None:
        tls = self._with_certificate()
        if self._wants_call_sites or self._wants_marks:
            self._call_sites = PrivateDirectory("sites")
            callsites.prepare(self._call_sites.path)
        if self._takes_marks:
            self._marks = PrivateDirectory(marking.KIND, holds=marking.SOCKET)
        owned = (self._temporary, self._certificates, self._socket_directory, self._call_sites, self._marks)
        # The process may outlive ours, until its last session has ended, so its directories also
        # belong to it.
        control = self._control = Control([lock for directory in owned if directory is not None for lock in directory.locks])
        settings = {
            "legs": [dataclasses.asdict(leg) | {"served": served} for leg, served in zip(self.legs, self.served, strict=True)],
            "path": os.path.abspath(self.capture),
            "keep_bytes": self._keep_bytes,
            "temporary": self._temporary.path if self._temporary is not None else None,
            "call_sites": self._call_sites.path if self._call_sites is not None else None,
            "rtt_ns": self.rtt_ns,
            "allow_others": self.allow_others,
            "tls": dataclasses.asdict(tls),
            "dial_first": self.dial_first,
            "when_behind": self.when_behind,
            "faults": [dataclasses.asdict(rule) for rule in self.faults],
            "redact": self.redact,
            "row_bytes": self.max_row_bytes,
            "label": self.label,
            "marks_at": os.path.join(self._marks.path, marking.SOCKET) if self._marks is not None else None,
            "startup_timeout_s": self.startup_timeout_s,
        }
        ready = control.begin(settings)
        if self._certificates is not None:
            # The recorder has read the key, and nothing else needs it.
            os.unlink(os.path.join(self._certificates.path, KEY_FILE))
        self.addresses_of_legs = [list(leg["addresses"]) for leg in ready["legs"]]
        self.addresses = self.addresses_of_legs[0]
        self.port = int(ready["legs"][0]["port"])
        self.fits = ready["fits"]

    def _with_certificate(self) -> DriverTls:
        """What to do with the driver's TLS, with a new certificate if one is needed. Raises
        MissingExtra."""
        if self.tls.mode != "end" or self.tls.certificate:
            return self.tls
        self._certificates = PrivateDirectory("tls")
        issued = issue(Path(self._certificates.path), [host for leg in self.legs for host in leg.listen.hosts])
        self.authority = issued.authority
        return dataclasses.replace(self.tls, certificate=str(issued.certificate), key=str(issued.key))

    @property
    def legs(self) -> list[Leg]:
        """Every listener with its upstream."""
        return [Leg(self.listen, self.upstream), *self._more_legs]

    @property
    def host(self) -> str:
        """The value for PGHOST: the first address, or the directory of the socket."""
        return _host(self.listen, self.addresses)

    def reached_at(self, leg: int) -> tuple[str, int]:
        """The values for PGHOST and PGPORT that lead to a leg of a started recorder."""
        addresses = self.addresses_of_legs[leg]
        return _host(self.legs[leg].listen, addresses), int(re.split(r"[.:]", addresses[0])[-1])

    def url(self, *, scheme: str | None = None, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
        """The connection URL that leads to this recorder. Parts that you do not name stay as in the
        upstream's URL, or are left to the driver.

        `scheme` is for frameworks: "postgresql+psycopg", "postgres".
        """
        return with_parts(
            redirected_url(self._url, self.host, self.port, os.environ), scheme=scheme, user=user, password=password, database=database
        )

    @property
    def capture(self) -> Path:
        """The capture: a file, or a directory of segments."""
        if self._capture is None:
            raise RecorderError("the recorder has not been started")
        return self._capture

    def call_site_variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables to add to that environment so that a program notes its marks. If
        `call_sites` was given, a Python program also notes the lines of code that send statements.
        Empty if neither was requested."""
        if self._call_sites is None:
            return {}
        return callsites.variables(self._call_sites.path, environment, lines=self._wants_call_sites)

    def note_call_sites(self) -> None:
        """Make this process note the lines of code that send statements, if `call_sites` was
        given."""
        if self._call_sites is not None and self._wants_call_sites:
            callsites.note_here(self._call_sites.path)

    @property
    def noting_processes(self) -> int:
        """How many processes have noted a line of code so far."""
        return len(callsites.processes(self._call_sites.path)) if self._call_sites is not None else 0

    @property
    def pid(self) -> int:
        """The process id of the recorder."""
        return self._running.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._control is not None and self._control.alive

    @property
    def log(self) -> str:
        """The recorder's messages, one line for each kind of problem; empty if all is well."""
        return self._control.log if self._control is not None else ""

    def begin_mark(self, name: str) -> int:
        """Begin a named interval. Everything that has already reached the recorder comes before it.
        Returns its id in the capture."""
        return int(self._running.ask({"do": "mark", "begin": True, "name": name}, self._answer_s)["mark"])

    def end_mark(self, name: str) -> None:
        """End the named interval that was begun last under this name."""
        self._running.ask({"do": "mark", "begin": False, "name": name}, self._answer_s)

    @contextmanager
    def mark(self, name: str) -> Iterator[None]:
        """A named interval around a block."""
        self.begin_mark(name)
        try:
            yield
        finally:
            self.end_mark(name)

    def set_rtt(self, rtt_ns: int) -> None:
        """Add a network delay to every session from now on, half of it in each direction."""
        self._running.ask({"do": "set", "rtt_ns": rtt_ns})
        self.rtt_ns = rtt_ns

    def flush(self) -> Flushed:
        """Write everything that has reached the recorder."""
        answer = self._running.ask({"do": "flush"}, self._answer_s)
        return Flushed(int(answer["position"]), int(answer["time_ns"]), answer["write_error"])

    def stats(self) -> dict[str, Any]:
        """The recorder's own figures: connections, drivers (connections whose driver has not ended
        them), accepted, failures, lost_bytes, lost_records, waiting_bytes, write_error,
        upstream_error."""
        answer = self._running.ask({"do": "stats"})
        answer.pop("id", None)
        return answer

    def quiet(self, trace: Following, timeout_s: float = 1.0) -> bool:
        """Flush and read until nothing is owed on any connection. Returns False if that took too
        long; the trace then has what was read so far."""
        deadline = time.monotonic() + timeout_s
        while True:
            trace.read_until(self.flush().position)
            if trace.quiet:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)

    def stop(self, keep_as: Path | None = None) -> None:
        """Close every session, end the capture and the process, and remove a temporary capture. You
        may call this twice.

        With `keep_as`, the directory of a temporary capture is moved to that path in the same
        directory, and replaces what is there. Raises OSError if that fails.
        """
        self._stop_process(STOP_S)
        try:
            if keep_as is not None and self._temporary is not None:
                self._temporary.keep_as(str(keep_as))
                self._capture, self._temporary = keep_as / CAPTURE, None
        finally:
            self._end(0)

    def _stop_process(self, wait_s: float) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.end(wait_s)

    def _end(self, wait_s: float) -> None:
        self._stop_process(wait_s)
        for directory in (self._temporary, self._certificates, self._socket_directory, self._call_sites, self._marks):
            if directory is not None:
                directory.remove()
        self._temporary = self._certificates = self._socket_directory = self._call_sites = self._marks = None

    @property
    def _running(self) -> Control:
        if self._control is None:
            raise RecorderError("the recorder is not running")
        return self._control

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def keeps_channel_binding(tls: DriverTls) -> bool:
    """Whether a driver's login can be bound to the server's certificate: TLS is passed on, or the
    driver's leg has that certificate."""
    return tls.mode == "pass" or bool(tls.certificate)


def check_channel_binding(upstream: Upstream, tls: DriverTls) -> None:
    """Refuse channel_binding=require if no login can be bound to the server's certificate, unless
    the leg proves the server's identity in another way."""
    if upstream.channel_binding != "require" or upstream.sslmode == "verify-full" or keeps_channel_binding(tls):
        return
    raise AddressError(
        "",
        "channel_binding=require cannot work with pgtrace between driver and server: verify the upstream instead "
        "(sslmode=verify-full), or leave it to the driver (--tls pass, or --tls-cert and --tls-key of the server)",
    )


def _environment_url() -> str:
    """A URL with everything that libpq's variables say, except where the server is."""
    if os.environ.get("PGSERVICE"):
        return f"postgresql:///?service={os.environ['PGSERVICE']}"
    user, password, database = (os.environ.get(name) or None for name in ("PGUSER", "PGPASSWORD", "PGDATABASE"))
    return with_parts("postgresql:///", user=user, password=password, database=database)


def _host(listen: Listen, addresses: Sequence[str]) -> str:
    if listen.unix is not None:
        return listen.unix
    host = addresses[0].rpartition(":")[0].strip("[]") if addresses else listen.hosts[0]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
