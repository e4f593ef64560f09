"""A recorder's disk under orders: a `sitecustomize` in its PYTHONPATH puts `os.write` under those of a file.

`hang`, `ENOSPC`, `EIO`; a number is how many bytes a second it takes; nothing is an ordinary disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

BAD_DISK = """
import errno, os, time
_write = os.write
_orders = {orders!r}
def write(descriptor, data):
    if descriptor > 2:
        while (order := _read()) == "hang":
            time.sleep(0.005)
        if order.isdigit():
            time.sleep(len(data) / int(order))
        elif order:
            if len(data) > 1:
                _write(descriptor, data[: len(data) // 2])  # as a disk does: part of it, then the error
            raise OSError(getattr(errno, order), os.strerror(getattr(errno, order)))
    return _write(descriptor, data)
def _read():
    try:
        with open(_orders) as file:
            return file.read()
    except OSError:
        return ""
os.write = write
"""


def bad_disk(directory: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Callable[[str], None]:
    """What the disk of a recorder started from now on does; `more` is Python it runs as well."""
    orders = directory / "orders"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(BAD_DISK.format(orders=str(orders)) + more)
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)

    def order(what: str) -> None:
        (directory / "new").write_text(what)
        (directory / "new").rename(orders)

    return order
