"""The screen reads on, tick by tick and between two."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgtrace.tui.model.view import View
from tests.wire_recording import Recording, done, query, ready


def test_the_end_of_reading_is_drawn(shop: Recording, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading took all the time there was, the tick that finds nothing more has a state to show: it is no longer reading."""
    monkeypatch.setattr("pgtrace.tui.model.reading.READ_BUDGET_S", 0.0)
    shop.end()
    view = view_of(shop)
    assert view.reading.tick(0.0)
    assert view.reading.catching_up
    assert not view.reading.loaded
    assert view.reading.tick(1.0)
    assert not view.reading.catching_up
    assert view.reading.loaded
    assert not view.reading.tick(2.0)


def read_up(view: View) -> View:
    """After the tick that has read everything, however slow the machine is."""
    view.reading.tick(0.0)
    while view.reading.catching_up:
        view.reading.tick(0.0)
    return view


def test_what_comes_between_two_ticks_is_read_and_drawn_with_the_next(shop: Recording, view_of: Callable[..., View]) -> None:
    view = read_up(view_of(shop, live=True))
    seen = view.feed.seen
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.reading.read_ahead(0.03)
    assert len(view.trace.rows) == view.feed.seen == seen + 1
    assert view.snapshot.totals.round_trips < view.trace.totals().round_trips
    assert view.reading.tick(1.0)
    assert view.snapshot.totals.round_trips == view.trace.totals().round_trips


def test_nothing_is_read_between_the_ticks_of_a_paused_screen(shop: Recording, view_of: Callable[..., View]) -> None:
    view = read_up(view_of(shop, live=True))
    seen = view.feed.seen
    view.reading.pause()
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.reading.read_ahead(0.03)
    assert len(view.trace.rows) == view.feed.seen == seen
