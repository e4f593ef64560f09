"""pgtrace: a wire tracer for PostgreSQL. This module deliberately imports nothing heavy.

`from pgtrace import Capture, Recorder` is the Python API (docs/python.md); each is loaded when it
is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgtrace.callsites import mark as mark
    from pgtrace.recorder import Recorder as Recorder
    from pgtrace.testing.capture import Capture as Capture

__version__ = "0.1.0"

__all__ = ["Capture", "Recorder", "__version__", "mark"]

_PLACES = {"Capture": "pgtrace.testing.capture", "Recorder": "pgtrace.recorder", "mark": "pgtrace.callsites"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


if os.environ.get("PGTRACE_MARKS"):  # under a recorder: start before this program's drivers connect
    import_module("pgtrace.callsites").watch()
