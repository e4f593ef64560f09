"""Programs with a finding, and the same with the remedy, in other languages: those of captures/recording that end in `remedies`.

Each is built, and run as `program NAME [remedied]`. NAME is that of the remedy (Remedy.tried).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from captures.recording.compiled import go, rust
from captures.recording.programs import java, node, plays
from captures.recording.scenarios import Play, Target

POOLED: Final = {
    "pgx-modes": 2,
    "pgx-modes-42P05": 1,
    "pgx-newer": 2,
    "pgx-newer-42P05": 1,
    "pgx-cache-describe": 1,
    "pgjdbc-threshold": 2,
    "pgjdbc-threshold-42P05": 1,
    "pgjdbc-newer": 2,
    "pgjdbc-newer-42P05": 1,
    "sqlx-newer": 2,
    "sqlx-newer-42P05": 1,
}
"""Server connections of a PgBouncer in between, for those that need one."""
POOLER: Final = "ignore_startup_parameters = extra_float_digits\n"
"""Without it PgBouncer refuses sqlx."""
CLIENTS: Final = ("pgx", "pgjdbc", "node-postgres", "sqlx")


def program(client: str, name: str, *, remedied: bool) -> Play:
    """The program of that remedy; raises Unavailable if its language is not installed."""
    scenario = f"{name} remedied" if remedied and "newer" not in name else name
    found: Mapping[str, Play]
    match client:
        case "pgx":
            found = go("pgx_remedies", [scenario])
        case "sqlx":
            found = rust("sqlx_remedies", [scenario])
        case "pgjdbc":
            found = plays(java("PgjdbcRemedies"), [scenario])
        case _:
            found = plays(node("node_postgres_remedies.js"), [scenario])
    return found[scenario]


def target(url: str) -> Target:
    parts = urlsplit(url)
    return Target(parts.hostname or "", parts.port or 0, parts.username or "", parts.password or "", parts.path[1:])
