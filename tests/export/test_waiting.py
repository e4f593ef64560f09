"""Lines that wait come out as they went in, however many."""

from __future__ import annotations

import pytest

from pgtrace.export import waiting
from pgtrace.export.waiting import Waiting


@pytest.mark.parametrize("in_memory", [0, 50, 10_000])
def test_lines_come_out_in_their_order(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "IN_MEMORY_BYTES", in_memory)
    monkeypatch.setattr(waiting, "_READ_BYTES", 7)
    lines = [f"line {number}\nü \udcff" for number in range(100)]
    waits = Waiting()
    for _ in range(2):
        for line in lines:
            waits.append(line)
        assert list(waits.taken()) == lines
    assert list(waits.taken()) == []
