"""Reads budgets from TOML tables, or reports the place of a mistake.

    round_trips = 40                      # at most, of the whole capture

    [marks.test_checkout]
    round_trips = 4
    exact = true                          # not one less either

    [drivers.asyncpg]
    frontend_messages.Parse = 10

    [statements."SELECT name FROM items WHERE id = $1"]
    parses = 1

The same tables may be in pyproject.toml below `tool.pgtrace.budgets`. The name `*` stands for each
mark, driver or statement without a table for that counter. Any other key is an error, because a
misspelt budget would never fail.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from pgtrace import toml
from pgtrace.ask.budgets import About, Budget, check_counter
from pgtrace.errors import BudgetError

PYPROJECT: Final = "pyproject.toml"
_BELOW: Final = ("tool", "pgtrace", "budgets")
_TABLES: Final[dict[str, About]] = {"drivers": "driver", "marks": "mark", "statements": "statement"}
_EXACT: Final = "exact"


def parse(text: str, path: str) -> list[Budget]:
    """The budgets in a TOML file's text; empty if a pyproject.toml has no such table. Raises
    BudgetError.
    """
    try:
        table: Any = toml.loads(text)
    except ValueError as error:
        raise BudgetError(path, f"not valid TOML: {error}") from None
    keys: tuple[str, ...] = ()
    if PurePath(path).name == PYPROJECT:
        keys = _BELOW
        for key in keys:
            table = table.get(key, {}) if isinstance(table, dict) else {}
    return list(_capture(table, path, keys))


def _capture(table: Any, path: str, keys: tuple[str, ...]) -> Iterator[Budget]:
    """The budgets of the whole capture, and of the tables below it."""
    rest = {}
    for key, value in _mapping(table, path, keys).items():
        if key not in _TABLES:
            rest[key] = value
            continue
        for name, counters in _mapping(value, path, (*keys, key)).items():
            yield from _budgets(counters, path, (*keys, key, name), _TABLES[key], name)
    yield from _budgets(rest, path, keys, "capture", "")


def _budgets(table: Any, path: str, keys: tuple[str, ...], about: About, name: str) -> Iterator[Budget]:
    counters = dict(_mapping(table, path, keys))
    exact = counters.pop(_EXACT, False)
    if not isinstance(exact, bool):
        raise BudgetError(_where(path, *keys, _EXACT), f"{exact!r} must be true or false")
    for counter, limit in _flat(counters):
        where = _where(path, *keys, *counter.split("."))
        if about == "capture" and isinstance(limit, dict):
            close = difflib.get_close_matches(counter, _TABLES, 1, 0.4)
            raise BudgetError(
                where, f"no such table{f'; did you mean {close[0]}?' if close else ': the tables are drivers, marks, statements'}"
            )
        check_counter(counter, about, where)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise BudgetError(where, f"{limit!r} is not a limit: use a whole number, 0 or more")
        yield Budget(counter, limit, exact, about, name, _where(path, *keys))


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The items of a table, with those of nested tables as `frontend_messages.Parse`."""
    for key, value in table.items():
        if isinstance(value, dict) and key.endswith("_messages"):
            yield from ((f"{key}.{name}", limit) for name, limit in value.items())
        else:
            yield key, value


def _mapping(value: Any, path: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BudgetError(_where(path, *keys), f"{value!r} is not a table of counters")
    return value


def _where(path: str, *keys: str) -> str:
    """`pyproject.toml: tool.pgtrace.budgets.marks."a b"`."""
    dotted = ".".join(key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else f'"{key}"' for key in keys)
    return f"{path}: {dotted}" if keys else path
