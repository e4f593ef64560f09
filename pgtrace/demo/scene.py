"""The demo: a throw-away PostgreSQL or a server of the user's, a recorder in front of it, and the
same work with every driver, each variant under its mark.

This module knows no terminal. `Scene.play` runs one or more rounds in the calling thread. The live
TUI, or the table at the end, reads the recorder's capture like any other command, and ends an
endless play through its `stop` event.

The tables are created past the recorder, so the capture holds the work and nothing else. Drivers
read PG* variables by themselves, and your PGSERVICE or PGSSLMODE would lead the demo astray. So
they are unset while a scene is open.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Unpack

from pgtrace.address import Leg, Listen, Upstream, parse_listen, parse_upstream
from pgtrace.conninfo import Address
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.guest import Guest
from pgtrace.demo.pooler import MissingProgram, Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.demo.workloads import BEHIND_POOLER, VARIANTS, Variant
from pgtrace.demo.workloads.common import SCHEMA, Target
from pgtrace.errors import MissingExtra, OutputExists, PgTraceError
from pgtrace.recorder import Recorder, Recording

MarkMaker = Callable[[str], AbstractContextManager[object]]
Progress = Callable[[str], None]


def _silent(text: str) -> None:
    pass


class WorkFailed(PgTraceError):
    """A driver could not do the demo's work."""

    exit_code: ClassVar[int] = 3

    def __init__(self, variant: str, error: Exception) -> None:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        super().__init__(f"the work of {variant} failed: {reason}")


@dataclass(frozen=True, slots=True)
class Scene:
    """A running server and the recorder in front of it."""

    recorder: Recorder
    target: Target
    """Where the work connects: to the recorder, with a login of the server's."""
    throwaway_url: str = ""
    """The URL of the server, if it is a throw-away one."""
    variants: tuple[Variant, ...] = VARIANTS

    def play(
        self, rounds: int | None = 1, *, pause_s: float = 0.0, stop: threading.Event | None = None, on_progress: Progress = _silent
    ) -> None:
        """Do the work of every variant `rounds` times (None: until `stop` is set), through the
        recorder."""
        run_variants(
            self.target, self.recorder.mark, variants=self.variants, rounds=rounds, pause_s=pause_s, stop=stop, on_progress=on_progress
        )


@contextmanager
def open_scene(listen: Listen, *, on_progress: Progress = _silent, **how: Unpack[Recording]) -> Iterator[Scene]:
    """Start the server and the recorder. Both are gone afterwards. Raises MissingExtra,
    EmbeddedError and what Recorder raises."""
    write = how.get("write")
    if write is not None and os.path.lexists(write):  # check before a server is started
        raise OutputExists(write)
    on_progress("starting PostgreSQL")
    for variant in VARIANTS:
        variant.load()
    with _without_pg_variables(), EmbeddedServer() as server:
        prepare(server)
        upstream = parse_upstream(f"postgresql://{server.host}:{server.port}/?sslmode=disable", {})
        with Recorder(listen, upstream, **how) as recorder:
            yield Scene(recorder, _target(server, recorder), server.url())


@contextmanager
def open_guest_scene(
    listen: Listen | None, upstream: Upstream, address: Address | None, *, on_progress: Progress = _silent, **how: Unpack[Recording]
) -> Iterator[Scene]:
    """Start a recorder in front of that server, with the demo's tables in a schema of their own.
    Both are gone afterwards. `address` is what the user typed, with the login. Raises MissingExtra,
    GuestError and what Recorder raises."""
    write = how.get("write")
    if write is not None and os.path.lexists(write):
        raise OutputExists(write)
    for variant in VARIANTS:
        variant.load()
    with Guest(upstream, address, on_progress) as guest:
        on_progress(f"working in schema {guest.schema} of database {guest.database} on {upstream.display}; it is dropped at the end")
        with _without_pg_variables(), Recorder(listen, upstream, **how) as recorder:
            yield Scene(recorder, _target(guest, recorder, guest.schema))


@contextmanager
def open_pooler_scene(listen: Listen, *, on_progress: Progress = _silent, **how: Unpack[Recording]) -> Iterator[Scene]:
    """Start the server, a recorder with two legs, and a PgBouncer between them. All are gone
    afterwards. Raises MissingExtra, MissingProgram, EmbeddedError and what Recorder raises."""
    write = how.get("write")
    if write is not None and os.path.lexists(write):
        raise OutputExists(write)
    program = find_pgbouncer()
    if program is None:
        raise MissingProgram
    on_progress("starting PostgreSQL and PgBouncer")
    for variant in BEHIND_POOLER:
        variant.load()
    with _without_pg_variables(), EmbeddedServer() as server:
        prepare(server)
        port = free_port()
        upstream = parse_upstream(f"postgresql://127.0.0.1:{port}/?sslmode=disable", {})
        behind = Leg(parse_listen("127.0.0.1:0"), parse_upstream(f"postgresql://{server.host}:{server.port}/?sslmode=disable", {}))
        with Recorder(listen, upstream, more_legs=[behind], **how) as recorder:
            server_port = int(recorder.addresses_of_legs[1][0].rpartition(":")[2])
            with Pooler(server, port, server_port, program=program):
                yield Scene(recorder, _target(server, recorder), server.url(), BEHIND_POOLER)


def prepare(server: EmbeddedServer) -> None:
    """Create the tables of the demo's work."""
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("demo", "the demo") from error
    with psycopg.connect(
        host=str(server.socket_directory), port=server.port, user=server.user, password=server.password, dbname=server.database
    ) as connection:
        connection.execute(SCHEMA)


def run_variants(
    target: Target,
    mark: MarkMaker,
    *,
    variants: tuple[Variant, ...] = VARIANTS,
    rounds: int | None = 1,
    pause_s: float = 0.0,
    stop: threading.Event | None = None,
    on_progress: Progress = _silent,
) -> None:
    """Do the work of each variant under a mark with its name, round after round, pausing `pause_s`
    after each variant.

    Ends after `rounds`, or between two variants once `stop` is set. Raises WorkFailed.
    """
    stop = stop or threading.Event()
    done = 0
    while rounds is None or done < rounds:
        for variant in variants:
            if stop.is_set():
                return
            on_progress(variant.name)
            work = variant.load()
            with mark(variant.name):
                try:
                    work(target)
                except Exception as error:
                    raise WorkFailed(variant.name, error) from error
            stop.wait(pause_s)
        done += 1


def _target(server: EmbeddedServer | Guest, recorder: Recorder, schema: str = "") -> Target:
    return Target(recorder.host, recorder.port, server.user, server.password, server.database, schema)


@contextmanager
def _without_pg_variables() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("PG") and not name.startswith("PGTRACE")}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)
