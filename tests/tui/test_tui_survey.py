"""Problems and flights are told for complete rows, once."""

from __future__ import annotations

from pgtrace.tui.model.view import View
from tests.wire_recording import Recording, done, error, query, ready


def test_problems_are_errors_and_gaps(view: View, shop: Recording) -> None:
    rows = view.trace.rows
    assert [rows[place].label.error[:5] for place in view.survey.problems] == ["23505"]
    shop.gap(1, 4096)
    shop.flush()
    view.trace.update()
    view.feed.advance()
    assert view.survey.problems[1:] == [len(rows) - 1]


def test_a_row_counts_when_it_is_complete(recording: Recording, view_of: object) -> None:
    connection = recording.connect()
    recording.send(connection, query("SELECT boom()"))
    recording.flush()
    view = view_of(recording)  # type: ignore[operator]
    view.trace.update()
    view.feed.advance()
    assert view.survey.problems == []
    assert view.survey.flights(lambda index: index == 0) == []
    recording.answer(connection, error("XX000", "boom") + ready())
    recording.flush()
    view.trace.update()
    view.feed.advance()
    view.feed.advance()
    assert view.survey.problems == [len(view.trace.rows) - 1]
    assert view.survey.flights(lambda index: index == 0) == [("Q", 1)]


def test_flights_are_counted_by_driver(view: View) -> None:
    assert view.survey.flights(lambda index: view.driver(index) == "asyncpg")[0] == ("BES", 3)
    assert view.survey.flights(lambda index: view.driver(index) == "pg8000") == [("Q", 2), ("PHS", 1), ("DHS", 1), ("BHEHS", 1)]


def test_around_a_place(recording: Recording, view_of: object) -> None:
    connection = recording.connect()
    for _ in range(3):
        recording.trip(connection, query("SELECT boom()"), error("XX000", "boom") + ready())
        recording.trip(connection, query("SELECT 1"), done("SELECT 1") + ready())
    recording.flush()
    view = view_of(recording)  # type: ignore[operator]
    view.trace.update()
    view.feed.advance()
    first, second, third = view.survey.problems
    assert view.survey.after(first) == [second, third]
    assert view.survey.before(third) == [second, first]
    assert view.survey.after(first - 1) == [first, second, third]
