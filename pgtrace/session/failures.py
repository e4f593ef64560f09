"""The parts of an ErrorResponse that do not depend on the server's language."""

from __future__ import annotations

from typing import Final, NamedTuple

from pgtrace.protocol import fields
from pgtrace.session import owed
from pgtrace.session.owed import Owed

FAILURES_KEPT: Final = 64
"""The most errors of one round trip that are kept."""
_ALWAYS: Final = "VFLR"
"""Fields that every PostgreSQL error has: V since 9.6, the others always."""


class Failure(NamedTuple):
    """One ErrorResponse."""

    sqlstate: str
    severity: str = "ERROR"
    routine: str = ""
    """The function in the server that raised the error."""
    is_postgres: bool = True
    """Whether the error has any of the fields V, F, L and R, which PostgreSQL always sends. A
    pooler's own errors have none of them."""
    asked: str = ""
    """The name of the message that the error answers; empty if it answers none."""
    name: str = ""
    """The prepared statement or portal of that message."""


def failure(body: bytes, item: Owed | None) -> Failure:
    """The failure in an ErrorResponse that answers `item`, or no item."""
    said = fields.error_fields(body)
    severity = said.get("V", said.get("S", ""))
    name = ""
    if item is not None:
        named = item.kind in (owed.PARSE, owed.BIND) and item.statement is not None
        name = item.statement.name if named and item.statement is not None else item.name or item.portal
    return Failure(
        said.get("C", "")[:5],
        severity[:10],
        said.get("R", "")[:100],
        is_postgres=any(letter in said for letter in _ALWAYS),
        asked=owed.NAMES[item.kind] if item is not None else "",
        name=name[:200],
    )
