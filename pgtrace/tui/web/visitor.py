"""One visitor's screen, in a separate process: `python -m pgtrace.tui.web.visitor JSON`.

The JSON names the captures, `{"paths": [...], "names": [...], "joins_sides": true}`. The driver of
textual-serve speaks to the server over pipes. The screen is read only: nothing is written to a
disk, sent to a server or run.
"""

from __future__ import annotations

import json
import sys
import warnings

from pgtrace.errors import PgTraceError
from pgtrace.trace.trace import Trace
from pgtrace.tui.app import run_app
from pgtrace.tui.model.source import Source


def main(arguments: list[str]) -> int:
    """Show the captures until the visitor quits or leaves."""
    warnings.simplefilter("ignore")  # as in all commands
    settings = json.loads(arguments[0])
    try:
        trace = Trace.open(settings["paths"], names=settings["names"])
    except PgTraceError as error:
        print(error, file=sys.stderr)
        return 1
    run_app(trace, source=Source(files=tuple(settings["names"]), live=True, read_only=True, joins_sides=settings["joins_sides"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
