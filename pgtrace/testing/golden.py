"""Golden captures: the wire behaviour of a block, kept as text beside the test, to compare later
runs with.

The text is in libpq's trace format (export/golden.py), in `captures/NAME.trace` in the directory of
the test. The comparison is of behaviour, as in `pgtrace diff`. Values, times and names that drivers
generate do not count; an additional round trip, a statement that is prepared again, or a changed
format does. So both sides are read as captures. If the texts are equal, neither is read.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from pgtrace.capture.importing import Import
from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.diff import compare
from pgtrace.errors import CaptureError, UsageError
from pgtrace.export import golden, rules
from pgtrace.report import diff as report
from pgtrace.temporary import PrivateDirectory
from pgtrace.testing.window import Window

DIRECTORY: Final = "captures"
_NAME: Final = re.compile(r"[\w][\w. -]*")
_NOW: Final = "now"


def path_of(test_file: Path, name: str) -> Path:
    """The path of the golden with that name. Raises UsageError if it is not a valid file name."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is not a valid name for a golden: use letters, digits, and _ . - between them")
    return test_file.parent / DIRECTORY / f"{name}.trace"


def text_of(window: Window, directory: Path) -> str:
    """The golden of a window, by the rules of the project that the directory belongs to. Raises
    NotKept and UsageError."""
    return golden.text(window.trace, places=list(window.places), rules=rules.configured(directory))


def write(path: Path, text: str) -> None:
    """Write a golden, or replace it. Never through a symbolic link, which could lead to any file.
    Raises CaptureError."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise CaptureError(path.parent, f"cannot be created: {(error.strerror or str(error)).lower()}") from None
    for one in (path.parent, path):
        if one.is_symlink():
            raise CaptureError(one, "is a symbolic link, and goldens are not written through one: replace it with a directory")
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        # replaces a link that was put there meanwhile, instead of following it
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise CaptureError(path, f"cannot be written: {(error.strerror or str(error)).lower()}") from None


def differences(path: Path, text: str) -> list[str]:
    """Lines that describe how `text` differs from the golden at `path`; none if the behaviour is
    the same. Raises CaptureError.
    """
    if path.read_bytes() == text.encode("utf-8", "surrogateescape"):
        return []
    with PrivateDirectory() as directory:
        now = Path(directory, "now.trace")
        write(now, text)
        before, after = (_behaviour(one, os.path.join(directory, name)) for one, name in ((path, "before"), (now, "after")))
        try:
            compared = compare(before, after)
            return [] if compared.same else [line for _, line in report.lines(compared, [path.name, _NOW])]
        finally:
            before.close()
            after.close()


def _behaviour(path: Path, capture: str) -> Behaviour:
    """The behaviour of a golden, read through a temporary capture."""
    with Import(os.fspath(path), capture) as one:
        while one.step():
            pass
    behaviour = Behaviour([capture])
    while behaviour.update():
        pass
    return behaviour
