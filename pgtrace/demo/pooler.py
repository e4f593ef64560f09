"""A PgBouncer between two legs, for the demo and for tests.

PgBouncer is the system's own (Debian: `apt-get install pgbouncer`) or any other build of it. It
refuses to run as root, and then runs as `nobody`. Its ini lives in a private directory and goes
with it. Both go when this process ends, in whatever way (`kept.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.errors import PgTraceError
from pgtrace.kept import CANNOT_START, Kept
from pgtrace.temporary import PrivateDirectory

PROGRAM: Final = "pgbouncer"
START_S: Final = 10.0
_LOOK_S: Final = 0.02


class MissingProgram(PgTraceError):
    """PgBouncer is not installed."""

    exit_code: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__("PgBouncer is not installed: apt-get install pgbouncer, dnf install pgbouncer, brew install pgbouncer")


def find_pgbouncer() -> str | None:
    """The path of PgBouncer; None if it is not installed. Debian has it in /usr/sbin, which is not
    on every user's PATH.
    """
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin")


class PoolerError(PgTraceError):
    """A pooler could not be started."""

    exit_code: ClassVar[int] = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot start a pooler: {reason}")


class RunningPooler:
    """A running PgBouncer with that ini; a context manager."""

    host = "127.0.0.1"

    def __init__(self, ini: str, port: int, program: str | None = None, directory: Path | None = None) -> None:
        """The ini must say that it listens on `port`. `directory` is the base of its relative
        paths; `program` is another build.
        """
        self.port = port
        self._program = program or find_pgbouncer() or PROGRAM
        self._ini = ini
        self._beside = directory
        self._directory: PrivateDirectory | None = None
        self._kept: Kept | None = None

    def __enter__(self) -> Self:
        self._directory = PrivateDirectory("pooler")
        try:
            self._start(Path(self._directory.path))
        except BaseException:
            self._stop()
            raise
        return self

    def _start(self, directory: Path) -> None:
        ini = directory / "pgbouncer.ini"
        ini.write_text(self._ini)
        ini.chmod(0o600)
        as_nobody = os.geteuid() == 0
        if as_nobody:
            for path in (directory, ini):
                shutil.chown(path, "nobody")
        command = [self._program, *(["-u", "nobody"] if as_nobody else []), str(ini)]
        nothing = subprocess.DEVNULL
        assert self._directory is not None
        # PgBouncer 1.23 and later waits for its clients after SIGTERM
        kept = self._kept = Kept(
            [command[0], "-q", *command[1:]],
            orders=(signal.SIGTERM, signal.SIGQUIT),
            removes=directory,
            locks=self._directory.locks,
            directory=self._beside,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
        )
        until = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            if (code := kept.process.poll()) == CANNOT_START:
                raise PoolerError(f"{self._program}{self._first_error(command)}")
            if code is not None:
                raise PoolerError(f"{self._program} ended at once with code {code}{self._first_error(command)}")
            if time.monotonic() > until:
                raise PoolerError(f"{self._program} does not listen on port {self.port}")
            time.sleep(_LOOK_S)

    def _first_error(self, command: list[str]) -> str:
        """The first error that it prints when it is started again without -q, which suppresses
        errors. The ini is not the user's, so its name and line are left out.
        """
        try:
            ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=self._beside, timeout=START_S, check=False)
        except OSError as error:
            return f": {error.strerror}"
        except subprocess.TimeoutExpired:
            return ""
        lines = ran.stderr.decode("utf-8", "replace").splitlines()
        errors = [line for line in lines if " ERROR " in line or " FATAL " in line]
        return f": {_INI_LINE.sub('', errors[0].partition('] ')[2])}" if errors else ""

    def _stop(self) -> None:
        if self._kept is not None:
            self._kept.stop()
        if self._directory is not None:
            self._directory.remove()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()


class Pooler(RunningPooler):
    """A PgBouncer that accepts every client, and logs in to the server as the server's user."""

    def __init__(
        self,
        server: EmbeddedServer,
        port: int,
        server_port: int,
        *,
        pool_mode: str = "transaction",
        pool_size: int = 2,
        settings: tuple[str, ...] = (),
        program: str | None = None,
    ) -> None:
        """It listens on `port`, and connects to `server_port`, a leg in front of the server.
        `settings` are more lines of its ini, `program` is another build."""
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={server_port} user={server.user} password={server.password}",
            "[pgbouncer]",
            f"listen_addr = {self.host}",
            f"listen_port = {port}",
            "auth_type = any",
            "unix_socket_dir =",
            f"pool_mode = {pool_mode}",
            f"default_pool_size = {pool_size}",
            *settings,
            "",
        ]
        super().__init__("\n".join(lines), port, program)


_DATABASE: Final = re.compile(r"\s*(?P<name>\*|\"[^\"]*\"|[^\s=;#]+)\s*=(?P<settings>.*)")
_OURS: Final = re.compile(r"\s*(?:listen_addr|listen_port|unix_socket_dir|pidfile|logfile|user)\s*=", re.IGNORECASE)
_PLACE: Final = re.compile(r"\b(?:host|port|hostaddr)\s*=\s*(?:'[^']*'|\S+)\s*")
_INI_LINE: Final = re.compile(r" \([^()]*pgbouncer\.ini:\d+\)")
_LOGIN: Final = re.compile(r"\b(?:user|auth_user)\s*=")


def led_elsewhere(ini: str, port: int, host: str, server_port: int, login: str = "") -> str:
    """The user's ini, changed so that PgBouncer listens on `port` and its databases point to that
    server. `login` is added to databases without a user.
    """
    lines: list[str] = []
    section = ""
    for line in ini.splitlines():
        if line.strip().startswith("["):
            section = line.strip().strip("[]").strip().lower()
        elif section == "databases" and (found := _DATABASE.fullmatch(line)) is not None and not line.strip().startswith((";", "#", "%")):
            settings = _PLACE.sub("", found["settings"]).strip()
            more = "" if not login or _LOGIN.search(settings) else f" {login}"
            line = f"{found['name']} = host={host} port={server_port} {settings}{more}".rstrip()
        elif section == "pgbouncer" and _OURS.match(line):
            continue
        lines.append(line)
        if section == "pgbouncer" and line.strip().startswith("["):
            lines += ["listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir ="]
    return "\n".join([*lines, ""])
