"""Packets read in a test: as records, and as what the capture they become counts."""

from __future__ import annotations

import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Any

from pgtrace.capture.pcap import Pcap
from pgtrace.capture.record import Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.trace.trace import Trace
from tests.comparable import comparable

SAMPLES = Path(__file__).parent.parent / "data" / "packets"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.pcap"))


def converted(data: bytes, named: Container[int] = (5432,), piece: int | None = None) -> tuple[list[Record], Pcap]:
    """The records a file becomes, and what read it; fed in pieces of that size."""
    pcap = Pcap(named)
    records: list[Record] = []
    for start in range(0, len(data), piece or max(len(data), 1)):
        records += pcap.feed(data[start : start + (piece or len(data))])
    return records + pcap.finish(), pcap


def counted(data: bytes, named: Container[int] = (5432,)) -> dict[str, Any]:
    """What the capture that a file becomes counts."""
    records, pcap = converted(data, named)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "capture")
        with CaptureWriter(path, header=pcap.header) as writer:
            writer.write(records)
        return counted_capture(path)


def counted_capture(path: Path) -> dict[str, Any]:
    """What a capture counts."""
    trace = Trace.open([path])
    try:
        return comparable(trace)
    finally:
        trace.close()
