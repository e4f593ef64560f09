"""The capture of the latest `run`, kept until the next run: the capture that `--last` reads.

It is in `$XDG_STATE_HOME/pgtrace/last`, with mode 0700; for a run with -w, a link to its file is
there. While it is being recorded it is a directory beside that place, with an owner's lock
(temporary.py). So a run that is killed leaves nothing behind, and two simultaneous runs do not
interfere: the one that ends last is the latest.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from pgtrace.errors import CaptureError, UsageError
from pgtrace.temporary import PrivateDirectory

CAPTURE: Final = "capture"
"""The name of the capture in such a directory."""
LEAST_ROOM: Final = 1024 * 1024
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def directory() -> PrivateDirectory | None:
    """Where to record; None if nothing can be kept, because the place is not writable, its disk is
    full, or others may write to it."""
    home = user_state_path("pgtrace", appauthor=False)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(home)
        if not stat.S_ISDIR(found.st_mode) or (os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & _OTHERS_MAY_WRITE)):
            return None
        if shutil.disk_usage(home).free < LEAST_ROOM:
            return None
        return PrivateDirectory("run", parent=str(home))
    except OSError:
        return None


def place() -> Path:
    """The place where the latest capture is kept."""
    return user_state_path("pgtrace", appauthor=False) / "last"


def remember(written: Path) -> None:
    """Remember a file that the user named as the latest capture. Raises OSError."""
    made = directory()
    if made is not None:
        os.symlink(os.path.abspath(written), os.path.join(made.path, CAPTURE))
        made.keep_as(str(place()))


def capture() -> Path:
    """The latest capture. Raises UsageError if there is none, CaptureError if it cannot be read."""
    found = place() / CAPTURE
    try:
        return _existing(found)
    except OSError as error:
        raise CaptureError(str(found), (error.strerror or str(error)).lower()) from None


def _existing(found: Path) -> Path:
    if found.is_symlink():
        found = Path(os.readlink(found))
        if not found.exists():
            raise UsageError(f"the latest run was written to {found}, which does not exist any more")
        return found
    if not found.exists():
        raise UsageError("no run has been kept yet: `pgtrace run -- CMD` keeps its capture until the next run, unless --no-last is given")
    return found
