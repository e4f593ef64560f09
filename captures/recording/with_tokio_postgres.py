"""tokio-postgres, by the program rust/src/bin/tokio_postgres.rs. It has no pool of its own; its pipeline is futures polled together."""

from __future__ import annotations

from captures.recording.compiled import rust
from captures.recording.scenarios import SCENARIOS

PLAYS = rust("tokio_postgres", [scenario for scenario in SCENARIOS if scenario != "pool"])
