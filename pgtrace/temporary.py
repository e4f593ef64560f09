"""Temporary directories that only this user can enter, and the removal of those whose owner died.

Each is `pgtrace-...` in the system's temporary directory, with mode 0700, and its maker removes it.
A process that is killed cannot do that. So each directory has a file `.owner`, on which its owner
holds a lock (flock(2)) as long as it lives. The kernel releases the lock however a process ends,
and a child that inherits the descriptor shares it. sweep() removes the directories of this user
whose lock is free. It runs once in each process that starts a recorder or makes such a directory.

- A directory without `.owner` is left alone: it is another user's, an older version's, or one that
  was meant to stay (keep()).
- The file gets its name when it is already locked, so nobody finds an `.owner` without its lock.
- Anyone may be able to write to the temporary directory. Only real directories of this user count,
  and `.owner` is opened without following links.

No pid is compared: pids are reused, and differ between containers that share a directory. Windows
has no such lock, so nothing is removed there.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from types import TracebackType
from typing import Final

if sys.platform != "win32":
    import fcntl

PREFIX: Final = "pgtrace-"
OWNER: Final = ".owner"
_BEFORE: Final = ".before"
SHORT: Final = "/tmp"  # noqa: S108 (made by mkdtemp)
"""Where to make a directory if its path would be too long elsewhere."""
LONGEST_SOCKET_PATH: Final = 103
"""The longest path in bytes of a Unix socket that works on every system (107 on Linux)."""


class PrivateDirectory:
    """A private temporary directory; a context manager that returns its path."""

    def __init__(self, kind: str = "", *, holds: str = "", parent: str | None = None) -> None:
        """Make the directory. `kind` becomes part of its name. `holds` is the longest name of a
        Unix socket in it, for which its path leaves room.

        `parent` is another directory to make it in, which only this user may write to. Raises
        OSError.
        """
        sweep()
        if parent is not None:
            sweep_in(parent)
        prefix = f"{PREFIX}{kind}-" if kind else PREFIX
        self.path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        if holds and len(os.fsencode(os.path.join(self.path, holds))) > LONGEST_SOCKET_PATH:
            os.rmdir(self.path)
            self.path = tempfile.mkdtemp(prefix=prefix, dir=SHORT)
        self._lock: int | None = self._own()

    @property
    def locks(self) -> tuple[int, ...]:
        """The descriptor of the lock, for a child that should also own the directory
        (`pass_fds`)."""
        return () if self._lock is None else (self._lock,)

    def keep(self) -> None:
        """Keep the directory when its owner ends."""
        if self._lock is not None:
            os.unlink(os.path.join(self.path, OWNER))
            self._unlock()

    def keep_as(self, path: str) -> None:
        """Keep the directory under another name beside it. It replaces whatever has that name.
        Raises OSError."""
        if os.path.lexists(path):
            os.rename(path, os.path.join(self.path, _BEFORE))
        os.rename(self.path, path)
        self.path = path
        self.keep()
        shutil.rmtree(os.path.join(path, _BEFORE), ignore_errors=True)

    def remove(self) -> None:
        """Remove the directory with everything in it. You may call this twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _own(self) -> int | None:
        if sys.platform == "win32":
            return None
        path = os.path.join(self.path, OWNER)
        lock = os.open(f"{path}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(f"{path}.new", path)
        # a file system without locks: it is never mistaken for a directory whose owner died
        except OSError:
            os.close(lock)
            os.unlink(f"{path}.new")
            return None
        return lock

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


_swept: set[int] = set()


def sweep() -> None:
    """Remove the directories that this user's processes left when they died; once per process."""
    if sys.platform == "win32" or os.getpid() in _swept:
        return
    _swept.add(os.getpid())
    for parent in {tempfile.gettempdir(), SHORT}:
        sweep_in(parent)


def sweep_in(parent: str) -> None:
    """Remove such directories in one parent directory."""
    try:
        left = [entry.path for entry in os.scandir(parent) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for path in left:
        _remove_if_dead(path)


def _remove_if_dead(path: str) -> None:
    if sys.platform == "win32":
        return
    try:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        lock = os.open(os.path.join(path, OWNER), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if stat.S_ISREG(os.fstat(lock).st_mode):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    except OSError:  # its owner is alive
        pass
    finally:
        os.close(lock)
