"""`=`: pick a row, then show it beside another one."""

from __future__ import annotations

from pgtrace.inspect import details
from pgtrace.tui.areas import Areas
from pgtrace.tui.model.items import Item
from pgtrace.tui.widgets.comparison import Comparison


class Pairing:
    """Two rows side by side."""

    def __init__(self, areas: Areas) -> None:
        self._areas = areas
        self._picked: int | None = None

    def pick(self) -> None:
        """Pick the row under the cursor, or show it beside the one that was picked."""
        areas = self._areas
        item = areas.timeline.item
        if item is None:
            return
        if not any(row.sent_bytes or row.received_bytes for row in item.rows):
            areas.show_notice("there are no messages here to compare")
            return
        if self._picked is None or self._picked == item.place:
            self._picked = item.place if self._picked is None else None
            areas.show_notice("picked: = on another row shows both side by side" if self._picked is not None else "no longer picked")
            return
        picked, self._picked = self._picked, None
        listing = areas.view.listing
        self._beside(listing[listing.index(picked)] if listing.shows(picked) else listing.item(picked), item)

    def show(self, place: int, other: int) -> None:
        """Show the messages of two rows side by side."""
        listing = self._areas.view.listing
        self._beside(listing.item(place), listing.item(other))

    def _beside(self, first: Item, item: Item) -> None:
        areas, view = self._areas, self._areas.view
        messages = [[message for place in one.places for message in details.read(view.trace, place).messages] for one in (first, item)]
        titles = [
            f"#{one.row.number} {view.connection_name(one.row.connection)} {view.driver(one.row.connection)}" for one in (first, item)
        ]
        areas.show_page(Comparison((titles[0], titles[1]), *messages))
