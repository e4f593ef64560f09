"""What the widgets draw from, tick by tick."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgtrace.tui.model.view import View
from tests.wire_recording import Recording, done, query, ready


def test_the_end_of_reading_is_drawn(shop: Recording, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading took all the time there was, the tick that finds nothing more has a state to show: it is no longer reading."""
    monkeypatch.setattr("pgtrace.tui.model.view.READ_BUDGET_S", 0.0)
    shop.end()
    view = view_of(shop)
    assert view.tick(0.0)
    assert view.catching_up
    assert not view.loaded
    assert view.tick(1.0)
    assert not view.catching_up
    assert view.loaded
    assert not view.tick(2.0)


def test_an_unknown_driver_has_no_line_until_it_stays_unknown(shop: Recording, view_of: Callable[..., View]) -> None:
    """A connection is told apart after a few messages: its line would come and go, and the list below it would jump."""
    view = view_of(shop, live=True)
    view.tick(0.0)
    known = [driver.driver for driver in view.snapshot.drivers]
    assert len(known) == 3
    shop.connect("nobody")
    shop.flush()
    for now_s, untold in ((1.0, []), (2.5, []), (3.5, ["unknown"])):
        view.tick(now_s)
        assert view.snapshot.connections == 4
        assert sorted(driver.driver for driver in view.snapshot.drivers) == sorted(known + untold)


def test_in_a_file_an_unknown_driver_is_told_at_once(shop: Recording, view_of: Callable[..., View]) -> None:
    shop.connect("nobody")
    shop.end()
    view = view_of(shop)
    view.tick(0.0)
    assert "unknown" in {driver.driver for driver in view.snapshot.drivers}


def read_up(view: View) -> View:
    """After the tick that has read everything, however slow the machine is."""
    view.tick(0.0)
    while view.catching_up:
        view.tick(0.0)
    return view


def test_what_comes_between_two_ticks_is_read_and_drawn_with_the_next(shop: Recording, view_of: Callable[..., View]) -> None:
    view = read_up(view_of(shop, live=True))
    seen = view.feed.seen
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.read_ahead(0.03)
    assert len(view.trace.rows) == view.feed.seen == seen + 1
    assert view.snapshot.totals.round_trips < view.trace.totals().round_trips
    assert view.tick(1.0)
    assert view.snapshot.totals.round_trips == view.trace.totals().round_trips


def test_nothing_is_read_between_the_ticks_of_a_paused_screen(shop: Recording, view_of: Callable[..., View]) -> None:
    view = read_up(view_of(shop, live=True))
    seen = view.feed.seen
    view.pause()
    shop.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
    shop.flush()
    view.read_ahead(0.03)
    assert len(view.trace.rows) == view.feed.seen == seen
