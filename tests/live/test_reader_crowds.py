"""What a reader keeps of very many of one thing: anonymous memory within its bound, and what more of them add to it.

With each commit the numbers are small and the reader's own bounds a fortieth: from a number at
which they are in force to four times as many the peak may rise by GROWTH alone, which is for what
is remembered of bodies. With PGTRACE_NIGHTLY set there are 300,000 of each, and the bound is 256
MiB. The captures are written by crowds.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import crowds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

MIB = 1 << 20
BOUND = 256 * MIB
GROWTH = 8 * MIB
NIGHTLY = "PGTRACE_NIGHTLY" in os.environ
MANY = 300_000
SMALLER = """
from pgtrace.trace import connections
from pgtrace.trace import intake
from pgtrace.trace import interned
from pgtrace.trace import ledger
from pgtrace.trace import marks
from pgtrace.trace import statements
from pgtrace.trace import times
from pgtrace.trace import totals
from pgtrace.session import machine
from pgtrace.session import names
connections.CLOSED_KEPT, connections.OPEN_KEPT, ledger.KEYS_KEPT, totals.DRIVERS_KEPT = 200, 200, 200, 100
ledger.LOG_WEIGHT_KEPT = intake.SETTINGS_KEPT = 300
statements.GROUPS_KEPT, names.NAMES_BYTES, machine.MOST_OWED = 500, 300_000, 500
marks.OPEN_KEPT, marks.ENDED_KEPT, marks.NAMES_KEPT = 20, 200, 200
times.GROUPS_KEPT, ledger.SHARED_KEPT, interned.LABELS_KEPT = 150, 250, 2500
"""
"""Bounds at a fortieth of what they are: a capture of seconds reaches all of them."""
READER = """
import json, re, sys, threading
from pgtrace.cli import _run, root
peak = 0
ended = threading.Event()
def look():
    return int(re.search(r"RssAnon:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
from pgtrace.trace.intake import Intake
take = Intake.take
def taken(self, *about):
    global peak
    take(self, *about)
    peak = max(peak, look())
Intake.take = taken
def watch():
    global peak
    while not ended.wait(0.01):
        peak = max(peak, look())
threading.Thread(target=watch, daemon=True).start()
code = _run(root, sys.argv[1:])
ended.set()
print(json.dumps(max(peak, look())), file=sys.stderr)
sys.exit(code)
"""
COMMANDS = {
    "stats": ("stats", "--json"),
    "stats by connection": ("stats", "--by", "connection"),
    "advise": ("advise",),
    "show": ("show", "-q"),
    "check": ("check", "--max", "rows=0", "--by", "mark"),
}
KINDS = (
    "connections", "left_open", "applications", "drivers", "cancels", "prepared", "portals", "texts", "settings", "facts", "marks",
    "open_marks",
    "unanswered_parses",
)  # fmt: skip
NOW = {
    "connections": "stats by connection",
    "left_open": "stats by connection",
    "drivers": "stats",
    "portals": "stats",
    "marks": "stats",
    "open_marks": "stats",
}
"""The kinds of each commit, those of which one took most, and with which command."""
EACH = 2500
FACTOR = 4


def peak(path: Path, command: tuple[str, ...]) -> int:
    """Bytes of anonymous memory at the most."""
    reader = READER if NIGHTLY else SMALLER + READER
    done = subprocess.run(
        [sys.executable, "-c", reader, command[0], str(path), *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    found = re.search(rb"(\d+)\s*$", done.stderr)
    assert done.returncode in (0, 1), done.stderr[-1000:]
    assert found is not None
    return int(found[1])


@pytest.mark.sampled(2)
@pytest.mark.timeout(3600 if NIGHTLY else 300)
@pytest.mark.parametrize("kind", KINDS if NIGHTLY else list(NOW))
def test_memory_by_kind(tmp_path: Path, kind: str) -> None:
    commands = COMMANDS if NIGHTLY else {NOW[kind]: COMMANDS[NOW[kind]]}
    for name, command in commands.items():
        if NIGHTLY:
            path = tmp_path / "many.pgtrace"
            if not path.exists():
                crowds.write(kind, MANY, path)
            found = peak(path, command)
            print(f"{name} of {MANY:,} {kind}: {found / MIB:.0f} MiB")
            assert found <= BOUND
        else:
            for factor in (1, FACTOR):
                if not (tmp_path / f"{factor}.pgtrace").exists():
                    crowds.write(kind, EACH * factor, tmp_path / f"{factor}.pgtrace")
            small, large = (peak(tmp_path / f"{factor}.pgtrace", command) for factor in (1, FACTOR))
            print(f"{name} of {EACH} {kind}: {small / MIB:.1f} MiB, of {FACTOR} times as many {large / MIB:.1f}")
            assert large - small <= GROWTH
