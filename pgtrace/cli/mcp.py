"""`pgtrace mcp`: answers an assistant's questions about captures."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pgtrace.capture.inputs import STDIN
from pgtrace.cli import options, output


@click.command("mcp", epilog="Example: pgtrace mcp checkout.pgtrace")
@options.files
@options.words("Also print which files it reads.", "Print only errors.")
def command(files: tuple[Path, ...], quiet: bool, verbose: bool) -> None:
    """Answer an assistant's questions about captures.

    It speaks the Model Context Protocol (MCP) on standard input and output. It reads only the files
    named here, writes nothing, and keeps each answer short. Add the command to your assistant's
    configuration. It needs the extra `mcp`.
    """
    if STDIN in map(os.fspath, files):
        raise click.UsageError("standard input belongs to the assistant: name a file")
    from pgtrace.assistant.answers import Answers
    from pgtrace.assistant.server import build

    if verbose:
        output.print_stderr(*(f"pgtrace: reads {file}" for file in files))
    answers = Answers(files)
    try:
        build(answers).run("stdio")
    finally:
        answers.close()
