"""The budget options of `check` and `run`, and the search for budgets in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtrace.cli import options
from pgtrace.errors import BudgetError
from pgtrace.settingsfile import text_of

if TYPE_CHECKING:
    from pgtrace.ask.budgets import About, Budget


def limits(command: options.F) -> options.F:
    """`--max` and `--config`."""
    config = click.option(
        "--config",
        "config",
        type=options.FILE,
        metavar="FILE",
        help="Read budgets from a TOML file, or from [tool.pgtrace.budgets] in a pyproject.toml.",
    )
    most = click.option(
        "--max", "limits", metavar="COUNTER=N", multiple=True, help="Allow at most N of a counter: --max round_trips=4. May be repeated."
    )
    return most(config(command))


def of_options(limits: tuple[str, ...], config: Path | None, about: About = "capture") -> list[Budget]:
    """The budgets of `--max` (for the capture, or for each item that `--by` names) and of
    `--config`. Raises BudgetError.
    """
    from pgtrace.ask.budgets import EACH, Budget

    named = "" if about == "capture" else EACH
    return [*(Budget.parse(text, about=about, name=named) for text in limits), *(_of_file(config) if config is not None else [])]


def of_project() -> list[Budget]:
    """The budgets in the nearest pyproject.toml, from the current directory upwards; empty if there
    are none. Raises BudgetError.
    """
    from pgtrace.ask.budget_tables import PYPROJECT

    here = Path.cwd()
    found = next((path for folder in (here, *here.parents) if (path := folder / PYPROJECT).is_file()), None)
    return _of_file(found) if found is not None else []


def _of_file(path: Path) -> list[Budget]:
    from pgtrace.ask.budget_tables import parse

    try:
        text = text_of(path)
    except OSError as error:
        raise BudgetError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BudgetError(str(path), "not TOML: it is not UTF-8") from None
    return parse(text, str(path))
