"""The consoles of the documents: every command is run on captures of this repository and prints what is below it.

In this process: starting one for each would take four times as long.
"""

from __future__ import annotations

import gc
import shlex
import sys
from pathlib import Path

import pytest

from pgtrace.cli import main
from tests import consoles

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/budgets.md", "docs/cookbook.md", "docs/diff.md", "docs/findings.md")
INSTALLED = "docs/start.md"
"""Its commands follow one another and need a server."""


def blocks(page: str, kind: str) -> list[str]:
    return consoles.blocks((ROOT / page).read_text(encoding="utf-8"), kind)


COMMANDS = [(page, command) for page in PAGES for console in blocks(page, "console") for command in consoles.commands(console)]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page} {command.line}" for page, command in COMMANDS])
def test_a_command_prints_what_is_below_it(
    page: str, command: consoles.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for toml in blocks(page, "toml"):
        (tmp_path / "budgets.toml").write_text(toml, encoding="utf-8")
    typed = [str(tmp_path / one) if one.endswith(".toml") else one for one in shlex.split(command.line)]
    monkeypatch.setattr(sys, "argv", typed)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main()
    gc.collect()  # a command leaves its files to the end of the process
    found = capsys.readouterr()
    assert typed[0] == "pgtrace"
    assert consoles.matches(found.out, command.printed), found.out
    assert (found.err, ended.value.code) == ("", int("not met" in command.printed or "differ:" in command.printed))


def test_every_page_with_a_console_is_here() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    with_consoles = {str(page.relative_to(ROOT)) for page in pages if consoles.blocks(page.read_text(encoding="utf-8"), "console")}
    assert with_consoles == {*PAGES, INSTALLED}
