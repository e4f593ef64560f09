"""pgjdbc 42.7; its pool is HikariCP."""

from __future__ import annotations

from captures.recording.programs import java, plays

PLAYS = plays(
    java("Pgjdbc"),
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
