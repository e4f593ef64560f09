"""EXPLAIN of a recorded statement with its recorded parameters, on its own connection.

The SQL came over the wire and may be anything. There are four safeguards, none of which parses it:

- It goes through the extended protocol, which takes one statement and none after a `;`, following
  `EXPLAIN (...)` with its options in parentheses, where only a statement is allowed: whatever it
  is, it is explained.
- The transaction is READ ONLY, has a statement_timeout of TIMEOUT_S, and is always rolled back.
  That does not stop effects outside the transaction (pg_terminate_backend, a function that writes
  through another connection), so ANALYZE, which runs the statement, must be confirmed first.
- Parameters are passed as recorded, bytes with their types and formats, never put into the text.
- The planner calls IMMUTABLE functions, which may call others, and READ ONLY stops neither COPY ...
  TO PROGRAM there nor a write to the server's files. So a role that may run programs or write files
  on the server explains nothing until the user confirms it (Unsure): a superuser, a member of
  pg_execute_server_program or pg_write_server_files, or a role that can become one, because a
  function can RESET ROLE. A throw-away server has nothing to lose, and nothing is confirmed.

If the parameters are not known, the plan is a generic one (PostgreSQL 12) for the statement, which
is prepared and never run. It is the plan for the role, the settings and the data of this
connection, now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgtrace import sqltext
from pgtrace.errors import MissingExtra, PgTraceError, UsageError
from pgtrace.inspect.executed import Executed
from pgtrace.tui.model.keys import NO_EXPLAIN

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

TIMEOUT_S: Final = 5
HOW: Final = f"E {NO_EXPLAIN}: a separate connection for EXPLAIN"
RUNS: Final = "ANALYZE runs the statement, read only and rolled back: press E again to run it"
CONSENT_S: Final = 5.0
"""How long a question waits for its second key, in seconds."""
_POWERFUL: Final = b"""SELECT pg_catalog.bool_or(pg_catalog.pg_has_role(own.name, granted.oid, 'MEMBER'))
  FROM (VALUES (SESSION_USER), (CURRENT_USER)) AS own (name), pg_catalog.pg_roles AS granted
 WHERE granted.rolsuper OR granted.rolname OPERATOR(pg_catalog.=) ANY ('{pg_execute_server_program,pg_write_server_files}')"""
"""A query: whether this role can do things that no transaction undoes, or become a role that can.
"""


class Unsure(PgTraceError):
    """The connection's role can do things that READ ONLY does not prevent, so the user must confirm
    before anything is planned.
    """

    def __init__(self, role: str) -> None:
        super().__init__(f"press E again to explain as {role}, who may run programs on the server")


def explain(dsn: str, one: Executed, *, analyze: bool = False, sure: bool = False) -> list[str]:
    """The lines of the plan. Blocks as long as the server takes. Raises PgTraceError, MissingExtra;
    Unsure unless `sure`."""
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
        if not sure and _is_powerful(connection):
            raise Unsure((connection.user or b"").decode("utf-8", "surrogateescape"))
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
        connection.finish()  # this rolls back


def _is_generic(one: Executed, *, analyze: bool) -> bool:
    """Whether the plan is made without the parameters."""
    if not one.sql or not one.sql.strip():
        raise PgTraceError("there is no statement whose SQL is known")
    generic = one.parameters is None and any(token.kind == "parameter" for token in sqltext.scan(one.sql))
    if generic and analyze:
        raise PgTraceError(f"{one.missing}: it cannot be run")
    return generic


def _is_powerful(connection: PGconn) -> bool:
    """Whether the connection's role can do things that READ ONLY does not prevent; True if the
    server (not PostgreSQL) cannot say.
    """
    try:
        return _texts(_run(connection, _POWERFUL)) != ["f"]
    except PgTraceError:
        return True


def _generic(connection: PGconn, sql: bytes) -> list[str]:
    """The plan for any parameters: the statement is prepared for it, and not run."""
    _run(connection, b"SET LOCAL plan_cache_mode = force_generic_plan")
    _run(connection, b"PREPARE pgtrace AS %b" % sql)
    (count,) = _texts(_run(connection, b"SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'pgtrace'"))
    nulls = ", ".join(["NULL"] * int(count))
    return _texts(_run(connection, f"EXPLAIN (FORMAT TEXT) EXECUTE pgtrace({nulls})".encode()))


def _texts(result: PGresult) -> list[str]:
    """The texts in the first column."""
    return [(result.get_value(row, 0) or b"").decode("utf-8", "surrogateescape") for row in range(result.ntuples)]


def _run(
    connection: PGconn,
    command: bytes,
    values: list[bytes | None] | None = None,
    types: list[int] | None = None,
    formats: list[int] | None = None,
) -> PGresult:
    """Run one statement with the extended protocol."""
    from psycopg.pq import ExecStatus

    result = connection.exec_params(command, values or [], types or None, formats or None)
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise PgTraceError(f"EXPLAIN: {_line(result.error_message or connection.error_message)}")
    return result


def _line(message: bytes) -> str:
    """The first line of a message from the server or libpq."""
    lines = message.decode("utf-8", "surrogateescape").strip().splitlines()
    return lines[0].removeprefix("ERROR:  ") if lines else "the connection was lost"
