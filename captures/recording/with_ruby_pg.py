"""ruby-pg; its pool is connection_pool, its executemany 100 executions of a named statement."""

from __future__ import annotations

from captures.recording.programs import plays, ruby

PLAYS = plays(
    ruby("ruby_pg.rb", "pg", "connection_pool"),
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
