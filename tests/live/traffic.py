"""What the tests of bounds, losses and transparency have in common: measuring the recorder's process, and moments to wait for.

Nothing here sleeps a fixed time and hopes: `until` looks again until something is so, and fails with what it saw last.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.01


def until(look: Callable[[], T], wanted: Callable[[T], bool] = bool, patience_s: float = PATIENCE_S) -> T:
    """Look until what is seen is wanted; AssertionError with the last sight."""
    deadline = time.monotonic() + patience_s
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, f"after {patience_s:.0f} s still {seen!r}"
        time.sleep(_LOOK_AGAIN_S)
    return seen


def until_ended(pid: int, patience_s: float = PATIENCE_S) -> None:
    """Wait for the end of a process that need not be a child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([handle], [], [], patience_s)
        assert ready, f"process {pid} is still there after {patience_s:.0f} s"
    finally:
        os.close(handle)


def resident_bytes(pid: int) -> int:
    """What the process holds in memory now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most it ever held in memory."""
    return _status(pid, "VmHWM")


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _status(pid: int, key: str) -> int:
    found = re.search(rf"^{key}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
