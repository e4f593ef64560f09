"""What the widgets draw from."""

from __future__ import annotations

from collections.abc import Callable

from pgtrace.tui.model.view import View
from tests.wire_recording import Recording


def test_an_unknown_driver_has_no_line_until_it_stays_unknown(shop: Recording, view_of: Callable[..., View]) -> None:
    """A connection is told apart after a few messages: its line would come and go, and the list below it would jump."""
    view = view_of(shop, live=True)
    view.reading.tick(0.0)
    known = [driver.driver for driver in view.snapshot.drivers]
    assert len(known) == 3
    shop.connect("nobody")
    shop.flush()
    for now_s, untold in ((1.0, []), (2.5, []), (3.5, ["unknown"])):
        view.reading.tick(now_s)
        assert view.snapshot.connections == 4
        assert sorted(driver.driver for driver in view.snapshot.drivers) == sorted(known + untold)


def test_in_a_file_an_unknown_driver_is_told_at_once(shop: Recording, view_of: Callable[..., View]) -> None:
    shop.connect("nobody")
    shop.end()
    view = view_of(shop)
    view.reading.tick(0.0)
    assert "unknown" in {driver.driver for driver in view.snapshot.drivers}
