"""PDO with pdo_pgsql, which has no pipeline and no cancel. Its pool is the persistent connection,
its executemany 100 executions of a statement."""

from __future__ import annotations

from captures.recording.programs import php, plays

PLAYS = plays(
    php("pdo_pgsql.php", "pdo_pgsql"),
    ("connect", "one_query", "ten_queries", "executemany", "types", "copy_in", "copy_out", "notify", "failure", "pool"),
)
