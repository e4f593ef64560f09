"""The line of a program that sent a statement, and its open marks: noted in the program, and read
next to the wire.

- program/: is put on the program's PYTHONPATH. It imports nothing from pgtrace.
- notes.py: reads the notes of all processes of a program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from pgtrace.callsites.notes import MARKS_IN

PROGRAM: Final = Path(__file__).parent / "program"
"""The directory to put on the program's PYTHONPATH."""
_MODULE: Final = "_pgtrace_callsites"
DIRECTORY: Final = "PGTRACE_CALL_SITES"
"""The environment variable with the directory for notes with lines of code."""
MARKS: Final = "PGTRACE_MARKS"
"""The environment variable with the directory for notes only of statements in marks."""
MARK_FILE: Final = "PGTRACE_MARK_FILE"
"""The environment variable with the file to which any program may append the beginnings and ends of
marks.
"""


def variables(directory: str, environment: Mapping[str, str], *, lines: bool) -> dict[str, str]:
    """The additional environment variables with which a program notes its marks in that directory;
    with `lines`, also its lines of code.
    """
    found = {MARKS: directory, MARK_FILE: os.path.join(directory, MARKS_IN)}
    if lines:
        path = environment.get("PYTHONPATH")
        found |= {DIRECTORY: directory, "PYTHONPATH": f"{PROGRAM}{os.pathsep}{path}" if path else str(PROGRAM)}
    return found


def prepare(directory: str) -> None:
    """Create the file to which any program may append marks."""
    os.close(os.open(os.path.join(directory, MARKS_IN), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def mark(name: str) -> AbstractContextManager[object]:
    """A named interval around a block of this program. Everything that the block, and tasks started
    in it, send belongs to the mark. Without a recorder it does nothing.
    """
    module = sys.modules.get(_MODULE)
    if module is None:
        watch()
        module = sys.modules.get(_MODULE)
    found: AbstractContextManager[object] = nullcontext() if module is None else module.mark(name)
    return found


def watch() -> None:
    """Watch this process's drivers, if a recorder has set the variables for it."""
    if _MODULE not in sys.modules and (os.environ.get(DIRECTORY) or os.environ.get(MARKS)):
        _program().watch()


def note_here(directory: str) -> None:
    """Make this process note its lines of code in that directory, from now on."""
    _program().note_in(directory)


def _program() -> Any:
    """Load the module that notes."""
    module: Any = sys.modules.get(_MODULE)
    if module is None:
        spec = spec_from_file_location(_MODULE, PROGRAM / f"{_MODULE}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_MODULE] = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def processes(directory: str) -> set[int]:
    """The ids of processes that have noted something there."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".notes")]
    except OSError:
        return set()
    return {int(number) for name in names if (number := name.partition("-")[0]).isdecimal()}
