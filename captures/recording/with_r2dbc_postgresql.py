"""r2dbc-postgresql; its pool is r2dbc-pool. It has no COPY TO STDOUT, and sends no query before the last one's reply is complete."""

from __future__ import annotations

from captures.recording.programs import java, plays

PLAYS = plays(
    java("R2dbc"),
    ("connect", "one_query", "ten_queries", "executemany", "types", "copy_in", "notify", "failure", "cancel", "pool"),
)
