"""Runs in the program, before it: `pgtrace run --call-sites` puts this directory first on
PYTHONPATH.

It watches for drivers that are imported (_pgtrace_callsites.py) and then runs the sitecustomize
that it hides, if there is one. It runs on Python 3.8 and later and imports nothing from pgtrace,
which the program may not have.
"""

import os
import sys


def _watch():
    if not os.environ.get("PGTRACE_CALL_SITES"):
        return
    try:
        import _pgtrace_callsites

        _pgtrace_callsites.watch()
    except Exception:  # noqa: S110 (the program comes first)
        pass


def _run_hidden():
    here = os.path.dirname(os.path.abspath(__file__))
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    elsewhere = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_watch()
_run_hidden()
