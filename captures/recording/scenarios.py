"""The scenarios every driver plays, as far as it can; what they share: where to connect, the table, the values.

Each scenario is one capture: from its first connection to its last one's end. Nothing of one is
seen by another: the table is filled anew before each. It is made once, since some drivers read its
OIDs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom to connect."""

    host: str
    port: int
    user: str
    password: str
    database: str

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"


Play = Callable[[Target], None]


class Unavailable(Exception):
    """What a driver needs is not on this machine; says what."""


SCENARIOS: Final = {
    "connect": "a connection, and its end",
    "one_query": "one query with a parameter",
    "ten_queries": "the same query ten times, other parameters each time",
    "pipeline": "three queries behind one another without waiting between them",
    "executemany": "100 rows inserted by the driver's executemany",
    "types": "one row of twelve types, sent as parameters and read back",
    "copy_in": "20 rows by COPY FROM STDIN",
    "copy_out": "20 rows by COPY TO STDOUT",
    "notify": "LISTEN, a NOTIFY of its own, and what comes of it",
    "failure": "a transaction in which a unique violation is met and rolled back",
    "cancel": "a statement that takes too long, and is cancelled",
    "pool": "a connection of the driver's own pool taken and given back, three times",
}
"""Name of the capture: what happens in it."""

SCHEMA: Final = """
create table if not exists item (id int primary key, name text not null, price numeric(10, 2));
truncate item;
insert into item select n, 'item ' || n, n * 1.25 from generate_series(1, 20) n;
"""

BATCH: Final = tuple((1000 + n, f"batch {n}", None if n % 7 == 0 else f"{n}.25") for n in range(100))
"""What executemany inserts: id, name, price; every seventh price is NULL."""
COPIED: Final = tuple((2000 + n, f"copied {n}") for n in range(20))
"""What COPY brings in: id, name."""
COPY_TEXT: Final = "".join(f"{number}\t{name}\n" for number, name in COPIED)
CHANNEL: Final = "captures"
TOO_LONG: Final = "select pg_sleep(30)"
