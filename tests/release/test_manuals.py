"""Every command has a manual page that groff takes, and each shell a completion that asks pgtrace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgtrace.cli import COMMANDS
from tests.release.scripts import load

ROOT = Path(__file__).parents[2]


PAGES = load("manuals").pages()


def test_every_command_has_a_page() -> None:
    assert set(PAGES) == {f"share/man/man1/{name}.1" for name in ("pgtrace", *(f"pgtrace-{command}" for command in COMMANDS))}


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("place", PAGES)
def test_groff_takes_it(place: str) -> None:
    done = subprocess.run(["groff", "-ww", "-man", "-Tutf8"], input=PAGES[place], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_page_has_its_example_and_keeps_lines() -> None:
    export = PAGES["share/man/man1/pgtrace-export.1"]
    assert "Example: pgtrace export" in export
    assert ".nf\nchrome " in export
    assert export.startswith('.TH "PGTRACE-EXPORT" "1"')
    assert "pgtrace\\-export \\- Write captures in the format of another program\n" in export


def test_completions_ask_pgtrace() -> None:
    made = load("manuals").completions()
    assert {Path(place).name for place in made} == {"pgtrace", "_pgtrace", "pgtrace.fish"}
    assert all("_PGTRACE_COMPLETE" in text for text in made.values())
    assert made["share/zsh/site-functions/_pgtrace"].startswith("#compdef pgtrace\n")


def test_bash_completes_a_command(tmp_path: Path) -> None:
    """As bash calls it, with this checkout in the place of an installed pgtrace."""
    script = tmp_path / "pgtrace"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from pgtrace.cli import main; main()" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    asked = f"{load('manuals').BASH}\nCOMP_WORDS=(pgtrace adv); COMP_CWORD=1; _pgtrace_completion {script}; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("advise\n", "")


def test_what_builds_needs_nothing_but_click_and_platformdirs() -> None:
    """pyproject.toml names them for the build; the other libraries are loaded when a command runs."""
    code = (
        "import sys\n"
        "from click import Context\n"
        "from pgtrace.cli import COMMANDS, root\n"
        "with Context(root) as context:\n"
        "    [root.get_command(context, name) for name in COMMANDS]\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'msgspec', 'construct', 'textual', 'isal', 'uvloop', "
        "'cryptography'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
