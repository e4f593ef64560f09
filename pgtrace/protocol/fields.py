"""The fields of ErrorResponse and NoticeResponse: one letter and a text each, in any order.

The letters are those of the manual's chapter "Error and Notice Message Fields". The names are the
manual's too, in snake case, except that the SQLSTATE code is called `sqlstate`. A field with an
unknown letter is kept under that letter: servers and poolers add fields. S may be translated, V
never is (since 9.6).

error_fields() is the tolerant reader for the reading path: it returns what it can from any bytes.
backend.ErrorResponse is the strict one.
"""

from __future__ import annotations

from typing import Final

FIELD_NAMES: Final[dict[str, str]] = {
    "S": "severity",
    "V": "severity_nonlocalized",
    "C": "sqlstate",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "where",
    "s": "schema_name",
    "t": "table_name",
    "c": "column_name",
    "d": "data_type_name",
    "n": "constraint_name",
    "F": "file",
    "L": "line",
    "R": "routine",
}


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse as letter -> text, as far as the body can be
    read. Never raises."""
    fields: dict[str, str] = {}
    for part in body.split(b"\0"):
        if not part:
            break
        fields[chr(part[0])] = part[1:].decode("utf-8", "surrogateescape")
    return fields
