"""What passed on one connection, block by block: nothing of it is missed, and what is only of others is not decoded."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture.blocks import Block
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, Record
from pgtrace.capture.writer import CaptureWriter
from pgtrace.trace import blocks as module
from pgtrace.trace.blocks import Blocks

SYNC = b"S\0\0\0\4"


def written(path: Path, flushes: list[list[Record]]) -> CaptureReader:
    with CaptureWriter(path, exclusive=False) as writer:
        for flush in flushes:
            writer.write(flush)
    return CaptureReader(path)


def positions(reader: CaptureReader) -> list[int]:
    found = []
    while blocks := reader.read():
        found += [block.position for block in blocks]
    return found


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=5), min_size=1, max_size=12), st.integers(1, 6), st.data())
def test_every_piece_of_a_connection(tmp_path_factory, numbers: list[list[int]], wanted: int, data: st.DataObject) -> None:
    flushes: list[list[Record]] = [
        [Data(1000 * place + nth, number, 0, 5 * place, SYNC) for nth, number in enumerate(flush)] for place, flush in enumerate(numbers)
    ]
    with written(tmp_path_factory.mktemp("blocks") / "a.pgtrace", flushes) as reader:
        places = positions(reader)
        blocks = Blocks(reader)
        for _ in range(3):
            first = data.draw(st.integers(0, len(places) - 1))
            expected = [(*item[:1], *item[2:], 0) for flush in flushes[first:] for item in flush if item[1] == wanted]
            assert list(blocks.pieces(places[first], wanted, (5 * first, 0))) == expected


def test_what_others_did_meanwhile_is_not_decoded(tmp_path: Path, monkeypatch) -> None:
    decoded: list[int] = []
    plain = module._Known.__init__
    monkeypatch.setattr(module._Known, "__init__", lambda self, records: (decoded.append(len(records)), plain(self, records))[1])
    others: list[list[Record]] = [[Data(place, 7, 0, 5 * place, SYNC), Data(place, 9, 1, 0, SYNC)] for place in range(1, 200)]
    mine: list[list[Record]] = [[Data(0, 4, 0, 0, b"Q")], *others, [Data(900, 4, 1, 0, b"Z"), Close(901, 4, 0, "FIN")], *others]
    with written(tmp_path / "a.pgtrace", mine) as reader:
        blocks = Blocks(reader)
        first, *_ = positions(reader)
        assert [piece[3] for piece in blocks.pieces(first, 4, (0, 0))] == [b"Q", b"Z"]
    assert decoded == [1, 2]
    assert not Block(0, 0, 0, b"", lambda _payload, _first: []).may_concern(4)
