"""postgres.js. Its executemany is one INSERT of many rows."""

from __future__ import annotations

from captures.recording.programs import node, plays

PLAYS = plays(
    node("postgres_js.js"),
    (
        "connect",
        "one_query",
        "ten_queries",
        "pipeline",
        "executemany",
        "types",
        "copy_in",
        "copy_out",
        "notify",
        "failure",
        "cancel",
        "pool",
    ),
)
