"""Which line of a program asked for a statement: noted in the program, read beside the wire.

- program/: goes on the program's PYTHONPATH. It imports nothing of pgtrace.
- notes.py: reads the notes of all processes of a program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).parent / "program"
"""What goes on the program's PYTHONPATH."""
_MODULE: Final = "_pgtrace_callsites"
DIRECTORY: Final = "PGTRACE_CALL_SITES"
"""The variable that says where to write the notes."""


def variables(directory: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What a program's environment also needs, to note its lines of code in that directory."""
    path = environment.get("PYTHONPATH")
    return {DIRECTORY: directory, "PYTHONPATH": f"{PROGRAM}{os.pathsep}{path}" if path else str(PROGRAM)}


def note_here(directory: str) -> None:
    """Have this process note its lines of code in that directory, from now on."""
    module = sys.modules.get(_MODULE)
    if module is None:
        spec = spec_from_file_location(_MODULE, PROGRAM / f"{_MODULE}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_MODULE] = module_from_spec(spec)
        spec.loader.exec_module(module)
    module.note_in(directory)


def processes(directory: str) -> set[int]:
    """The processes that have noted something there."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".notes")]
    except OSError:
        return set()
    return {int(number) for name in names if (number := name.partition("-")[0]).isdecimal()}
