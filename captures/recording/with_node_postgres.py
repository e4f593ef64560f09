"""node-postgres, with pg-copy-streams. Its executemany is 100 executions of a named statement; what it calls a timeout cancels nothing."""

from __future__ import annotations

from captures.recording.programs import node, plays

PLAYS = plays(
    node("node_postgres.js"),
    ("connect", "one_query", "ten_queries", "pipeline", "executemany", "types", "copy_in", "copy_out", "notify", "failure", "pool"),
)
