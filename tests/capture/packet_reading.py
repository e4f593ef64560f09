"""Packets read in a test: as records, and as what the capture they become counts."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pgtrace.capture.pcap import Pcap
from pgtrace.capture.record import Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.trace.trace import Trace
from tests.comparable import comparable

SAMPLES = Path(__file__).parent.parent / "data" / "packets"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.pcap"))
MOST_COUNTED = 100
_COUNTED: dict[tuple[Record, ...], dict[str, Any]] = {}


def converted(data: bytes, named: Container[int] = (5432,), piece: int | None = None) -> tuple[list[Record], Pcap]:
    """The records a file becomes, and what read it; fed in pieces of that size. The same packets
    become the same records: what stands for a cancel key is made with a key that is always the same."""
    with patch("os.urandom", bytes):
        pcap = Pcap(named)
    records: list[Record] = []
    for start in range(0, len(data), piece or max(len(data), 1)):
        records += pcap.feed(data[start : start + (piece or len(data))])
    return records + pcap.finish(), pcap


def counted(data: bytes, named: Container[int] = (5432,)) -> dict[str, Any]:
    """What the capture that a file becomes counts; not to be changed, for the same records are
    counted once. Its header counts nothing."""
    records, pcap = converted(data, named)
    key = tuple(records)
    if key not in _COUNTED:
        if len(_COUNTED) >= MOST_COUNTED:
            _COUNTED.pop(next(iter(_COUNTED)))
        with _capture(pcap, records) as path:
            _COUNTED[key] = counted_capture(path)
    return _COUNTED[key]


def round_trips(data: bytes) -> int:
    """The round trips alone of the capture that a file becomes."""
    records, pcap = converted(data)
    with _capture(pcap, records) as path, closing(Trace.open([path])) as trace:
        while trace.update():
            continue
        return trace.totals().round_trips


@contextmanager
def _capture(pcap: Pcap, records: Iterable[Record]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "capture")
        with CaptureWriter(path, header=pcap.header) as writer:
            writer.write(records)
        yield path


def counted_capture(path: Path) -> dict[str, Any]:
    """What a capture counts."""
    trace = Trace.open([path])
    try:
        return comparable(trace)
    finally:
        trace.close()
