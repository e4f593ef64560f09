"""The drivers' own tests and SQLAlchemy's: asyncpg and pg8000 bring theirs in the sdist, psycopg's lie in its repository."""

from __future__ import annotations

from dataclasses import dataclass

from tests.suites.suite import PytestSuite
from tests.suites.ways import LATEST, PLAIN, TLS, Target

BUILD = ("setuptools>=77", "wheel")
"""What a package index client needs to say what an sdist is."""

ASYNCPG = PytestSuite(
    name="asyncpg",
    version="0.32.0",
    requirements=("asyncpg==0.32.0", "uvloop", "distro", "cython", *BUILD),
    sdist="asyncpg==0.32.0",
    tree=("tests",),
    # What is left out looks at the source's style, or starts two clusters of its own.
    paths=("tests",),
    options=("--ignore=tests/test__sourcecode.py", "--deselect=tests/test_connect.py::TestConnectionAttributes"),
)

PG8000 = PytestSuite(
    name="pg8000",
    version="1.31.6",
    requirements=(
        *("pg8000==1.31.6", "pytest-mock", "pytest-benchmark", "pytz", "docutils", "hatchling", "versioningit"),
        *BUILD,
    ),
    sdist="pg8000==1.31.6",
    tree=("test", "README.md"),
    # Those of auth/ each want a pg_hba.conf of their own; a benchmark has no outcome.
    paths=("test",),
    options=("--ignore-glob=*/auth/*", "--ignore-glob=*benchmarks*"),
    setup="create extension hstore",
)


@dataclass(frozen=True, kw_only=True)
class Psycopg(PytestSuite):
    """Takes a connection string as an option."""

    def parameters(self, target: Target) -> list[str]:
        latest = " max_protocol_version=latest" if target.way.latest else ""
        login = f"user={target.user} password={target.password} dbname={target.database}"
        return ["--test-dsn", f"host={target.host} port={target.port} {login} sslmode={target.sslmode}{latest}"]


PSYCOPG = Psycopg(
    name="psycopg",
    version="3.3.4",
    ways=(PLAIN, TLS, LATEST),
    requirements=("psycopg[binary]==3.3.4", "psycopg-pool==3.3.1", "anyio", "pproxy"),
    repository="https://github.com/psycopg/psycopg",
    tag="3.3.4",
    tree=("tests", "pyproject.toml"),
    # What is left out asks the clock (the pool's mostly do), mypy, another database, the garbage
    # collector; or differs in the value alone (types/: thousands).
    paths=("tests",),
    options=(
        *("-m", "not slow and not timing and not mypy and not refcount and not crdb"),
        *(f"--ignore=tests/{name}" for name in ("crdb", "pool", "types", "test_typing.py", "test_adapt.py")),
    ),
)


@dataclass(frozen=True, kw_only=True)
class SQLAlchemy(PytestSuite):
    """One driver under SQLAlchemy's tests of the dialect."""

    driver: str

    def parameters(self, target: Target) -> list[str]:
        return ["--dburi", f"postgresql+{self.driver}:{target.url}"]


def _sqlalchemy(driver: str, *requirements: str) -> SQLAlchemy:
    return SQLAlchemy(
        name=f"sqlalchemy-{driver}",
        version="2.1.9",
        driver=driver,
        requirements=("sqlalchemy[asyncio]==2.1.9", *requirements, "cython", *BUILD),
        sdist="sqlalchemy==2.1.9",
        tree=("test", "lib", "setup.cfg", "pyproject.toml"),
        paths=("test/dialect/test_suite.py", "test/dialect/postgresql", "test/engine"),
        options=("-m", "not memory_intensive"),
        setup="create schema test_schema; create schema test_schema_2; create extension hstore; create extension citext",
    )


SUITES = (
    ASYNCPG,
    PG8000,
    PSYCOPG,
    _sqlalchemy("asyncpg", "asyncpg==0.32.0"),
    _sqlalchemy("psycopg", "psycopg[binary]==3.3.4"),
    _sqlalchemy("pg8000", "pg8000==1.31.6"),
)
