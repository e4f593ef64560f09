"""The command line: arguments in, exit codes out. The layers below do the work.

Each command is a separate module, imported only when it is used: `pgtrace --help` loads neither
textual nor construct. A PgTraceError or a usage error becomes one line on stderr and an exit code.
Ctrl-C exits with 130. A closed stdout (`| head`) is not an error.
"""

from __future__ import annotations

import errno
import gc
import importlib
import keyword
import os
import sys
from typing import Any

import click

from pgtrace import __version__
from pgtrace.cli import output
from pgtrace.errors import PgTraceError, PointedError

COMMANDS = (
    "listen",
    "run",
    "open",
    "show",
    "stats",
    "advise",
    "check",
    "diff",
    "compare",
    "export",
    "import",
    "serve",
    "replay",
    "mcp",
    "mark",
    "demo",
)
"""The commands in the order of --help. Each is `command` in the module with its name (with a
trailing `_` if the name is a Python keyword).
"""
INTERRUPTED = 130
CAPTURE_VERSION = 1
_COLLECTED_AFTER = 20_000
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""How many objects are allocated between two garbage collections. Records come by the thousand and
are freed without it.
"""


class _Commands(click.Group):
    """The group of commands, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"pgtrace.cli.{name}")
        command: click.Command = module.command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "PGTRACE"})
@click.version_option(__version__, message=f"pgtrace %(version)s (capture version {CAPTURE_VERSION})")
@click.pass_context
def root(ctx: click.Context) -> None:
    """A wire tracer for PostgreSQL: every message, every round trip, every prepared statement, per
    driver.

    \b
    pgtrace demo                                  no database at hand: see it work
    pgtrace listen :6433 --upstream db:5432       a live view of what drivers do
    pgtrace run -- python app.py                  run a program, print what it cost
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """The entry point `pgtrace`."""
    gc.set_threshold(_COLLECTED_AFTER, 50, 100)
    output.prepare()
    code = _run(root)
    gc.freeze()  # otherwise the interpreter searches everything for garbage before it ends
    sys.exit(code)


def _run(command: click.Command, args: list[str] | None = None) -> int:
    try:
        result: Any = command.main(args=args, prog_name="pgtrace", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        about = error.ctx.command_path if error.ctx is not None else "pgtrace"
        output.print_stderr(*f"pgtrace: {_masked(error.format_message()).rstrip('.')}; see: {about} --help".split("\n"))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except PgTraceError as error:
        shown = _pointed(error) if isinstance(error, PointedError) else _masked(str(error))
        output.print_stderr(*f"pgtrace: {shown}".split("\n"))
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has closed it
        output.discard_stdout()
        return 0
    except OSError as error:
        is_absent = isinstance(error, FileNotFoundError) and error.filename is None
        if is_absent and _is_directory_removed():
            output.print_stderr("pgtrace: the current directory has been removed: change to another one")
            return click.UsageError.exit_code
        output.discard_stdout()
        about = error.filename or ("TMPDIR" if is_absent else "stdout, or a file in TMPDIR" if error.errno in _NO_ROOM else "stdout")
        output.print_stderr(f"pgtrace: {_masked(str(about))}: {(error.strerror or str(error)).lower()}")
        return 1
    return result if isinstance(result, int) else 0


def _is_directory_removed() -> bool:
    """Whether the current directory has been removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _pointed(error: PointedError) -> str:
    """The error with its text, pointing at the place, unless something in the text had to be
    masked: an address may have been typed in the wrong place.
    """
    reason, text, place = (_masked(line) for line in str(error).split("\n"))
    return "\n".join((reason, text, place) if text in str(error) else (reason, text))


def _masked(text: str) -> str:
    """The text without possible secrets."""
    from pgtrace import masking  # without an error there is nothing to mask

    return masking.message(text)
