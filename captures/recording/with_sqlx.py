"""sqlx for Rust, by the program rust/src/bin/sqlx.rs. It can neither pipeline nor cancel."""

from __future__ import annotations

from captures.recording.compiled import rust
from captures.recording.scenarios import SCENARIOS

PLAYS = rust("sqlx", [scenario for scenario in SCENARIOS if scenario not in ("pipeline", "cancel")])
