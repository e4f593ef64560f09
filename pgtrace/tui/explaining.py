"""EXPLAIN of a recorded statement with its recorded parameters, on a connection of its own.

The text came over the wire: it may be anything. Three walls stand around it, none of which reads it:

- It goes through the extended protocol, which takes one statement and no second behind a `;`, after `EXPLAIN (...)` with its options in parentheses, behind
  which only a statement may stand: whatever it is, it is explained.
- The transaction is READ ONLY, with a statement_timeout of TIMEOUT_S, and is always rolled back. What has effects outside of transactions
  (pg_terminate_backend, a function that writes through another connection) is not held by that: ANALYZE, which runs the statement, is asked for first.
- Parameters are passed as they were recorded, bytes with their types and formats, never put into the text.

Where the parameters are not known the plan is a generic one (PostgreSQL 12), of the statement prepared and never run. The plan is that
of the role, the settings and the data of this connection, now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgtrace import sqltext
from pgtrace.analysis.executed import Executed
from pgtrace.errors import MissingExtra, PgTraceError, UsageError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

TIMEOUT_S: Final = 5
HOW: Final = "EXPLAIN needs a connection of its own: start pgtrace with --explain-dsn DSN"
RUNS: Final = "ANALYZE runs the statement, read only and rolled back: E again to run it"


def explain(dsn: str, one: Executed, *, analyze: bool = False) -> list[str]:
    """The lines of the plan. Blocks for as long as the server may take. Raises PgTraceError, MissingExtra."""
    try:
        from psycopg import ProgrammingError, pq
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError:
        raise MissingExtra("demo", "EXPLAIN") from None
    generic = _is_generic(one, analyze=analyze)
    try:
        given: dict[str, Any] = {"connect_timeout": TIMEOUT_S, "application_name": "pgtrace"} | conninfo_to_dict(dsn)
        conninfo = make_conninfo(**given)
    except ProgrammingError as error:
        raise UsageError(f"--explain-dsn: {str(error).strip()}") from None
    connection = pq.PGconn.connect(conninfo.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            raise PgTraceError(f"EXPLAIN: {_line(connection.error_message).rpartition(' failed: ')[2]}")
        _run(connection, b"BEGIN READ ONLY")
        _run(connection, f"SET LOCAL statement_timeout = '{TIMEOUT_S}s'".encode())
        sql = (one.sql or "").encode("utf-8", "surrogateescape")
        if generic:
            return _generic(connection, sql)
        values = one.parameters or ()
        types = [one.type_of(place) for place in range(len(values))]
        options = b"FORMAT TEXT, ANALYZE, BUFFERS" if analyze else b"FORMAT TEXT"
        return _texts(_run(connection, b"EXPLAIN (%b) %b" % (options, sql), list(values), types, list(one.formats)))
    finally:
        connection.finish()  # which rolls back


def _is_generic(one: Executed, *, analyze: bool) -> bool:
    """Whether the plan has to do without the parameters."""
    if not one.sql or not one.sql.strip():
        raise PgTraceError("there is no statement whose SQL is known")
    generic = one.parameters is None and any(token.kind == "parameter" for token in sqltext.scan(one.sql))
    if generic and analyze:
        raise PgTraceError(f"{one.missing}: it cannot be run")
    return generic


def _generic(connection: PGconn, sql: bytes) -> list[str]:
    """The plan for any parameters: of a statement that is prepared for it, and not run."""
    _run(connection, b"SET LOCAL plan_cache_mode = force_generic_plan")
    _run(connection, b"PREPARE pgtrace AS %b" % sql)
    (count,) = _texts(_run(connection, b"SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'pgtrace'"))
    nulls = ", ".join(["NULL"] * int(count))
    return _texts(_run(connection, f"EXPLAIN (FORMAT TEXT) EXECUTE pgtrace({nulls})".encode()))


def _texts(result: PGresult) -> list[str]:
    """The first column."""
    return [(result.get_value(row, 0) or b"").decode("utf-8", "surrogateescape") for row in range(result.ntuples)]


def _run(
    connection: PGconn,
    command: bytes,
    values: list[bytes | None] | None = None,
    types: list[int] | None = None,
    formats: list[int] | None = None,
) -> PGresult:
    """One statement in the extended protocol."""
    from psycopg.pq import ExecStatus

    result = connection.exec_params(command, values or [], types or None, formats or None)
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise PgTraceError(f"EXPLAIN: {_line(result.error_message or connection.error_message)}")
    return result


def _line(message: bytes) -> str:
    """The first line of what the server or libpq says."""
    lines = message.decode("utf-8", "surrogateescape").strip().splitlines()
    return lines[0].removeprefix("ERROR:  ") if lines else "the connection was lost"
