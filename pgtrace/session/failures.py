"""What an ErrorResponse says, in what does not depend on the server's language."""

from __future__ import annotations

from typing import Final, NamedTuple

from pgtrace.protocol import fields
from pgtrace.session import owed
from pgtrace.session.owed import Owed

FAILURES_KEPT: Final = 64
"""Of one round trip."""
_ALWAYS: Final = "VFLR"
"""Fields that every error of PostgreSQL's has: the last three always, V since 9.6."""


class Failure(NamedTuple):
    """One ErrorResponse."""

    sqlstate: str
    severity: str = "ERROR"
    routine: str = ""
    """The function of the server that raised it."""
    is_postgres: bool = True
    """Whether it has any of the fields V, F, L and R, which PostgreSQL sends with each: a pooler's own errors have none."""
    asked: str = ""
    """The message that it answers; empty where nothing was asked."""
    name: str = ""
    """The prepared statement or portal which that message is about."""


def failure(body: bytes, item: Owed | None) -> Failure:
    """What an ErrorResponse says that answers that item, or none."""
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
