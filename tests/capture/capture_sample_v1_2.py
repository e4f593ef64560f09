"""The kept sample of capture version 1.2: what it holds beyond version 1.1, and how tests/data/v1.2.pgtrace was written.

python tests/capture/capture_sample_v1_2.py tests/data/v1.2.pgtrace
"""

from __future__ import annotations

import dataclasses
import sys
import zlib

from pgtrace.callsites.notes import WHOLE
from pgtrace.capture.record import CallSite, Data, End, Open, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import capture_sample_v1
from tests.capture.capture_sample_v1 import ANSWER, GREETING, QUERY, STARTUP

HEADER = dataclasses.replace(capture_sample_v1.HEADER, version=(1, 2))

BLOCKS: list[list[Record]] = [
    [
        Open(5_001_000_000, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40112", "10.0.0.5:5432", 1_760_000_000_124_456_789),
        Data(5_001_200_000, 1, FRONTEND, 0, STARTUP),
        Data(5_001_300_000, 1, BACKEND, 0, GREETING),
    ],
    [
        CallSite(5_002_000_000, 4711, 40112, 1, zlib.crc32(b"select 1"), WHOLE, 0, "app/orders.py", 41, "list_orders"),
        Data(5_002_100_000, 1, FRONTEND, 34, QUERY),
        Data(5_002_200_000, 1, BACKEND, len(GREETING), ANSWER),
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
