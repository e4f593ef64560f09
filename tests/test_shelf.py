"""What does not fit into memory is the same when it comes back, in whatever order it went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.shelf import Shelf, Shelved, loaded, number_key, stored


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    made.close()


def test_nothing_is_there_before_something_is_put(shelf: Shelf) -> None:
    room = shelf.room()
    assert (shelf.get(room, b"a"), shelf.before(room, b"a"), list(shelf.values(room))) == (None, None, [])


def test_rooms_are_apart(shelf: Shelf) -> None:
    first, second = shelf.room(), shelf.room()
    shelf.put(first, b"key", b"one")
    shelf.put(second, b"key", b"two")
    shelf.put(first, b"key", b"three")
    assert (shelf.get(first, b"key"), shelf.get(second, b"key")) == (b"three", b"two")
    assert list(shelf.values(first)) == [b"three"]
    assert shelf.before(second, b"kez") == b"two"
    assert shelf.before(second, b"key") is None


@given(st.dictionaries(st.integers(0, 2**63), st.binary(max_size=20), max_size=30), st.integers(0, 2**63))
def test_values_come_in_the_order_of_their_numbers(entries: dict[int, bytes], limit: int) -> None:
    shelf = Shelf()
    room = shelf.room()
    for number, value in entries.items():
        shelf.put(room, number_key(number), value)
    assert list(shelf.values(room)) == [entries[number] for number in sorted(entries)]
    below = [number for number in entries if number < limit]
    assert shelf.before(room, number_key(limit)) == (entries[max(below)] if below else None)
    shelf.close()


@given(st.lists(st.tuples(st.text(max_size=3), st.integers()), max_size=40), st.integers(1, 5))
def test_a_shelved_dictionary_is_one(entries: list[tuple[str, int]], most: int) -> None:
    """However few stay in memory, the latest value of each key is found."""
    shelf = Shelf()
    shelved, plain = Shelved[str, int](shelf, most), dict[str, int]()
    for key, value in entries:
        shelved[key] = plain[key] = value
        assert len(shelved._here) <= most
        assert {one: shelved.get(one) for one in plain} == plain
    assert shelved.get("not there") is None
    shelf.close()


@given(st.dictionaries(st.text(max_size=3), st.lists(st.integers() | st.none() | st.binary(max_size=4), max_size=4)))
def test_what_is_stored_is_loaded(value: object) -> None:
    assert loaded(stored(value)) == value
