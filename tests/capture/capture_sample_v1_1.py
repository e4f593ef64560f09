"""The kept sample of capture version 1.1: what it holds beyond version 1.0, and how tests/data/v1.1.pgtrace was written.

    python tests/capture/capture_sample_v1_1.py tests/data/v1.1.pgtrace

The file in tests/data stays as it is for as long as version 1 is read.
"""

from __future__ import annotations

import dataclasses
import sys

from pgtrace.capture.record import (
    CLOSE_NOTIFY,
    DISK,
    FIN,
    LOST,
    NEITHER,
    PEER,
    RST,
    Close,
    Data,
    End,
    Ended,
    Opaque,
    Open,
    Pause,
    Record,
)  # fmt: skip
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import capture_sample_v1
from tests.capture.capture_sample_v1 import ANSWER, GREETING, QUERY, STARTUP

HEADER = dataclasses.replace(capture_sample_v1.HEADER, version=(1, 1))

_ONE = len(GREETING)
BLOCKS: list[list[Record]] = [
    [
        Open(5_001_000_000, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40112", "10.0.0.5:5432", 1_760_000_000_124_456_789),
        Data(5_001_200_000, 1, FRONTEND, 0, STARTUP),
        Data(5_001_300_000, 1, BACKEND, 0, GREETING),
    ],
    [
        Data(5_002_100_000, 1, FRONTEND, 34, QUERY),
        Ended(5_002_150_000, 1, FRONTEND, FIN),
        Pause(5_002_160_000, 1, BACKEND, True, PEER),
        Data(5_002_200_000, 1, BACKEND, _ONE, ANSWER),
        Pause(5_002_300_000, 0, NEITHER, True, DISK),
        Pause(5_002_310_000, 1, BACKEND, False, PEER),
        Pause(5_002_400_000, 0, NEITHER, False, DISK),
        Ended(5_002_500_000, 1, FRONTEND, RST),
        Close(5_002_600_000, 1, FRONTEND, FIN),
    ],
    [
        Open(5_003_000_000, 2, "unix:/run/pgtrace/.s.PGSQL.6433", "db:5432", "", "", 1_760_000_000_126_456_789),
        Opaque(5_003_200_000, 2, FRONTEND, 0, 517),
        Ended(5_003_300_000, 2, BACKEND, CLOSE_NOTIFY),
        Ended(5_003_400_000, 2, FRONTEND, LOST),
        Close(5_003_500_000, 2, BACKEND, FIN),
        Open(5_003_600_000, 3, "127.0.0.1:6433", "db:5432", "127.0.0.1:40113", "", 1_760_000_000_127_056_789),
        Ended(5_003_700_000, 3, NEITHER, FIN),
        Close(5_003_800_000, 3, NEITHER, "pgtrace"),
    ],
    [End(5_004_000_000)],
]
RECORDS = [record for block in BLOCKS for record in block]


def write(path: str) -> None:
    """Write the sample to a new file."""
    with CaptureWriter(path, header=HEADER) as writer:
        for block in BLOCKS:
            writer.write(block)


if __name__ == "__main__":
    write(sys.argv[1])
