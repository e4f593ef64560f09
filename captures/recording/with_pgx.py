"""pgx, by the program go/pgx: its own interface and pgxpool. It has no executemany of its own; a Batch is what its users take."""

from __future__ import annotations

from captures.recording.compiled import go
from captures.recording.scenarios import SCENARIOS

PLAYS = go("pgx", SCENARIOS)
