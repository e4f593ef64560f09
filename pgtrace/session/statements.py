"""Prepared statements and portals of a session."""

from __future__ import annotations

from typing import Any, Final


class Statement:
    """A prepared statement, or the SQL of a simple Query."""

    __slots__ = ("accepted", "binds", "columns", "name", "note", "parameter_types", "query_crc", "sent_types", "simple", "sql")

    def __init__(self, name: str, sql: str | None, parameter_types: tuple[int, ...] = (), *, simple: bool = False) -> None:
        self.name = name
        self.sql = sql
        """None if it was prepared earlier, i.e. its Parse was not seen."""
        self.sent_types = parameter_types
        """The type OIDs in Parse."""
        self.parameter_types = parameter_types
        """The type OIDs in ParameterDescription once it has arrived; those in Parse before."""
        self.columns = b""
        """The body of the RowDescription that answered its Describe, or empty."""
        self.binds = 0
        """The number of BindCompletes so far."""
        self.accepted = False
        """Whether ParseComplete arrived."""
        self.simple = simple
        self.query_crc: int | None = None
        """CRC-32 of the text of the Query that begins with this statement, which may contain
        comments, semicolons and further statements."""
        self.note: Any = None
        """Free for the observer's use."""


class Portal:
    """A portal: what a Bind makes."""

    __slots__ = ("name", "result_formats", "statement")

    def __init__(self, name: str, statement: Statement, result_formats: tuple[int, ...]) -> None:
        self.name = name
        self.statement = statement
        self.result_formats = result_formats


UNKNOWN_STATEMENT: Final = Statement("", None)
FUNCTION_CALL: Final = Statement("", None)
"""The statement of a FunctionCall, which has no SQL."""
