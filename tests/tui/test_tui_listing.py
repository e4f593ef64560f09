"""Folds and filters: which rows have a line, and where a row is found again."""

from __future__ import annotations

import pytest

from pgtrace.trace.connection import Connection
from pgtrace.trace.row import RowKind
from pgtrace.tui.model.view import View
from tests.wire_recording import Recording, ready


def kinds(view: View) -> list[RowKind]:
    return [view.listing[index].row.shape.kind for index in range(len(view.listing))]


def test_set_up_is_one_line_for_each_connection(view: View) -> None:
    folds = [view.listing[index] for index in range(len(view.listing)) if view.listing[index].folded]
    assert [item.row.connection for item in folds] == [0, 1, 2]
    assert [len(item.rows) for item in folds] == [3, 3, 3]
    assert len(view.listing) == len(view.trace.rows) - 6


def test_lines_stand_in_the_order_of_their_first_rows(view: View) -> None:
    places = [view.listing.place(index) for index in range(len(view.listing))]
    assert places == sorted(places)


def test_unfolded_every_row_has_its_own_line(view: View) -> None:
    view.listing.fold_to("none")
    view.listing.sync()
    assert len(view.listing) == len(view.trace.rows)
    assert all(view.listing.index(place) == place for place in range(len(view.trace.rows)))
    view.listing.next_level()
    view.listing.sync()
    assert len(view.listing) == len(view.trace.rows) - 6


def test_one_fold_can_be_opened_and_closed(view: View) -> None:
    place = view.listing.place(0)
    assert view.listing.toggle(place)
    view.listing.sync()
    assert len(view.listing) == len(view.trace.rows) - 4
    assert view.listing.toggle(place)
    view.listing.sync()
    assert len(view.listing) == len(view.trace.rows) - 6


def test_a_row_that_is_no_set_up_cannot_be_folded(view: View) -> None:
    assert not view.listing.toggle(len(view.trace.rows) - 1)


def test_a_folded_row_is_found_at_its_fold(view: View) -> None:
    fold = view.listing[0]
    for place in fold.places:
        assert view.listing.index(place) == 0
        assert view.listing.shows(place)


def test_only_one_connection(view: View) -> None:
    view.listing.choose("conn:2")
    view.listing.sync()
    assert {view.listing[index].row.connection for index in range(len(view.listing))} == {1}
    assert RowKind.MARK not in kinds(view)
    other = next(place for place in range(len(view.trace.rows)) if view.trace.rows[place].connection == 2)
    assert not view.listing.shows(other)


def test_only_one_driver(view: View) -> None:
    driver = view.driver(0)
    view.listing.choose(f"driver:{driver}")
    view.listing.sync()
    assert {view.driver(view.listing[index].row.connection) for index in range(len(view.listing))} == {driver}


def test_a_driver_identified_late_gets_its_rows_back(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict.fromkeys(view.trace.connections, "psycopg")
    first = view.trace.connections[0]
    names[first] = "unknown"
    monkeypatch.setattr(Connection, "driver", property(lambda self: names[self]))
    view.snapshots.forget_drivers()
    view.listing.choose("driver:psycopg")
    view.listing.sync()
    before = [view.listing.place(index) for index in range(len(view.listing))]
    names[first] = "psycopg"
    view.snapshots.forget_drivers()
    assert view.listing.sync()
    assert {view.listing[index].row.connection for index in range(len(view.listing))} == {0, 1, 2}
    assert [len(view.listing[index].rows) for index in range(len(view.listing)) if view.listing[index].folded] == [3, 3, 3]
    names[first] = "unknown"
    view.snapshots.forget_drivers()
    assert view.listing.sync()
    assert [view.listing.place(index) for index in range(len(view.listing))] == before


def test_new_rows_are_listed_as_they_come(view: View, shop: Recording) -> None:
    lines = len(view.listing)
    shop.trip(1, b"Q\0\0\0\x0dSELECT 1\0", b"C\0\0\0\x0dSELECT 1\0" + ready())
    shop.flush()
    assert view.trace.update()
    assert view.listing.sync()
    assert len(view.listing) == lines + 1
    assert not view.listing.sync()


def test_a_budget_that_is_over_leaves_the_rest_for_later(recording: Recording, view_of: object) -> None:
    connection = recording.connect()
    for _ in range(600):
        recording.trip(connection, b"Q\0\0\0\x0dSELECT 1\0", b"C\0\0\0\x0dSELECT 1\0" + ready())
    recording.flush()
    view = view_of(recording)  # type: ignore[operator]
    view.trace.update()
    view.listing.sync(budget_s=-1.0)
    assert 0 < len(view.listing) < 601
    assert view.listing.behind
    while view.listing.sync(budget_s=-1.0):
        pass
    assert len(view.listing) == 601
