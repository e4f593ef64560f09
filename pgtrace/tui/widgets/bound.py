"""The table of keys as Textual's bindings."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from pgtrace.tui.model.keys import KEYS


def bindings(owner: str) -> list[BindingType]:
    """The bindings of one owner."""
    return [Binding(key.keys, key.action, show=False, priority=key.first) for key in KEYS if key.owner == owner]
