"""Rails' ActiveRecord over ruby-pg: what the layer above a driver adds to it."""

from __future__ import annotations

from captures.recording.programs import plays, ruby

PLAYS = {"ruby-pg": plays(ruby("rails.rb", "pg", "active_record"), ("one_query", "ten_queries", "failure"))}
