"""Shared by the workloads: where to connect, the tables, the values.

Each driver's file has its own SQL with its own placeholders, since that is what you want to see
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """The address and user with which a workload connects."""

    host: str
    """A name or an address, or the directory of a Unix socket."""
    port: int
    user: str
    password: str
    database: str
    schema: str = ""
    """The schema of the tables, if they are not in the user's own search_path."""

    @property
    def options(self) -> str:
        """libpq's parameter of that name, for the schema."""
        return f"-c search_path={self.schema}" if self.schema else ""

    @property
    def settings(self) -> dict[str, str] | None:
        """The same for a driver that takes the parameters of its StartupMessage one by one."""
        return {"search_path": self.schema} if self.schema else None

    @property
    def channel(self) -> str:
        """The channel of its notifications: nobody else's."""
        return self.schema or CHANNEL


SCHEMA: Final = """
create table item (id int primary key, name text not null, price numeric(10, 2) not null, tags text[] not null, added timestamptz not null);
insert into item select n, 'item ' || n, n * 1.25, array['demo', 'nr ' || n],
    '2026-01-01'::timestamptz + n * interval '1 hour' from generate_series(1, 100) n;
create table sale (item int not null references item, quantity int not null, note text);
"""
"""Created once, before the first round. No round changes what another one reads."""

POINTS: Final = tuple(range(1, 11))
"""The ids of the point queries: twice psycopg's prepare_threshold, so that its switch to prepared
statements shows."""
BATCH: Final = tuple((n % 100 + 1, n, f"batch {n}" if n % 4 else None) for n in range(20))
"""The rows of the insert batch; every fourth has a NULL."""
COPIED: Final = tuple((n % 100 + 1, n, f"copy {n}") for n in range(50))
"""The rows of the COPY in."""
COPY_TEXT: Final = "".join(f"{item}\t{quantity}\t{note}\n" for item, quantity, note in COPIED)
"""The same rows in COPY's text format, for drivers that read it from a file."""
CHANNEL: Final = "pgtrace_demo"
NOTIFIED_WITHIN_S: Final = 10.0
"""How long a round waits for its own notification."""
