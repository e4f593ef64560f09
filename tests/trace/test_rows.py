"""The index of the timeline: what is written comes back, by row and by column."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.trace import rows
from pgtrace.trace.row import Label, RowEntry, RowKind, Shape
from pgtrace.trace.rows import Columns, RowIndex

UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
MS = st.floats(min_value=0, width=32, allow_infinity=False) | st.just(math.nan)
ENTRIES = st.builds(
    RowEntry,
    position=UINT64,
    opened_ns=st.integers(-(2**63), 2**63 - 1),
    offsets=st.tuples(UINT64, UINT64),
    connection=UINT32,
    label=st.just(0),
    shape=st.integers(0, 2),
    rows=UINT32,
    duration_ms=MS,
    first_ms=MS,
    sent_bytes=st.integers(0, 2**63),
    received_bytes=st.integers(0, 2**63),
    wait_ns=UINT64,
    effect=UINT32,
    times=UINT32,
    values=UINT64,
)
OF_ONE = {"connections": "connection", "labels": "label", "shapes": "shape", "durations_ms": "duration_ms", "effects": "effect"}
"""Columns with another name than the field of an entry."""


@pytest.fixture
def index() -> Iterator[RowIndex]:
    with closing(RowIndex()) as index:
        yield index


def filled(entries: list[RowEntry]) -> RowIndex:
    """An index of these entries, whose shapes 1 and 2 are a round trip and a gap."""
    index = RowIndex()
    index.shape(Shape(RowKind.ROUND_TRIP, "Q → CZ"))
    index.shape(Shape(RowKind.GAP, ""))
    for entry in entries:
        index.append(entry)
    return index


@given(st.lists(ENTRIES, max_size=20), st.data())
def test_columns_are_what_the_rows_say(entries: list[RowEntry], data: st.DataObject) -> None:
    with closing(filled(entries)) as index:
        count = len(entries)
        places = data.draw(st.lists(st.sampled_from(range(count)), unique=True)) if count else []
        start, stop = data.draw(st.integers(0, count)), data.draw(st.integers(0, count + 2))
        mask = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        everything = index.columns(0, count)
        of_mask = everything.where(mask)
        assert list(of_mask.places) == [place for place in range(count) if mask[place]]
        for some in (
            everything,
            index.columns(start, stop),
            Columns(index, places),
            index.at(sorted(places)),
            of_mask,
            everything.complete,
        ):
            chosen = [index.entry(place) for place in some.places]
            assert [repr(one) for one in chosen] == [repr(entries[place]) for place in some.places]
            for column, field in ((name, OF_ONE.get(name, name)) for name in rows._COLUMNS):
                assert [repr(value) for value in getattr(some, column)] == [repr(getattr(one, field)) for one in chosen], column
            assert some.keys == [(one.connection, one.shape, one.label) for one in chosen]
            assert some.any_open == any(one.is_open for one in chosen)
            assert some.open == [place for place, one in zip(some.places, chosen, strict=True) if one.is_open]
            assert sum(some.alike.values()) == len(some)
            assert list(some.round_trips.places) == [place for place in some.places if entries[place].shape == 1]
        assert list(index.columns(start, stop).places) == list(range(start, min(stop, count)))
        assert list(index.at(sorted(places)).places) == sorted(places)
        assert list(everything.complete.places) == [place for place in range(count) if not entries[place].is_open]


def test_rows_that_are_far_apart_are_decoded_alone() -> None:
    with closing(filled([RowEntry(place, place, (0, 0), 0, 0, 1) for place in range(1000)])) as index:
        for places in ([0, 999], list(range(0, 1000, 5)), [17], list(range(40, 90))):
            assert index.at(places).opened_ns == places


def test_an_index_grows_beyond_its_first_size(index: RowIndex) -> None:
    count = 3 * rows._FIRST_ENTRIES
    for place in range(count):
        index.append(RowEntry(place, place, (0, 0), 0, 0, 0))
    assert len(index) == count
    assert index.columns(0, count).opened_ns == list(range(count))
    with pytest.raises(IndexError):
        index[count]


def test_an_index_whose_disk_is_full_goes_on_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its second size on; beyond the bound it is an error in words, no end by a signal."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    allocated = []

    def allocate(descriptor: int, size: int) -> None:
        if allocated:
            raise full
        allocated.append(size)
        os.truncate(descriptor, size)

    monkeypatch.setattr(rows, "_allocate", allocate)
    monkeypatch.setattr(rows, "_MOST_IN_MEMORY", 4 * rows._FIRST_ENTRIES * rows._ENTRY.size)
    with closing(RowIndex()) as index:
        for place in range(4 * rows._FIRST_ENTRIES):
            index.append(RowEntry(place, place, (0, 0), 0, 0, 0))
        assert index.columns(0, len(index)).opened_ns == list(range(4 * rows._FIRST_ENTRIES))
        with pytest.raises(OSError, match="No space left"):
            index.append(RowEntry(0, 0, (0, 0), 0, 0, 0))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take the room at once")
def test_the_room_of_an_index_is_on_the_disk(tmp_path: Path) -> None:
    with (tmp_path / "rows").open("wb") as file:
        rows._allocate(file.fileno(), 1 << 20)
        assert os.fstat(file.fileno()).st_size == 1 << 20
        assert os.fstat(file.fileno()).st_blocks * 512 >= 1 << 20


def test_counts_beyond_their_field_stop_at_its_end(index: RowIndex) -> None:
    place = index.append(RowEntry(0, 0, (0, 0), 0, 0, 0, rows=2**40, times=2**40, values=-1))
    entry = index.entry(place)
    assert (entry.rows, entry.times, entry.values) == (2**32 - 1, 2**32 - 1, 2**64 - 1)
    index.grow(place, 0, 5)
    assert index.entry(place).times == 2**32 - 1


def test_a_row_without_round_trip_grows_by_side(index: RowIndex) -> None:
    place = index.append(RowEntry(0, 7, (1, 2), 3, 0, 0, sent_bytes=10, received_bytes=20, values=9))
    index.grow(place, 0, 5)
    index.grow(place, 1, 70)
    index.grow(place, 1, 1)
    assert index.entry(place) == replace(
        RowEntry(0, 7, (1, 2), 3, 0, 0, sent_bytes=15, received_bytes=91, times=4, values=9),
        duration_ms=pytest.approx(math.nan, nan_ok=True),
        first_ms=pytest.approx(math.nan, nan_ok=True),
    )


def test_a_row_gets_another_label(index: RowIndex) -> None:
    places = [index.append(RowEntry(0, 0, (0, 0), 0, index.label(Label("mark")), 0)) for _ in range(2)]
    index.relabel(places[0], Label("mark ends"))
    assert [index[place].label.sql for place in places] == ["mark ends", "mark"]
