"""Manual pages and shell completions, made from the commands themselves.

click-man lays the pages out. It knows neither click's mark for a paragraph that keeps its lines,
nor the examples at the end of a help text: both are put into its words here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import click_man.core
from click.shell_completion import FishComplete, ShellComplete, ZshComplete

from pgtrace import __version__
from pgtrace.cli import COMMANDS, root

BASH = """\
_pgtrace_completion() {
    local IFS=$'\\n' response type value
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _PGTRACE_COMPLETE=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F _pgtrace_completion pgtrace
"""
"""As click writes it. click's own asks the bash of the building machine for its version first."""
KEEPS_LINES = "\b"


def written(directory: Path) -> Iterator[tuple[Path, str]]:
    """Write everything into the directory: each file, and where an installation puts it."""
    for name, text in {**pages(), **completions()}.items():
        path = directory / Path(name).name
        path.write_text(text, encoding="utf-8")
        yield path, name


def completions() -> dict[str, str]:
    given: tuple[Any, ...] = (root, {}, "pgtrace", "_PGTRACE_COMPLETE")
    shells: dict[str, ShellComplete] = {
        "share/zsh/site-functions/_pgtrace": ZshComplete(*given),
        "share/fish/vendor_completions.d/pgtrace.fish": FishComplete(*given),
    }
    return {
        "share/bash-completion/completions/pgtrace": BASH,
        **{path: f"{shell.source().strip()}\n" for path, shell in shells.items()},
    }


def pages() -> dict[str, str]:
    """One page for pgtrace, and one for each command."""
    with click.Context(root, info_name="pgtrace") as context:
        commands = {name: _for_manual(root.get_command(context, name)) for name in COMMANDS}
        first = _for_manual(root)
        first.commands = commands  # type: ignore[attr-defined]
    made = {}
    with click.Context(first, info_name="pgtrace") as context:
        made["pgtrace"] = click_man.core.generate_man_page(context, version=__version__)
        for name, command in commands.items():
            with click.Context(command, info_name=name, parent=context) as inner:
                page = click_man.core.generate_man_page(inner, version=__version__)
            path = inner.command_path.upper()
            made[f"pgtrace-{name}"] = page.replace(path, path.replace(" ", "-"), 1)
    return {f"share/man/man1/{name}.1": text for name, text in made.items()}


def _for_manual(command: click.Command | None) -> click.Command:
    """The command with its texts as click-man takes them; the one that runs stays as it is."""
    assert command is not None
    changed = copy.copy(command)
    changed.short_help = command.get_short_help_str(200).rstrip(".")
    changed.help = "\n\n".join(_roff(inspect.cleandoc(part)) for part in (command.help, command.epilog) if part)
    return changed


def _roff(text: str) -> str:
    """Paragraphs that keep their lines as roff wants them; nothing at the start of a line is a request."""
    parts = []
    for paragraph in text.replace("\\", "\\e").split("\n\n"):
        kept = paragraph.lstrip("\n").startswith(KEEPS_LINES)
        lines = [
            f"\\&{line}" if line.startswith((".", "'")) else line for line in paragraph.replace(KEEPS_LINES, "").strip("\n").split("\n")
        ]
        parts.append("\n".join([".nf", *lines, ".fi"] if kept else lines))
    return "\n\n".join(parts)
