"""Budgets in TOML: the tables, and where a file is wrong."""

from __future__ import annotations

import pytest

from pgtrace.ask.budget_tables import parse
from pgtrace.ask.budgets import Budget
from pgtrace.errors import BudgetError

TABLES = """
round_trips = 40
frontend_messages.Parse = 1
[marks.test_checkout]
round_trips = 4
errors = 0
exact = true
[marks."*"]
errors = 1
[drivers.asyncpg]
backend_messages = {DataRow = 10}
[statements."SELECT 1"]
parses = 1
"""


def test_every_table_is_budgets() -> None:
    assert parse(TABLES, "budgets.toml") == [
        Budget("round_trips", 4, True, "mark", "test_checkout", "budgets.toml: marks.test_checkout"),
        Budget("errors", 0, True, "mark", "test_checkout", "budgets.toml: marks.test_checkout"),
        Budget("errors", 1, False, "mark", "*", 'budgets.toml: marks."*"'),
        Budget("backend_messages.DataRow", 10, False, "driver", "asyncpg", "budgets.toml: drivers.asyncpg"),
        Budget("parses", 1, False, "statement", "SELECT 1", 'budgets.toml: statements."SELECT 1"'),
        Budget("round_trips", 40, where="budgets.toml"),
        Budget("frontend_messages.Parse", 1, where="budgets.toml"),
    ]


def test_a_pyproject_has_them_below_its_own_table() -> None:
    text = "[project]\nname = 'shop'\n[tool.pgtrace.budgets.marks.a]\nerrors = 0\n"
    assert parse(text, "/shop/pyproject.toml") == [
        Budget("errors", 0, about="mark", name="a", where="/shop/pyproject.toml: tool.pgtrace.budgets.marks.a")
    ]
    assert parse("[tool.ruff]\n", "pyproject.toml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round_trips = x\nerrors = 0", "a.toml: not valid TOML: Invalid value (at line 1, column 15)"),
        ("round_trip = 4", "a.toml: round_trip: unknown counter 'round_trip'; did you mean round_trips, "),
        ("[mark.x]\nerrors = 0", "a.toml: mark: no such table; did you mean marks?"),
        ("[zzz.x]\nerrors = 0", "a.toml: zzz: no such table: the tables are drivers, marks, statements"),
        ("marks = 4", "a.toml: marks: 4 is not a table of counters"),
        ("[marks]\nerrors = 0", "a.toml: marks.errors: 0 is not a table of counters"),
        ("[marks.a]\nerrors = true", "a.toml: marks.a.errors: True is not a limit: use a whole number, 0 or more"),
        ("[marks.a]\nerrors = -1", "a.toml: marks.a.errors: -1 is not a limit"),
        ("[marks.a]\nerrors = '1'", "a.toml: marks.a.errors: '1' is not a limit"),
        ("[marks.a]\nexact = 1", "a.toml: marks.a.exact: 1 must be true or false"),
        ('[marks."a b"]\nbinds.x = 1', "a.toml: marks.\"a b\".binds: {'x': 1} is not a limit"),
        ("[statements.x]\nwait_ns = 1", "a.toml: statements.x.wait_ns: unknown counter 'wait_ns' for a statement"),
        ("frontend_messages.Pars = 1", "a.toml: frontend_messages.Pars: 'Pars' is not a message in frontend_messages; did you mean "),
        ("frontend_messages = 1", "a.toml: frontend_messages: frontend_messages is counted by message"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse(text, "a.toml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["tool = 4", "[tool]\npgtrace = 4", "[tool.pgtrace]\nbudgets = 4"])
def test_a_pyproject_with_something_else_in_their_place_is_wrong_only_there(text: str) -> None:
    if "budgets" not in text:
        assert parse(text, "pyproject.toml") == []
        return
    with pytest.raises(BudgetError, match=r"tool\.pgtrace\.budgets: 4 is not a table"):
        parse(text, "pyproject.toml")
