"""The kind of contents that CopyData has after a copy response, derived from the response, the
statement and the server's version.

The contents are rows in one of COPY's formats, a replication stream, a base backup, or unknown
bytes. The slot of a logical stream decides which plugin's messages are inside. If its creation was
not seen, the options of START_REPLICATION identify pgoutput.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.copy_binary import BinaryRows
from pgtrace.protocol.copy_rows import CsvRows, Rows, TextRows
from pgtrace.protocol.replication import Family, base_backup, pgoutput
from pgtrace.sqltext import identifiers
from pgtrace.sqltext.copies import copy_statement
from pgtrace.sqltext.replication import start_replication

COPY_IN: Final = ord("G")
COPY_OUT: Final = ord("H")
COPY_BOTH: Final = ord("W")
_FIRST_WITHOUT_MARKER: Final = 18
"""From this PostgreSQL version on, a line of `\\.` is data in CSV."""

PluginOf = Callable[[str], str | None]
"""The output plugin of a slot, if its creation was seen."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The kind of contents of CopyData after one copy response. Without family and rows, they are
    bytes.
    """

    mode: int
    """COPY_IN, COPY_OUT or COPY_BOTH."""
    family: Family | None = None
    plugin: Family | None = None
    """The family of messages inside XLogData, if it is known."""
    is_logical: bool = False
    rows: Rows | None = None
    """A reader at the beginning of the data."""

    def comes_from(self, side: int) -> bool:
        """Whether that side sends the CopyData."""
        return self.mode == COPY_BOTH or side == (FRONTEND if self.mode == COPY_IN else BACKEND)


def contents(mode: int, response: bytes, sql: str | None, server_major: int, plugin_of: PluginOf) -> Contents:
    """The kind of contents after that response to that statement."""
    if mode == COPY_BOTH:
        return _streaming(sql, plugin_of)
    if mode == COPY_OUT and sql is not None and identifiers(sql, 1) == ["base_backup"]:
        return Contents(mode, Family.BASE_BACKUP if server_major >= base_backup.FIRST_MAJOR else None)
    statement = copy_statement(sql) if sql is not None else None
    if response[:1] == b"\1":
        return Contents(mode, rows=BinaryRows(statement.columns if statement is not None else ()))
    rows: Rows | None = None
    if statement is not None and statement.format == "text":
        rows = TextRows(header=statement.header)
    elif statement is not None and statement.format == "csv":
        marker = mode == COPY_IN and 0 < server_major < _FIRST_WITHOUT_MARKER
        rows = CsvRows(header=statement.header, quote=statement.quote, escape=statement.escape, marker=marker)
    return Contents(mode, rows=rows)


def _streaming(sql: str | None, plugin_of: PluginOf) -> Contents:
    asked = start_replication(sql) if sql is not None else None
    if asked is None or not asked.is_logical:
        return Contents(COPY_BOTH, Family.STREAMING)
    options = dict(asked.options)
    plugin = plugin_of(asked.slot) or ("pgoutput" if options.keys() >= pgoutput.OPTIONS else "")
    family: Family | None = None
    if plugin == "pgoutput":
        family = Family.PGOUTPUT_PARALLEL if options.get("streaming", "") == "parallel" else Family.PGOUTPUT
    return Contents(COPY_BOTH, Family.STREAMING, family, is_logical=True)
