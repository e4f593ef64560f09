"""The ways to the server that are compared: each is a process in front of it, there during the whole run.

Every one of them forwards on one thread, as pgtrace does. What is not installed stays in the table
and says so. PgBouncer refuses root: then it runs as `nobody`, for whom the scratch directory is
open to everybody (a capture in it is readable by its owner alone all the same).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.forwarder import HOST
from bench.viewer import following
from pgtrace.demo.ports import free_port

DIRECT, BARE, PGTRACE = "direct", "bare uvloop forwarder", "pgtrace, recording"
WATCHED = "pgtrace, recording, a TUI following"
START_S = 20.0
STOP_S = 20.0

HAPROXY = """
global
    nbthread 1
defaults
    mode tcp
    maxconn 2000
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgres
    bind {host}:{port}
    server postgres {host}:{upstream}
"""
PGBOUNCER = """
[databases]
postgres = host={host} port={upstream}
[pgbouncer]
max_client_conn = 2000
default_pool_size = 1100
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = session
"""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to the server: its port, None where the program is not installed, and its process, None for the direct one."""

    name: str
    port: int | None = None
    pid: int | None = None


def open_routes(stack: ExitStack, directory: Path, upstream: int, *, with_tui: bool = False) -> list[Route]:
    """Start every forwarder before the server on port `upstream`; `stack` ends them. `with_tui`
    adds a recorder of its own that a viewer follows."""

    def started(name: str, port: int, *command: str, user: str | None = None) -> Route:
        return Route(name, port, stack.enter_context(running(command, port, directory / f"{port}.log", user)))

    def written(name: str, text: str) -> str:
        path = directory / name
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    ports = [free_port() for _ in range(3)]
    routes = [Route(DIRECT, upstream), started(BARE, ports[0], sys.executable, "-m", "bench.forwarder", str(ports[0]), str(upstream))]

    haproxy, name = _installed("haproxy", "-v", "HAProxy", "TCP mode")
    if haproxy is not None:
        settings = written("haproxy.cfg", HAPROXY.format(host=HOST, port=ports[1], upstream=upstream))
        routes.append(started(name, ports[1], haproxy, "-db", "-q", "-f", settings))
    else:
        routes.append(Route(name))

    pgbouncer, name = _installed("pgbouncer", "--version", "PgBouncer", "session pooling")
    if pgbouncer is not None:
        users = written("users.txt", '"postgres" ""\n')
        settings = written("pgbouncer.ini", PGBOUNCER.format(host=HOST, port=ports[2], upstream=upstream, users=users))
        routes.append(started(name, ports[2], pgbouncer, "-q", settings, user="nobody" if os.geteuid() == 0 else None))
    else:
        routes.append(Route(name))

    for name in [PGTRACE, WATCHED] if with_tui else [PGTRACE]:
        port = free_port()
        capture = directory / f"{port}.pgtrace"
        stack.callback(_say_what_was_lost, name, directory / f"{port}.log")
        routes.append(Route(name, port, stack.enter_context(recording(directory, port, upstream))))
    if with_tui:
        stack.enter_context(following(capture))
    return routes


def _installed(program: str, option: str, title: str, mode: str) -> tuple[str | None, str]:
    """Where the program is, None where it is not, and what the table calls it."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        return None, f"{title}, {mode}"
    version = re.search(r"\d+\.\d+", subprocess.run([found, option], capture_output=True, text=True, check=False).stdout)
    return found, f"{title} {version.group() if version else ''}, {mode}"


@contextmanager
def running(command: tuple[str, ...], port: int, log: Path, user: str | None = None) -> Iterator[int]:
    """The process, from when it listens, in a session of its own.

    So Ctrl-C reaches the bench alone, which ends it; and so the kernel, which shares the processors
    out by session, treats all forwarders alike.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, user=user)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: cannot start {command[0]}: {log.read_text(errors='replace').strip()}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def recording(directory: Path, port: int, upstream: int, *options: str) -> AbstractContextManager[int]:
    """A recorder without a screen on that port; its capture has the port's number for a name."""
    command = f"-m pgtrace listen {HOST}:{port} --upstream {HOST}:{upstream} --no-tui -q -w".split()
    return running((sys.executable, *command, str(directory / f"{port}.pgtrace"), *options), port, directory / f"{port}.log")


def _say_what_was_lost(name: str, log: Path) -> None:
    """What pgtrace did not record cost nothing: such a run says so."""
    for line in log.read_text(errors="replace").splitlines():
        if "could not be recorded" in line:
            print(f"{name}: {line}", file=sys.stderr)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True
