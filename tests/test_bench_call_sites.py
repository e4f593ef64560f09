"""What a note of a line of code costs: the measure itself, on a program that notes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MEASURED = """
import sys
from pathlib import Path
from bench import call_sites
call_sites.STATEMENTS = 200
module = call_sites.watched(Path(sys.argv[1]))
print(call_sites.below_us(module, 2) < call_sites.below_us(module, 400))
print(call_sites.apart(module, lambda: None) < 1_000)
"""


def test_a_deeper_stack_costs_more(tmp_path: Path) -> None:
    """In a process of its own, since it watches drivers."""
    tmp_path.chmod(0o700)
    found = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["True", "True"]
    assert list(tmp_path.glob("*.notes"))
