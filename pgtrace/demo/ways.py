"""Which user runs PostgreSQL's programs: initdb and postgres refuse to run as root, and look up
their user by uid.

The ways, in the order in which they are tried (each with `postgres -V`, a few milliseconds; the
first that works is used):

- Not root, with an entry in /etc/passwd: as yourself.
- Root: as the user `nobody`, if it can reach the binaries; in a user namespace in which root looks
  like `nobody` (works in any path, but needs util-linux 2.38 and permission to create namespaces);
  as `nobody` with a copy of the binaries (37 MB).
- A uid without a name, as in containers: in a user namespace as `nobody`. If that fails, the error
  says what is missing.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pgtrace.errors import PgTraceError


class EmbeddedError(PgTraceError):
    """The embedded server could not be started."""

    exit_code: ClassVar[int] = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot start the embedded PostgreSQL: {reason}")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run the server's programs: a prefix for the command, and the user that runs it."""

    name: str
    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None
    copies: bool = False


def choose_way(binaries: Path, directory: Path) -> Way:
    """The first way in which this user can run the server's programs here. Raises EmbeddedError
    with the reason."""
    reason = ""
    for way in _ways():
        answer = _try_way(way, binaries, directory)
        if answer is None:
            return way
        reason = reason or answer
    if os.geteuid() != 0 and not _has_name(os.geteuid()):
        reason = f"uid {os.geteuid()} has no entry in /etc/passwd, which PostgreSQL needs: add one, or run as a user that has one"
    raise EmbeddedError(reason)


def _ways() -> Iterator[Way]:
    namespace = Way("user namespace", prefix=("unshare", "-U", "--map-user=65534", "--map-group=65534", "--"))
    if os.geteuid() != 0:
        yield Way("own user") if _has_name(os.geteuid()) else namespace
        return
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        yield namespace
        return
    yield Way("nobody", user=nobody.pw_uid, group=nobody.pw_gid)
    yield namespace
    yield Way("nobody, copied", user=nobody.pw_uid, group=nobody.pw_gid, copies=True)


def _try_way(way: Way, binaries: Path, directory: Path) -> str | None:
    """None if this way can run the server, otherwise the reason why not. A way that copies is tried
    with the copy."""
    probe = [*way.prefix, str(binaries / "postgres"), "-V"]
    if way.copies:
        probe = ["/bin/sh", "-c", ":"]
    options: dict[str, Any] = {}
    if way.user is not None:
        options = {"user": way.user, "group": way.group, "extra_groups": []}
    try:
        done = subprocess.run(
            probe,
            cwd=directory.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
            **options,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{binaries / 'postgres'}: {getattr(error, 'strerror', None) or error}"
    return None if done.returncode == 0 else last_line(done.stderr)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def give(paths: Iterable[Path], way: Way) -> None:
    """Make the server's user the owner."""
    if way.user is not None and way.group is not None:
        for path in paths:
            os.chown(path, way.user, way.group)


def clean_environment() -> dict[str, str]:
    """Our environment without variables that would misdirect the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))} | {"LC_ALL": "C"}


def last_line(output: str) -> str:
    """The last line that a program printed, or the last one that it called an error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line or "FATAL:" in line]
    return (wrong or lines or ["ended without a message"])[-1]
