"""Which line of a program asked for a statement: noted in the program, read beside the wire.

- program/: what is put on the program's PYTHONPATH. It imports nothing of pgtrace.
- notes.py: reads the notes of all processes of a program.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).parent / "program"
"""What goes on the program's PYTHONPATH."""
DIRECTORY: Final = "PGTRACE_CALL_SITES"
"""The variable that says where to note."""


def variables(directory: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What a program's environment needs besides, so that it notes its lines of code in that directory."""
    path = environment.get("PYTHONPATH")
    return {DIRECTORY: directory, "PYTHONPATH": f"{PROGRAM}{os.pathsep}{path}" if path else str(PROGRAM)}


def processes(directory: str) -> set[int]:
    """The processes that have noted something there."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".notes")]
    except OSError:
        return set()
    return {int(number) for name in names if (number := name.partition("-")[0]).isdecimal()}
