"""The statements of a row, at the top of the inspector.

Each is the application's own text with its own parameter numbers, also if only a Bind of it passed,
or if the server skipped it. Its values come from the Bind. Lines that do not fit are counted; a
separate page shows the whole statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgtrace import sanitise
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import heads
from pgtrace.protocol.codes import BACKEND
from pgtrace.tui.model import cells, figures, highlight
from pgtrace.tui.model.highlight import Runs

LINES: Final = 8
"""The most lines of statements in the inspector."""
VALUE_CELLS: Final = 60
"""The most cells of one value there."""
LOOKED_AT: Final = 20_000
"""The most characters of a statement that are laid out there."""
VALUES_SHOWN: Final = 1_000
STATEMENTS_SHOWN: Final = 1_000
_PARSE, _BIND, _QUERY, _ERROR = map(ord, "PBQE")


@dataclass(slots=True)
class Ran:
    """One statement of a row."""

    place: int
    execution: int
    """Its number in the row, from 1."""
    sql: str = ""
    values: tuple[tuple[str, str], ...] = ()
    """Each parameter and its value."""
    skipped: bool = False
    failed: bool = False

    @property
    def short_values(self) -> tuple[tuple[str, str], ...]:
        """The values, each cut to its room."""
        return tuple((name, cells.cut(value, VALUE_CELLS)) for name, value in self.values)


def ran(messages: Sequence[MessageView], places: Sequence[int]) -> list[Ran]:
    """The statements behind a row's messages, in the order in which they were sent; `places` has
    for each message that of its row."""
    found: dict[tuple[int, int], Ran] = {}
    for view, place in zip(messages, places, strict=True):
        if not view.execution:
            continue
        if view.side == BACKEND:
            if view.code == _ERROR and (place, view.execution) in found:
                found[place, view.execution].failed = True
            continue
        if (place, view.execution) not in found and len(found) >= STATEMENTS_SHOWN:
            continue
        one = found.setdefault((place, view.execution), Ran(place, view.execution))
        one.skipped |= view.skipped
        if view.code == _QUERY:
            one.sql = (heads.strings(view.body, 1) or heads.strings(view.body + b"\0", 1) or ("",))[0]
        elif view.statement is not None and view.statement.sql:
            one.sql = view.statement.sql
        if view.code == _BIND:
            one.values = tuple((field.name, sanitise.text(field.value)) for field in view.fields() if field.depth)[:VALUES_SHOWN]
    return [one for one in found.values() if one.sql]


def index_of(statements: Sequence[Ran], place: int, execution: int) -> int:
    """The index of the statement to which a message of the row at that place belongs; else that of
    the first one that failed, or of the first.
    """
    for index, one in enumerate(statements):
        if (one.place, one.execution) == (place, execution):
            return index
    return next((index for index, one in enumerate(statements) if one.failed), 0)


def lines(statements: Sequence[Ran], first: int, width: int, most: int = LINES, *, in_place: bool = False) -> list[Runs]:
    """The statements from one on, in at most `most` lines; with `in_place`, values instead of
    parameters."""
    made: list[Runs] = []
    for index in range(first, len(statements)):
        if len(made) >= most:
            break
        one = statements[index]
        same = index > first and one.sql == statements[index - 1].sql
        made += _lines(one, _number(statements, index), width, most - len(made), in_place=in_place, same=same)
    return made


def _number(statements: Sequence[Ran], index: int) -> str:
    """`2 of 5`: which of its row's executions that statement is, or which of all statements if
    these are of several rows; empty if it is the only one."""
    is_of_one_row = statements[0].place == statements[-1].place
    return f"{statements[index].execution if is_of_one_row else index + 1} of {len(statements)}" if len(statements) > 1 else ""


def _lines(one: Ran, number: str, width: int, most: int, *, in_place: bool, same: bool) -> list[Runs]:
    """One statement, its label before it and its values after it."""
    label = f"{number}  " if number else ""
    role = "error" if one.failed else "dim"
    before: Runs = ((f" {label}", role),) if label else ((" ", "text"),)
    if one.skipped:
        before = (*before, ("skipped  ", "dim"))
    indent = len(label) + 1
    room = max(20, width - indent - 1)
    values = one.short_values
    if same:
        rows: list[Runs] = [(("the same statement", "dim"),)]
    else:
        rows = list(highlight.wrapped(one.sql[:LOOKED_AT], room - (9 if one.skipped else 0), values if in_place else ()))
    parameters: Runs = ()
    if values and not (in_place and not same):
        parameters = tuple(run for name, value in values for run in ((f"{name} ", "parameter"), (f"{value}  ", "literal")))
    if len(rows) > most or (parameters and len(rows) == most and _wide(rows[-1]) + 3 + _wide(parameters) > room):
        kept = max(1, most - 1)
        left = len(rows) - kept
        rows = rows[:kept]
        least = ">" if len(one.sql) > LOOKED_AT else ""
        more: Runs = ((f"+ {least}{figures.grouped(left)} line{'' if left == 1 else 's'}  ", "dim"), ("S", "you"), (" all of it   ", "dim"))
        if left and most > 1:
            rows.append((*more, *parameters))
        elif most > 1 and parameters:
            rows.append(parameters)
    elif parameters and _wide(rows[-1]) + 3 + _wide(parameters) <= room:
        rows[-1] = (*rows[-1], ("   ", "text"), *parameters)
    elif parameters:
        rows.append(parameters)
    return [(*(before if number == 0 else ((" " * indent, "text"),)), *row) for number, row in enumerate(rows)]


def _wide(runs: Runs) -> int:
    return sum(cells.width(text) for text, _ in runs)


def whole(statements: Sequence[Ran], width: int, *, in_place: bool) -> list[Runs]:
    """The lines of a separate page: every statement as it was written, with all of its values."""
    made: list[Runs] = []
    for index, one in enumerate(statements):
        if index:
            made.append(())
        if len(statements) > 1 or one.skipped:
            head = f"-- {_number(statements, index) or '1'}" + (", skipped by the server" if one.skipped else "")
            made.append(((head, "error" if one.failed else "dim"),))
        if index and one.sql == statements[index - 1].sql:
            made.append((("the same statement", "dim"),))
        else:
            made += highlight.wrapped(one.sql, max(20, width), one.values if in_place else (), as_written=True)
            if len(one.sql) > highlight.LOOKED_AT:
                left = figures.grouped(len(one.sql) - highlight.LOOKED_AT)
                made.append(((f"… {left} characters more: y copies them", "dim"),))
        made += [((f"{name} ", "parameter"), (value, "literal")) for name, value in one.values]
    return made
