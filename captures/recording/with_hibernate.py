"""Hibernate over pgjdbc: what the layer above a driver adds to it."""

from __future__ import annotations

from captures.recording.programs import java, plays

PLAYS = {"pgjdbc": plays(java("Hibernate"), ("one_query", "ten_queries", "failure"))}
