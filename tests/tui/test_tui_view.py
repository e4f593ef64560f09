"""What the widgets draw from, tick by tick."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wire_recording import Recording

from pgtrace.tui.view import View


def test_the_end_of_reading_is_drawn(shop: Recording, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading took all the time there was, the tick that finds nothing more has a state to show: it is no longer reading."""
    monkeypatch.setattr("pgtrace.tui.view.READ_BUDGET_S", 0.0)
    shop.end()
    view = view_of(shop)
    assert view.tick(0.0)
    assert view.catching_up
    assert not view.loaded
    assert view.tick(1.0)
    assert not view.catching_up
    assert view.loaded
    assert not view.tick(2.0)
