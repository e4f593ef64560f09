"""Which message of which family CopyData is, and where its fields lie. Layouts and mutants of every class are in test_messages.py."""

from __future__ import annotations

import pytest

from pgtrace.protocol import replication
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.primitives import Field
from pgtrace.protocol.replication import Family, Moment, SubMessage, WalPosition, base_backup, pgoutput, streaming
from tests.protocol.message_mutants import mutants

each_class = pytest.mark.parametrize("kind", replication.MESSAGES, ids=lambda kind: f"{kind.__module__.rpartition('.')[2]}-{kind.__name__}")


def family_of(kind: type[SubMessage]) -> Family:
    return next(family for family in Family if kind in family.value)


@each_class
def test_a_message_is_found_by_its_family_side_and_first_byte(kind: type[SubMessage]) -> None:
    wire = kind.parse(kind.EXAMPLE).wire()
    assert wire == bytes([kind.code]) + kind.EXAMPLE
    assert replication.find(family_of(kind), kind.side, wire) is kind
    assert replication.find(family_of(kind), 1 - kind.side, wire) is not kind


@each_class
def test_spans_cover_the_message_from_where_it_begins(kind: type[SubMessage]) -> None:
    """Whatever the bytes, with a type byte before them and something else before that."""
    for body in (kind.EXAMPLE, *mutants(kind.EXAMPLE, f"inside {kind.__name__}", 100)):
        for in_stream in (False, True):
            data = b"before" + bytes([kind.code]) + body
            fields = replication.spans(kind, data, start=6, depth=1, in_stream=in_stream)
            assert fields[0] == Field("type", kind.NAME, "Byte1", 6, 7, 1)
            assert [field.start for field in fields[1:]] == [field.end for field in fields[:-1]]
            assert fields[-1].end == len(data)


def test_one_byte_means_something_else_in_each_family() -> None:
    assert replication.find(Family.STREAMING, FRONTEND, b"p") is streaming.PrimaryStatusRequest
    assert replication.find(Family.STREAMING, BACKEND, b"p") is None
    assert replication.find(Family.BASE_BACKUP, BACKEND, b"p") is base_backup.ProgressReport
    assert replication.find(Family.PGOUTPUT, BACKEND, b"p") is pgoutput.StreamPrepare
    assert replication.find(Family.PGOUTPUT, BACKEND, b"A") is pgoutput.StreamAbort
    assert replication.find(Family.PGOUTPUT_PARALLEL, BACKEND, b"A") is pgoutput.ParallelStreamAbort
    assert replication.find(Family.PGOUTPUT, BACKEND, b"") is None


def test_a_streamed_change_has_its_transaction_before_it() -> None:
    change = b"I\0\0\3\x0b" + pgoutput.Insert.EXAMPLE
    assert replication.spans(pgoutput.Insert, change, in_stream=True)[:3] == [
        Field("type", "Insert", "Byte1", 0, 1, 0),
        Field("xid", 779, "Int32", 1, 5, 0),
        Field("relation_oid", 16385, "Int32", 5, 9, 0),
    ]
    stopped = replication.spans(pgoutput.StreamStop, b"E", in_stream=True)
    assert [field.name for field in stopped] == ["type"]
    assert replication.spans(pgoutput.Insert, b"I\0", in_stream=True)[-1].name == "malformed"


def test_positions_and_moments_are_written_as_the_server_writes_them() -> None:
    assert [str(WalPosition(position)) for position in (0, 0x1A2B3C4, 0x100000028, 2**64 - 1)] == [
        "0/0", "0/1A2B3C4", "1/28", "FFFFFFFF/FFFFFFFF",
    ]  # fmt: skip
    assert str(Moment(0)) == "2000-01-01 00:00:00+00"
    assert str(Moment(813_751_269_621_150)) == "2025-10-14 10:01:09.62115+00"
    assert str(Moment(2**63 - 1)) == "infinity"
    assert Moment(7) + WalPosition(1) == 8


def test_an_old_row_is_optional_in_an_update_alone() -> None:
    update = pgoutput.Update.parse(b"\0\0\0\1N\0\0")
    assert update.old is None
    assert update.build() == b"\0\0\0\1N\0\0"
    with pytest.raises(MalformedMessage, match="instead of b'K' or b'O'"):
        pgoutput.Delete.parse(b"\0\0\0\1N\0\0")
