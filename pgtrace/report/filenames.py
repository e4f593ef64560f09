"""The names of captures in reports that are sent to others: only the end of the path, because the
rest would show who recorded it and where.
"""

from __future__ import annotations

import ntpath
import os
import re
from collections import Counter

from pgtrace import last
from pgtrace.trace.trace import Trace

LATEST = "the latest run"


def sent(path: str) -> str:
    """`checkout.pgtrace`, or `the latest run` for the capture that `--last` reads."""
    if path == os.fspath(last.place() / last.CAPTURE):
        return LATEST
    return ntpath.basename(path.rstrip("/\\")) or path


def all_of(trace: Trace) -> list[str]:
    """The names of a trace's captures, in its order."""
    return [sent(name) for name in trace.files]


def told_apart(trace: Trace) -> list[str]:
    """The names of a trace's captures, in its order; each with as many of its folders as make them
    distinct.

    `before/checkout.pgtrace` and `after/checkout.pgtrace`. A file given twice has one name twice.
    """
    paths = list(dict.fromkeys(trace.files))
    parts = [re.split(r"[/\\]+", path.rstrip("/\\")) for path in paths]
    names = list(map(sent, paths))
    for wanted in range(2, max(map(len, parts), default=0) + 1):
        if len(set(names)) == len(names):
            break
        alike = Counter(names)
        names = ["/".join(part[-wanted:]) if alike[name] > 1 else name for part, name in zip(parts, names, strict=True)]
    return [dict(zip(paths, names, strict=True))[path] for path in trace.files]
