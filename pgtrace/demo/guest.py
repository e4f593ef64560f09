"""The demo's work on a server of the user's: in a schema of its own, which is dropped again.

It logs in as libpq would: user, password and database are those of the address, else of its
service, of PGUSER and its like, and of the password file. It needs a role that may create a schema
in that database, no more.

- The schema has a name that nobody else uses. Every driver of the demo gets it as its search_path
  in its StartupMessage, so its SQL finds the demo's tables and none of the user's. It is the
  channel of the demo's notifications, too.
- One connection stays open, past the recorder. It made the schema, and drops it when the work is
  over, whether it ended, failed or was interrupted.
- That connection holds an advisory lock. What a demo left that was killed is a schema with the
  demo's comment whose lock nobody holds: the next demo of the same role drops it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pgtrace.address import Upstream
from pgtrace.conninfo import Address
from pgtrace.demo.workloads.common import SCHEMA
from pgtrace.errors import MissingExtra, PgTraceError

if TYPE_CHECKING:
    from psycopg import Connection

PREFIX: Final = "pgtrace_demo_"
COMMENT: Final = "made by `pgtrace demo`, which drops it when it ends"
_LOCK: Final = 0x70677472
"""The first key of the advisory locks; the second is in the name of the schema."""
_CONNECTED_WITHIN_S: Final = 10
_DROPPED_WITHIN: Final = "10s"
_OF_THE_ADDRESS: Final = frozenset({"service", "user", "password", "passfile", "dbname", "connect_timeout"})
_LEFT: Final = """
select nspname from pg_namespace
where nspname ~ %s and nspowner = (select oid from pg_roles where rolname = current_user) and obj_description(oid, 'pg_namespace') = %s
"""
_NAME: Final = f"^{PREFIX}[0-9a-f]{{7}}$"
_REASON: Final = re.compile(r"(?:FATAL|ERROR): +(.+)")


class GuestError(PgTraceError):
    """The demo cannot work on a server."""

    exit_code: ClassVar[int] = 3

    def __init__(self, upstream: Upstream, reason: str) -> None:
        super().__init__(f"the demo cannot work on {upstream.display}: {reason}")


class Guest:
    """The demo's schema on a server; a context manager. Raises MissingExtra and GuestError."""

    def __init__(self, upstream: Upstream, address: Address | None, on_trouble: Callable[[str], None]) -> None:
        """`address` is what the user typed, with the login. `on_trouble` gets what could not be
        dropped, in words."""
        self.upstream = upstream
        self.schema = f"{PREFIX}{secrets.randbits(28):07x}"
        self.user = self.password = self.database = ""
        self._login = _login(upstream, address, f"-c search_path={self.schema}")
        self._on_trouble = on_trouble
        self._connection: Connection[Any] | None = None

    def __enter__(self) -> Self:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("demo", "the demo") from error
        try:
            connection = self._connection = psycopg.connect(**self._login, autocommit=True)
        except psycopg.Error as error:
            raise GuestError(self.upstream, _refused(error)) from None
        info = connection.info
        self.user, self.password, self.database = info.user, info.password, info.dbname
        # a service or a variable may change meanwhile, and the demo unsets the variables
        self._login |= {"user": info.user, "password": info.password, "dbname": info.dbname}
        try:
            self._drop_leftovers(connection)
            self._make(connection)
        except psycopg.Error as error:  # then nothing was made
            connection.close()
            grant = f"; it needs a schema of its own: GRANT CREATE ON DATABASE {_quoted(self.database)} TO {_quoted(self.user)}"
            hint = grant if isinstance(error, psycopg.errors.InsufficientPrivilege) else ""
            raise GuestError(self.upstream, f"{_first_line(error)}{hint}") from None
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Drop the schema, on a new connection if the server has closed the other one."""
        import psycopg

        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            try:
                _drop(connection, self.schema)
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
                with psycopg.connect(**self._login, autocommit=True) as again:
                    _drop(again, self.schema)
        except psycopg.Error as failure:
            self._on_trouble(f"{_first_line(failure)}; remove what is left with: DROP SCHEMA {self.schema} CASCADE")
        finally:
            connection.close()

    def _make(self, connection: Connection[Any]) -> None:
        """Make the schema and its tables, or nothing."""
        connection.execute("select pg_advisory_lock(%s, %s)", (_LOCK, _key(self.schema)))
        connection.execute("select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'")
        with connection.transaction():
            connection.execute(f"create schema {self.schema}")
            connection.execute(f"comment on schema {self.schema} is '{COMMENT}'")
            connection.execute(SCHEMA)

    @staticmethod
    def _drop_leftovers(connection: Connection[Any]) -> None:
        for (schema,) in connection.execute(_LEFT, (_NAME, COMMENT)).fetchall():
            key = (_LOCK, _key(schema))
            if connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,):
                _drop(connection, schema)
                connection.execute("select pg_advisory_unlock(%s, %s)", key)


def _login(upstream: Upstream, address: Address | None, options: str) -> dict[str, Any]:
    """The conninfo string for libpq, past the recorder: to the same hosts, protected in the same
    way.
    """
    typed = address.everything if address is not None else {}
    settings: dict[str, Any] = {"connect_timeout": _CONNECTED_WITHIN_S} | {key: typed[key] for key in typed if key in _OF_THE_ADDRESS}
    settings |= {
        "host": ",".join(host.name for host in upstream.hosts),
        "hostaddr": ",".join(host.hostaddr or "" for host in upstream.hosts),
        "port": ",".join(str(host.port) for host in upstream.hosts),
        "sslmode": upstream.sslmode,
        "sslnegotiation": upstream.sslnegotiation,
        "sslrootcert": upstream.sslrootcert,
        "sslcert": upstream.sslcert,
        "sslkey": upstream.sslkey,
        "sslpassword": upstream.sslpassword or None,
        "sslcrl": upstream.sslcrl,
        "sslcrldir": upstream.sslcrldir,
        "sslsni": str(int(upstream.sslsni)),
        "ssl_min_protocol_version": upstream.ssl_min_protocol_version or None,
        "ssl_max_protocol_version": upstream.ssl_max_protocol_version or None,
        "requirepeer": upstream.requirepeer,
        "channel_binding": upstream.channel_binding,
        "gssencmode": "disable",
        "options": options,
        "application_name": "pgtrace demo",
    }
    return {key: value for key, value in settings.items() if value is not None}


def _drop(connection: Connection[Any], schema: str) -> None:
    connection.execute(f"set lock_timeout = '{_DROPPED_WITHIN}'")
    connection.execute(f"drop schema if exists {schema} cascade")


def _quoted(name: str) -> str:
    """A name in SQL."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _key(schema: str) -> int:
    """The lock of a schema."""
    return int(schema.removeprefix(PREFIX), 16)


def _refused(error: Exception) -> str:
    """Why the login failed, in the words of the server, or else of libpq."""
    reasons = _REASON.findall(str(error))
    if not reasons:
        reason = _first_line(error).rpartition(" failed: ")[2].removeprefix("fe_sendauth: ")
        hint = "; the login is that of --upstream, PGUSER and PGPASSWORD, or the password file" if "password" in reason else ""
        return f"{reason}{hint}"
    if "startup parameter" in reasons[-1]:
        return f"{reasons[-1]}; a pooler refuses the demo's search_path: name the server behind it"
    return str(reasons[-1])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
