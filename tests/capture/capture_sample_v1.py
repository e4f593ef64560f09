"""The kept sample of capture version 1: what it holds, and how tests/data/v1.pgtrace was written.

    python tests/capture/capture_sample_v1.py tests/data/v1.pgtrace

The file in tests/data stays as it is for as long as version 1 is read. RECORDS names what has to come out of it.
"""

from __future__ import annotations

import sys

from pgtrace.capture.record import (
    NEITHER,
    Close,
    Data,
    Elided,
    End,
    Fact,
    Gap,
    Made,
    Mark,
    Opaque,
    Open,
    Record,
    Resume,
    Rewrite,
    Setting,
)
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND

HEADER = Header((1, 0), b"\x0b\xad\xf0\x0d", 1_760_000_000_123_456_789, 5_000_000_000, "0.1.0", "workstation")

STARTUP = b"\0\0\0\x22\0\3\0\0user\0alice\0database\0shop\0\0"
GREETING = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0018.0\0K\0\0\0\x0c\0\0\x12\x67\x9c\x01\x3b\x77Z\0\0\0\5I"
QUERY = b"Q\0\0\0\x0dselect 1\0"
ANSWER = b"T\0\0\0\x21\0\1?column?\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\1\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
OFFER = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"

BLOCKS: list[list[Record]] = [
    [
        Setting(5_000_000_000, "rtt", "0"),
        Open(5_001_000_000, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40112", "10.0.0.5:5432", 1_760_000_000_124_456_789),
        Fact(5_001_000_100, 1, "tls.backend", "TLSv1.3"),
        Data(5_001_100_000, 1, FRONTEND, 0, SSL_REQUEST),
        Made(5_001_100_500, 1, 0, b"N"),
        Data(5_001_200_000, 1, FRONTEND, 8, STARTUP),
        Data(5_001_300_000, 1, BACKEND, 1, GREETING),
    ],
    [
        Mark(5_002_000_000, True, "Überprüfung", 1),
        Data(5_002_100_000, 1, FRONTEND, 42, QUERY),
        Data(5_002_200_000, 1, BACKEND, 1 + len(GREETING), ANSWER),
        Mark(5_002_300_000, False, "Überprüfung", 1),
    ],
    [
        Open(5_003_000_000, 2, "unix:/run/pgtrace/.s.PGSQL.6433", "db:5432", "", "", 1_760_000_000_126_456_789),
        Rewrite(5_003_100_000, 2, BACKEND, 0, OFFER, OFFER.replace(b"SCRAM-SHA-256-PLUS\0", b"").replace(b"\x2a", b"\x17")),
        Opaque(5_003_200_000, 2, FRONTEND, 0, 517),
        Elided(5_003_300_000, 1, BACKEND, 1 + len(GREETING) + len(ANSWER), 1000, 35_000, 3000),
        Gap(5_003_400_000, 2, BACKEND, 70_000, 3),
        Gap(5_003_400_000, 0, NEITHER, 0, 12),
        Resume(5_003_500_000, 1, STARTUP, (56, 35_120), GREETING),
        Close(5_003_600_000, 1, FRONTEND, "FIN"),
        Close(5_003_700_000, 2, NEITHER, "pgtrace"),
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
