"""The server as the oracle: the same values in both formats, as PostgreSQL itself sends them."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import pq

from pgtrace.protocol import values

SETTINGS = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET lc_monetary = 'C'"


def both_formats(
    connection: psycopg.Connection, sql: str, parameters: Sequence[bytes] = (), types: Sequence[int] = ()
) -> list[tuple[int, bytes | None, bytes | None]]:
    """Type and both forms of every value of the first column; the parameters are text where they have no type, else binary."""
    results = []
    for form in (pq.Format.TEXT, pq.Format.BINARY):
        result = connection.pgconn.exec_params(
            sql.encode(),
            parameters,
            param_types=types or None,
            param_formats=[pq.Format.BINARY] * len(types) or None,
            result_format=form,
        )
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise psycopg.DataError(f"{sql}: {result.error_message.decode()}")
        results.append(result)
    text, binary = results
    return [(text.ftype(0), text.get_value(row, 0), binary.get_value(row, 0)) for row in range(text.ntuples)]


def array_literal(items: Sequence[str | None]) -> bytes:
    """A text[] literal."""
    quoted = ("NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return f"{{{','.join(quoted)}}}".encode()


def accepted(connection: psycopg.Connection, name: str, literals: Sequence[str]) -> list[str]:
    """Those that the server takes for that type."""
    rows = both_formats(
        connection, f"SELECT CASE WHEN pg_input_is_valid(x, '{name}') THEN x END FROM unnest($1::text[]) x", [array_literal(literals)]
    )
    return [text.decode() for _, text, _ in rows if text is not None]


def assert_same(connection: psycopg.Connection, sql: str, parameters: Sequence[bytes] = (), types: values.Types = values.NONE) -> int:
    """Binary is decoded to the text the server sends, and nothing is left unread. The number of values compared."""
    rows = both_formats(connection, sql, parameters)
    for oid, text, binary in rows:
        assert values.text(oid, 1, binary, types) == (None if text is None else text.decode("utf-8", "surrogateescape")), (sql, oid, binary)
        assert values.decode(oid, 1, binary, types) == values.decode(oid, 0, text, types)
    return len(rows)
