"""The consoles of docs/budgets.md, docs/diff.md and docs/findings.md: every command is run on captures of this repository and prints what stands below."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("budgets.md", "diff.md", "findings.md")
BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [inside for found, inside in BLOCK.findall(text) if found == kind]


CONSOLES = [(page, console) for page in PAGES for console in blocks(page, "console")]


@pytest.mark.parametrize(("page", "console"), CONSOLES, ids=[console.partition("\n")[0] for _, console in CONSOLES])
def test_a_command_prints_what_stands_below_it(page: str, console: str, tmp_path: Path) -> None:
    command, _, printed = console.partition("\n")
    prompt, *args = shlex.split(command)
    assert (prompt, args[0]) == ("$", "pgtrace")
    for toml in blocks(page, "toml"):
        (tmp_path / "budgets.toml").write_text(toml, encoding="utf-8")
    args = [str(tmp_path / one) if one.endswith(".toml") else one for one in args[1:]]
    found = subprocess.run([sys.executable, "-m", "pgtrace", *args], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert (found.stdout, found.stderr) == (printed, "")
    assert found.returncode == int("not kept" in printed or "differ:" in printed)


def test_every_page_has_a_console() -> None:
    assert {page for page, _ in CONSOLES} == set(PAGES)
