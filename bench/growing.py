"""Large captures, made by copying a recorded one: the same connections over and over, each copy later and under numbers of its own.

    python -m bench.growing RECORDED OUT MEGABYTES

The bytes, their times within a copy and the blocks are the recorder's own; only connection numbers,
times and wall clocks move on. So every copy counts the same, and the counters of the large capture
are those of the small one times the number of copies: a reading that loses something shows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, End, Fact, Gap, Made, Opaque, Open, Record, Rewrite
from pgtrace.capture.writer import CaptureWriter

PAUSE_NS = 1_000_000
"""Between two copies."""
_OF_CONNECTIONS = (Data, Open, Close, Fact, Opaque, Made, Rewrite, Gap)


def grow(recorded: Path, out: Path, size_bytes: int) -> int:
    """Write copies until the capture has that size; how many it holds."""
    with CaptureReader(recorded) as reader:
        header = reader.header
        flushes: list[list[Record]] = []
        while blocks := reader.read():
            flushes += [[record for record in block.records if type(record) in _OF_CONNECTIONS] for block in blocks]
    records = [record for flush in flushes for record in flush]
    span_ns = records[-1].time_ns - records[0].time_ns + PAUSE_NS
    connections = max(record.connection for record in records if type(record) is Open)
    copies = 0
    with CaptureWriter(out, exclusive=False, header=header) as writer:
        while writer.offset < size_bytes:
            for flush in flushes:
                writer.write([_moved(record, copies * span_ns, copies * connections) for record in flush])
            copies += 1
        writer.write([End(records[-1].time_ns + copies * span_ns)])
    return copies


def _moved(record: Record, later_ns: int, further: int) -> Record:
    if type(record) is Data:
        time_ns, connection, side, offset, data = record
        return Data(time_ns + later_ns, connection + further, side, offset, data)
    moved = record._replace(time_ns=record.time_ns + later_ns, connection=record.connection + further)
    return moved._replace(wall_ns=moved.wall_ns + later_ns) if type(moved) is Open else moved


if __name__ == "__main__":
    sys.exit(print(grow(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) << 20), "copies"))
