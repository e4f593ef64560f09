"""lib/pq, by the program go/pq under database/sql. It can neither pipeline nor COPY TO; for
executemany, one prepared statement in a transaction.

The directory is called pq, as the package calls itself (`pq: duplicate key value ...`): lib/pq is no file name.
"""

from __future__ import annotations

from captures.recording.compiled import go
from captures.recording.scenarios import SCENARIOS

PLAYS = go("pq", [scenario for scenario in SCENARIOS if scenario not in ("pipeline", "copy_out")])
