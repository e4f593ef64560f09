"""The demo: a throw-away PostgreSQL, a recorder in front of it, and the same work with every
driver, each variant under its mark.

This module knows no terminal. `Scene.play` runs one or more rounds in the calling thread. The live
TUI, or the table at the end, reads the recorder's capture like any other command, and ends an
endless play through its `stop` event.

The tables are created over the server's Unix socket, past the recorder, so the capture holds the
work and nothing else. Drivers read PG* variables by themselves, and your PGSERVICE or PGSSLMODE
would lead the demo astray. So they are unset while a scene is open.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Unpack

from pgtrace.address import Leg, Listen, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import MissingProgram, Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.demo.workloads import BEHIND_POOLER, VARIANTS, Variant
from pgtrace.demo.workloads.common import SCHEMA, Target
from pgtrace.errors import MissingExtra, OutputExists
from pgtrace.recorder import Recorder, Recording

MarkMaker = Callable[[str], AbstractContextManager[object]]
Progress = Callable[[str], None]


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Scene:
    """A running server and the recorder in front of it."""

    server: EmbeddedServer
    recorder: Recorder
    variants: tuple[Variant, ...] = VARIANTS

    def play(
        self, rounds: int | None = 1, *, pause_s: float = 0.0, stop: threading.Event | None = None, on_progress: Progress = _silent
    ) -> None:
        """Do the work of every variant `rounds` times (None: until `stop` is set), through the
        recorder."""
        target = _target(self.server, self.recorder.host, self.recorder.port)
        run_variants(target, self.recorder.mark, variants=self.variants, rounds=rounds, pause_s=pause_s, stop=stop, on_progress=on_progress)


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
            yield Scene(server, recorder)


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
                yield Scene(server, recorder, BEHIND_POOLER)


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

    Ends after `rounds`, or between two variants once `stop` is set. Raises what a driver raises.
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
                work(target)
            stop.wait(pause_s)
        done += 1


def _target(server: EmbeddedServer, host: str, port: int) -> Target:
    return Target(host, port, server.user, server.password, server.database)


@contextmanager
def _without_pg_variables() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("PG") and not name.startswith("PGTRACE")}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)
