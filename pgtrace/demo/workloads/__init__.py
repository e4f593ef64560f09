"""The demo's work: the same small tasks with every driver, so that only the driver makes a
difference on the wire.

One round, on one new connection in autocommit, is: ten point queries, a batch of twenty inserts in
a transaction, three queries that do not need each other's results, a COPY in and a COPY out, a
LISTEN with a NOTIFY to itself, and an insert that violates a unique key. Each driver does it as its
own manual would, with a pipeline or a batch call if it has one. There is one file per driver.
`VARIANTS` lists what is run, in the order of the table.

The module names begin with `with_` because `asyncpg.py` beside `import asyncpg` would be confusing.
They are imported when used: the drivers are in the `demo` extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from pgtrace.demo.workloads.common import Target
from pgtrace.errors import MissingExtra

Work = Callable[[Target], None]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to use a driver. `name` is its mark; `work` is the function of `module` that does one
    round.
    """

    name: str
    module: str
    work: str

    def load(self) -> Work:
        """The function that does one round. Raises MissingExtra if its driver is not installed."""
        try:
            work: Work = getattr(import_module(f"pgtrace.demo.workloads.{self.module}"), self.work)
        except ImportError as error:
            raise MissingExtra("demo", f"the demo's {self.name} work") from error
        return work


VARIANTS = (
    Variant("asyncpg", "with_asyncpg", "work"),
    Variant("psycopg text", "with_psycopg", "work_text"),
    Variant("psycopg binary", "with_psycopg", "work_binary"),
    Variant("psycopg pipeline", "with_psycopg", "work_pipeline"),
    Variant("psycopg2", "with_psycopg2", "work"),
    Variant("pg8000", "with_pg8000", "work"),
)
BEHIND_POOLER = (Variant("asyncpg", "behind_pooler", "work_asyncpg"), Variant("psycopg", "behind_pooler", "work_psycopg"))
"""What `pgtrace demo pooler` runs."""
