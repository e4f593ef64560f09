"""What a connection does not show itself: a cancel has its session's driver, and a process has one layer."""

from __future__ import annotations

from pathlib import Path

from pgtrace.capture import peer
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Fact, Open, Record
from pgtrace.capture.writer import CaptureWriter
from tests.traces import fully_read

CAPTURES = Path(__file__).parents[2] / "captures"


def test_a_cancel_has_the_driver_of_its_session() -> None:
    for name in ("asyncpg", "pgjdbc", "postgres.js"):
        trace = fully_read(CAPTURES / name / "cancel.pgtrace")
        cancels = [connection for connection in trace.connections if connection.kind == "cancel"]
        assert cancels
        assert {connection.driver for connection in cancels} == {name}
        assert {connection.driver_evidence for connection in cancels} == {("its CancelRequest has the key of a session of that driver",)}
        assert sum(number for driver, number, _ in trace.drivers() if driver == name) == len(trace.connections)
        trace.close()


HIBERNATE = CAPTURES / "hibernate+pgjdbc" / "one_query.pgtrace"


def of_processes(path: Path, processes: list[int]) -> Path:
    """Two connections of Hibernate's, of which one shows it, said to be those of these processes."""
    with CaptureReader(HIBERNATE) as reader, CaptureWriter(path) as writer:
        for block in reader.read():
            records: list[Record] = []
            for record in block.records:
                records.append(record)
                if isinstance(record, Open):
                    pid = processes[(record.connection - 1) % len(processes)]
                    records.append(Fact(record.time_ns, record.connection, peer.KEY, f"{pid} java"))
            writer.write(records)
    return path


def layers(path: Path) -> list[str]:
    trace = fully_read(path)
    found = [connection.layer.name for connection in trace.connections if connection.kind == "session"]
    trace.close()
    return found


def test_all_connections_of_a_process_have_its_layer(tmp_path: Path) -> None:
    assert layers(HIBERNATE) == ["", "hibernate"]
    assert layers(of_processes(tmp_path / "one.pgtrace", [4711])) == ["hibernate", "hibernate"]
    assert layers(of_processes(tmp_path / "two.pgtrace", [4711, 4712])) == ["", "hibernate"]
